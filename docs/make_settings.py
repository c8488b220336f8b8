"""Write docs/settings.md from the settings table; a test fails when the two disagree."""

from __future__ import annotations

from pathlib import Path

from visearch.settings import SETTINGS, Setting

PAGE = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Written by `make docs` from `visearch/settings.py`; do not edit. A setting is read from the environment; without it the
default holds. Options of a command (`visearch index --help`) go before the environment.

| variable | default | unit or values | bounds | meaning |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the page, one table row a setting."""
    return HEAD + "".join(_row(setting) for setting in SETTINGS)


def _row(setting: Setting) -> str:
    bounds = "" if setting.minimum is None else f"{setting.minimum:g} to {setting.maximum:g}"
    cells = [f"`{setting.variable}`", f"`{setting.default}`" if setting.default != "" else "none"]
    cells += [text.replace("|", "\\|") for text in (setting.unit, bounds, setting.help)]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
