"""The log loss and entropy of probabilities, against exact arithmetic and the float64 reference."""

import itertools
import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fastxent import _dispatch, cpu, entropy, log_loss, reference, softmax
from tests.layouts import LAYOUTS, spaced
from tests.measure import assert_same_bits, assert_ulp, exactly, ulp_error
from tests.tolerances import (
    ENTROPY_ABOVE_ABSOLUTE,
    EXPECTED_SURPRISAL_ULP,
    FLOAT32_RELATIVE,
    LOG_ULP,
    SUM_RELATIVE,
    relatively,
)

INF, NAN = np.inf, np.nan
DTYPES = [np.float32, np.float64]

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
few_examples = settings(deadline=None, max_examples=60)


def problem(shape, dtype=np.float32, seed=0):
    """Probabilities of rows, integer targets, and soft ones."""
    rng = np.random.default_rng(seed)
    probs, soft_targets = (reference.softmax(rng.standard_normal(shape) * 4).astype(dtype) for _ in range(2))
    return probs, rng.integers(0, shape[-1], shape[:-1]), soft_targets


def row_losses(probs, targets, **options):
    return log_loss(probs, targets, reduction="none", **options)


@each_dtype
def test_log_of_the_target_is_exact_from_the_smallest_number_to_one(dtype):
    info = np.finfo(dtype)
    p = np.array([info.smallest_subnormal, info.tiny, 1e-30, 0.1, 0.5, 1 - info.epsneg, 1, 1.5], dtype)
    result = row_losses(p[:, None], np.zeros(len(p), int))
    assert result.dtype == dtype
    assert_ulp(result, exactly(lambda p: -mpmath.log(p), p), LOG_ULP)


@each_dtype
def test_nothing_is_clipped_at_certain_and_impossible_classes(dtype):
    probs = np.array([[0, 1, 0], [1, 0, 0], [NAN, 0.5, 0.5]], dtype)
    zero, inf = dtype(0), dtype(INF)
    assert_same_bits(row_losses(probs, [1, 1, 1]), np.array([0, INF, np.log(dtype(2))], dtype))
    one_hot = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1]], dtype)
    assert_same_bits(row_losses(probs[:2], one_hot[:2]), np.array([zero, inf]))
    assert_same_bits(row_losses(probs, one_hot)[2], dtype(NAN))
    assert_same_bits(entropy(probs), np.array([0, 0, NAN], dtype))
    assert log_loss(probs, [1, 1, 1], reduction="sum") == INF
    assert np.isnan(row_losses(np.array([[-0.5, 1.5]], dtype), [0])).all()
    assert log_loss(np.array([[-0.5, 1.5]], dtype), [1]) == relatively(-np.log(1.5), FLOAT32_RELATIVE)


@each_dtype
@pytest.mark.parametrize("n_classes", [1, 2, 7, 8, 9, 15, 16, 17, 33, 1000])
def test_any_number_of_classes_is_computed_as_by_the_reference(n_classes, dtype):
    probs, y, soft_targets = problem((50, n_classes), dtype)
    probs[::3, ::5] = 0
    exact = probs.astype(np.float64)
    budget = EXPECTED_SURPRISAL_ULP[np.dtype(dtype).name]
    for targets in (y, soft_targets * (exact > 0).astype(dtype), probs):
        exact_targets = targets if targets is y else targets.astype(np.float64)
        truth = reference.log_loss(exact, exact_targets, reduction="none")
        assert_ulp(row_losses(probs, targets), truth, budget)
        loss = log_loss(probs, targets)
        assert loss == relatively(truth.mean(), SUM_RELATIVE)
    result = entropy(probs)
    assert result.dtype == dtype
    assert_ulp(result, reference.entropy(exact), budget)


def test_rows_of_no_classes_have_no_entropy():
    empty = np.empty((3, 0), np.float32)
    np.testing.assert_array_equal(entropy(empty), np.zeros(3))
    np.testing.assert_array_equal(row_losses(empty, empty), np.zeros(3))
    assert log_loss(np.empty((0, 3), np.float32), np.empty(0, int)) == 0.0


@each_dtype
def test_a_negative_probability_makes_its_rows_entropy_nan_and_no_other(dtype):
    probs = np.full((20, 3), 1 / 3, dtype)
    expected = entropy(probs)
    probs[7, 1], expected[7] = -1, NAN
    assert_same_bits(entropy(probs), expected)


