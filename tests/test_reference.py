"""The specification itself: against numbers worked out by hand, and against 60 digits."""

import inspect
import math

import mpmath
import numpy as np
import pytest

import fastxent
from fastxent import reference
from tests.tolerances import REFERENCE_RELATIVE, allowed_error

FUNCTIONS = sorted(set(fastxent.__all__) - {"reference"})
LN2, LN3 = math.log(2), math.log(3)
# exp(LOGITS) is 1, 2, 1 and 1, 1, 6: the probabilities are quarters and eighths.
LOGITS = np.array([[0, LN2, 0], [1, 1, 1 + LN2 + LN3]])
PROBABILITIES = np.array([[1 / 4, 1 / 2, 1 / 4], [1 / 8, 1 / 8, 3 / 4]])
TARGETS = np.array([1, 0])
ROW_LOSSES = np.array([LN2, 3 * LN2])
ROW_LSE = np.array([2 * LN2, 1 + 3 * LN2])
ONE_HOT = np.eye(3)[TARGETS]


def close(result, expected):
    assert (np.shape(result), np.asarray(result).dtype) == (np.shape(expected), np.asarray(expected).dtype)
    np.testing.assert_allclose(result, expected, rtol=REFERENCE_RELATIVE, atol=REFERENCE_RELATIVE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_is_that_of_the_public_function(name):
    assert inspect.signature(getattr(reference, name)) == inspect.signature(getattr(fastxent, name))


def test_reference_has_no_public_function_that_the_package_lacks():
    assert sorted(n for n, f in vars(reference).items() if inspect.isfunction(f)) == FUNCTIONS
    assert sorted(reference.__all__) == FUNCTIONS


@pytest.mark.parametrize(
    ("name", "arrays", "expected"),
    [
        ("softmax", [LOGITS], PROBABILITIES),
        ("log_softmax", [LOGITS], np.log(PROBABILITIES)),
        ("logsumexp", [LOGITS], ROW_LSE),
        ("softmax_grad", [PROBABILITIES, ONE_HOT], np.array([[-2, 4, -2], [7, -1, -6]]) / [[16], [64]]),
        ("sigmoid", [np.array([-LN3, 0, LN3, -800, 800])], np.array([0.25, 0.5, 0.75, 0, 1])),
    ],
)
def test_activation_is_what_is_worked_out_by_hand(name, arrays, expected):
    function = getattr(reference, name)
    close(function(*arrays), expected)
    out = np.zeros_like(expected)
    assert function(*arrays, out=out) is out
    close(out, expected)
    if name == "sigmoid":  # worked out for one axis
        with pytest.raises(ValueError, match="axis"):
            function(*arrays, axis=1)
        return
    turned = [np.moveaxis(np.stack([a, a]), -1, 1) for a in arrays]
    stacked = np.stack([expected, expected])
    close(function(*turned, axis=1), stacked if name == "logsumexp" else np.moveaxis(stacked, -1, 1))


@pytest.mark.parametrize(
    ("options", "loss", "divisor"),
    [
        ({}, 2 * LN2, 2),
        ({"reduction": "sum"}, 4 * LN2, 1),
        ({"reduction": "none"}, ROW_LOSSES, 1),
        ({"normalizer": 8}, LN2 / 2, 8),
    ],
    ids=str,
)
def test_loss_and_gradient_are_what_is_worked_out_by_hand(options, loss, divisor):
    loss_out, lse_out, grad_out = np.zeros(2), np.zeros(2), np.zeros((3, 2))
    result, grad = reference.cross_entropy_with_grad(
        LOGITS.T, TARGETS, axis=0, loss_out=loss_out, lse_out=lse_out, grad_out=grad_out, **options
    )
    assert grad is grad_out
    close(np.asarray(result), np.asarray(loss))
    close(grad, ((PROBABILITIES - ONE_HOT) / divisor).T)
    close(loss_out, ROW_LOSSES)
    close(lse_out, ROW_LSE)
    close(np.asarray(reference.cross_entropy(LOGITS, TARGETS, **options)), np.asarray(loss))


def test_ignored_row_counts_for_nothing():
    lse = np.full(2, 7.0)
    loss, grad = reference.cross_entropy_with_grad(LOGITS, [1, -1], ignore_index=-1, lse_out=lse)
    close(np.array(loss), np.array(LN2))
    close(grad, np.array([PROBABILITIES[0] - ONE_HOT[0], np.zeros(3)]))
    close(lse, np.array([2 * LN2, 0]))
    assert reference.cross_entropy(LOGITS, [-100, -100]) == 0


def test_float32_stays_float32():
    z = LOGITS.astype(np.float32)
    for name in ("softmax", "log_softmax", "logsumexp", "sigmoid"):
        assert getattr(reference, name)(z).dtype == np.float32
    loss, grad = reference.cross_entropy_with_grad(z, TARGETS, reduction="none")
    assert loss.dtype == grad.dtype == reference.softmax_grad(z, z).dtype == np.float32


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_row_with_no_softmax_is_nan_throughout_in_the_reference_too(value):
    row = np.array([[1.0, value, 0.0]])
    if value != -np.inf:
        assert np.isnan(reference.log_softmax(row)).all()
    assert np.isnan(reference.softmax_grad(np.full((1, 3), 0.25), row)).all()
    assert np.isnan(reference.softmax_grad(row, np.ones((1, 3)))).all()


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_derivatives_of_a_row_with_no_softmax_are_nan_throughout_in_the_reference_too(value):
    row, t = np.array([[value, -np.inf if value == -np.inf else 1.0]]), np.array([[0.25, 0.75]])
    of_targets = np.zeros((1, 2))
    for softcap in (None, 3.0):
        _, grad = reference.cross_entropy_with_grad(row, t, softcap=softcap, targets_grad_out=of_targets)
        if softcap is None or value != np.inf:  # of which it makes a finite logit
            assert np.isnan(grad).all()
            assert np.isnan(of_targets).all()


def test_rows_and_classes_may_be_none_in_the_reference_too():
    for shape in ((0, 3), (0, 0), (2, 0)):
        z = np.zeros(shape)
        loss, grad = reference.cross_entropy_with_grad(z, z)
        assert (loss, grad.shape) == (0.0, shape)
        assert reference.kl_divergence(z, z, reduction="none").shape == shape[:1]


def test_long_rows_agree_with_sixty_digits():
    z = np.random.default_rng(0).standard_normal((4, 50)) * [[1], [10], [1], [100]] + [[0], [0], [1000], [0]]
    targets = np.array([0, 7, 49, 3])
    with mpmath.workdps(60):
        rows = np.array([[mpmath.mpf(x) for x in row] for row in z.tolist()])
        exps = np.vectorize(mpmath.exp, otypes=[object])(rows)
        totals = exps.sum(axis=1, keepdims=True)
        lse = np.vectorize(mpmath.log, otypes=[object])(totals)[:, 0]
        p = exps / totals
        dots = (p * rows).sum(axis=1, keepdims=True)
        truths = {
            "softmax": ([z], p),
            "log_softmax": ([z], rows - lse[:, None]),
            "logsumexp": ([z], lse),
            "sigmoid": ([z], 1 / (1 + 1 / exps)),
            "softmax_grad": ([p.astype(float), z], p * (rows - dots)),
        }
        loss = (lse - rows[range(4), targets]).astype(float)
    for name, (arrays, truth) in truths.items():
        result, truth = getattr(reference, name)(*arrays), truth.astype(float)
        assert np.all(np.abs(result - truth) <= allowed_error(name, truth, np.float64, *arrays)), name
    result = reference.cross_entropy(z, targets, reduction="none")
    assert np.all(np.abs(result - loss) <= allowed_error("log_softmax", loss, np.float64, z))
