"""Loss and gradient are those of the specification, to the digits promised."""

import math
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent
from fastxent import _dispatch, reference
from fastxent.cpu import FEW_CLASSES
from tests import truth
from tests.measure import ulp_error
from tests.tolerances import (
    DIVIDED_GRAD_EPS,
    DIVIDED_LOSS_EPS,
    GRAD_RELATIVE_FLOAT64,
    GRAD_SUM_ABSOLUTE,
    GRAD_ULP,
    LARGE_LOGITS_GRAD_RELATIVE,
    LARGE_LOGITS_LOSS_RELATIVE,
    LEAST_ABSOLUTE,
    LEAST_COUNTED,
    LOG_SUM_EPS,
    LOSS_RELATIVE_FLOAT64,
    LOSS_ULP,
    MANY_ROWS_RELATIVE,
    MEAN_RELATIVE,
    NEAR_CERTAIN_RELATIVE,
    PERMUTED_GRAD_RELATIVE,
    PERMUTED_LOSS_ABSOLUTE,
    PERMUTED_LOSS_RELATIVE,
    PROBABILITY_OR_ZERO,
    SHIFTED_GRAD_ABSOLUTE,
    SHIFTED_GRAD_RELATIVE,
    SHIFTED_LOSS_ABSOLUTE,
    SHIFTED_LOSS_RELATIVE,
    SUM_GRAD_RELATIVE,
    SUM_RELATIVE,
    UNDERFLOW_ABSOLUTE,
    eps,
    relatively,
)
from tests.truth import problem

DTYPES = [np.float32, np.float64]
SIZES = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 2049, 5000]
SHAPES = [(3, n_classes) for n_classes in SIZES] + [(n_rows, 10) for n_rows in (0, 1, 2, 15, 16, 17, 500)]


def assert_right(loss, grad, logits, targets):
    true_loss, true_grad = truth.loss_and_grad(logits, targets)
    assert np.max(rounded_ulp_error(loss, true_loss), initial=0) <= LOSS_ULP[loss.dtype]
    may_be_zero = (grad == 0) & (np.abs(true_grad) < PROBABILITY_OR_ZERO[grad.dtype])
    assert np.max(rounded_ulp_error(grad, true_grad)[~may_be_zero], initial=0) <= GRAD_ULP[grad.dtype]


def rounded_ulp_error(result, true_result):
    return ulp_error(result, true_result.astype(result.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 128256)], ids=str)
def test_row_losses_and_gradient_are_right_to_the_promised_digits(shape, dtype):
    if dtype is np.float64 and not truth.IS_EXTENDED:
        pytest.skip("the truth has no more digits than the results")
    logits, targets = problem(*shape, dtype)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    assert loss.dtype == grad.dtype == dtype
    assert_right(loss, grad, logits, targets)
    assert np.array_equal(fastxent.cross_entropy(logits, targets, reduction="none"), loss)


