"""Stores past the caches reach memory, where they are meant to and in their order."""

import numpy as np
import pytest
from numba import njit

from fastxent.simd import elements_to_line, fence, lanes_of, load, pointer, store_past_caches

DTYPES = [np.float32, np.float64]


@njit
def lead(array):
    return elements_to_line(pointer(array))


@njit
def copy(array, out):
    p, q = pointer(array), pointer(out)
    for j in range(elements_to_line(q), out.size - lanes_of(q) + 1, lanes_of(q)):
        store_past_caches(q, j, load(p, j))
    fence()


def at_byte(n, dtype, size=100):
    """An array that begins n bytes after a multiple of 64."""
    memory = np.zeros(size * np.dtype(dtype).itemsize + 192, np.uint8)
    start = -memory.ctypes.data % 64 + n
    return memory[start : start + size * np.dtype(dtype).itemsize].view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lead_ends_at_the_next_line_if_an_element_begins_there(dtype):
    size = np.dtype(dtype).itemsize
    for n in range(0, 64, size):
        assert lead(at_byte(n, dtype)) == (-n % 64) // size
    for n in (1, 2, 63):
        assert lead(at_byte(n, dtype)) == -1


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_vectors_are_stored_and_nothing_beside_them(dtype):
    size = np.dtype(dtype).itemsize
    values = np.arange(1, 101, dtype=dtype)
    for n in range(0, 64, size):
        out = at_byte(n, dtype)
        copy(values, out)
        first = (-n % 64) // size
        end = 100 - (100 - first) % (64 // size)
        np.testing.assert_array_equal(out[first:end], values[first:end])
        assert not out[:first].any()
        assert not out[end:].any()
