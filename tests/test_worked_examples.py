"""Published hand computations of softmax cross-entropy, through the public functions."""

import math

import numpy as np
import pytest

import fastxent
from fastxent import reference
from tests.tolerances import (
    CERTAIN_LOSS_ABSOLUTE,
    FLOAT32_GRAD_RELATIVE,
    FLOAT32_RELATIVE,
    JACOBIAN_RELATIVE,
    JACOBIAN_SUM_ABSOLUTE,
    ONE_HOT_EPS,
    TEXTBOOK_GRAD_EPS,
    TEXTBOOK_LOSS_SPACINGS,
    eps,
    printed,
    relatively,
    sum_is_one,
)

pytestmark = pytest.mark.parametrize("dtype", [np.float32, np.float64])

SCORES = [0.0, 10.0, 15.0, 18.0, 20.0]


def batch(dtype, n_rows=6, n_classes=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, n_classes)).astype(dtype), rng.integers(0, n_classes, n_rows)


def soft_batch(dtype):
    """Logits, and distributions over their classes, one of them one-hot."""
    logits, targets = batch(dtype)
    distributions = fastxent.softmax(logits[::-1] * 2)
    distributions[0] = np.arange(logits.shape[1]) == targets[0]
    return logits, distributions


def test_01_softmax_of_five_scores(dtype):
    probs = fastxent.softmax(np.array(SCORES, dtype))
    assert probs.tolist() == pytest.approx([0.0, 0.0, 0.0059, 0.1185, 0.8756], abs=printed(4))
    assert probs.argmax() == 4


def test_02_one_score_raised_takes_probability_from_the_last(dtype):
    probs = fastxent.softmax(np.array([0, 10, 15, 19, 20], dtype))
    assert probs[4] == pytest.approx(0.7275, abs=printed(4))


def test_03_loss_of_the_last_and_of_the_third_class(dtype):
    scores = np.array(SCORES, dtype)
    assert fastxent.cross_entropy(scores, 4) == pytest.approx(0.13288, abs=printed(5))
    assert fastxent.cross_entropy(scores, 2) == pytest.approx(5.13288, abs=printed(5))


def test_04_cat_dog_bird(dtype):
    logits = np.array([1, 2, 0.5], dtype)
    assert fastxent.softmax(logits).tolist() == pytest.approx([0.23, 0.63, 0.14], abs=printed(2))
    loss, grad = fastxent.cross_entropy_with_grad(logits, 1)
    assert loss == pytest.approx(0.464, abs=printed(3))
    assert grad.tolist() == pytest.approx([0.23, -0.37, 0.14], abs=printed(2))


def test_05_a_batch_is_the_mean_of_its_rows_as_numpy_has_it(dtype):
    logits, targets = batch(dtype)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    p = fastxent.softmax(logits)
    rows = range(len(targets))
    assert loss == relatively(np.mean(-np.log(p[rows, targets])), FLOAT32_RELATIVE)
    p[rows, targets] -= 1
    np.testing.assert_allclose(grad, p / len(targets), rtol=FLOAT32_GRAD_RELATIVE)


def test_06_unbatched_logits_take_a_scalar_target(dtype):
    logits = np.array([11.0, 42.0, 3.0], dtype)
    assert fastxent.cross_entropy(logits, 1) == pytest.approx(0, abs=CERTAIN_LOSS_ABSOLUTE)
    with pytest.raises(ValueError, match=r"targets must have shape \(\)"):
        fastxent.cross_entropy(logits, [1])
    assert fastxent.cross_entropy(logits[None], [1]) == fastxent.cross_entropy(logits, 1)


def test_07_logits_too_large_for_the_naive_exponential(dtype):
    logits = np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4]], dtype)
    expected = (math.log(2) + math.log(3)) / 2
    assert fastxent.cross_entropy(logits, [0, 2]) == relatively(expected, FLOAT32_RELATIVE)
    whole, targets = batch(dtype)
    moved = fastxent.cross_entropy(np.rint(whole) + dtype(2048), targets)
    assert moved == relatively(fastxent.cross_entropy(np.rint(whole), targets), FLOAT32_RELATIVE)


def test_08_softmax_derivative_is_the_jacobian(dtype):
    p = fastxent.softmax(np.array([0.3, -1.0, 2.0], dtype))
    grad = np.array([1.0, -2.0, 0.5], dtype)
    jacobian = np.diag(p) - np.outer(p, p)
    result = fastxent.softmax_grad(p, grad)
    np.testing.assert_allclose(result, grad @ jacobian, rtol=JACOBIAN_RELATIVE)
    assert result.sum() == pytest.approx(0, abs=JACOBIAN_SUM_ABSOLUTE)


def test_09_gradient_for_any_target_vector_is_p_times_its_sum_less_itself(dtype):
    logits, distributions = soft_batch(dtype)
    p, n_rows = fastxent.softmax(logits), len(logits)
    factors = np.array([0.5, 1, 2, 3, 0], dtype)
    for y, first_term in (
        (distributions * factors, p * (distributions @ factors)[:, None]),
        (distributions, p),
    ):
        loss, grad = fastxent.cross_entropy_with_grad(logits, y)
        absolute = TEXTBOOK_GRAD_EPS * eps(dtype)
        np.testing.assert_allclose(grad, (first_term - y) / n_rows, rtol=0, atol=absolute)
        assert loss == relatively(-(y * np.log(p)).sum() / n_rows, FLOAT32_RELATIVE)


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


