"""Arrays whose bounds overlap are found, as NumPy finds them."""

import numpy as np
import pytest
from numba import njit

from fastxent.simd.overlap import first_overlapping


@njit
def first(logits, other, out, grad):
    return first_overlapping((logits, None, other), (out, None, grad))


whole = np.zeros((6, 8))
VIEWS = {
    "all": whole[:, :],
    "upper rows": whole[:3, :],
    "lower rows": whole[3:, :],
    "rows backwards": whole[5:2:-1, :],
    "left half": whole[:, :4],
    "right half": whole[:, 4:],
    "no row": whole[3:3, :],
    "elsewhere": np.zeros((2, 3))[:, :],
}


@pytest.mark.parametrize("name", VIEWS)
def test_arrays_are_apart_if_their_bounds_are(name):
    apart = np.zeros(1)
    for view in VIEWS.values():
        overlap = np.may_share_memory(VIEWS[name], view, max_work=0)
        assert first(view, apart, VIEWS[name], np.ones((1, 1))) == (0 if overlap else -1)


def test_the_gradient_may_be_the_logits_but_nothing_else():
    logits, other, out = whole[:, :], np.zeros(3), np.ones((2, 2))[:, :]
    assert first(logits, other, out, logits) == -1
    assert first(logits, other, out, whole[::-1, :]) == 2
    assert first(logits, other, logits, logits) == 0
    assert first(out, other, logits, logits) == 2
    assert first(logits, other, out, other[:, None]) == 2
    row = np.lib.stride_tricks.as_strided(whole, (1, 8), (5, 8))
    assert first(row, other, out, whole[:1, :]) == -1, "no step is taken along an axis of one element"
