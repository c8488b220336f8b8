"""The command line: what each command prints, one line for every error, the promised exit codes, a quick start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.pictures import ids, is_one_line, save, save_all, stored, visearch
from tests.tiny_model import BITS, write_model
from visearch import cli

PROGRAM = [sys.executable, "-c", "from visearch.cli import main; main()"]


@pytest.fixture
def folder(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An indexed `pics` with labels in the current folder; no model is named any more."""
    monkeypatch.chdir(tmp_path)
    save_all(tmp_path / "pics", range(10))
    rows = [f"pics/{number:03}.png,{'chair' if number % 2 else 'sofa'},{number}" for number in range(10)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,price", *rows]))
    assert visearch("index", "m.csv", "--model", tiny).code == 0
    return tmp_path


def commands(group: click.Group = cli.cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command and group."""
    found = [path]
    for name, command in sorted(group.commands.items()):
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


# Help


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_help_has_an_example(command: tuple[str, ...]) -> None:
    done = visearch(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Example:" in done.out
    assert re.search(rf"^\s+(.*\| )?{' '.join(['visearch', *command])}", done.out.split("Example:")[1], re.MULTILINE)
    assert visearch(*command, "-h").out == done.out


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_option_is_explained(command: tuple[str, ...]) -> None:
    found: click.Command = cli.cli
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    assert found.help
    assert all(option.help for option in found.params if isinstance(option, click.Option))


def test_the_commands_of_the_issue_are_there() -> None:
    wanted = {"index", "search", "evaluate", "info", "check", "remove", "export", "backup", "models"}
    assert wanted <= cli.cli.commands.keys()
    models = cli.cli.commands["models"]
    assert isinstance(models, click.Group)
    assert {"list", "info", "pull"} <= models.commands.keys()


def test_the_version_is_told() -> None:
    done = visearch("--version")
    assert done.code == 0
    assert re.fullmatch(r"visearch, version \S+\n", done.out)


# Errors

WRONG = [
    ("nonsense", "No such command 'nonsense'"),
    ("index", "Missing argument 'SOURCE...'"),
    ("index nowhere", "nowhere: no such file or folder"),
    ("index pics --nonsense", "No such option"),
    ("index pics --collection m.csv", "is a file"),
    ("index - --watch", "not standard input"),
    ("search", "search for either a picture or an item"),
    ("search pics/000.png --item 1", "search for either a picture or an item"),
    ("search nowhere.png", "nowhere.png' does not exist"),
    ("search pics", "'pics' is a directory"),
    ("search --item nonsense", "not a valid integer"),
    ("search --item 99", "item 99: no such item"),
    ("search --item -1", "item -1: no such item"),
    ("search --item 99999999999999999999", "no such item"),
    ("search --item 1 --limit 0", "0 is not in the range x>=1"),
    ("search --item 1 --max-distance -1", "not in the range"),
    ("search pics/000.png --box 0,0,1", "is not four numbers"),
    ("search pics/000.png --box 0,0,1,2", "0 <= y0 < y1 <= 1"),
    ("search pics/000.png --box a,b,c,d", "is not four numbers"),
    ("search pics/000.png --box 0,0,0.001,1", "less than a pixel"),
    ("search --item 1 --filter {", "--filter is not JSON"),
    ("search --item 1 --filter []", "a filter is a JSON object"),
    ("search --item 1 --filter {\"price\":{\"near\":3}}", "'price'"),
    ("search --item 1 --sheet out.pdf", "has to end in one of .png"),
    ("search --item 1 --sheet out", "has to end in one of .png"),
    ("remove nowhere.png", "neither the id nor the path of an item"),
    ("remove 1 99", "99: neither"),
    ("remove 99999999999999999999", "neither the id"),
    ("remove", "Missing argument"),
    ("evaluate", "Missing option '--queries'"),
    ("evaluate --queries nowhere.csv", "does not exist"),
    ("backup pics", "exists already"),
]  # fmt: skip

FAILED = [
    ("search m.csv", "m.csv"),
    ("search empty.png", "empty.png: the file is empty"),
    ("search --item 1 --model nowhere.onnx", "no such file, nor a name"),
    ("index pics --report nowhere/r.csv", "nowhere/r.csv"),
    ("index pics --model nowhere.onnx", "no such file, nor a name"),
    ("index pics --model m.csv", "m.csv"),
    ("info --collection pics", "no collection here"),
    ("search --item 1 --collection nowhere", "nowhere: no collection here; `visearch index FOLDER` makes one"),
    ("check --collection nowhere", "no collection here"),
    ("remove 1 --collection nowhere", "no collection here"),
    ("export out.parquet --collection nowhere", "no collection here"),
    ("export nowhere/out.parquet", "cannot be written"),
    ("backup b --collection nowhere", "no collection here"),
    ("models info nonsense", "no model is called 'nonsense'"),
    ("models pull nonsense", "no model is called 'nonsense'"),
    ("models info m.csv", "m.csv"),
]


@pytest.mark.parametrize(("command", "said", "code"), [*((*w, 2) for w in WRONG), *((*f, 1) for f in FAILED)])
def test_every_error_is_one_line_and_its_exit_code(folder: Path, command: str, said: str, code: int) -> None:
    (folder / "empty.png").write_bytes(b"")
    before = stored(folder / ".visearch")
    done = visearch(*command.split(" "))
    assert done.code == code
    assert is_one_line(done.err), done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert stored(folder / ".visearch") == before


def test_an_error_in_json_mode_is_on_standard_error_too(folder: Path) -> None:
    done = visearch("search", "--item", 99, "--json")
    assert (done.code, done.out) == (2, "")
    assert is_one_line(done.err)


@pytest.mark.parametrize("command", ["index pics --model {tiny}", "search pics/000.png", "info"])
def test_a_bad_setting_is_named(folder: Path, tiny: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MAP_GIGABYTES", "many")
    done = visearch(*command.format(tiny=tiny).split())
    assert done.code == 2
    assert done.err == "Error: VISEARCH_MAP_GIGABYTES='many' is not a int (gigabytes)\n"


def test_a_name_with_control_characters_does_not_reach_the_terminal(folder: Path, tiny: Path) -> None:
    save(folder / "odd" / "\x1b[31mred\n.png", 50)
    assert visearch("index", "odd").code == 0
    done = visearch("search", "--item", 1, "--limit", 100)
    assert done.code == 0
    assert "\\x1b[31mred\\n.png" in done.out
    assert "\x1b" not in done.out + done.err
    gone = visearch("remove", "\x1b[31m")
    assert "\x1b" not in gone.err


def test_names_that_are_not_utf8_are_printed(folder: Path) -> None:
    save(folder / "odd" / os.fsdecode(b"\xff.png"), 50)
    assert visearch("index", "odd", "--collection", os.fsdecode(b"c\xff"), "--model", folder / "t.onnx").code == 1
    assert visearch("index", "odd").code == 0
    assert "?.png" in visearch("search", "--item", 1, "--limit", 100).out
    found = visearch("search", "--item", 1, "--limit", 100, "--json").json["matches"]
    assert any(match["source"].endswith(os.fsdecode(b"\xff.png")) for match in found)
    shutil.rmtree(folder / "odd")
    done = visearch("check")
    assert done.code == 0
    assert "?.png: gone" in done.out


# Search


def test_search_prints_a_table(folder: Path) -> None:
    done = visearch("search", "pics/003.png", "--limit", 4)
    assert done.code == 0
    header, *rows = done.out.splitlines()
    assert header.split() == ["item", "score", "bits", "source"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    rank, item, score, bits, source = rows[0].split()
    assert (rank, item, float(score), int(bits), source) == ("1", "4", 1.0, 0, str(folder / "pics" / "003.png"))
    assert re.fullmatch(r"decode [\d.]+, embed [\d.]+, search [\d.]+, rerank .*, total [\d.]+ ms\n", done.err)


def test_search_prints_json_with_the_promised_keys(folder: Path) -> None:
    done = visearch("search", "pics/003.png", "--limit", 4, "--json")
    assert (done.code, done.err) == (0, "")
    assert {"matches", "took"} <= done.json.keys()
    assert len(done.json["matches"]) == 4
    first = done.json["matches"][0]
    assert {"item", "region", "source", "distance", "score", "metadata"} <= first.keys()
    assert (first["item"], first["region"], first["distance"]) == (4, 0, 0)
    assert first["metadata"] == {"label": "chair", "price": 3}
    assert all(isinstance(each, float) for each in done.json["took"].values())


def found(*arguments: object) -> list[dict[str, Any]]:
    done = visearch("search", *arguments, "--json")
    assert done.code == 0, done.err
    return list(done.json["matches"])


def test_search_options(folder: Path) -> None:
    everything = found("--item", 4, "--limit", 100)
    assert len(everything) == 9
    assert 4 not in {match["item"] for match in everything}
    assert found("--item", 4, "--limit", 2) == everything[:2]
    assert found("--item", 4, "--exact") == everything
    by_bits = found("--item", 4, "--no-rerank")
    assert [match["distance"] for match in by_bits] == sorted(match["distance"] for match in by_bits)
    assert all(match["score"] == 1 - 2 * match["distance"] / BITS for match in by_bits)
    at = by_bits[3]["distance"]
    assert len(found("--item", 4, "--max-distance", at)) == sum(match["distance"] <= at for match in by_bits)
    sofas = found("--item", 4, "--filter", '{"label": "sofa", "price": {"gte": 4}}')
    assert {match["metadata"]["price"] for match in sofas} == {4, 6, 8}
    assert found("--item", 4, "--filter", '{"label": "desk"}') == []
    assert visearch("search", "--item", 4, "--filter", '{"label": "desk"}').out == "no matches\n"


def test_search_with_a_box_of_a_picture_and_of_an_item(folder: Path) -> None:
    box = "0.25,0,1,0.75"
    by_item = found("--item", 4, "--box", box, "--limit", 9)
    by_picture = found("pics/003.png", "--box", box, "--limit", 10)
    assert by_item == [match for match in by_picture if match["item"] != 4]
    assert by_item != found("--item", 4, "--limit", 9)


def test_search_draws_a_sheet(folder: Path) -> None:
    for query in (["pics/003.png"], ["--item", 4], ["pics/003.png", "--box", "0,0,0.5,0.5"]):
        done = visearch("search", *query, "--sheet", "sheet.png", "--limit", 3)
        assert done.code == 0
        assert done.err.endswith("sheet: sheet.png\n")
        with Image.open("sheet.png") as sheet:
            assert min(sheet.size) > 300
        Path("sheet.png").unlink()


def test_a_sheet_that_cannot_be_written_is_told_after_the_results(folder: Path) -> None:
    done = visearch("search", "--item", 4, "--sheet", "nowhere/out.png")
    assert done.code == 1
    assert len(done.out.splitlines()) == 10
    assert re.fullmatch(r"Error: nowhere/out\.png: .*No such file or directory.*", done.err.splitlines()[-1])


def test_a_sheet_that_is_too_tall_for_its_format_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visearch.sheet.TILE_SIDE", 9000)
    done = visearch("search", "--item", 4, "--sheet", "out.webp")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("Error: out.webp: the sheet cannot be written (")


def test_search_by_item_needs_neither_file_nor_model(folder: Path) -> None:
    before = found("--item", 4)
    shutil.rmtree(folder / "pics")
    shutil.rmtree(folder / ".visearch" / "models")
    assert found("--item", 4) == before
    assert visearch("search", "--item", 4, "--sheet", "sheet.png").code == 0


def test_a_model_that_did_not_make_the_codes_is_refused(folder: Path) -> None:
    other = write_model(folder / "other.onnx", seed=9)
    done = visearch("search", "pics/000.png", "--model", other)
    assert done.code == 1
    assert "its codes were made by tiny 1" in done.err


def test_the_collection_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".visearch").rename(folder / "shop")
    monkeypatch.setenv("VISEARCH_COLLECTION", str(folder / "shop"))
    assert visearch("info", "--json").json["items"] == 10


# The others


def test_info_in_lines_and_in_json(folder: Path) -> None:
    values = visearch("info", "--json").json
    assert (values["items"], values["generation"]["model"], values["index"]["codes"]) == (10, "tiny", 10)
    lines = visearch("info").out.splitlines()
    assert "items: 10" in lines
    assert "  model: tiny" in lines


def test_check_and_repair(folder: Path) -> None:
    visearch("backup", "b")  # a backup has index files
    assert visearch("check").out == "the collection is whole\n"
    visearch("check", "--repair")
    from visearch.collection import Collection

    with Collection.open(folder / ".visearch") as collection:
        collection.build_index()
        base = collection.base_folder(collection.generation)
    (base / "rows.bin").write_bytes(b"")
    broken = visearch("check")
    assert broken.code == 1
    assert broken.out.startswith("index: ")
    assert broken.out.endswith("NOT whole\n")
    assert visearch("check", "--json").json["whole"] is False
    repaired = visearch("check", "--repair", "--json")
    assert (repaired.code, repaired.json["repaired"], repaired.json["whole"]) == (0, True, True)
    assert visearch("check").out == "the collection is whole\n"


def test_check_tells_of_files_that_are_gone_and_is_content(folder: Path) -> None:
    (folder / "pics" / "004.png").unlink()
    done = visearch("check")
    assert done.code == 0
    assert re.match(r"files: .*004\.png: gone \(item 5\)", done.out)
    (problem,) = visearch("check", "--json").json["problems"]
    assert problem["kind"] == "files"


def test_remove_by_id_and_path(folder: Path) -> None:
    assert visearch("remove", 1, "pics/001.png", folder / "pics" / "002.png", 1).out == "3 removed\n"
    assert visearch("remove", 4, "--json").json == {"removed": 1}
    assert set(ids(folder / ".visearch")) == {f"{number:03}.png" for number in range(4, 10)}
    assert len(list((folder / "pics").iterdir())) == 10


def test_export_writes_parquet(folder: Path) -> None:
    done = visearch("export", "out.parquet")
    assert (done.code, done.out) == (0, "10 rows in out.parquet\n")
    assert pq.read_table("out.parquet").num_rows == 10


def test_backup_makes_an_equal_collection(folder: Path) -> None:
    done = visearch("backup", "copies/monday")
    assert (done.code, done.out) == (0, "10 items copied to copies/monday\n")
    assert stored(folder / "copies" / "monday") == stored(folder / ".visearch")


def test_models_are_listed_and_described(tiny: Path) -> None:
    listed = visearch("models", "list", "--json").json
    assert listed
    assert all(card["url"].startswith("https://") and card["sha256"] and card["license"] for card in listed)
    lines = visearch("models", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["unified", "detector", *(card["name"] for card in listed)]
    assert visearch("models", "info", "unified").json["embedding_dim"] == 2048
    assert visearch("models", "info", listed[0]["name"]).json == listed[0]
    assert visearch("models", "info", tiny).json["embedding_dim"] == BITS


def test_pulling_a_model_offline_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the port of "discard", where nobody listens
    monkeypatch.setenv("no_proxy", "")
    name = visearch("models", "list", "--json").json[0]["name"]
    done = visearch("models", "pull", name)
    assert done.code == 1
    assert is_one_line(done.err)
    assert "could not be downloaded" in done.err
    assert "by hand" in done.err


def test_evaluate_prints_the_promised_json(folder: Path) -> None:
    rows = [f"pics/{number:03}.png,{'chair' if number % 2 else 'sofa'}" for number in range(4)]
    (folder / "queries.csv").write_text("\n".join(["path,label", *rows]))
    done = visearch("evaluate", "--queries", "queries.csv", "--json")
    assert done.code == 0, done.err
    assert done.json["queries"] == 4
    measures = {
        "precision_at_1", "average_precision_at_20", "recall_at_1", "recall_at_5", "recall_at_10", "map_at_r"
    }  # fmt: skip
    for kind in ("binary", "reranked", "float"):
        assert measures <= done.json[kind].keys()
    assert visearch("evaluate", "--queries", "queries.csv").code == 0


# As processes


def modules_after(*arguments: str, folder: Path) -> set[str]:
    """The top-level modules that a command has imported when it ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr))\n"
        "from visearch.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, cwd=folder, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


