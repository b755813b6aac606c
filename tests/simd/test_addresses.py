"""Addresses: how far apart, and whether they are."""

import numpy as np
import pytest
from numba import njit

from fastxent import simd


@njit
def chosen_from(x, n, use_skipped):
    z = simd.pointer(x)
    return simd.get(simd.where(use_skipped, simd.skip(z, n), z), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_skip_counts_elements_and_where_chooses_addresses(dtype):
    x = np.arange(9, dtype=dtype)
    for n in (0, 1, 8):
        assert chosen_from(x, n, True) == n
        assert chosen_from(x, n, False) == 0


@njit
def apart(x, y):
    return simd.are_apart(simd.pointer(x), simd.pointer(y))


def test_arrays_are_apart_unless_they_start_at_one_place_whatever_their_dtypes():
    x = np.zeros(8, np.float32)
    assert not apart(x, x)
    assert not apart(x, x.view(np.float64))
    assert apart(x, x[1:])
    assert apart(x, x.copy())