@pytest.mark.parametrize("spread", [0.01, 1, 10, 30])
@pytest.mark.parametrize("n_classes", [2, 3, 10, 63, 64, 113, 200, 1000])
def test_float32_stays_within_its_budget_over_many_rows(n_classes, spread):
    logits, targets = problem(20000 // n_classes, n_classes, np.float32, spread)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    true_loss, true_grad = truth.loss_and_grad(logits, targets)
    ordinary = np.abs(true_grad) > LEAST_COUNTED
    counted = true_loss > LEAST_COUNTED
    assert np.max(rounded_ulp_error(loss, true_loss)[counted], initial=0) <= LOSS_ULP[loss.dtype]
    assert np.max(rounded_ulp_error(grad, true_grad)[ordinary]) <= GRAD_ULP[grad.dtype]
    for options, divisor in ({}, len(targets)), ({"normalizer": 7.5}, 7.5):
        _, grad = fastxent.cross_entropy_with_grad(logits, targets, **options)
        ordinary = np.abs(true_grad) > LEAST_COUNTED * divisor
        assert np.max(rounded_ulp_error(grad, true_grad / divisor)[ordinary]) <= GRAD_ULP[grad.dtype]


def test_sums_of_exponentials_lose_nothing_where_a_few_are_most_of_them():
    n_classes = FEW_CLASSES + 1
    logits, targets = problem(200_000 // n_classes, n_classes, np.float32, 10)
    _, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    _, true_grad = truth.loss_and_grad(logits, targets)
    ordinary = np.abs(true_grad) > LEAST_COUNTED
    assert np.max(rounded_ulp_error(grad, true_grad)[ordinary]) <= GRAD_ULP[grad.dtype]


@pytest.mark.parametrize("n_classes", [60, 200])
def test_probabilities_are_zero_sooner_than_subnormal(n_classes):
    logits = np.zeros((100, n_classes), np.float32)
    logits[:, 1] = np.linspace(-80, -89, 100)
    _, grad = fastxent.cross_entropy_with_grad(logits, np.zeros(100, int), reduction="sum")
    _, true_grad = truth.loss_and_grad(logits, np.zeros(100, int))
    kept = grad[:, 1] != 0
    assert kept[0]
    assert not kept[-1]
    assert np.all(true_grad[~kept, 1] < PROBABILITY_OR_ZERO[grad.dtype])
    assert np.max(rounded_ulp_error(grad, true_grad)[kept]) <= GRAD_ULP[grad.dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [10, 148])
@pytest.mark.parametrize(
    "options", [{}, {"reduction": "sum"}, {"reduction": "none"}, {"normalizer": 7.5}], ids=str
)
def test_every_reduction_divides_loss_and_gradient_alike(options, n_classes, dtype):
    logits, targets = problem(37, n_classes, dtype)
    targets[[0, 5, 36]] = -100
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, **options)
    true_loss, true_grad = reference.cross_entropy_with_grad(logits.astype(np.float64), targets, **options)
    np.testing.assert_allclose(loss, true_loss, rtol=DIVIDED_LOSS_EPS * eps(dtype) + LOSS_RELATIVE_FLOAT64)
    relative = DIVIDED_GRAD_EPS * eps(dtype) + GRAD_RELATIVE_FLOAT64
    np.testing.assert_allclose(grad, true_grad, rtol=relative, atol=relative * np.abs(true_grad).max())
    assert np.array_equal(fastxent.cross_entropy(logits, targets, **options), loss)
    assert isinstance(loss, np.ndarray if options.get("reduction") == "none" else float)


@pytest.mark.parametrize("n_classes", [10, 148])
def test_scalars_are_summed_in_float64(n_classes, monkeypatch):
    monkeypatch.setattr(_dispatch, "PARALLEL_FROM", 2**30)  # which would be compiled for this alone
    logits = np.zeros((100_000, n_classes), np.float32)
    assert fastxent.cross_entropy(logits, np.zeros(100_000, int)) == relatively(
        math.log(n_classes), MANY_ROWS_RELATIVE
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 10, 148, 3000])
def test_near_certain_target_keeps_its_digits(n_classes, dtype):
    """p_y = 1 − 1e-10, where lse − z_y and p_y − 1 have cancelled nearly all away."""
    logits = np.full((1, n_classes), math.log(1e-10 / (n_classes - 1)), dtype)
    logits[0, 1] = 0
    loss, grad = fastxent.cross_entropy_with_grad(logits, [1], reduction="none")
    others = mpmath.fsum(mpmath.exp(mpmath.mpf(float(z))) for z in np.delete(logits[0], 1))
    relative = NEAR_CERTAIN_RELATIVE[loss.dtype]
    assert float(loss[0]) == relatively(float(mpmath.log1p(others)), relative)
    assert float(grad[0, 1]) == relatively(-float(others / (1 + others)), relative)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [1e7, -1e7, 300.0, -5000.0])
