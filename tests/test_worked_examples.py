"""Published hand computations of softmax cross-entropy, through the public functions."""

import math

import numpy as np
import pytest

import fastxent
from fastxent import reference

pytestmark = pytest.mark.parametrize("dtype", [np.float32, np.float64])

SCORES = [0.0, 10.0, 15.0, 18.0, 20.0]


def batch(dtype, n_rows=6, n_classes=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, n_classes)).astype(dtype), rng.integers(0, n_classes, n_rows)


def test_01_softmax_of_five_scores(dtype):
    probs = fastxent.softmax(np.array(SCORES, dtype))
    assert probs.round(4).tolist() == pytest.approx([0.0, 0.0, 0.0059, 0.1185, 0.8756])
    assert probs.argmax() == 4


def test_02_one_score_raised_takes_probability_from_the_last(dtype):
    probs = fastxent.softmax(np.array([0, 10, 15, 19, 20], dtype))
    assert probs[4] == pytest.approx(0.7275, abs=5e-5)


def test_03_loss_of_the_last_and_of_the_third_class(dtype):
    scores = np.array(SCORES, dtype)
    assert fastxent.cross_entropy(scores, 4) == pytest.approx(0.13288, abs=5e-6)
    assert fastxent.cross_entropy(scores, 2) == pytest.approx(5.13288, abs=5e-6)


def test_04_cat_dog_bird(dtype):
    logits = np.array([1, 2, 0.5], dtype)
    assert fastxent.softmax(logits).tolist() == pytest.approx([0.23, 0.63, 0.14], abs=5e-3)
    loss, grad = fastxent.cross_entropy_with_grad(logits, 1)
    assert loss == pytest.approx(0.464, abs=5e-4)
    assert grad.tolist() == pytest.approx([0.23, -0.37, 0.14], abs=5e-3)


def test_05_a_batch_is_the_mean_of_its_rows_as_numpy_has_it(dtype):
    logits, targets = batch(dtype)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    p = fastxent.softmax(logits)
    rows = range(len(targets))
    assert loss == pytest.approx(np.mean(-np.log(p[rows, targets])), rel=1e-6)
    p[rows, targets] -= 1
    np.testing.assert_allclose(grad, p / len(targets), rtol=1e-5)


def test_06_unbatched_logits_take_a_scalar_target(dtype):
    logits = np.array([11.0, 42.0, 3.0], dtype)
    assert fastxent.cross_entropy(logits, 1) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match=r"targets must have shape \(\)"):
        fastxent.cross_entropy(logits, [1])
    assert fastxent.cross_entropy(logits[None], [1]) == fastxent.cross_entropy(logits, 1)


def test_07_logits_too_large_for_the_naive_exponential(dtype):
    logits = np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4]], dtype)
    assert fastxent.cross_entropy(logits, [0, 2]) == pytest.approx((math.log(2) + math.log(3)) / 2)
    whole, targets = batch(dtype)
    moved = fastxent.cross_entropy(np.rint(whole) + dtype(2048), targets)
    assert moved == pytest.approx(fastxent.cross_entropy(np.rint(whole), targets), rel=1e-6)


def test_08_softmax_derivative_is_the_jacobian(dtype):
    p = fastxent.softmax(np.array([0.3, -1.0, 2.0], dtype))
    grad = np.array([1.0, -2.0, 0.5], dtype)
    jacobian = np.diag(p) - np.outer(p, p)
    result = fastxent.softmax_grad(p, grad)
    np.testing.assert_allclose(result, grad @ jacobian, rtol=1e-4)
    assert result.sum() == pytest.approx(0, abs=1e-6)


def test_10_perfect_classification_has_no_gradient(dtype):
    logits = np.array([[-np.inf, 3.0, -np.inf]], dtype)
    loss, grad = fastxent.cross_entropy_with_grad(logits, [1])
    assert loss == 0
    assert not grad.any()
    logits, targets = batch(dtype)
    _, grad = fastxent.cross_entropy_with_grad(logits, targets)
    is_target = np.arange(logits.shape[1]) == targets[:, None]
    assert (grad[is_target] <= 0).all()
    assert (grad[~is_target] >= 0).all()


def test_11_exactly_zero_and_exactly_infinity_are_reached(dtype):
    logits = np.array([0.0, -np.inf], dtype)
    assert fastxent.cross_entropy(logits, 0) == 0
    assert fastxent.cross_entropy(logits, 1) == math.inf


def test_14_log_sum_exp_less_the_target_is_the_loss_at_any_offset(dtype):
    logits, targets = batch(dtype)
    for offset in (0, -700, 700, 3e4):
        z = np.rint(logits * 8) / 8 + dtype(offset)
        rows = np.arange(len(targets))
        expected = fastxent.logsumexp(z) - z[rows, targets]
        tolerance = 2 * np.spacing(dtype(abs(offset) + 10))
        loss = fastxent.cross_entropy(z, targets, reduction="none")
        np.testing.assert_allclose(loss, expected, atol=tolerance)


def test_17_sigmoid_is_the_softmax_of_two_classes(dtype):
    z = np.linspace(-30, 30, 61).astype(dtype)
    two = np.stack([z, np.zeros_like(z)], axis=1)
    np.testing.assert_allclose(fastxent.sigmoid(z), fastxent.softmax(two)[:, 0], rtol=1e-6)


def test_18_per_position_classification_on_axis_1(dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 3, 5)).astype(dtype)
    targets = rng.integers(0, 4, (2, 3, 5))
    targets[0, 0] = -100
    losses = fastxent.cross_entropy(logits, targets, axis=1, reduction="none")
    assert losses.shape == targets.shape
    assert not losses[0, 0].any()
    expected = reference.cross_entropy(logits.astype(np.float64), targets, axis=1)
    assert fastxent.cross_entropy(logits, targets, axis=1) == pytest.approx(expected, rel=1e-6)
    assert losses.sum() / 25 == pytest.approx(expected, rel=1e-5)