def test_12_one_hot_targets_and_their_argmax_are_the_same(dtype):
    logits, targets = batch(dtype)
    one_hot = np.eye(logits.shape[1], dtype=dtype)[targets]
    loss, grad = fastxent.cross_entropy_with_grad(logits, one_hot)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits, one_hot.argmax(axis=1))
    assert loss == relatively(expected, ONE_HOT_EPS * eps(dtype))
    np.testing.assert_allclose(grad, expected_grad, rtol=0, atol=ONE_HOT_EPS * eps(dtype))


def test_13_log_loss_of_probabilities(dtype):
    y_true = [1, 2]
    probs = np.array([[0.05, 0.95, 0], [0.1, 0.8, 0.1]], dtype)
    losses = fastxent.log_loss(probs, y_true, reduction="none")
    assert losses.dtype == dtype
    assert losses.tolist() == pytest.approx([0.05129, 2.30259], abs=printed(5))
    assert fastxent.log_loss(probs, y_true) == pytest.approx(1.17694, abs=printed(5))


def test_14_log_sum_exp_less_the_target_is_the_loss_at_any_offset(dtype):
    logits, targets = batch(dtype)
    for offset in (0, -700, 700, 3e4):
        z = np.rint(logits * 8) / 8 + dtype(offset)
        rows = np.arange(len(targets))
        expected = fastxent.logsumexp(z) - z[rows, targets]
        tolerance = TEXTBOOK_LOSS_SPACINGS * np.spacing(dtype(abs(offset) + 10))
        loss = fastxent.cross_entropy(z, targets, reduction="none")
        np.testing.assert_allclose(loss, expected, rtol=0, atol=tolerance)


def test_15_divergence_is_cross_entropy_less_entropy(dtype):
    logits, p = soft_batch(dtype)
    entropies = fastxent.entropy(p)
    assert entropies[0] == 0
    np.testing.assert_allclose(entropies[1:], -(p[1:] * np.log(p[1:])).sum(axis=1), rtol=FLOAT32_RELATIVE)
    losses = fastxent.kl_divergence(logits, p, reduction="none")
    difference = fastxent.cross_entropy_with_grad(logits, p)[0] - entropies.mean()
    assert losses.mean() == relatively(difference, FLOAT32_RELATIVE)
    assert (losses > 0).all()
    itself = fastxent.kl_divergence(logits, fastxent.softmax(logits), reduction="none")
    np.testing.assert_allclose(itself, 0, atol=sum_is_one(dtype))


def test_16_binary_cross_entropy_where_the_textbook_formula_overflows(dtype):
    z = np.array([-1e4, 1e4, -1e4, 1e4, -3, -0.5, 0, 0.5, 3], dtype)
    y = np.array([0, 0, 1, 1, 1, 0.25, 0.5, 1, 0], dtype)
    losses = fastxent.binary_cross_entropy(z, y, reduction="none")
    expected = np.maximum(z, 0) - z * y + np.log(1 + np.exp(-np.abs(z)))
    np.testing.assert_allclose(losses, expected, rtol=FLOAT32_RELATIVE)
    assert losses[:4].tolist() == [0, 1e4, 1e4, 0]
    with np.errstate(all="ignore"):
        sigma = 1 / (1 + np.exp(-z))
        textbook = -(y * np.log(sigma) + (1 - y) * np.log(1 - sigma))
    assert not np.isfinite(textbook[:4]).any()
    np.testing.assert_allclose(losses[4:], textbook[4:], rtol=FLOAT32_RELATIVE)


def test_17_sigmoid_is_the_softmax_of_two_classes(dtype):
    z = np.linspace(-30, 30, 61).astype(dtype)
    two = np.stack([z, np.zeros_like(z)], axis=1)
    np.testing.assert_allclose(fastxent.sigmoid(z), fastxent.softmax(two)[:, 0], rtol=FLOAT32_RELATIVE)
    y = np.arange(61) % 3 % 2
    losses = fastxent.cross_entropy(two, 1 - y, reduction="none")
    binary = fastxent.binary_cross_entropy(z, y, reduction="none")
    np.testing.assert_allclose(binary, losses, rtol=FLOAT32_RELATIVE)


def test_18_per_position_classification_on_axis_1(dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 3, 5)).astype(dtype)
    targets = rng.integers(0, 4, (2, 3, 5))
    targets[0, 0] = -100
    losses = fastxent.cross_entropy(logits, targets, axis=1, reduction="none")
    assert losses.shape == targets.shape
    assert not losses[0, 0].any()
    log_p = reference.log_softmax(logits.astype(np.float64), axis=1)
    kept = [-log_p[n, y, i, j] for (n, i, j), y in np.ndenumerate(targets) if y != -100]
    assert len(kept) == 25
    np.testing.assert_allclose(losses[targets != -100], kept, rtol=FLOAT32_RELATIVE)
    total = fastxent.cross_entropy(logits, targets, axis=1, reduction="sum", loss_out=losses)
    assert total == relatively(sum(kept), FLOAT32_RELATIVE)
    mean = fastxent.cross_entropy(logits, targets, axis=1, loss_out=losses)
    assert mean == relatively(sum(kept) / 25, FLOAT32_RELATIVE)
