"""The house rules that can be checked: layers, settings and their page, packaging, what the README says."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest

from visearch.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("visearch", "indexer", "web", "training")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LAZY = ROOT / "visearch" / "cli"  # may import the other packages, inside functions only


def imports(path: Path) -> list[tuple[str, bool]]:
    """Each top-level package that the module imports, and whether it does so outside every function."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, outside: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name.split(".")[0], outside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append(((node.module or "").split(".")[0] if not node.level else path.parent.name, outside))
        inner = outside and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_import_only_what_the_layers_allow(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name, outside in imports(path):
        where = f"{path.relative_to(ROOT)} imports {name}"
        if package == "visearch":
            assert name not in {"torch", "torchvision", "timm", "flask", "ray"}, where
        if name in PACKAGES and name not in {package, "visearch"}:
            assert path.parent == LAZY, where
            assert not outside, f"{where} outside a function"


def test_nothing_says_to_install_the_package_of_that_name_on_pypi_which_is_another_one() -> None:
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *MODULES]
    for path in texts:
        said = re.findall(r"pip install (?:-\S+ )*'?visearch(?![-\w]).*", path.read_text(encoding="utf-8"))
        assert not said, f"{path.relative_to(ROOT)}: {said}"


def test_importing_visearch_is_light() -> None:
    heavy = ("torch", "flask", "ray", "matplotlib", "openvino", "onnxruntime", "pyarrow", "indexer", "web", "training")
    code = f"import sys, visearch; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_settings_page_is_what_make_docs_writes() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["render"](), "run: make docs"
    assert sorted(re.findall(r"^\| `(VISEARCH_\w+)`", page, re.M)) == sorted(each.variable for each in SETTINGS)


def test_every_setting_is_read_somewhere() -> None:
    """A setting that nothing reads is stale."""
    code = "".join(path.read_text(encoding="utf-8") for path in MODULES)
    for setting in SETTINGS:
        assert re.search(rf'(get|number|text|integer)\("{setting.name}"\)', code), f"nothing reads {setting.variable}"


def test_the_default_of_every_setting_is_within_its_bounds() -> None:
    for setting in SETTINGS:
        if isinstance(setting.default, str):
            assert setting.minimum is setting.maximum is None
        else:
            assert setting.minimum is not None, setting.name
            assert setting.maximum is not None, setting.name
            assert setting.minimum <= setting.default <= setting.maximum, setting.name


def test_the_base_install_has_no_torch_and_every_requirement_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line.split("==")[0]) for line in pins if not line.startswith("#")}
    requirements = metadata.requires("visearch") or []
    base = {normal(re.split(r"[^\w.-]", each)[0]) for each in requirements if "extra ==" not in each}
    assert not base & {"torch", "timm", "ray", "matplotlib"}
    extras = {normal(re.split(r"[^\w.-]", each)[0]) for each in requirements}
    assert base | extras <= pinned
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in pins)


def normal(name: str) -> str:
    """The form of a distribution's name that can be compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_python_and_the_licence_are_said_once_and_alike() -> None:
    about = metadata.metadata("visearch")
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tools["ruff"]["target-version"] == "py311"


def test_no_tracked_file_is_large() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    sizes = {name: (ROOT / name).stat().st_size for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    assert max(sizes.values()) < 13_000_000
    assert sum(size for name, size in sizes.items() if name.startswith("data/")) < 14_000_000


def commands_of(page: str) -> list[list[str]]:
    """What a page shows that runs visearch or make, in code blocks or within a line, split into words."""
    blocks = re.findall(r"```(?:sh|bash|console)?\n(.*?)```", page, re.S) + re.findall(r"(?:^ {4}.*\n)+", page, re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines() + re.findall(r"`((?:visearch|make) [^`]+)`", page)
    words = [re.sub(r"\s#.*", "", line.strip().removeprefix("$ ")).split() for line in lines]
    return [each for each in words if each and each[0] in {"visearch", "make"}]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_command_and_option_that_a_page_shows_exists(page: str) -> None:
    from visearch.cli import cli

    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for words in commands_of((ROOT / page).read_text(encoding="utf-8")):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words
            continue
        command: click.Command = cli
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            assert set(rest[0].split("|")) <= set(command.commands), words
            command = command.commands[rest.pop(0).split("|")[0]]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)} <= options, words
