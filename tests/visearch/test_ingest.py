"""Ingest: equal bytes are decoded once, items keep their ids, a bad neighbour harms nobody."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.pictures import picture
from tests.tiny_detector import write_detector
from visearch import codes, images
from visearch.detector import Detection, Detector
from visearch.embedder import Embedder, load
from visearch.errors import ModelError, VisearchError
from visearch.ingest import (
    MOST_OBJECTS,
    Claims,
    Embedded,
    Failed,
    File,
    Outcome,
    Same,
    commit,
    object_regions,
    prepare,
    remove_items,
)
from visearch.store import Generation, Item, Store

GENERATION = Generation(1, "tiny", "1", "", 64, "openvino", "float32", "CPU")


class Counting(Embedder):
    """The model itself, which counts the pictures it is given."""

    count = 0

    def embed_each(self, batch: codes.U8) -> tuple[codes.F32, NDArray[np.bool_]]:
        self.count += len(batch)
        return super().embed_each(batch)


@pytest.fixture(scope="module")
def model(tiny: Path) -> Embedder:
    return load(tiny)


@pytest.fixture
def store(tmp_path: Path, model: Embedder) -> Iterator[Store]:
    opened = Store(tmp_path / "collection" / "store", create=True)
    with opened.write() as writer:
        writer.put_generation(replace(GENERATION, model_sha256=model.sha256))
        writer.activate(1)
    yield opened
    opened.close()


def png(seed: int) -> bytes:
    stream = BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def upload(item_id: int, data: bytes, source: str = "", **changes: Any) -> File:
    return File(item_id, source or f"upload/{item_id}", len(data), 0, "upload", data=data, **changes)


def on_disk(item_id: int, path: Path, data: bytes, **changes: Any) -> File:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return File(item_id, str(path), len(data), path.stat().st_mtime_ns, str(path.parent), **changes)


def take(store: Store, model: Embedder, *files: File) -> dict[str, int]:
    counts, unresolved = commit(store, prepare(files, store, lambda: model, Claims()))
    assert not unresolved
    return dict(counts)


def item(store: Store, item_id: int) -> Item:
    with store.read() as reader:
        found = reader.item(item_id)
    assert found is not None
    return found


def code(store: Store, item_id: int) -> bytes:
    with store.read() as reader:
        generation = reader.generation()
        assert generation is not None
        return reader.codes_at(generation, reader.code_ids(1, item_id)).tobytes()


def alone(model: Embedder, data: bytes) -> bytes:
    picture = images.decode(data, min_side=model.min_side())
    return codes.pack(model.embed(model.prepare(picture)[None])).tobytes()


# A picture


def test_a_picture_becomes_an_item(store: Store, model: Embedder, tmp_path: Path) -> None:
    data = png(1)
    file = on_disk(7, tmp_path / "a.png", data, metadata={"label": "chair"})
    assert take(store, model, file) == {"added": 1}
    found = item(store, 7)
    assert (found.source, found.size, found.mtime_ns) == (file.source, len(data), file.mtime_ns)
    assert (found.width, found.height, found.metadata) == (48, 40, {"label": "chair"})
    assert found.content == hashlib.sha256(data).digest()
    assert found.regions == ((0.0, 0.0, 1.0, 1.0),)
    assert code(store, 7) == alone(model, data)
    with store.read() as reader:
        generation = reader.generation()
        assert generation is not None
        rows, scales = codes.from_rows(reader.vectors_at(generation, reader.code_ids(1, 7)))
        jpeg = reader.thumbnail(7)
    embedding = model.embed(model.prepare(images.decode(data, min_side=model.min_side()))[None])
    assert np.abs(codes.dequantize(rows, scales) - embedding).max() <= float(scales[0])
    assert jpeg is not None
    assert images.decode(jpeg).image.size == (48, 40)


def test_the_thumbnail_is_as_large_as_the_setting_says(
    store: Store, model: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_THUMBNAIL_SIDE", "24")
    take(store, model, upload(1, png(1)))
    with store.read() as reader:
        jpeg = reader.thumbnail(1)
    assert jpeg is not None
    assert images.decode(jpeg).image.size == (24, 20)


def test_every_picture_of_a_batch_has_its_own_code_whatever_its_neighbours(store: Store, model: Embedder) -> None:
    """rclip PR#282: after a failure in the batch the wrong vector was on the wrong picture."""
    data = {1: png(1), 2: b"", 3: png(3), 4: b"not a picture", 5: png(5), 6: png(3), 7: png(7)[:-30]}
    assert take(store, model, *(upload(number, each) for number, each in data.items())) == {"added": 4, "skipped": 3}
    for number in (1, 3, 5, 6):
        assert code(store, number) == alone(model, data[number])
    with store.read() as reader:
        reasons = {failure.source: failure.reason for failure in reader.failures()}
    assert reasons == {"upload/2": "empty", "upload/4": "unsupported", "upload/7": "corrupt"}


