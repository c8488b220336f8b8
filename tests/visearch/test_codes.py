"""Codes: threshold at zero, packed as numpy.packbits does; an int8 copy for re-ranking; Hamming distance; cosine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visearch import codes

finite = st.floats(-1e6, 1e6, width=32, allow_nan=False)


@st.composite
def embeddings(draw: st.DrawFn) -> codes.F32:
    shape = draw(st.integers(0, 5)), 8 * draw(st.integers(1, 6))
    return draw(arrays(np.float32, shape, elements=finite))


bits = st.integers(1, 6).flatmap(lambda size: arrays(np.uint8, (2, 4, size)))


def test_a_bit_is_set_above_zero_only() -> None:
    values = np.array([[0.0, -0.0, 1e-30, -1e-30, 5.0, -5.0, np.inf, -np.inf]], np.float32)
    assert codes.pack(values).tolist() == [[0b00101010]]


def test_the_first_dimension_is_the_highest_bit_of_the_first_byte() -> None:
    values = -np.ones((1, 16), np.float32)
    values[0, 0] = values[0, 15] = 1
    assert codes.pack(values).tolist() == [[0b10000000, 0b00000001]]


def test_a_dimension_that_fills_no_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="12 is not a multiple of 8"):
        codes.pack(np.zeros((1, 12), np.float32))


@given(embeddings())
def test_unpacking_gives_the_signs_back(values: codes.F32) -> None:
    assert np.array_equal(codes.unpack(codes.pack(values)), values > 0)


@given(bits)
def test_hamming_counts_the_bits_that_differ(both: codes.U8) -> None:
    left, right = both
    numbers = [[int.from_bytes(code.tobytes()) for code in side] for side in (left, right)]
    counted = [bin(a ^ b).count("1") for a, b in zip(*numbers, strict=True)]
    assert codes.hamming(left, right).tolist() == counted


@given(embeddings())
@example(np.full((1, 8), 1e-5, np.float32))  # its scale lies where float16 is coarse
@example(np.full((1, 8), 1e-30, np.float32))
def test_the_int8_copy_is_right_to_half_a_step(values: codes.F32) -> None:
    rows, scales = codes.quantize(values)
    assert rows.dtype == np.int8
    assert scales.dtype == np.float16
    assert np.abs(rows.astype(int)).max(initial=0) <= 127
    step = scales.astype(np.float64)[:, None]
    assert (np.abs(rows * step - values) <= step * 0.5001).all()


@given(embeddings())
def test_stored_rows_hold_vector_and_scale(values: codes.F32) -> None:
    vectors, scales = codes.quantize(values)
    rows = codes.to_rows(vectors, scales)
    assert rows.shape == (len(values), values.shape[1] + 2)
    back, back_scales = codes.from_rows(rows)
    assert np.array_equal(back, vectors)
    assert np.array_equal(back_scales, scales)
    assert np.array_equal(codes.dequantize(back, back_scales), vectors * scales[:, None].astype(np.float32))


@given(embeddings().map(lambda values: np.where(np.abs(values) < 1e-6, np.float32(0), values)))
def test_cosine_is_that_of_the_textbook(values: codes.F32) -> None:
    vectors, _ = codes.quantize(values)
    query = values[0] if len(values) else np.ones(values.shape[1], np.float32)
    found = codes.cosine(query, vectors)
    assert ((found >= -1) & (found <= 1)).all()
    for cosine, vector in zip(found, vectors.astype(np.float64), strict=True):
        norms = np.linalg.norm(vector) * np.linalg.norm(query.astype(np.float64))
        assert cosine == pytest.approx(vector @ query / norms if norms else 0.0, abs=2e-5)


def test_a_vector_of_zeros_is_like_nothing() -> None:
    vectors = np.array([[0, 0], [3, 4]], np.int8)
    assert codes.cosine(np.array([3, 4], np.float32), vectors).tolist() == [0.0, 1.0]
    assert codes.cosine(np.zeros(2, np.float32), vectors).tolist() == [0.0, 0.0]
