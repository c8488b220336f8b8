"""The certificate of `visearch serve --https`: whom it names, how long it holds, who may read its key."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from visearch.errors import UsageError, VisearchError
from web import tls


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the certificate goes: nobody's home."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "visearch" / "tls"


def names_in(path: Path) -> set[str]:
    """What a certificate names, as text."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    carried = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in carried}


def test_it_names_this_machine_and_every_address_it_is_reached_at() -> None:
    names = names_in(tls.own_certificate(tls.own_names("0.0.0.0")))
    assert {"localhost", "127.0.0.1", "::1", *tls.own_addresses()} <= names
    assert "0.0.0.0" not in names  # nobody connects to that


def test_it_names_the_host_it_was_asked_to_listen_on() -> None:
    assert {"shop.lan", "2001:db8::5"} <= names_in(tls.own_certificate([*tls.own_names("shop.lan"), "2001:db8::5"]))


def test_only_its_owner_can_read_it(folder: Path) -> None:
    path = tls.own_certificate(["localhost"])
    assert path == folder / "server.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_it_holds_for_as_long_as_browsers_accept_and_not_for_others_certificates() -> None:
    certificate = x509.load_pem_x509_certificate(tls.own_certificate(["localhost"]).read_bytes())
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=398)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_it_is_kept_so_that_a_phone_is_told_only_once_to_trust_it() -> None:
    first = tls.own_certificate(["localhost", "192.0.2.7"]).read_bytes()
    assert tls.own_certificate(["localhost", "192.0.2.7"]).read_bytes() == first
    assert tls.own_certificate(["localhost"]).read_bytes() == first


def test_it_is_made_anew_for_a_new_address_before_it_expires_and_where_it_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tls.own_certificate(["localhost"])
    first = path.read_bytes()
    assert tls.own_certificate(["localhost", "192.0.2.7"]).read_bytes() != first

    monkeypatch.setattr(tls, "VALID_FOR", timedelta(days=29))
    path.unlink()
    second = tls.own_certificate(["localhost"]).read_bytes()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(path.parents[2]))
    third = tls.own_certificate(["localhost"]).read_bytes()
    assert third != second
    assert x509.load_pem_x509_certificate(third).not_valid_after_utc > datetime.now(UTC) + timedelta(days=30)

    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nbroken")
    tls.server_context("127.0.0.1")
    assert names_in(path) >= {"localhost", "127.0.0.1"}


def test_a_folder_that_cannot_be_written_is_one_line_that_says_what_to_do(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder should be")
    with pytest.raises(VisearchError, match=r"server\.pem: the certificate cannot be written .* --cert and --key"):
        tls.own_certificate(["localhost"])


def test_files_that_are_given_are_used_and_wrong_ones_named(tmp_path: Path) -> None:
    own = tls.own_certificate(["localhost"])
    assert isinstance(tls.server_context("127.0.0.1", own), ssl.SSLContext)
    assert isinstance(tls.server_context("127.0.0.1", own, own), ssl.SSLContext)
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(UsageError, match=rf"{nothing}: No such file"):
        tls.server_context("127.0.0.1", nothing)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("not a certificate")
    with pytest.raises(UsageError, match=rf"{own} and {nonsense}: not a PEM certificate"):
        tls.server_context("127.0.0.1", own, nonsense)
