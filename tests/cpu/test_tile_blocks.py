"""Rows one a lane and rows across the lanes give the same bits, so that strides never show in a result."""

import numpy as np
import pytest

import fastxent
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve

pytestmark = pytest.mark.slow

N_ROWS = 40


def awkward_rows(n_classes, dtype):
    """Rows that are masked, NaN, infinite, rising, near a step in the shift, and far from 0."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (N_ROWS, n_classes)).astype(dtype)
    logits[3, 5], logits[4, 7], logits[5, 8], logits[6] = -np.inf, np.nan, np.inf, -np.inf
    logits[8, -7:] += 500
    logits[9] = np.sort(logits[9]) * 20
    logits[10:15] += dtype(1e6)
    logits[15:20] *= 100
    targets = rng.integers(0, n_classes, N_ROWS)
    targets[3], targets[11] = 5, -100
    return logits, targets, rng.random((N_ROWS, n_classes)).astype(dtype)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("plain", np.float32),
        pytest.param("soft targets", np.float64, marks=pytest.mark.exhaustive),
        pytest.param("all options", np.float32, marks=pytest.mark.exhaustive),
    ],
)
def test_bits_do_not_depend_on_which_axis_is_contiguous(kind, dtype):
    for n_classes in (64, 81, 97, 129, 511, 1024, 1025, 3000):
        logits, targets, soft_targets = awkward_rows(n_classes, dtype)
        rng = np.random.default_rng(1)
        options = {}
        if kind == "all options":
            options = {"label_smoothing": 0.1, "focal_gamma": 1.5, "z_loss": 0.01, "softcap": 20.0}
            options |= {"weight": rng.random(n_classes), "sample_weight": rng.random(N_ROWS)}
            options["sample_weight"][13] = 0
        results = []
        for z in (logits, np.asfortranarray(logits)):
            outputs = {"lse_out": np.empty(N_ROWS, dtype)}
            if kind != "plain":
                outputs["entropy_out"] = np.empty(N_ROWS, dtype)
            if kind == "all options":
                outputs["rank_out"] = np.empty(N_ROWS, np.int64)
            loss, grad = fastxent.cross_entropy_with_grad(
                z, soft_targets if kind == "soft targets" else targets, reduction="none", **options, **outputs
            )
            results.append([loss, grad, *outputs.values()])
        for across_lanes, one_a_lane in zip(*results, strict=True):
            assert_same_bits(one_a_lane, across_lanes)


@pytest.mark.parametrize("n_classes", [129, 175])  # one vector after the wide ones, and three
def test_sums_and_second_derivatives_of_options_do_not_depend_on_which_axis_is_contiguous(n_classes):
    """A factor of the derivatives is a number of the row in the one kernel, and of the lane in the other."""
    mix = MIXES["all with Hessian"]
    logits, targets, options = problem(mix, N_ROWS, n_classes, np.float32, spread=100)
    expected = solve(fastxent, mix, logits, targets, options)
    for name, result in solve(fastxent, mix, np.asfortranarray(logits), targets, options).items():
        assert_same_bits(result, expected[name])
