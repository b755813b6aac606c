"""Kernels make no subnormal numbers, which x86 is slow to make, and leave their callers' arithmetic alone."""

import platform

import numba
import numpy as np
import pytest
from numba import njit, prange

import fastxent
from fastxent import _dispatch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        platform.machine().lower() not in ("x86_64", "amd64"), reason="other processors keep them"
    ),
]
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
        ("short", (20, 138), "C"),
        ("columns", (20, 138), "F"),
        ("in parallel", (40, 1100), "C"),
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


def binary_gradient(logits):
    return fastxent.binary_cross_entropy_with_grad(logits, np.zeros(logits.shape), reduction="sum")[1]


@pytest.mark.parametrize("results", [fastxent.sigmoid, binary_gradient])
@pytest.mark.parametrize("n", [1, 21, 64])
def test_elementwise_results_in_bfloat16_are_zero_or_normal_where_those_in_float32_are_not(results, n):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    logits = np.resize(np.arange(-89.0, -86.0, 0.5, dtype=np.float32), n)
    expected = results(logits)
    assert np.all((expected > 0) & (expected < LEAST) == (logits < -87))
    got = results(logits.astype(bfloat16)).astype(np.float32)
    rounded = expected.astype(bfloat16).astype(np.float32)
    np.testing.assert_array_equal(got, np.where(expected < LEAST, 0, rounded))


@pytest.mark.parametrize(("n_classes", "order"), [(2, "C"), (70, "C"), (130, "F"), (1100, "C")])
def test_no_log_probability_in_bfloat16_is_subnormal(n_classes, order):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    largest, gap = np.meshgrid([*np.arange(-4, 4, 1 / 8), 1e-39, 1e-30, 3e-23, 90], np.arange(30, 90, 0.25))
    logits = np.full((largest.size, n_classes), -np.inf, np.float32)
    logits[:, 0], logits[:, -1] = largest.ravel(), (largest - gap).ravel()
    logits = np.asarray(logits.astype(bfloat16), order=order)
    size = np.abs(fastxent.log_softmax(logits)[:, 0].astype(np.float32))
    assert (size == 0).any()
    assert (size > 0).any()
    assert (size[size > 0] >= LEAST).all()


def test_a_row_that_memory_cannot_hold_leaves_the_arithmetic_of_its_caller_alone():
    n_threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with pytest.raises(MemoryError):
            fastxent.cross_entropy(np.broadcast_to(np.float32(0), (1, 2**42)), [1])
    finally:
        numba.set_num_threads(n_threads)
    assert (np.full(4096, LEAST) / 2).all()