def test_rows_left_out_are_not_read_and_not_counted():
    probs, y, soft_targets = problem((6, 5))
    s = np.array([0.5, 2, 0, 1, 3, 0])
    y[1] = -7
    kept, kept_soft = [0, 3, 4], [0, 1, 3, 4]
    expected = s[kept] * -np.log(probs[kept, y[kept]].astype(float))
    soft = s[kept_soft] * row_losses(probs, soft_targets)[kept_soft]
    probs[[2, 5]] = NAN
    losses = row_losses(probs, y, sample_weight=s, ignore_index=-7)
    assert_ulp(losses[kept], expected, EXPECTED_SURPRISAL_ULP["float32"])
    assert not losses[[1, 2, 5]].any()
    options = {"sample_weight": s, "ignore_index": -7}
    assert log_loss(probs, y, **options) == relatively(expected.sum() / 4.5, SUM_RELATIVE)
    assert log_loss(probs, y, normalizer=3.0, **options) == relatively(expected.sum() / 3, SUM_RELATIVE)
    assert log_loss(probs, y, reduction="sum", **options) == relatively(expected.sum(), SUM_RELATIVE)
    assert log_loss(probs, soft_targets, sample_weight=s) == relatively(soft.sum() / 6.5, FLOAT32_RELATIVE)
    assert log_loss(probs, np.full(6, -100)) == 0.0
    expected = -np.log(probs[[0, 3, 4], [0, 1, 2]].astype(float)).mean()
    assert log_loss(probs[[0, 1, 3, 4]], np.array([0, -100, 1, 2])) == relatively(expected, SUM_RELATIVE)


def test_first_bad_target_is_named():
    probs, y, _ = problem((2, 3, 5))
    y[1, 0], y[1, 2] = 5, -1
    with pytest.raises(IndexError, match=r"targets\[1, 0\] is 5, expected a class from 0 to 4"):
        log_loss(probs, y)
    with pytest.raises(IndexError, match=r"targets\[1, 2\] is -1, .* or ignore_index \(5\)"):
        log_loss(probs, y, ignore_index=5)
    with pytest.raises(IndexError, match=r"targets\[0, 0\] is 1099511627776"):
        log_loss(probs, np.full((2, 3), 2**40))  # a class that far off is in no memory


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_every_layout_gives_the_bits_of_a_contiguous_array(axis):
    probs, y, soft_targets = (np.moveaxis(problem((3, 4, 19))[0], -1, axis), *problem((3, 4, 19))[1:])
    soft_targets = np.moveaxis(soft_targets, -1, axis)
    copies = probs.copy(), y.copy(), soft_targets.copy()
    expected = [row_losses(*copies[:2], axis=axis), row_losses(copies[0], copies[2], axis=axis)]
    expected_entropy = entropy(copies[0], axis=axis)
    truth = reference.log_loss(probs.astype(float), y, axis=axis, reduction="none")
    assert_ulp(expected[0], truth, EXPECTED_SURPRISAL_ULP["float32"])
    for layout, layout_y in itertools.product(LAYOUTS.values(), [np.copy, np.asfortranarray]):
        views = layout(probs), layout_y(y), layout(soft_targets)
        for v in views:
            v.flags.writeable = False
        assert_same_bits(row_losses(views[0], views[1], axis=axis), expected[0])
        assert_same_bits(row_losses(views[0], views[2], axis=axis), expected[1])
        out = spaced(expected_entropy)
        assert entropy(views[0], axis=axis, out=out) is out
        assert_same_bits(out, expected_entropy)
        assert np.isnan(out.base).sum() == out.base.size - out.size


def test_one_row_may_be_given_without_its_axis():
    assert log_loss([0.25, 0.75], 0) == np.log(4)
    assert row_losses([0.25, 0.75], [1.0, 0.0]) == np.log(4)
    assert entropy([0.5, 0.5]) == np.log(2)
    assert entropy([0.5, 0.5]).shape == ()


@pytest.mark.parametrize("name", [pytest.param("float16", marks=pytest.mark.exhaustive), "bfloat16"])
def test_half_types_lose_nothing_but_their_own_rounding(name):
    dtype = np.dtype(name) if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16
    probs, y, soft_targets = problem((40, 21))
    probs, soft_targets = probs.astype(dtype), soft_targets.astype(dtype)
    wide, wide_targets = probs.astype(np.float32), soft_targets.astype(np.float32)
    for result, expected in (
        (row_losses(probs, y), row_losses(wide, y)),
        (row_losses(probs, soft_targets), row_losses(wide, wide_targets)),
        (row_losses(wide, soft_targets), row_losses(wide, wide_targets)),
        (entropy(probs), entropy(wide)),
    ):
        assert result.dtype == np.float32
        assert_same_bits(result, expected)


