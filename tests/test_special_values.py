"""NaN, infinities and masks: what they do to their row, and that they leave every other row's bits alone.

Each special row stands between two ordinary ones.
"""

import numpy as np
import pytest

import fastxent
from fastxent import reference
from tests.mixes import MIXES
from tests.mixes import solve as solve_mix
from tests.tolerances import FLOAT32_ABSOLUTE, FLOAT32_GRAD_RELATIVE, FLOAT32_RELATIVE, relatively
from tests.truth import problem


@pytest.fixture(params=[5, 138, 3000])
def case(request):
    return problem(3, request.param, np.float32)


def solve(logits, targets):
    clean = logits.copy()
    clean[1] = 0
    _, expected = fastxent.cross_entropy_with_grad(clean, targets, reduction="none")
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    assert np.array_equal(grad[[0, 2]], expected[[0, 2]])
    return loss[1], grad[1]


def test_a_masked_class_has_exactly_no_probability_and_no_gradient(case):
    logits, targets = case
    logits[1, ::2] = -np.inf
    targets[1] = 1
    loss, grad = solve(logits, targets)
    kept_loss, kept_grad = fastxent.cross_entropy_with_grad(logits[1, 1::2], 0)
    assert loss == relatively(kept_loss, FLOAT32_RELATIVE)
    assert not grad[::2].any()
    np.testing.assert_allclose(grad[1::2], kept_grad, rtol=FLOAT32_RELATIVE)


def test_a_masked_target_costs_infinitely_much(case):
    logits, targets = case
    logits[1, targets[1]] = -np.inf
    loss, grad = solve(logits, targets)
    assert loss == np.inf
    assert grad[targets[1]] == -1
    assert np.isfinite(grad).all()


def test_nan_stays_in_its_row(case):
    logits, targets = case
    logits[1, -1] = np.nan
    loss, grad = solve(logits, targets)
    assert np.isnan(loss)
    assert np.isnan(grad).all()


@pytest.mark.parametrize(("place", "expected"), [(-1, np.inf), (0, np.nan)], ids=["other", "target"])
def test_an_infinite_logit_makes_the_loss_what_the_formula_says(case, place, expected):
    logits, targets = case
    targets[1] = 0
    logits[1, place] = np.inf
    loss, grad = solve(logits, targets)
    np.testing.assert_equal(loss, np.float32(expected))
    assert np.isnan(grad).all()


def test_a_row_of_minus_infinity_only_is_nan(case):
    logits, targets = case
    logits[1] = -np.inf
    loss, grad = solve(logits, targets)
    assert np.isnan(loss)
    assert np.isnan(grad).all()


def test_the_reference_agrees(case):
    logits, _ = case
    rows = np.repeat(logits[:1], 6, axis=0)
    rows[0, -1], rows[1, -1], rows[2, -1], rows[3, 0] = np.nan, np.inf, -np.inf, np.inf
    rows[4] = -np.inf
    rows[5, 0] = -np.inf
    lse, true_lse = np.empty(6, np.float32), np.empty(6)
    ours = fastxent.cross_entropy_with_grad(rows, [0] * 6, reduction="none", lse_out=lse)
    theirs = reference.cross_entropy_with_grad(
        rows.astype(np.float64), [0] * 6, reduction="none", lse_out=true_lse
    )
    for result, expected in (*zip(ours, theirs, strict=True), (lse, true_lse)):
        np.testing.assert_allclose(result, expected, rtol=FLOAT32_GRAD_RELATIVE, atol=FLOAT32_ABSOLUTE)


@pytest.mark.parametrize(("z_loss", "expected"), [(0.0, 0.0), (0.1, np.inf)])
def test_soft_targets_of_no_classes_cost_nothing_but_the_z_loss_of_an_lse_of_minus_infinity(z_loss, expected):
    mix, none = MIXES["all soft" if z_loss else "soft"], np.empty((3, 0))
    weights = {"weight": none[0], "sample_weight": np.ones(3)} if z_loss else {}
    options = {**mix.options, **weights, "reduction": "none"}
    for module in (fastxent, reference):
        results = solve_mix(module, mix, none, none, options)
        np.testing.assert_array_equal(results["loss"], np.full(3, expected))
        np.testing.assert_array_equal(results["entropy_out"], np.zeros(3))
        np.testing.assert_array_equal(results["lse_out"], np.full(3, -np.inf))
        assert module.cross_entropy(none, none, z_loss=z_loss) == expected
        assert module.kl_divergence(none, none) == 0


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(18, 5), (18, 138), (138, 18), (1, 70_000)], ids=str)
def test_a_mean_over_classes_of_no_weight_has_no_slope_even_in_rows_of_nan(shape):
    logits, axis = np.ones(shape), 0 if shape == (138, 18) else -1
    logits.flat[[0, -1]] = np.nan, np.inf
    rows = np.moveaxis(logits, axis, -1)
    mix, targets = MIXES["all with Hessian"], np.ones(len(rows), np.int64)
    targets[1:2] = -100
    weight = np.where(np.arange(rows.shape[-1]) == 1, 0.0, 2.0)
    options = {**mix.options, "weight": weight, "sample_weight": np.ones(len(rows))}
    results = solve_mix(fastxent, mix, logits, targets, options, axis=axis)
    assert results["loss"] == 0.0
    assert not results["grad"].any()
    assert not results["hess_out"].any()


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [5, 138])
def test_the_focal_loss_of_a_row_with_infinity_beside_its_target_is_infinite(n_classes):
    logits = np.zeros((2, n_classes), np.float32)
    logits[0, 1], logits[1, 0] = np.inf, -np.inf
    losses = fastxent.cross_entropy(logits, [0, 0], focal_gamma=2.0, reduction="none")
    assert np.array_equal(losses, [np.inf, np.inf])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [1, 2, 138, 1100])
def test_the_loss_of_a_certain_row_is_zero_and_not_minus_zero(n_classes, dtype):
    logits = np.zeros((20, n_classes), dtype)
    logits[:, 0] = 2000
    for rows in (logits, logits.copy(order="F")):
        losses = fastxent.cross_entropy(rows, np.zeros(20, int), reduction="none")
        assert not losses.any()
        assert not np.signbit(losses).any()


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [3, 148])
@pytest.mark.parametrize(("size", "cap"), [(50, 3.3), (3, 0.3), (1, 1e-3), (200, 30.0)])
def test_no_slope_of_a_softcap_turns_round_where_it_rounds_to_none(size, cap, n_classes):
    logits = np.zeros((2, n_classes), np.float32)
    logits[:, 0], logits[:, 1] = size, -size
    _, grad = fastxent.cross_entropy_with_grad(logits, [0, 1], softcap=cap)
    assert (grad[[0, 1], [0, 1]] <= 0).all()
    assert (np.delete(grad[0], 0) >= 0).all()
    assert (np.delete(grad[1], 1) >= 0).all()
