"""Wide vectors: the lanes of several natural ones, side by side and in order."""

import numpy as np
import pytest

from fastxent import simd
from tests.simd.compiled import by_storage

STORED = [np.float16, np.float32, np.float64]
GUARD = 3  # elements on both sides that must stay as they are


def wide_lanes(dtype):
    return simd.WIDTH * 64 // max(np.dtype(dtype).itemsize, 4)


@by_storage
def halve(x, out, n):
    z, result = simd.pointer(x, 0), simd.pointer(out, 0)
    like = simd.wide(z)
    inside = simd.first_lanes(n, like)
    simd.store_masked(result, GUARD, simd.load_masked(z, GUARD, inside, 0.0, like) * 0.5, inside)
    return simd.lanes_of(like)


@by_storage
def fold(x, out):
    z = simd.pointer(x, 0)
    simd.store(simd.pointer(out, 0), 0, simd.folded(simd.load(z, 0, simd.wide(z)), z))


@by_storage
def ask(x, start):
    z = simd.pointer(x, 0)
    simd.prefetch(z, start, simd.wide(z))


@pytest.mark.parametrize("dtype", STORED)
def test_first_lanes_of_a_wide_vector_are_worked_on_and_no_others(dtype):
    lanes = wide_lanes(dtype)
    x = np.arange(1, lanes + 2 * GUARD + 1).astype(dtype)
    for n in (*range(-1, lanes + 2), 2**32):
        out = np.zeros_like(x)
        assert halve(x, out, n) == lanes
        expected = np.zeros_like(x)
        inside = slice(GUARD, GUARD + min(max(n, 0), lanes))
        expected[inside] = x[inside] / 2
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folding_adds_the_upper_half_to_the_lower_until_a_natural_vector_is_left(dtype):
    lanes = wide_lanes(dtype) // simd.WIDTH
    x = np.random.default_rng(0).normal(size=simd.WIDTH * lanes).astype(dtype)
    out = np.empty(lanes, dtype)
    fold(x, out)
    vectors = x.reshape(simd.WIDTH, lanes)
    np.testing.assert_array_equal(out, (vectors[0] + vectors[2]) + (vectors[1] + vectors[3]))


@pytest.mark.parametrize("start", [0, 5, 2**40, -(2**40)])
def test_asking_for_memory_harms_nothing_wherever_it_is(start):
    x = np.arange(300, dtype=np.float32)
    ask(x, start)
    np.testing.assert_array_equal(x, np.arange(300))
