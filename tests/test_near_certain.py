"""Rows that are near certain of a class keep their digits, whatever the options."""

import math

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch
from tests import truth
from tests.measure import assert_ulp
from tests.mixes import LANES, MIXES, ROWS, SHORT, problem, solve
from tests.tolerances import (
    CERTAIN_GRAD_EPS,
    CERTAIN_ULP_FLOAT64,
    FOCAL_GRAD_EPS,
    GRAD_ULP_FLOAT32,
    LOSS_ULP_FLOAT32,
    NEAR_CERTAIN_DIFFERENCE_RELATIVE,
    NEAR_CERTAIN_RELATIVE,
    eps,
    relatively,
)

pytestmark = pytest.mark.slow

each_engine = pytest.mark.parametrize(
    "n_classes",
    [LANES, SHORT, pytest.param(ROWS, marks=pytest.mark.exhaustive)],
    ids=["lanes", "short", "rows"],
)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [16, 96, 97, 400, 801, 1025, 2048, 2049, 5000])
def test_plain_rows_that_are_certain_to_any_degree_are_within_the_budget(
    n_classes, dtype, order, monkeypatch
):
    """Where all other classes weigh the same, roundings of their sum are all of one sign."""
    monkeypatch.setattr(_dispatch, "PARALLEL_FROM", 2**30)  # which would be compiled for this alone
    gaps = np.arange(1.0, 68.0, 0.37)
    logits = np.repeat(-gaps[:, None], n_classes, axis=1).astype(dtype)
    targets = np.arange(len(gaps)) * 7 % n_classes
    logits[np.arange(len(gaps)), targets] = 0
    exact, exact_grad = truth.loss_and_grad(logits, targets)
    loss, grad = fastxent.cross_entropy_with_grad(np.asarray(logits, order=order), targets, reduction="none")
    budget = LOSS_ULP_FLOAT32 if dtype == np.float32 else CERTAIN_ULP_FLOAT64
    assert_ulp(loss, exact, budget)
    assert_ulp(grad, exact_grad, GRAD_ULP_FLOAT32 if dtype == np.float32 else CERTAIN_ULP_FLOAT64)


@each_engine
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_a_near_certain_row_keeps_its_digits(gamma, n_classes):
    """p_y = 1 − 1e-10, where (1 − p_y)^gamma and lse − u_y have lost theirs to anyone who subtracts."""
    assert_near_certain("focal and weight", n_classes, np.float64, {"focal_gamma": gamma})


def test_focal_gradients_of_an_unlikely_target_do_not_lose_digits_by_their_exponent():
    mix, logits = MIXES["focal and weight"], np.tile(np.linspace(0, 3, LANES), (7, 1))
    logits[:, 5] = np.linspace(17, 20, 7)
    options = {"weight": np.ones(LANES), "focal_gamma": 50.0, "reduction": "sum"}
    grad = solve(fastxent, mix, logits, np.zeros(7, int), options)["grad"]
    expected = [truth.exact_row(row, 0, options)["grad"] for row in logits]
    np.testing.assert_allclose(grad, expected, rtol=FOCAL_GRAD_EPS * eps(np.float64))


@each_engine
def test_near_certain_rows_keep_their_digits_under_a_softcap_and_a_z_loss(n_classes):
    assert_near_certain("softcap and z_loss", n_classes, np.float64, {"softcap": 200.0})


def test_the_entropy_of_a_row_that_is_near_certain_of_a_wrong_class_keeps_its_digits():
    mix, logits = MIXES["softcap and z_loss"], np.full((1, SHORT), np.log(1e-10 / SHORT), np.float32)
    logits[0, 1] = 0
    options = problem(mix, 1, SHORT)[2] | {"softcap": 200.0}
    results = solve(fastxent, mix, logits, np.array([0]), options)
    expected = truth.exact_row(logits[0], 0, options)["entropy_out"]
    relative = NEAR_CERTAIN_RELATIVE[np.dtype(np.float32)]
    assert results["entropy_out"][0] == relatively(expected, relative)


