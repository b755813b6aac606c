"""The derivatives of the specification against central differences and 60 digits, and its half types."""

import mpmath
import numpy as np
import pytest

from fastxent import reference
from tests.numerical import (
    HARD_OPTIONS,
    HESSIAN_OPTIONS,
    SOFT_OPTIONS,
    numerical_diagonal,
    numerical_grad,
    numerical_problem,
)
from tests.tolerances import LOSS_RELATIVE_FLOAT64, NUMERICAL_GRAD_ABSOLUTE


@pytest.mark.parametrize("options", HARD_OPTIONS, ids=str)
def test_gradient_is_the_numerical_one_for_integer_targets(options):
    z, y, _ = numerical_problem()
    _, grad = reference.cross_entropy_with_grad(z, y, **options)
    expected = numerical_grad(lambda z: reference.cross_entropy(z, y, **options), z)
    np.testing.assert_allclose(grad, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


@pytest.mark.parametrize("options", SOFT_OPTIONS, ids=str)
def test_gradients_are_the_numerical_ones_for_soft_targets(options):
    z, _, t = numerical_problem()
    targets_grad = np.zeros_like(t)
    _, grad = reference.cross_entropy_with_grad(z, t, targets_grad_out=targets_grad, **options)
    expected = numerical_grad(lambda z: reference.cross_entropy(z, t, **options), z)
    np.testing.assert_allclose(grad, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)
    expected = numerical_grad(lambda t: reference.cross_entropy(z, t, **options), t)
    np.testing.assert_allclose(targets_grad, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


@pytest.mark.parametrize("soft", [False, True], ids=["integers", "soft"])
@pytest.mark.parametrize("options", HESSIAN_OPTIONS, ids=str)
def test_hessian_is_the_numerical_derivative_of_the_gradient(options, soft):
    z, y, t = numerical_problem()
    options = {name: value for name, value in options.items() if not soft or name != "ignore_index"}
    targets, hess = t if soft else y, np.zeros_like(z)
    reference.cross_entropy_with_grad(z, targets, hess_out=hess, **options)
    expected = numerical_diagonal(lambda z: reference.cross_entropy_with_grad(z, targets, **options)[1], z)
    np.testing.assert_allclose(hess, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


@pytest.mark.parametrize(
    "options", [{}, {"weight": [1, 0, 2, 3, 4]}, {"pos_weight": 3}, {"label_smoothing": 0.1}]
)
def test_gradient_of_binary_cross_entropy_is_the_numerical_one(options):
    z, _, t = numerical_problem()
    _, grad = reference.binary_cross_entropy_with_grad(z, t, **options)
    expected = numerical_grad(lambda z: reference.binary_cross_entropy(z, t, **options), z)
    np.testing.assert_allclose(grad, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


def test_gradient_of_divergence_is_the_numerical_one():
    z, _, t = numerical_problem()
    options = {"sample_weight": [1, 0, 2, 3]}
    _, grad = reference.kl_divergence_with_grad(z, t, **options)
    expected = numerical_grad(lambda z: reference.kl_divergence(z, t, **options), z)
    np.testing.assert_allclose(grad, expected, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


def test_all_options_together_agree_with_sixty_digits():
    options = HARD_OPTIONS[-1]
    z, y, _ = numerical_problem()
    with mpmath.workdps(60):
        w, s = ([mpmath.mpf(x) for x in options[name]] for name in ("weight", "sample_weight"))
        e, gamma, c = (mpmath.mpf(options[name]) for name in ("label_smoothing", "focal_gamma", "softcap"))

        def row_loss(i, *row):
            u = [c * mpmath.tanh(options["logit_scale"] * x / c) for x in row]
            lse = mpmath.log(mpmath.fsum(map(mpmath.exp, u)))
            p = mpmath.exp(u[y[i]] - lse)
            hard = (1 - e) * w[y[i]] * (1 - p) ** gamma * (lse - u[y[i]])
            smooth = e / 5 * mpmath.fsum(w[j] * (lse - u[j]) for j in range(5))
            return s[i] * (hard + smooth + options["z_loss"] * lse**2)

        kept = [i for i in range(4) if y[i] != options["ignore_index"]]
        rows = [tuple(map(mpmath.mpf, row)) for row in z.tolist()]
        losses, grads = np.zeros(4), np.zeros((4, 5))
        for i in kept:
            losses[i] = row_loss(i, *rows[i])
            for j in range(5):
                order = tuple(int(j == k) for k in range(5))
                grads[i, j] = mpmath.diff(lambda *row, i=i: row_loss(i, *row), rows[i], order)
    result, grad = reference.cross_entropy_with_grad(z, y, reduction="none", **options)
    np.testing.assert_allclose(result, losses, rtol=LOSS_RELATIVE_FLOAT64)
    np.testing.assert_allclose(grad, grads, rtol=LOSS_RELATIVE_FLOAT64, atol=LOSS_RELATIVE_FLOAT64)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("soft", [False, True], ids=["integers", "soft"])
def test_half_types_are_computed_in_float32_and_rounded_once(dtype, soft):
    dtype = np.dtype(dtype if dtype != "bfloat16" else pytest.importorskip("ml_dtypes").bfloat16)
    z, y, t = numerical_problem()
    z, t = z.astype(dtype), t.astype(dtype)
    options = {
        k: v for k, v in HARD_OPTIONS[-1].items() if not soft or k not in ("focal_gamma", "ignore_index")
    }
    options |= {"reduction": "none"}
    targets = t if soft else y
    grad32 = np.zeros(z.shape, np.float32)
    loss, grad = reference.cross_entropy_with_grad(z, targets, **options)
    reference.cross_entropy_with_grad(z, targets, grad_out=grad32, **options)
    expected = reference.cross_entropy_with_grad(
        z.astype(np.float32), t.astype(np.float32) if soft else y, **options
    )
    assert (loss.dtype, grad.dtype) == (np.float32, dtype)
    assert np.array_equal(loss, expected[0])
    assert np.array_equal(grad32, expected[1])
    assert np.array_equal(grad, grad32.astype(dtype))
    for name in ("kl_divergence", "binary_cross_entropy"):
        loss, grad = getattr(reference, name + "_with_grad")(z, t, reduction="none")
        assert (loss.dtype, grad.dtype) == (np.float32, dtype)
    assert reference.log_loss(t, y, reduction="none").dtype == reference.entropy(t).dtype == np.float32


def test_outputs_may_overwrite_the_inputs():
    z, y, t = numerical_problem()
    hard, soft = HARD_OPTIONS[-1], SOFT_OPTIONS[-1]
    targets_grad = np.zeros_like(t)
    _, expected = reference.cross_entropy_with_grad(z, y, **hard)
    logits = z.copy()
    assert reference.cross_entropy_with_grad(logits, y, grad_out=logits, **hard)[1] is logits
    assert np.array_equal(logits, expected)
    _, expected = reference.cross_entropy_with_grad(z, t, targets_grad_out=targets_grad, **soft)
    logits = z.copy()
    reference.cross_entropy_with_grad(logits, t, grad_out=logits, targets_grad_out=t, **soft)
    assert np.array_equal(logits, expected)
    assert np.array_equal(t, targets_grad)