@pytest.mark.parametrize("n_classes", [10, 1000])
def test_a_common_offset_changes_nothing_that_the_inputs_express(n_classes, offset, dtype):
    rng = np.random.default_rng(1)
    logits = rng.integers(-20, 20, (50, n_classes)).astype(dtype)
    targets = rng.integers(0, n_classes, 50)
    loss, grad = fastxent.cross_entropy_with_grad(logits + dtype(offset), targets, reduction="none")
    assert_right(loss, grad, logits, targets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 50, 118, 3000])
def test_logits_of_any_size_give_finite_results(n_classes, dtype):
    logits, targets = problem(40, n_classes, dtype, spread=1e4)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    true_loss, true_grad = truth.loss_and_grad(logits, targets)
    relative = LARGE_LOGITS_LOSS_RELATIVE[loss.dtype]
    np.testing.assert_allclose(loss, true_loss.astype(float), rtol=relative, atol=UNDERFLOW_ABSOLUTE)
    relative = LARGE_LOGITS_GRAD_RELATIVE
    np.testing.assert_allclose(grad, true_grad.astype(float), rtol=relative, atol=UNDERFLOW_ABSOLUTE)


def test_rising_blocks_rescale_what_was_summed_before():
    """Every block of the row has a larger maximum than all before it, some far larger."""
    for step in (0.001, 0.1, 1.0):
        logits = (np.arange(20000, dtype=np.float32) * np.float32(step))[None]
        targets = np.array([19990])
        loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
        assert_right(loss, grad, logits, targets)


@pytest.mark.parametrize("n_classes", [8, 128, 2000])
def test_uniform_logits_have_the_loss_log_k(n_classes):
    for value in (0.0, -3.7, 1e4):
        logits = np.full((3, n_classes), value)
        assert fastxent.cross_entropy(logits, [0, 1, 2]) == relatively(math.log(n_classes), MEAN_RELATIVE)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4"]
)
def test_targets_of_every_integer_dtype_mean_the_same(dtype):
    logits, targets = problem(20, 120)
    expected = fastxent.cross_entropy(logits, targets)
    assert fastxent.cross_entropy(logits, targets.astype(dtype)) == expected
    assert fastxent.cross_entropy(logits, np.repeat(targets, 2).astype(dtype)[::2]) == expected
    assert fastxent.cross_entropy(logits, targets.tolist()) == expected


@pytest.mark.parametrize("n_classes", [10, 148])
def test_ignored_rows_are_not_read_and_count_nowhere(n_classes):
    logits, targets = problem(33, n_classes)
    ignored = np.zeros(33, bool)
    ignored[[0, 7, 16, 32]] = True
    logits[ignored] = np.nan
    targets[ignored] = 3
    targets[~ignored] = np.where(targets[~ignored] == 3, 4, targets[~ignored])
    outs = {"loss_out": np.empty(33), "lse_out": np.empty(33)}
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, ignore_index=3, **outs)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits[~ignored], targets[~ignored])
    assert loss == relatively(expected, MEAN_RELATIVE)
    assert np.array_equal(grad[~ignored], expected_grad)
    assert not grad[ignored].any()
    for out in outs.values():
        assert not out[ignored].any()
        assert out[~ignored].all()


@pytest.mark.parametrize("n_classes", [10, 148])
def test_rows_are_ignored_whose_index_float32_cannot_hold(n_classes):
    index = 2**60 + 2**36 + 1  # by way of float64 it is rounded twice, to another float32
    targets = np.where(np.arange(33) % 2, index, 3)
    logits, _ = problem(33, n_classes, np.float32)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, ignore_index=index)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits[::2], targets[::2])
    assert loss == relatively(expected, MEAN_RELATIVE)
    assert np.array_equal(grad[::2], expected_grad)
    assert not grad[1::2].any()