def test_outcomes_come_in_the_order_of_the_files(store: Store, model: Embedder) -> None:
    data = [png(1), b"", png(1), png(2)]
    files = [upload(number, each) for number, each in enumerate(data)]
    outcomes = prepare(files, store, lambda: model, Claims())
    assert [outcome.file.item_id for outcome in outcomes] == [file.item_id for file in files]
    assert [type(outcome) for outcome in outcomes] == [Embedded, Failed, Same, Embedded]


def test_a_file_that_is_gone_or_too_large_is_skipped(
    store: Store, model: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_MAX_FILE_MEGABYTES", "0.001")
    large = on_disk(1, tmp_path / "large.bmp", bytes(1001))
    right = on_disk(2, tmp_path / "right.png", png(1)[:1000].ljust(1000))
    gone = File(3, str(tmp_path / "gone.png"), 5, 0, "")
    reasons = [outcome.reason for outcome in prepare([large, right, gone], store, lambda: model, Claims())]  # type: ignore[union-attr]
    assert reasons == ["too-large", "corrupt", "unreadable"]


def test_a_model_that_fails_is_an_error_and_not_a_skipped_file(store: Store) -> None:
    def missing() -> Embedder:
        raise ModelError("the model is gone")

    with pytest.raises(VisearchError, match="the model is gone"):
        prepare([upload(1, png(1))], store, missing, Claims())


# Equal bytes


def test_equal_bytes_are_two_items_with_one_decode(store: Store, tiny: Path) -> None:
    counting, data = Counting(tiny), png(1)
    first = prepare([upload(1, data), upload(2, data)], store, lambda: counting, Claims())
    commit(store, first)
    commit(store, prepare([upload(3, data)], store, lambda: counting, Claims()))
    assert counting.count == 1
    assert code(store, 1) == code(store, 2) == code(store, 3)
    with store.read() as reader:
        assert reader.items_with_content(hashlib.sha256(data).digest()) == [1, 2, 3]
        assert reader.thumbnail(1) == reader.thumbnail(2) == reader.thumbnail(3)


def test_each_of_equal_bytes_has_its_own_metadata_and_may_go(store: Store, model: Embedder) -> None:
    data = png(1)
    take(store, model, upload(1, data, metadata={"n": 1}), upload(2, data, metadata={"n": 2}))
    assert [item(store, number).metadata for number in (1, 2)] == [{"n": 1}, {"n": 2}]
    assert remove_items(store, [1, 99]) == 1
    assert code(store, 2) == alone(model, data)
    assert take(store, model, upload(3, data)) == {"added": 1}
    assert code(store, 3) == alone(model, data)


def test_a_second_one_waits_for_the_first_that_is_on_its_way(store: Store, model: Embedder) -> None:
    claims, data = Claims(), png(1)
    first = prepare([upload(1, data)], store, lambda: model, claims)
    second = prepare([upload(2, data)], store, lambda: model, claims)
    counts, waiting = commit(store, second)
    assert (dict(counts), waiting) == ({}, second)
    assert dict(commit(store, [*first, *second])[0]) == {"added": 2}
    assert code(store, 1) == code(store, 2)


# Again


def test_a_touched_file_is_unchanged_and_not_decoded(store: Store, tiny: Path, tmp_path: Path) -> None:
    counting, data = Counting(tiny), png(1)
    take(store, counting, on_disk(1, tmp_path / "a.png", data))
    os.utime(tmp_path / "a.png", ns=(1, 1))
    again = File(9, str(tmp_path / "a.png"), len(data), 1, str(tmp_path))
    assert take(store, counting, again) == {"unchanged": 1}
    assert counting.count == 1
    assert item(store, 1).mtime_ns == 1


def test_a_changed_file_keeps_its_item_and_changes_its_code(store: Store, model: Embedder, tmp_path: Path) -> None:
    take(store, model, on_disk(1, tmp_path / "a.png", png(1), metadata={"n": 1}))
    assert take(store, model, on_disk(9, tmp_path / "a.png", png(2), metadata={"m": 2})) == {"updated": 1}
    assert code(store, 1) == alone(model, png(2))
    assert item(store, 1).content == hashlib.sha256(png(2)).digest()
    assert item(store, 1).metadata == {"n": 1, "m": 2}
    with store.read() as reader:
        assert reader.item_count() == 1
        assert reader.items_with_content(hashlib.sha256(png(1)).digest()) == []


def test_authoritative_metadata_replaces_and_other_metadata_adds(store: Store, model: Embedder) -> None:
    data = png(1)
    take(store, model, upload(1, data, metadata={"a": 1, "b": 1}))
    assert take(store, model, upload(9, data, "upload/1", metadata={"b": 2, "c": 2})) == {"updated": 1}
    assert item(store, 1).metadata == {"a": 1, "b": 1, "c": 2}
    assert take(store, model, upload(9, data, "upload/1", metadata={"b": 3}, authoritative=True)) == {"updated": 1}
    assert item(store, 1).metadata == {"b": 3}
    assert code(store, 1) == alone(model, data)


def test_a_moved_file_keeps_its_item(store: Store, tiny: Path, tmp_path: Path) -> None:
    counting = Counting(tiny)
    take(store, counting, on_disk(1, tmp_path / "a.png", png(1), metadata={"label": "chair"}))
    (tmp_path / "a.png").unlink()
    assert take(store, counting, on_disk(9, tmp_path / "sub" / "b.png", png(1))) == {"updated": 1}
    assert counting.count == 1
    moved = item(store, 1)
    assert (moved.source, moved.metadata) == (str(tmp_path / "sub" / "b.png"), {"label": "chair"})
    with store.read() as reader:
        assert reader.known(str(tmp_path / "a.png")) is None
        assert reader.item_count() == 1


def test_the_folder_an_item_lies_in_is_that_of_its_file_now(store: Store, model: Embedder, tmp_path: Path) -> None:
    chairs, sofas = tmp_path / "chairs" / "a.png", tmp_path / "sofas" / "a.png"
    take(store, model, on_disk(1, chairs, png(1), metadata={"folder": "chairs", "price": 5}))
    chairs.unlink()
    take(store, model, on_disk(2, sofas, png(1), metadata={"folder": "sofas"}))
    assert item(store, 1).metadata == {"folder": "sofas", "price": 5}
    sofas.unlink()
    take(store, model, on_disk(3, tmp_path / "a.png", png(1)))
    assert item(store, 1).metadata == {"price": 5}


def test_a_copy_is_not_a_move(store: Store, model: Embedder, tmp_path: Path) -> None:
    take(store, model, on_disk(1, tmp_path / "a.png", png(1)))
    assert take(store, model, on_disk(2, tmp_path / "b.png", png(1))) == {"added": 1}
    assert item(store, 1).source == str(tmp_path / "a.png")
    assert item(store, 2).source == str(tmp_path / "b.png")


def test_of_two_copies_of_a_moved_file_one_is_it_and_one_is_new(store: Store, model: Embedder, tmp_path: Path) -> None:
    take(store, model, on_disk(1, tmp_path / "a.png", png(1)))
    (tmp_path / "a.png").unlink()
    copies = [on_disk(number, tmp_path / f"{number}.png", png(1)) for number in (8, 9)]
    assert take(store, model, *copies) == {"updated": 1, "added": 1}
    assert item(store, 1).source == copies[0].source
    assert item(store, 9).source == copies[1].source
    assert code(store, 1) == code(store, 9)


def test_a_file_that_turns_bad_leaves_the_item_as_it_was(store: Store, model: Embedder, tmp_path: Path) -> None:
    take(store, model, on_disk(1, tmp_path / "a.png", png(1)))
    before = item(store, 1)
    assert take(store, model, on_disk(9, tmp_path / "a.png", png(1)[:40])) == {"skipped": 1}
    assert item(store, 1) == before
    assert code(store, 1) == alone(model, png(1))
    with store.read() as reader:
        failure = reader.failure(before.source)
    assert failure is not None
    assert failure.reason == "corrupt"
    assert take(store, model, on_disk(9, tmp_path / "a.png", png(1))) == {"unchanged": 1}
    with store.read() as reader:
        assert reader.failure(before.source) is None


def test_two_changes_of_one_file_in_one_commit_leave_the_last(store: Store, model: Embedder) -> None:
    first = prepare([upload(1, png(1))], store, lambda: model, Claims())
    second = prepare([upload(2, png(2), "upload/1")], store, lambda: model, Claims())
    commit(store, [*first, *second])
    assert code(store, 1) == alone(model, png(2))
    with store.read() as reader:
        assert reader.item_count() == 1
        generation = reader.generation()
        assert generation is not None
        owners = [owner for block in reader.code_rows(generation) for owner in block.owners["item_id"]]
    assert owners.count(1) == 1


def test_two_processes_with_the_same_picture_make_one_item(store: Store, model: Embedder) -> None:
    mine: list[Outcome] = prepare([upload(1, png(1), "a.png")], store, lambda: model, Claims())
    theirs: list[Outcome] = prepare([upload(2, png(1), "a.png")], store, lambda: model, Claims())
    assert dict(commit(store, theirs)[0]) == {"added": 1}
    assert dict(commit(store, mine)[0]) == {"unchanged": 1}
    with store.read() as reader:
        assert [each.item_id for each in reader.items()] == [2]


# Objects


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(write_detector(tmp_path_factory.mktemp("detector") / "d.onnx"))


def take_objects(store: Store, model: Embedder, detector: Detector, *files: File) -> dict[str, int]:
    counts, unresolved = commit(store, prepare(files, store, lambda: model, Claims(), detector))
    assert not unresolved
    return dict(counts)


def test_the_objects_of_a_picture_are_regions_beside_the_whole(
    store: Store, model: Embedder, detector: Detector
) -> None:
    data = png(1)
    assert take_objects(store, model, detector, upload(1, data, detector=detector.sha256)) == {"added": 1}
    found = item(store, 1)
    decoded = images.decode(data)
    box = detector.detect(decoded)[0].box
    assert found.regions == (images.WHOLE, box)
    assert found.detector == detector.sha256
    expected = codes.pack(model.embed(np.stack([model.prepare(decoded), model.prepare(decoded, box)])))
    assert code(store, 1) == expected.tobytes()


def test_an_item_without_objects_gets_them_when_they_are_asked_for_and_keeps_its_id_and_metadata(
    store: Store, model: Embedder, detector: Detector
) -> None:
    plain = upload(1, png(1), "a.png", metadata={"label": "chair"})
    take(store, model, plain)
    asking = upload(2, png(1), "a.png", detector=detector.sha256)
    assert take_objects(store, model, detector, asking) == {"updated": 1}
    found = item(store, 1)
    assert (len(found.regions), found.metadata) == (2, {"label": "chair"})
    assert take_objects(store, model, detector, asking) == {"unchanged": 1}
    assert take(store, model, plain) == {"unchanged": 1}
    assert item(store, 1) == found


def test_equal_bytes_get_the_objects_of_the_first(store: Store, model: Embedder, detector: Detector) -> None:
    counting = Counting(model.path)
    files = [upload(number, png(1), detector=detector.sha256) for number in (1, 2)]
    assert take_objects(store, counting, detector, *files) == {"added": 2}
    assert counting.count == 2  # the whole and its object, once
    assert item(store, 1).regions == item(store, 2).regions
    assert code(store, 1) == code(store, 2)


def test_new_metadata_keeps_the_objects(store: Store, model: Embedder, detector: Detector) -> None:
    take_objects(store, model, detector, upload(1, png(1), "a.png", detector=detector.sha256))
    before = code(store, 1)
    assert take(store, model, upload(1, png(1), "a.png", metadata={"price": 3}, authoritative=True)) == {"updated": 1}
    assert (len(item(store, 1).regions), code(store, 1)) == (2, before)


def test_a_new_picture_under_an_old_name_has_the_objects_of_the_new_one(
    store: Store, model: Embedder, detector: Detector
) -> None:
    take_objects(store, model, detector, upload(1, png(1), "a.png", detector=detector.sha256))
    assert take(store, model, upload(1, png(2), "a.png")) == {"updated": 1}
    found = item(store, 1)
    assert (found.regions, found.detector) == ((images.WHOLE,), "")


class Many(Detector):
    """The detector itself, which says that it found other things."""

    boxes: tuple[images.Box, ...] = ()

    def detect(self, picture: images.Picture, *, limit: int = 20, min_score: float = 0) -> list[Detection]:
        found = super().detect(picture, limit=limit, min_score=min_score)
        return [Detection(box, "lamp", found[0].score, None) for box in self.boxes][:limit]


def test_what_is_tiny_or_nearly_all_of_the_picture_is_no_region(detector: Detector) -> None:
    many = Many(detector.path)
    fine: images.Box = (0.1, 0.1, 0.5, 0.5)
    many.boxes = ((0.0, 0.0, 0.99, 0.99), fine, (0.5, 0.5, 0.55, 0.55))
    assert object_regions(many, images.decode(png(1))) == [fine]
    many.boxes = (fine,) * 30
    assert len(object_regions(many, images.decode(png(1)))) == MOST_OBJECTS
