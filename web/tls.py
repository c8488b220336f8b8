"""Self-signed certificates for `visearch serve --https`: a phone's browser opens the camera only over https.

One file, `server.pem` (key and certificate), in a folder of the person who serves, made once and kept, so that a phone
has to be told only once that it may be trusted. It is made anew when it is about to expire or when this machine has an
address that it does not name.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from visearch.errors import UsageError, VisearchError
from visearch.files import TEMPORARY, fsync_folder

FILE = "server.pem"
VALID_FOR = timedelta(days=397)  # browsers refuse certificates that hold for longer
RENEW_BEFORE = timedelta(days=30)
COMMON_NAME = "visearch, self-signed"


def data_dir() -> Path:
    """The folder that holds the certificate; it may not exist yet."""
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base) / "visearch" / "tls"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "visearch" / "tls"
    return Path.home() / ".local" / "share" / "visearch" / "tls"


def own_addresses() -> list[str]:
    """The addresses that other machines of the network may reach this one at, IPv4 first; none when offline."""
    found: dict[str, None] = {}
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # Connecting a datagram socket sends nothing: the kernel only picks the address it would send from.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((anywhere, 9))
            found[probe.getsockname()[0]] = None
    with contextlib.suppress(OSError):
        found |= {str(row[4][0]): None for row in socket.getaddrinfo(socket.gethostname(), None)}
    return [text for text in found if not is_only_local(text)]


def is_only_local(text: str) -> bool:
    """Whether an address leads nowhere but to this machine or its own wire."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return address.is_loopback or address.is_link_local or address.is_unspecified


def own_names(host: str) -> list[str]:
    """Every name and address that the certificate of a server bound to `host` has to carry."""
    machine = socket.gethostname()
    names = ["localhost", machine, f"{machine.split('.')[0]}.local", "127.0.0.1", "::1", *own_addresses(), host]
    return [name for name in dict.fromkeys(names) if _general_name(name) is not None]


def server_context(host: str, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """The TLS settings to serve with: the files given (PEM; the key may be in the certificate's file), else our own.

    Raises:
        UsageError: a file that is given cannot be read, is not PEM, or the two do not belong together.
        VisearchError: our own cannot be written.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    chain = certificate or own_certificate(own_names(host))
    try:
        context.load_cert_chain(chain, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        files = " and ".join(str(path) for path in (chain, key) if path is not None)
        hint = why or "not a PEM certificate with the private key that belongs to it"
        raise UsageError(f"{files}: {hint}; --https alone makes a certificate of its own") from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def own_certificate(names: list[str]) -> Path:
    """The file of our own certificate, made or renewed where it does not hold for `names` for another month.

    Raises:
        VisearchError: the folder cannot be written.
    """
    folder = data_dir()
    path = folder / FILE
    if _holds(path, names):
        return path
    partial = folder / (FILE + TEMPORARY)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        with partial.open("wb") as file:
            file.write(_make(names))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        fsync_folder(folder)
    except OSError as error:
        raise VisearchError(
            f"{path}: the certificate cannot be written ({error.strerror}); give one with --cert and --key"
        ) from None
    return path


def _holds(path: Path, names: list[str]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        carried = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    lasts = certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
    return lasts and {_general_name(name) for name in names} <= set(carried)


def _make(names: list[str]) -> bytes:
    """A new key and a certificate for it that names `names`: PEM, the key first."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    now = datetime.now(UTC)
    carried = [general for general in map(_general_name, names) if general is not None]
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + VALID_FOR)
    builder = builder.add_extension(x509.SubjectAlternativeName(carried), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(encoding)


def _general_name(name: str) -> x509.GeneralName | None:
    """The form in which a certificate carries an address or a name; None for what no client connects to."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            return x509.DNSName(name) if name else None
        except ValueError:  # a host name that is not ASCII
            return None
    return None if address.is_unspecified else x509.IPAddress(address)
