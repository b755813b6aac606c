"""Subnormal results are 0 from one call to the other, in the thread that makes the calls."""

import platform

import numpy as np
import pytest
from numba import njit

from fastxent.simd import flush_subnormals, restore_subnormals

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="other processors keep them"
)


@njit
def halves(x, flushed, kept):
    control = flush_subnormals()
    for i in range(x.size):
        flushed[i] = x[i] / 2
    restore_subnormals(control)
    for i in range(x.size):
        kept[i] = x[i] / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_results_are_zero_only_until_restored(dtype):
    least = np.finfo(dtype).tiny
    x = np.tile(np.array([least, -least, 1.5 * least, 2 * least, 3.0], dtype), 7)
    flushed, kept = np.empty((2, x.size), dtype)
    halves(x, flushed, kept)
    assert np.array_equal(kept, x / 2)
    assert kept[0] != 0
    assert np.array_equal(flushed, np.where(np.abs(kept) < least, 0, kept))


def test_the_frame_of_a_caller_starts_at_a_line():
    halves(*np.ones((3, 1), np.float32))
    assert all("andq\t$-64, %rsp" in assembly for assembly in halves.inspect_asm().values())
