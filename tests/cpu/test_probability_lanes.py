"""Probabilities and their gradients, with one row a lane, have the bits of rows one by one."""

import numpy as np
import pytest

import fastxent
from fastxent import cpu
from tests.measure import assert_same_bits

N_ROWS = 53
N_CLASSES = (1, 2, 3, 5, cpu.FEW_CLASSES_OF_PROBABILITIES, 16, 17, 63, 129)
# Results of float64 alone show the last bits of sums, which are float64 for all.
each_dtype = pytest.mark.parametrize(
    "dtype", [np.float64, *(pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.float16))]
)


def row_by_row(function, *arrays, **options):
    """What the function gives of contiguous rows, one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "FEW_CLASSES_OF_PROBABILITIES", 0)
        return function(*arrays, **options)


def problem(n_classes, dtype):
    """Probabilities and other numbers of that shape, some of them 0, infinite or NaN."""
    rng = np.random.default_rng(n_classes)
    p, t = (
        fastxent.softmax(rng.normal(0, 6, (N_ROWS, n_classes)).astype(dtype)),
        rng.random((N_ROWS, n_classes)).astype(dtype),
    )
    p[3, 0], t[3, 0], p[4, -1], p[5, 0], t[6, 0], t[7] = 0, 0, 0, np.nan, np.inf, 0
    return p, t


@each_dtype
@pytest.mark.parametrize("order", "CF")
def test_gradients_do_not_depend_on_strides(order, dtype):
    for n_classes in N_CLASSES:
        p, t = problem(n_classes, dtype)
        expected = row_by_row(fastxent.softmax_grad, p, t)
        probs, grad = np.array(p, order=order), np.array(t, order=order)
        assert_same_bits(fastxent.softmax_grad(probs, grad), expected)
        assert_same_bits(fastxent.softmax_grad(probs, grad, out=grad), expected)


@each_dtype
@pytest.mark.parametrize("order", "CF")
def test_losses_do_not_depend_on_strides(order, dtype):
    for n_classes in N_CLASSES:
        p, t = problem(n_classes, dtype)
        weights = np.random.default_rng(0).random(N_ROWS)
        weights[[5, 9]] = 0
        options = {"reduction": "none", "sample_weight": weights}
        expected = row_by_row(fastxent.log_loss, p, t, **options), row_by_row(fastxent.entropy, p)
        probs, targets = np.array(p, order=order), np.array(t, order=order)
        assert_same_bits(fastxent.log_loss(probs, targets, **options), expected[0])
        assert_same_bits(fastxent.entropy(probs), expected[1])
