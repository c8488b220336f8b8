"""Pictures' bytes -> model inputs -> codes and int8 copies, many pictures in one batch; what indexing and a backfill
share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visearch import codes
from visearch.codes import U8
from visearch.embedder import Embedder

EMBED_TOGETHER = 32  # regions
DETAIL = 2  # decode so large that half of the shorter side fills the model's input: objects are parts


def side_to_decode(min_side: int, *, objects: bool) -> int:
    """Pixels that the shorter side of a picture has to have for a model whose inputs have `min_side`, where only the
    whole picture is embedded or also the objects in it."""
    return DETAIL * min_side if objects else min_side


def embed_together(model: Embedder, pictures: Sequence[Sequence[U8]]) -> list[tuple[U8, U8] | None]:
    """Embed the regions of many pictures in few batches.

    Args:
        model: what embeds.
        pictures: of each picture the inputs of its regions, uint8 [height, width, 3] each; at least one a picture.

    Returns:
        For each picture its codes uint8 [r, D/8] and its int8 rows uint8 [r, D + 2], a row for each region; None where
        the model gives a region no finite embedding.
    """
    inputs = [region for picture in pictures for region in picture]
    if not inputs:
        return []
    parts = [inputs[start : start + EMBED_TOGETHER] for start in range(0, len(inputs), EMBED_TOGETHER)]
    embedded = [model.embed_each(np.stack(part)) for part in parts]
    embeddings, finite = (np.concatenate(arrays) for arrays in zip(*embedded, strict=True))
    packed, rows = codes.pack(embeddings), codes.to_rows(*codes.quantize(embeddings))
    found: list[tuple[U8, U8] | None] = []
    stop = 0
    for picture in pictures:
        part = slice(stop, stop := stop + len(picture))
        found.append((packed[part], rows[part]) if finite[part].all() else None)
    return found
