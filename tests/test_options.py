"""Every option of cross-entropy and its gradient, against the specification in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent
from fastxent import _dispatch, reference
from fastxent.cpu import FEW_CLASSES
from tests.layouts import spaced
from tests.measure import assert_same_bits
from tests.mixes import LANES, MIXES, ROWS, SHORT, Mix, assert_close, kept_rows, problem, solve, true_results
from tests.numerical import numerical_diagonal, numerical_grad
from tests.tolerances import (
    EXTREME_FACTOR_EPS,
    NUMERICAL_GRAD_ABSOLUTE,
    OFFSET_LOG_SUM_RELATIVE,
    OTHER_TARGETS_EPS,
    REPEATED_ROW_EPS,
    SOFT_AS_HARD_ABSOLUTE,
    SOFT_AS_HARD_RELATIVE,
    SUM_RELATIVE,
    eps,
    relatively,
)

N_CLASSES = [1, 10, 15, 16, 17, 63, 64, 127, 1024, 1025, 2050]

each_mix = pytest.mark.parametrize("name", MIXES)
each_engine = pytest.mark.parametrize(
    "n_classes",
    [LANES, SHORT, pytest.param(ROWS, marks=pytest.mark.exhaustive)],
    ids=["lanes", "short", "rows"],
)


def assert_as_specified(name, logits, targets, options, **more):
    results = solve(fastxent, MIXES[name], logits, targets, options, **more)
    expected = true_results(MIXES[name], logits, targets, options, **more)
    assert_close(results, expected, logits.dtype, MIXES[name], logits, targets, options | more)
    return results


def _case(name, n_classes):
    """Many classes show of most mixes nothing that they do not of those of all options."""
    is_rare = n_classes >= 1024 and not name.startswith("all")
    return pytest.param(name, n_classes, marks=pytest.mark.exhaustive if is_rare else ())


@pytest.mark.parametrize(("name", "n_classes"), [_case(name, n) for n in N_CLASSES for name in MIXES])
def test_every_result_is_that_of_the_specification(name, n_classes):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 19 if n_classes < 200 else 5, n_classes)
    for more in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"normalizer": 7.5}):
        results = assert_as_specified(name, logits, targets, options, **more)
        if "reduction" in more or "normalizer" in more:
            continue
        unread = ~kept_rows(None if mix.soft else targets, options, len(logits))
        for output, values in results.items():
            if output != "loss":
                assert np.all(values[unread] == (n_classes if output == "rank_out" else 0)), output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_classes"),
    [("all with Hessian" if n_classes <= FEW_CLASSES else "all soft", n_classes) for n_classes in N_CLASSES],
)
def test_float32_is_within_a_few_roundings_of_the_terms(name, n_classes):
    logits, targets, options = problem(MIXES[name], 40 if n_classes < 200 else 5, n_classes, np.float32)
    assert_as_specified(name, logits, targets, options)


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(list(MIXES)),
    n_rows=st.integers(1, 20),
    n_classes=st.sampled_from([1, 2, 3, 9, 33, 63, 64, 130]),
    spread=st.sampled_from([0.01, 1.0, 10.0, 100.0]),
    label_smoothing=st.sampled_from([1e-6, 0.1, 0.9, 1.0]),
    focal_gamma=st.sampled_from([1e-3, 0.5, 1.0, 1.5, 2.0, 5.0, 20.0]),
    z_loss=st.sampled_from([1e-8, 1e-4, 1.0]),
    softcap=st.sampled_from([0.5, 3.0, 30.0, 1e4]),
    logit_scale=st.sampled_from([0.01, 0.5, 1.25, 7.0]),
    seed=st.integers(0, 2**31),
)
def test_any_value_of_an_option_is_as_specified(name, n_rows, n_classes, spread, seed, **values):
    logits, targets, options = problem(MIXES[name], n_rows, n_classes, spread=spread, seed=seed)
    options |= {option: value for option, value in values.items() if option in options}
    assert_as_specified(name, logits, targets, options)


@each_mix
@pytest.mark.parametrize("n_classes", [5, 114])
def test_derivatives_are_the_numerical_ones(name, n_classes):
    """Of the public function alone, one logit, and one element of soft targets, at a time."""
    mix = MIXES[name]
    logits, targets, options = problem(mix, 4, n_classes, spread=1.5, masks=False)
    results = solve(fastxent, mix, logits, targets, options)

    def assert_numerical(name, numerical, function, array):
        np.testing.assert_allclose(
            results[name], numerical(function, array), rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE
        )

    def part(name, z, t=targets):
        return solve(fastxent, mix, z, t, options)[name]

    assert_numerical("grad", numerical_grad, lambda z: part("loss", z), logits)
    if "hess_out" in mix.outputs:
        assert_numerical("hess_out", numerical_diagonal, lambda z: part("grad", z), logits)
    if "targets_grad_out" in mix.outputs:
        assert_numerical("targets_grad_out", numerical_grad, lambda t: part("loss", logits, t), targets)


@pytest.mark.parametrize("name", ["soft", "all soft"])
@each_engine
def test_soft_one_hot_targets_equal_integer_ones(name, n_classes):
    logits, _, options = problem(MIXES[name], 9, n_classes, masks=False)
    targets = np.arange(9) % n_classes
    one_hot = np.eye(n_classes)[targets]
    results = solve(fastxent, MIXES[name], logits, one_hot, options)
    rows = np.arange(9)
    weight = options.get("weight", np.ones(n_classes))[targets] * options.get("sample_weight", np.ones(9))
    expected = reference.cross_entropy_with_grad(
        logits, targets, normalizer=options.get("sample_weight", np.ones(9)).sum(), **options
    )
    assert weight.any()
    for result, value in zip((results["loss"], results["grad"]), expected, strict=True):
        np.testing.assert_allclose(result, value, rtol=SOFT_AS_HARD_RELATIVE, atol=SOFT_AS_HARD_ABSOLUTE)
    assert results["targets_grad_out"][rows, targets].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("logits_dtype", "dtype"),
    [(np.float32, np.float64), pytest.param(np.float64, np.float16, marks=pytest.mark.exhaustive)],
)
@pytest.mark.parametrize("shape", [(37, LANES), (2, SHORT, 20)], ids=str)
def test_soft_targets_may_have_another_dtype_than_the_logits(shape, logits_dtype, dtype):
    rng, mix = np.random.default_rng(0), Mix({}, outputs=("targets_grad_out",), soft=True)
    logits = rng.normal(0, 3, shape).astype(logits_dtype)
    targets = rng.uniform(0, 2 / shape[1], shape).astype(dtype)
    wide = logits.astype(np.float64), targets.astype(np.float64)
    expected = solve(reference, mix, *wide, {}, axis=1)
    tolerance = OTHER_TARGETS_EPS * max(eps(logits_dtype), eps(dtype))
    for layout in (np.copy, spaced):
        results = solve(fastxent, mix, layout(logits), layout(targets), {}, axis=1)
        assert results["targets_grad_out"].dtype == dtype
        for name, value in expected.items():
            np.testing.assert_allclose(results[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("offset", [1e7, -1e7, 4096.0])
@pytest.mark.parametrize(
    ("name", "dtype", "n_classes"),
    [(name, np.float64, k) for name in ("focal and weight", "smoothing", "soft") for k in (LANES, SHORT)]
    + [("all with Hessian", np.float32, LANES)],
)
def test_a_common_offset_changes_nothing_that_the_inputs_express(name, dtype, n_classes, offset):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 19, n_classes, dtype)
    logits = np.round(logits * 4)
    if "z_loss" in options:
        options |= {"z_loss": 1e-300, "logit_scale": 0.5}
    results = solve(fastxent, mix, logits + dtype(offset), targets, options)
    expected = true_results(mix, logits, targets, options)
    kept = kept_rows(None if mix.soft else targets, options, 19)
    shift = offset * options.get("logit_scale", 1.0)
    expected_lse = np.where(kept, expected["lse_out"] + shift, 0)
    np.testing.assert_allclose(results.pop("lse_out"), expected_lse, rtol=OFFSET_LOG_SUM_RELATIVE)
    assert_close(results, expected, dtype, mix, logits, targets, options)


@each_engine
@pytest.mark.parametrize("name", ["softcap and z_loss", "all hard", "all soft"])
def test_a_whole_sample_weight_is_a_repeated_row(name, n_classes):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 8, n_classes, masks=False)
    repeats = np.arange(8) % 4
    weighted = solve(fastxent, mix, logits, targets, {**options, "sample_weight": repeats})
    again = [a.repeat(repeats, axis=0) for a in (logits, targets, np.ones(8))]
    repeated = solve(fastxent, mix, *again[:2], {**options, "sample_weight": again[2]})
    assert weighted["loss"] == relatively(repeated["loss"], SUM_RELATIVE)
    first = np.cumsum(repeats) - repeats
    for i in np.flatnonzero(repeats):
        expected = repeats[i] * repeated["grad"][first[i]]
        absolute = REPEATED_ROW_EPS * eps(np.float64)
        np.testing.assert_allclose(weighted["grad"][i], expected, rtol=0, atol=absolute)


@each_engine
@pytest.mark.parametrize(
    ("name", "scaled"),
    [
        ("focal and weight", ("weight",)),
        ("softcap and z_loss", ("sample_weight",)),
        ("all hard", ("sample_weight",)),
        ("all soft", ("sample_weight",)),
    ],
)
def test_scaling_all_weights_changes_no_mean(name, scaled, n_classes):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 19, n_classes)
    four_times = {option: 4 * options[option] for option in scaled}
    results, expected = (solve(fastxent, mix, logits, targets, options | o) for o in (four_times, {}))
    assert results["loss"] == expected["loss"]
    assert_same_bits(results["grad"], expected["grad"])


@each_engine
@each_mix
def test_mean_over_no_weight_is_zero(name, n_classes):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 9, n_classes, masks=False)
    nothing = [{weights: np.zeros_like(options[weights])} for weights in mix.weights]
    if mix.soft:
        nothing = [changed for changed in nothing if "sample_weight" in changed]
    else:
        nothing.append({"targets": np.full(9, -100)})
    for changed in nothing:
        arguments = {"targets": targets, **options, **changed}
        results = solve(fastxent, mix, logits, arguments.pop("targets"), arguments)
        assert results["loss"] == 0.0
        for output in {"grad", "hess_out", "targets_grad_out"} & set(results):
            assert not results[output].any()


@each_engine
@each_mix
def test_in_place_equals_out_of_place_bit_for_bit(name, n_classes):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 19, n_classes)
    kept_logits, kept_targets = logits.copy(), targets.copy()
    expected = solve(fastxent, mix, logits, targets, options)
    assert_same_bits(logits, kept_logits)
    assert_same_bits(targets, kept_targets)
    outs = {"grad_out": logits}
    if "targets_grad_out" in mix.outputs:
        outs["targets_grad_out"] = targets
    results = solve(fastxent, mix, logits, targets, options, **outs)
    assert results["grad"] is logits
    assert results.get("targets_grad_out", targets) is targets
    for output, values in expected.items():
        assert_same_bits(results[output], values)


@each_engine
def test_loss_alone_equals_the_loss_with_gradient(n_classes):
    mix = MIXES["all hard"]
    logits, targets, options = problem(mix, 19, n_classes)
    expected = solve(fastxent, mix, logits, targets, options)
    outs = {
        name: np.zeros_like(expected[name]) for name in ("loss_out", "lse_out", "rank_out", "entropy_out")
    }
    assert fastxent.cross_entropy(logits, targets, **options, **outs) == expected["loss"]
    for name, out in outs.items():
        assert_same_bits(out, expected[name])


@pytest.mark.parametrize("shape", [(3300, 10), (33, 1100)], ids=["lanes", "rows"])
def test_serial_equals_parallel_bit_for_bit(run_kernels_in_parallel, shape):
    mix = MIXES["all soft"]
    logits, targets, options = problem(mix, *shape)
    assert logits.size >= _dispatch.PARALLEL_FROM
    results = []
    for parallel in (False, True):
        run_kernels_in_parallel(parallel)
        results.append(solve(fastxent, mix, logits, targets, options))
    for output, values in results[0].items():
        assert_same_bits(results[1][output], values)


@each_engine
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_masked_targets_is_infinite_and_its_gradient_is_not(gamma, n_classes):
    """p_y = 0, and p_y·(lse − u_y) with it, though the sum of all other probabilities may round below 1."""
    logits, targets, options = problem(MIXES["focal and weight"], 60, n_classes, spread=50.0, masks=False)
    options |= {"focal_gamma": gamma, "weight": np.ones(n_classes), "reduction": "none"}
    targets[:] = 1
    logits[:, 1] = -np.inf
    results = assert_as_specified("focal and weight", logits, targets, options)
    assert np.all(results["loss"] == np.inf)
    assert np.isfinite(results["grad"]).all()


@each_engine
@pytest.mark.parametrize("name", ["focal and weight", "all hard"])
def test_nan_ranks_above_every_number_and_stays_in_its_row(name, n_classes):
    mix = MIXES[name]
    logits, targets, options = problem(mix, 6, n_classes, masks=False)
    targets[:] = np.where(targets == 3, 2, targets)
    targets[3:] = 1
    if "sample_weight" in options:
        options["sample_weight"] = np.ones(6)
    clean = solve(fastxent, mix, logits, targets, options)
    logits[1, 3], logits[5, 1], logits[0, 3] = np.nan, np.nan, np.inf
    results, expected = (solve(m, mix, logits, targets, options) for m in (fastxent, reference))
    assert results["rank_out"].tolist() == expected["rank_out"].tolist()
    assert results["rank_out"][1] >= 1
    assert results["rank_out"][5] == n_classes
    for output in ("loss_out", "lse_out"):
        assert np.isnan(results[output][[1, 5]]).all()
        assert_same_bits(results[output][2:5], clean[output][2:5])
    assert np.isnan(results["grad"][[1, 5]]).all()
    assert np.isfinite(results["grad"][2:5]).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("option", ["softcap", "logit_scale"])
def test_the_least_and_the_most_that_logits_may_be_multiplied_or_kept_under_are_as_specified(option, dtype):
    logits = np.random.default_rng(0).normal(0, 3, (20, 5)).astype(dtype)
    targets, most = np.arange(20) % 5, 2.0 ** (64 if dtype == np.float32 else 512)
    for value in (1 / most, most):
        options = {option: value, "reduction": "none"}
        for result, expected in zip(
            fastxent.cross_entropy_with_grad(logits, targets, **options),
            reference.cross_entropy_with_grad(logits.astype(np.float64), targets, **options),
            strict=True,
        ):
            relative = EXTREME_FACTOR_EPS * eps(dtype)
            np.testing.assert_allclose(result, expected, rtol=relative, atol=relative * min(value, 1))
    for value in (0.5 / most, 2 * most):
        with pytest.raises(ValueError, match=f"{option} must be from"):
            fastxent.cross_entropy(logits, targets, **{option: value})


@pytest.mark.slow
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_classes", [LANES, SHORT, ROWS])
def test_ranks_tell_subnormal_logits_apart(n_classes, order):
    logits, rank = np.full((20, n_classes), 1e-40, np.float32), np.full(20, -1)
    logits[1, 5], logits[2, :] = 2e-40, -5
    logits[2, [0, 3, 4]] = 1e-40, 2e-40, 0
    fastxent.cross_entropy(np.asarray(logits, order=order), np.zeros(20, int), rank_out=rank)
    assert rank.tolist() == [0, 1, 1, *[0] * 17]


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [LANES, SHORT])
def test_no_second_derivative_of_a_plain_loss_is_negative(n_classes):
    """Of a class whose probability rounds to 1, 1 − p is not beyond 0."""
    logits = np.linspace(0, 1, 60 * n_classes, dtype=np.float32).reshape(60, n_classes)
    logits[:, 1] += np.linspace(10, 60, 60, dtype=np.float32)
    soft = np.full_like(logits, 1 / n_classes)
    hess = solve(fastxent, MIXES["soft"], logits, soft, {})["hess_out"]
    assert (hess >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [LANES, SHORT, ROWS])
def test_rows_of_nan_whose_weights_add_up_to_less_than_can_be_divided_by_have_no_slope(n_classes):
    mix = MIXES["softcap and z_loss"]
    logits, targets, options = problem(mix, 4, n_classes, masks=False)
    logits[1] = np.nan
    results = solve(fastxent, mix, logits, targets, options | {"sample_weight": np.full(4, 1e-310)})
    assert results["loss"] == 0.0
    assert not results["grad"].any()