HEAVY = {"openvino", "onnxruntime", "pyarrow", "matplotlib", "torch", "flask", "ray"}


def test_help_starts_without_anything_heavy(tmp_path: Path) -> None:
    loaded = modules_after("--help", folder=tmp_path)
    assert not loaded & (HEAVY | {"numpy", "faiss", "PIL", "lmdb"})
    assert "click" in loaded


def test_a_run_over_unchanged_files_needs_no_model_runtime(folder: Path) -> None:
    assert not modules_after("index", "pics", folder=folder) & HEAVY
    assert not modules_after("index", "m.csv", folder=folder) & HEAVY


def test_a_search_by_item_needs_no_model_runtime(folder: Path) -> None:
    assert not modules_after("search", "--item", "1", folder=folder) & HEAVY


def test_output_can_be_cut_off_by_a_pipe(folder: Path) -> None:
    save_all(folder / "pics", range(10, 400))
    assert visearch("index", "pics").code == 0
    command = [*PROGRAM, "search", "--item", "1", "--limit", "400", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_the_installed_program_is_this_one(folder: Path) -> None:
    program = Path(sys.executable).with_name("visearch")
    if not program.exists():
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run(
        [program, "info", "--json"], capture_output=True, text=True, check=True, cwd=folder, timeout=60
    )
    assert json.loads(done.stdout)["items"] == 10


def test_a_picture_is_not_overwritten_by_its_sheet(folder: Path) -> None:
    query = next(Path("pics").iterdir())
    before = query.read_bytes()
    copy = Path("query.png")
    copy.write_bytes(before)
    for asked, sheet in ((query, query), (copy, copy), (copy, query)):
        done = visearch("search", asked, "--sheet", sheet)
        assert (done.code, "nothing was written over it" in done.err) == (2, True)
    assert query.read_bytes() == copy.read_bytes() == before