@pytest.mark.parametrize("n_classes", [10, 148])
def test_a_mean_over_hardly_any_weight_is_of_it_and_over_less_than_can_be_divided_by_0(n_classes):
    logits, targets = problem(4, n_classes)
    for weights, expected in (np.array([2, 0, 1, 0]) * 1e-307, 1.0), (np.full(4, 1e-310), 0.0):
        ones = weights / weights.max()
        loss, grad = fastxent.cross_entropy_with_grad(logits, targets, sample_weight=weights)
        true_loss, true_grad = fastxent.cross_entropy_with_grad(logits, targets, sample_weight=ones)
        assert loss == relatively(expected * true_loss, SUM_RELATIVE)
        np.testing.assert_allclose(grad, expected * true_grad, rtol=SUM_GRAD_RELATIVE, atol=LEAST_ABSOLUTE)
        expected_loss = reference.cross_entropy(logits, targets, sample_weight=weights)
        assert loss == relatively(expected_loss, SUM_RELATIVE)


@pytest.mark.parametrize("normalizer", [None, 5.0])
@pytest.mark.parametrize("n_rows", [0, 4])
@pytest.mark.parametrize("n_classes", [10, 148])
def test_mean_over_no_rows_is_zero(n_classes, n_rows, normalizer):
    logits = np.full((n_rows, n_classes), np.nan, np.float32)
    targets = np.full(n_rows, -100)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, normalizer=normalizer)
    assert loss == 0.0
    assert grad.shape == logits.shape
    assert not grad.any()


def test_no_classes_at_all_is_an_ignored_batch():
    loss, grad = fastxent.cross_entropy_with_grad(np.empty((2, 0)), [-100, -100])
    assert loss == 0.0
    assert grad.shape == (2, 0)


@pytest.mark.parametrize("n_classes", [7, 118])
def test_extra_outputs_receive_row_losses_and_log_sum_exp(n_classes):
    logits, targets = problem(20, n_classes)
    row_losses = fastxent.cross_entropy(logits, targets, reduction="none")
    loss_out, lse_out = np.empty((20, 2))[:, 1], np.empty(20)
    loss = fastxent.cross_entropy(logits, targets, loss_out=loss_out, lse_out=lse_out)
    assert loss == fastxent.cross_entropy(logits, targets)
    assert np.array_equal(loss_out, row_losses)
    np.testing.assert_allclose(lse_out, fastxent.logsumexp(logits), rtol=LOG_SUM_EPS * eps(np.float64))
    assert fastxent.cross_entropy(logits, targets, reduction="none", loss_out=loss_out) is loss_out


@pytest.mark.parametrize("n_classes", [6, 114, 1200])
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_equals_out_of_place_bit_for_bit(n_classes, dtype):
    logits, targets = problem(25, n_classes, dtype)
    kept = logits.copy()
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    assert np.array_equal(logits, kept)
    other = np.empty_like(logits)
    assert fastxent.cross_entropy_with_grad(logits, targets, grad_out=other)[1] is other
    loss_in_place, grad_in_place = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    assert grad_in_place is logits
    assert loss_in_place == loss
    assert np.array_equal(logits, grad)
    assert np.array_equal(other, grad)


def test_a_view_of_the_same_elements_counts_as_in_place():
    logits, targets = problem(4, 5)
    expected = fastxent.cross_entropy_with_grad(logits, targets)[1]
    fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits[:])
    assert np.array_equal(logits, expected)


@pytest.mark.parametrize("n_classes", [5, 148])
def test_read_only_logits_are_accepted(n_classes):
    logits, targets = problem(6, n_classes)
    expected = fastxent.cross_entropy_with_grad(logits, targets)
    logits.flags.writeable = targets.flags.writeable = False
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    assert loss == expected[0]
    assert np.array_equal(grad, expected[1])


@pytest.mark.parametrize("n_classes", [3, 128])
def test_one_unbatched_row_is_a_batch_of_one(n_classes):
    logits, targets = problem(1, n_classes)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    loss_1d, grad_1d = fastxent.cross_entropy_with_grad(logits[0], int(targets[0]))
    assert loss_1d == loss
    assert np.array_equal(grad_1d, grad[0])
    assert fastxent.cross_entropy(logits[0], targets[0], reduction="none").shape == ()


