"""Kernels make no subnormal numbers, which x86 is slow to make, and leave their callers' arithmetic alone."""

import platform

import numpy as np
import pytest
from numba import njit, prange

import fastxent
from fastxent import _dispatch

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="other processors keep them"
)
LEAST = np.finfo(np.float32).tiny


@njit(parallel=True)
def halves_by_all_threads(x, out):
    for i in prange(len(x)):
        out[i] = x[i] / 2


def steep(n_rows, n_classes):
    """Logits of which every row has some whose probabilities are subnormal, and some whose are not."""
    return np.linspace(0, -95, n_rows * n_classes, dtype=np.float32).reshape(n_classes, n_rows).T.copy()


def gradient(logits):
    grad = fastxent.cross_entropy_with_grad(logits, np.zeros(len(logits), int), reduction="sum")[1]
    return grad[:, 1:]


def product_with_jacobian(logits):
    return fastxent.softmax_grad(np.exp(logits.astype(np.float64)).astype(np.float32), logits)


@pytest.mark.parametrize("results", [gradient, fastxent.softmax, product_with_jacobian])
@pytest.mark.parametrize(
    ("kernel", "shape", "order"),
    [
        ("lanes", (20, 60), "C"),
        ("rows", (20, 138), "C"),
        ("columns", (20, 138), "F"),
        ("in parallel", (40, 1000), "C"),
        ("split", (1, _dispatch.SPLIT_FROM), "C"),
    ],
)
def test_results_are_zero_or_normal_and_callers_still_make_subnormal_numbers(
    results, kernel, shape, order, monkeypatch
):
    if kernel == "split":
        monkeypatch.setattr(_dispatch, "_n_threads_for", lambda logits: 3)
    size = np.abs(results(np.asarray(steep(*shape), order=order)))
    assert (size == 0).any()
    assert (size < 1e-30).any()
    assert (size[size > 0] >= LEAST).all()
    least, out = np.full(4096, LEAST), np.zeros(4096, np.float32)
    assert (least / 2).all()
    halves_by_all_threads(least, out)
    assert out.all()
