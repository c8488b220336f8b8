"""Which code trains: told by checkpoints and by the cards of the models made from them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def revision() -> str | None:
    """The git commit of this code, with "+" where files differ from it; None where it is not a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # Only where this very file is tracked: an installed package may lie inside another repository.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], check=True, capture_output=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False, capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