@pytest.mark.parametrize("axis", [0, 1, -2, 3])
def test_the_class_axis_may_be_any(axis):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 5, 6, 7))
    moved = np.ascontiguousarray(np.moveaxis(logits, axis, -1))
    targets = rng.integers(0, 4, moved.shape[:-1])
    outs = {"loss_out": np.empty(targets.shape), "lse_out": np.empty(targets.shape)}
    loss, grad = fastxent.cross_entropy_with_grad(moved, targets)
    loss_axis, grad_axis = fastxent.cross_entropy_with_grad(logits, targets, axis=axis, **outs)
    assert loss_axis == loss
    assert np.array_equal(np.moveaxis(grad_axis, axis, -1), grad)
    assert np.array_equal(outs["loss_out"], fastxent.cross_entropy(moved, targets, reduction="none"))
    np.testing.assert_allclose(outs["lse_out"], fastxent.logsumexp(moved), rtol=LOG_SUM_EPS * eps(np.float64))


@settings(deadline=None, max_examples=60)
@given(
    n_rows=st.integers(1, 20),
    n_classes=st.sampled_from([1, 2, 3, 16, 33, 63, 64, 130]),
    spread=st.floats(0.01, 20),
    shift=st.floats(-50, 50),
    seed=st.integers(0, 2**31),
)
def test_properties_of_loss_and_gradient(n_rows, n_classes, spread, shift, seed):
    logits, targets = problem(n_rows, n_classes, np.float64, spread, seed)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none")
    assert (loss >= 0).all()
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=GRAD_SUM_ABSOLUTE * n_classes)
    rows = np.arange(n_rows)
    assert (grad[rows, targets] <= 0).all()
    assert (np.delete(grad.ravel(), rows * n_classes + targets) >= 0).all()

    shifted_loss, shifted_grad = fastxent.cross_entropy_with_grad(logits + shift, targets, reduction="none")
    np.testing.assert_allclose(shifted_loss, loss, rtol=SHIFTED_LOSS_RELATIVE, atol=SHIFTED_LOSS_ABSOLUTE)
    np.testing.assert_allclose(shifted_grad, grad, rtol=SHIFTED_GRAD_RELATIVE, atol=SHIFTED_GRAD_ABSOLUTE)

    order = np.random.default_rng(seed).permutation(n_classes)
    permuted_loss, permuted_grad = fastxent.cross_entropy_with_grad(
        logits[:, order], np.argsort(order)[targets], reduction="none"
    )
    np.testing.assert_allclose(permuted_loss, loss, rtol=PERMUTED_LOSS_RELATIVE, atol=PERMUTED_LOSS_ABSOLUTE)
    np.testing.assert_allclose(
        permuted_grad, grad[:, order], rtol=PERMUTED_GRAD_RELATIVE, atol=LEAST_ABSOLUTE
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-42, 1e30])
def test_results_that_float32_cannot_hold_are_no_error_and_not_warned_of(size):
    logits = np.array([[0, 1, 3]], np.float32) * np.float32(size)
    probs, targets = logits / 3, logits / 4
    calls = {
        "cross_entropy": lambda: fastxent.cross_entropy(logits, [0], z_loss=1.0, reduction="none"),
        "binary_cross_entropy": lambda: fastxent.binary_cross_entropy(probs, probs * 0, weight=1e-50),
        "kl_divergence": lambda: fastxent.kl_divergence(logits, targets, reduction="none"),
        "log_loss": lambda: fastxent.log_loss(probs, [1], sample_weight=[1e-30], reduction="none"),
        "weights": lambda: fastxent.log_loss(probs, [1], sample_weight=np.array([np.longdouble("1e-400")])),
        "entropy": lambda: fastxent.entropy(logits),
        "logsumexp": lambda: fastxent.logsumexp(logits),
    }
    for name, call in calls.items():
        with np.errstate(all="ignore"):
            expected = call()
        with np.errstate(all="raise"):
            np.testing.assert_array_equal(call(), expected, err_msg=name)
        with np.errstate(all="warn"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # an error might be caught
            call()
        assert not caught, name
