"""Wide vectors: the lanes of several natural ones, side by side and in order."""

import platform

import numpy as np
import pytest

from fastxent import simd
from fastxent.simd.vector import are_registers_long
from tests.simd.compiled import by_storage

STORED = [np.float16, np.float32, np.float64]
GUARD = 3  # elements on both sides that must stay as they are


def wide_lanes(dtype):
    return simd.WIDTH * 64 // max(np.dtype(dtype).itemsize, 4)


@by_storage
def halve(x, out, n):
    z, result = simd.pointer(x), simd.pointer(out)
    like = simd.widest(z)
    inside = simd.first_lanes(n, like)
    simd.store_masked(result, GUARD, simd.load_masked(z, GUARD, inside, 0.0, like) * 0.5, inside)
    return simd.lanes_of(like)


@by_storage
def fold(x, out):
    z = simd.pointer(x)
    simd.store(simd.pointer(out), 0, simd.folded(simd.load(z, 0, simd.widest(z)), z))


@by_storage
def lanes_of_wide(x):
    return simd.lanes_of(simd.wide(simd.pointer(x)))


@by_storage
def halve_in_pairs(x, out):
    z = simd.in_pairs(simd.pointer(x))
    simd.store(simd.pointer(out), GUARD, simd.load(z, GUARD) * 0.5)
    return simd.lanes_of(z), simd.lanes_of(simd.pair(simd.pointer(x)))


@by_storage
def ask(x, start):
    z = simd.pointer(x)
    simd.prefetch(z, start, simd.widest(z))


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


@pytest.mark.parametrize("dtype", STORED)
def test_a_pair_is_two_natural_vectors(dtype):
    lanes = 2 * wide_lanes(dtype) // simd.WIDTH
    x = np.arange(1, lanes + 2 * GUARD + 1).astype(dtype)
    out, expected = np.zeros_like(x), np.zeros_like(x)
    assert halve_in_pairs(x, out) == (lanes, lanes)
    expected[GUARD:-GUARD] = x[GUARD:-GUARD] / 2
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folding_adds_the_upper_half_to_the_lower_until_a_natural_vector_is_left(dtype):
    lanes = wide_lanes(dtype) // simd.WIDTH
    x = np.random.default_rng(0).normal(size=simd.WIDTH * lanes).astype(dtype)
    out = np.empty(lanes, dtype)
    fold(x, out)
    vectors = x.reshape(simd.WIDTH, lanes)
    np.testing.assert_array_equal(out, (vectors[0] + vectors[2]) + (vectors[1] + vectors[3]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wide_vector_is_half_of_the_widest_where_registers_are_short(dtype):
    lanes = wide_lanes(dtype)
    assert lanes_of_wide(np.zeros(1, dtype)) == (lanes if simd.has_long_registers() else lanes // 2)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
@pytest.mark.parametrize(
    ("processor", "are_long"),
    [("haswell", False), ("znver3", False), ("znver4", True), ("skylake-avx512", True)],
)
def test_processors_with_avx512_have_registers_for_a_whole_vector(processor, are_long):
    assert are_registers_long("x86_64-unknown-linux-gnu", processor, "") == are_long


@pytest.mark.parametrize("start", [0, 5, 2**40, -(2**40)])
def test_asking_for_memory_harms_nothing_wherever_it_is(start):
    x = np.arange(300, dtype=np.float32)
    ask(x, start)
    np.testing.assert_array_equal(x, np.arange(300))