def assert_near_certain(name, n_classes, dtype, changed):
    """Relative to their own tiny size, against 60 digits."""
    mix = MIXES[name]
    _, _, options = problem(mix, 1, n_classes, dtype)
    options |= changed
    logits = np.full((1, n_classes), np.log(1e-10 / n_classes) / options.get("logit_scale", 1.0), dtype)
    logits[0, 1] = 0
    results = solve(fastxent, mix, logits, np.array([1]), {**options, "reduction": "sum"})
    expected = truth.exact_row(logits[0], 1, options)
    relative = NEAR_CERTAIN_RELATIVE[np.dtype(dtype)]
    for output in {"loss", "loss_out", "lse_out", "grad", *mix.outputs} - {"rank_out"}:
        np.testing.assert_allclose(np.squeeze(results[output]), expected[output], rtol=relative)


def near_certain_of_class_1(n_classes):
    """Of any exponential of the likely class: those of 1, and of few digits, leave nothing beside a sum."""
    tops = np.float32([0, 0.3, 2.2, 5.1, 6.68, -7.77, 21.6])
    logits = np.repeat(tops[:, None], n_classes, axis=1) + np.float32(math.log(1e-10 / (n_classes - 1)))
    logits[:, 1] = tops
    return logits, [truth.exact_row(row, 1, {}) for row in logits]


@each_engine
def test_what_a_likely_class_is_taken_away_from_keeps_its_digits(n_classes):
    logits, exact = near_certain_of_class_1(n_classes)
    one_hot = np.zeros_like(logits)
    one_hot[:, 1] = 1
    results = solve(fastxent, MIXES["soft"], logits, one_hot, {})
    log_probs = fastxent.log_softmax(logits)
    relative = NEAR_CERTAIN_DIFFERENCE_RELATIVE
    for i, expected in enumerate(exact):
        assert results["loss_out"][i] == relatively(expected["loss"], relative)
        assert results["entropy_out"][i] == relatively(expected["entropy_out"], relative)
        assert -log_probs[i, 1] == relatively(expected["loss"], relative)
        second = results["hess_out"][i, 1] * len(logits)
        assert second == relatively(-expected["grad"][1], relative)  # p·(1 − p), where p is 1


def test_the_second_derivative_by_a_likely_wrong_class_keeps_its_digits():
    logits, exact = near_certain_of_class_1(LANES)
    hess = np.empty_like(logits)
    fastxent.cross_entropy_with_grad(logits, np.zeros(len(logits), int), hess_out=hess, reduction="sum")
    expected = [-row["grad"][1] for row in exact]
    np.testing.assert_allclose(hess[:, 1], expected, rtol=NEAR_CERTAIN_DIFFERENCE_RELATIVE)


@pytest.mark.parametrize(
    ("dtype", "n_classes"), [(np.float64, LANES), (np.float64, SHORT), (np.float32, SHORT)]
)
def test_near_certain_rows_of_soft_one_hot_targets_are_those_of_integers(n_classes, dtype):
    """With all options there is too much to see digits; with none but these the loss is 1e-10."""
    name = "soft" if dtype == np.float64 else "all soft"
    off = {"label_smoothing": 0.0, "z_loss": 1e-300, "softcap": 1e6, "logit_scale": 1 - 1e-7}
    options = {option: value for option, value in off.items() if name == "all soft"}
    if options:
        options |= {"weight": np.ones(n_classes), "sample_weight": np.ones(1)}
    logits = np.full((1, n_classes), np.log(1e-10 / n_classes), dtype)
    logits[0, 1] = 0
    one_hot = np.zeros((1, n_classes), dtype)
    one_hot[0, 1] = 1
    results = solve(fastxent, MIXES[name], logits, one_hot, options)
    expected = truth.exact_row(logits[0], 1, {})
    relative = NEAR_CERTAIN_RELATIVE[np.dtype(np.float32)]  # of float64 too, where 1 is subtracted from a sum
    for output in ("loss", "entropy_out", "lse_out"):
        np.testing.assert_allclose(np.squeeze(results[output]), expected[output], rtol=relative)
    np.testing.assert_allclose(results["targets_grad_out"][0, 1], expected["loss"], rtol=relative)
    others = np.arange(n_classes) != 1
    np.testing.assert_allclose(results["grad"][0, others], expected["grad"][others], rtol=relative)
    # p_y − t_y is a difference of what was given, and of ones here.
    np.testing.assert_allclose(results["grad"][0, 1], expected["grad"][1], atol=CERTAIN_GRAD_EPS * eps(dtype))
