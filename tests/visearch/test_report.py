"""The report of an evaluation: one page that needs nothing else and believes nothing it shows."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.labelled import index, picture, save, write_manifest
from visearch.collection import Collection
from visearch.errors import VisearchError
from visearch.evaluate import Evaluation, evaluate
from visearch.report import SHOWN_QUERIES, require_matplotlib, write_report

EVIL = "<script>alert('x')</script>"
EVIL_NAME = "\"'><img src=x onerror=y>&.png"

Case = tuple[Collection, Path]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Case]:
    """Three labels with two pictures each; and one whose name and label are markup."""
    folder = tmp_path_factory.mktemp("shop")
    rows = [{"path": save(folder, label, n), "label": label} for label in ("apple", "pear", "plum") for n in range(2)]
    picture("evil", 0).save(folder / EVIL_NAME)
    rows.append({"path": EVIL_NAME, "label": EVIL})
    catalog = folder / "catalog.jsonl"
    catalog.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with index(catalog, folder / "collection", tiny) as collection:
        yield collection, folder


def measure(case: Case, tmp_path: Path, **labels: str) -> Evaluation:
    """Ask for a new picture of each key of `labels`, said to be of the label that is its value."""
    rows = [{"path": save(tmp_path, shown, 100), "label": label} for shown, label in labels.items()]
    return evaluate(case[0], write_manifest(tmp_path / "queries.csv", rows))


class Page(HTMLParser):
    """The tags of a page, its text, and where it would load something from."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def part(self, start: str, end: str) -> str:
        return self.text.split(start)[1].split(end)[0]


def test_the_page_holds_the_figures_the_plots_and_the_pictures(shop: Case, tmp_path: Path) -> None:
    measured = measure(shop, tmp_path, apple="apple", pear="apple")
    page = Page(write_report(measured, shop[0], tmp_path / "report"))
    assert "2 queries against 7 items" in page.text
    assert "Precision@150.0" in page.part("float", "Average P@20").replace(" ", "").replace("\n", "")
    assert page.text.count("tiny 1") >= 2, "the model is named"
    assert sum("image/svg+xml" in link for link in page.links) == 2
    pictures = sum("image/jpeg" in link for link in page.links)
    assert pictures == (1 + 1 + 7) + (1 + 7), "query, right answer and results; without the answer for the best"


def test_the_page_needs_nothing_else(shop: Case, tmp_path: Path) -> None:
    page = Page(write_report(measure(shop, tmp_path, apple="apple"), shop[0], tmp_path))
    assert page.links and all(link.startswith("data:") for link in page.links)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "default-src 'none'" in page.source


def test_names_and_labels_are_text_never_markup(shop: Case, tmp_path: Path) -> None:
    collection, _ = shop
    picture("evil", 100).save(tmp_path / EVIL_NAME)
    rows = [
        {"path": EVIL_NAME, "label": EVIL},
        {"path": "<b>gone</b>.png", "label": EVIL},
    ]
    measured = evaluate(collection, write_manifest(tmp_path / f"{EVIL_NAME}.csv", rows))
    page = Page(write_report(measured, collection, tmp_path / "report"))
    assert EVIL in page.text
    assert "<b>gone</b>.png" in page.text
    assert "script" not in page.tags and not page.handlers
    assert all(link.startswith("data:") for link in page.links)


def test_the_worst_and_the_best_are_what_they_say(shop: Case, tmp_path: Path) -> None:
    measured = measure(shop, tmp_path, apple="plum", pear="pear")
    page = Page(write_report(measured, shop[0], tmp_path / "report"))
    worst, best = page.part("Worst queries", "Best queries"), page.part("Best queries", "Model")
    assert worst.index("Average P@20 ") < worst.index("right answer")
    assert worst.split("Average P@20")[1].rstrip().endswith("plum")
    assert best.split("Average P@20")[1].rstrip().endswith("pear")


def test_every_label_is_shown_once_before_any_is_shown_twice(shop: Case, tmp_path: Path) -> None:
    rows = [{"path": save(tmp_path, "apple", n), "label": "pear"} for n in range(2 * SHOWN_QUERIES)]
    rows.append({"path": save(tmp_path, "plum", 100), "label": "plum"})
    measured = evaluate(shop[0], write_manifest(tmp_path / "queries.csv", rows))
    worst = Page(write_report(measured, shop[0], tmp_path / "report")).part("Worst queries", "Best queries")
    assert worst.count("right answer") == SHOWN_QUERIES
    assert "plum" in worst.split("Average P@20")[2]


def test_queries_that_were_not_measured_are_listed(shop: Case, tmp_path: Path) -> None:
    rows = [{"path": save(tmp_path, "apple", 100), "label": label} for label in ("apple", "unknown")]
    rows.append({"path": "gone.png", "label": "apple"})
    measured = evaluate(shop[0], write_manifest(tmp_path / "queries.csv", rows))
    page = Page(write_report(measured, shop[0], tmp_path / "report"))
    assert "1 left out" in page.text
    assert "gone.png" in page.part("Message", "How it was measured")


def test_a_query_whose_file_has_gone_since_is_shown_without_its_picture(shop: Case, tmp_path: Path) -> None:
    measured = measure(shop, tmp_path, apple="apple")
    (tmp_path / "apple-100.png").unlink()
    assert "no picture" in Page(write_report(measured, shop[0], tmp_path / "report")).text


def test_a_name_that_is_not_utf_8_and_an_item_that_was_removed_meanwhile_spoil_no_report(
    tmp_path: Path, tiny: Path
) -> None:
    rows = [{"path": save(tmp_path, "apple", n), "label": "apple"} for n in range(3)]
    odd = os.fsdecode(b"caf\xe9.png")
    picture("apple", 9).save(tmp_path / odd)
    (tmp_path / "queries.jsonl").write_text(json.dumps({"path": odd, "label": "apple"}))
    with index(write_manifest(tmp_path / "all.csv", rows), tmp_path / "c", tiny) as collection:
        measured = evaluate(collection, tmp_path / "queries.jsonl")
        collection.remove([int(measured.rankings.reranked.items[0, 1])])
        page = Page(write_report(measured, collection, tmp_path / "report"))
    assert "removed meanwhile" in page.text
    assert "caf?.png" in page.source


def test_without_matplotlib_one_line_says_how_to_get_it(
    shop: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_matplotlib()
    measured = measure(shop, tmp_path, apple="apple")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for attempt in (require_matplotlib, lambda: write_report(measured, shop[0], tmp_path / "report")):
        with pytest.raises(VisearchError, match=r"pip install matplotlib"):
            attempt()
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_said(shop: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VisearchError, match="file: the report cannot be written there") as error:
        write_report(measure(shop, tmp_path, apple="apple"), shop[0], tmp_path / "file")
    assert "\n" not in error.value.message