def test_threads_change_no_bit_of_few_classes():
    probs = softmax(np.random.default_rng(0).normal(size=(3300, 10)).astype(np.float32))
    assert probs.size >= _dispatch.PARALLEL_FROM
    halves = [entropy(probs[:1650]), entropy(probs[1650:])]
    assert_same_bits(entropy(probs), np.concatenate(halves))


def test_threads_change_no_bit():
    probs, y, soft_targets = problem((3000, 19))
    threads = numba.get_num_threads()
    soft = cpu.Options(soft_targets=soft_targets, label_smoothing=0.0)
    for targets, options in ((y, cpu.PLAIN), (None, soft)):
        results = []
        for parallel, count in [(False, 1), *((True, count) for count in range(1, threads + 1))]:
            numba.set_num_threads(count)
            try:
                loss = np.empty(len(probs))
                variant = (parallel, targets is None)
                total, _ = cpu.log_loss_rows(
                    variant, 3 if parallel else 1, probs, targets, -100, 1.0, options, loss
                )
            finally:
                numba.set_num_threads(threads)
            results.append((total, loss))
        for total, loss in results:
            assert total == results[0][0]
            assert_same_bits(loss, results[0][1])
        public = log_loss(probs, soft_targets if targets is None else y, reduction="sum")
        assert public == results[0][0] == relatively(math.fsum(loss.tolist()), SUM_RELATIVE)


P = np.full((4, 5), 0.2, np.float32)
BAD_CALLS = {
    "integer probs": (P.astype(int), np.zeros(4, int), {}, TypeError, "probs must be float32"),
    "targets of another shape": (P, np.zeros(3, int), {}, ValueError, "that of probs without its class axis"),
    "soft targets of another shape": (P, P[:3], {}, ValueError, "must have the shape of probs"),
    "boolean targets": (P, np.zeros(4, bool), {}, TypeError, "targets must be integers"),
    "axis": (P, np.zeros(4, int), {"axis": 2}, ValueError, "axis must be from -2 to 1"),
    "sample weight": (P, np.zeros(4, int), {"sample_weight": [1]}, ValueError, "sample_weight must have"),
    "ignored soft targets": (P, P, {"ignore_index": 0}, ValueError, "ignore_index needs targets"),
    "reduction": (P, P, {"reduction": None}, ValueError, "reduction must be"),
    "normalizer": (P, P, {"normalizer": 0.0}, ValueError, "normalizer must be finite"),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_bad_argument_is_refused(bad):
    probs, targets, options, error, message = BAD_CALLS[bad]
    with pytest.raises(error, match=message):
        log_loss(probs, targets, **options)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (lambda p: np.empty(4), TypeError, "out must be float32"),
        (lambda p: np.empty(5, np.float32), ValueError, "out must have shape"),
        (lambda p: p[:, 0], ValueError, "out must not overlap probs"),
        (lambda p: [0.0] * 4, TypeError, "out must be a plain NumPy array"),
    ],
)
def test_bad_output_of_entropy_is_refused_before_anything_is_written(out, error, message):
    p = P.copy()
    with pytest.raises(error, match=message):
        entropy(p, out=out(p))
    assert_same_bits(p, P)


shapes = st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=40)
any_probs = st_numpy.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))


@few_examples
@given(any_probs, st.integers(0, 2**32))
def test_soft_targets_that_name_one_class_cost_what_the_class_costs(probs, seed):
    y = np.random.default_rng(seed).integers(0, probs.shape[1], len(probs))
    one_hot = np.zeros_like(probs)
    one_hot[np.arange(len(y)), y] = 1
    errors = ulp_error(row_losses(probs, one_hot), row_losses(probs, y).astype(float))
    assert np.all(errors <= EXPECTED_SURPRISAL_ULP["float32"])


@few_examples
@given(any_probs)
def test_entropy_is_between_zero_and_that_of_equal_classes(weights):
    total = weights.sum(axis=1, keepdims=True, dtype=float)
    probs = np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[1])
    result = entropy(probs)
    assert np.all(result >= 0)
    assert np.all(result <= np.log(weights.shape[1]) + ENTROPY_ABOVE_ABSOLUTE)
