"""Cross-entropy of device arrays is what the specification says, as on the CPU."""

import math

import numpy as np
import pytest
from numba import config

import fastxent
from fastxent import reference
from fastxent.cpu import PLAIN
from fastxent.cuda import to_device
from fastxent.cuda.options import Row, numbers_of
from fastxent.cuda.sums import empty_sums, plus_above
from tests.cuda.moved import Borrowed, moved, to_host
from tests.layouts import LAYOUTS
from tests.mixes import MIXES, assert_close, kept_rows, problem, solve, true_results
from tests.tolerances import (
    CUDA_BFLOAT16_RELATIVE,
    CUDA_GRAD_ABSOLUTE_EPS,
    CUDA_GRAD_EPS,
    CUDA_HESSIAN_ABSOLUTE,
    CUDA_LONG_ROW_EPS,
    CUDA_LONG_ROW_SUM_EPS,
    CUDA_LOSS_EPS,
    CUDA_MASKED_ENTROPY_EPS,
    CUDA_RELATIVE,
    CUDA_ROW_GRAD_ABSOLUTE,
    CUDA_ROW_GRAD_RELATIVE,
    CUDA_ROW_LOSS_RELATIVE,
    CUDA_STRIDED_GRAD_EPS,
    CUDA_STRIDED_LOSS_EPS,
    CUDA_WIDE_GRAD_ABSOLUTE,
    CUDA_WIDE_GRAD_RELATIVE,
    CUDA_WIDE_LOSS_RELATIVE,
    FLOAT32_RELATIVE,
    NEAR_CERTAIN_RELATIVE,
    eps,
    relatively,
)

HARD = [name for name, mix in MIXES.items() if not mix.soft]
# By lanes; by a block that keeps the row, of one warp and of two; by one that reads it twice, here as there:
# the simulator's blocks have at most 8 threads, a GPU's 512, which keep 16 numbers each.
N_CLASSES = [1, 10, 33, 65, 120, 150]


def assert_as_specified(name, logits, targets, options, **more):
    mix = MIXES[name]
    results = solve(moved, mix, logits, targets, options, **more)
    expected = true_results(mix, logits, targets, options, **more)
    assert_close(results, expected, logits.dtype, mix, logits, targets, options | more, CUDA_RELATIVE)
    return results


def assert_grad_close(result, expected, dtype=np.float32):
    relative, absolute = CUDA_GRAD_EPS * eps(dtype), CUDA_GRAD_ABSOLUTE_EPS * eps(dtype)
    np.testing.assert_allclose(result, expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("n_classes", N_CLASSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_every_result_is_that_of_the_specification(name, n_classes, dtype):
    logits, targets, options = problem(MIXES[name], 5, n_classes, dtype)
    results = assert_as_specified(name, logits, targets, options)
    unread = ~kept_rows(targets, options, len(logits))
    for output, values in results.items():
        if output != "loss":
            assert np.all(values[unread] == (n_classes if output == "rank_out" else 0)), output


@pytest.mark.parametrize("n_classes", [10, 70])
@pytest.mark.parametrize("more", [{"reduction": "sum"}, {"reduction": "none"}, {"normalizer": 7.5}], ids=str)
def test_every_reduction_divides_loss_and_gradient_alike(more, n_classes):
    logits, targets, options = problem(MIXES["all hard"], 6, n_classes)
    results = assert_as_specified("all hard", logits, targets, options, **more)
    loss = moved.cross_entropy(logits, targets, **options, **more)
    assert np.array_equal(loss, results["loss"])
    assert isinstance(loss, np.ndarray if more.get("reduction") == "none" else float)


@pytest.mark.parametrize("n_classes", [10, 100, 127, 128, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_plain_gradient_is_the_same_in_place_and_apart(n_classes, dtype):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (4, n_classes)).astype(dtype), rng.integers(0, n_classes, 4)
    targets[2] = -100
    true_loss, true_grad = reference.cross_entropy_with_grad(logits.astype(np.float64), targets)
    there = to_device(logits)
    loss, grad = fastxent.cross_entropy_with_grad(there, targets)
    assert loss == relatively(true_loss, CUDA_LOSS_EPS * eps(dtype))
    assert_grad_close(to_host(grad), true_grad, dtype)
    assert np.array_equal(to_host(there), logits)
    again, in_place = fastxent.cross_entropy_with_grad(there, to_device(targets), grad_out=there)
    assert in_place is there
    assert again == loss
    assert np.array_equal(to_host(there), to_host(grad))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "unaligned"])
@pytest.mark.parametrize("shape", [(3, 20), (3, 50), (2, 3, 70), (40, 33)], ids=str)
def test_any_strides_give_the_same(layout, shape):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    targets = rng.integers(0, shape[-1], shape[:-1])
    loss, grad = moved.cross_entropy_with_grad(logits, targets, reduction="none")
    view, out = LAYOUTS[layout](logits), LAYOUTS[layout](np.empty_like(logits))
    strided_loss, strided_grad = moved.cross_entropy_with_grad(view, targets, reduction="none", grad_out=out)
    np.testing.assert_allclose(strided_loss, loss, rtol=CUDA_STRIDED_LOSS_EPS * eps(np.float32))
    relative, absolute = CUDA_STRIDED_GRAD_EPS * eps(np.float32), CUDA_GRAD_ABSOLUTE_EPS * eps(np.float32)
    np.testing.assert_allclose(strided_grad, grad, rtol=relative, atol=absolute)
    in_place = LAYOUTS[layout](logits)
    moved.cross_entropy_with_grad(in_place, targets, reduction="none", grad_out=in_place)
    assert np.array_equal(in_place, strided_grad)


@pytest.mark.parametrize("out", ["padded", "every second"])
def test_the_gradient_may_lie_otherwise_than_the_logits(out):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (3, 60)).astype(np.float32), rng.integers(0, 60, 3)
    grad = LAYOUTS[out](np.empty_like(logits))
    moved.cross_entropy_with_grad(logits, targets, grad_out=grad)
    assert np.array_equal(grad, moved.cross_entropy_with_grad(logits, targets)[1])


def test_images_have_their_classes_on_the_second_axis():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (2, 40, 3, 4)), rng.integers(0, 40, (2, 3, 4))
    weight = rng.uniform(0, 2, 40)
    loss, grad = moved.cross_entropy_with_grad(logits, targets, axis=1, weight=weight)
    true_loss, true_grad = reference.cross_entropy_with_grad(logits, targets, axis=1, weight=weight)
    assert loss == relatively(true_loss, CUDA_WIDE_LOSS_RELATIVE)
    relative, absolute = CUDA_WIDE_GRAD_RELATIVE, CUDA_WIDE_GRAD_ABSOLUTE
    np.testing.assert_allclose(grad, true_grad, rtol=relative, atol=absolute)


def test_rows_on_more_than_two_axes_are_refused_before_anything_is_written():
    logits = Borrowed(np.zeros((4, 6, 8, 5))[::2, ::2, ::2])
    with pytest.raises(NotImplementedError, match="at most two axes"):
        fastxent.cross_entropy_with_grad(logits, np.zeros((2, 3, 4), int), grad_out=logits)
    assert not to_host(logits).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("n_classes", [10, 75, 300])
def test_half_types_are_computed_in_float32(dtype, n_classes):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    half = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (4, n_classes)).astype(half), rng.integers(0, n_classes, 4)
    out, hess = np.empty(logits.shape, np.float32), np.empty(logits.shape, half)
    loss, wide = moved.cross_entropy_with_grad(logits, targets, grad_out=out, hess_out=hess)
    true_hess = np.empty(logits.shape)
    exact = logits.astype(np.float64)
    true_loss, true_grad = reference.cross_entropy_with_grad(exact, targets, hess_out=true_hess)
    assert loss == relatively(true_loss, CUDA_LOSS_EPS * eps(np.float32))
    assert_grad_close(wide, true_grad)
    relative, absolute = CUDA_BFLOAT16_RELATIVE, CUDA_HESSIAN_ABSOLUTE
    np.testing.assert_allclose(hess.astype(float), true_hess, rtol=relative, atol=absolute)
    moved.cross_entropy_with_grad(logits, targets, grad_out=logits)
    assert np.array_equal(logits, wide.astype(half))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 10, 100, 300])
def test_near_certain_target_keeps_its_digits(n_classes, dtype):
    logits = np.full((1, n_classes), math.log(1e-10 / (n_classes - 1)), dtype)
    logits[0, 1] = 0
    loss, grad = moved.cross_entropy_with_grad(logits, [1], reduction="none")
    others = math.fsum(math.exp(float(z)) for z in np.delete(logits[0], 1))
    relative = NEAR_CERTAIN_RELATIVE[np.dtype(dtype)]
    np.testing.assert_allclose([loss[0], -grad[0, 1]], [math.log1p(others), others], rtol=relative)


@pytest.mark.parametrize("offset", [1e7, -1e7, 300.0])
@pytest.mark.parametrize("n_classes", [10, 100, 300])
def test_a_common_offset_changes_nothing_that_the_inputs_express(n_classes, offset):
    rng = np.random.default_rng(1)
    logits = rng.integers(-20, 20, (3, n_classes)).astype(np.float32)
    targets = rng.integers(0, n_classes, 3)
    loss, grad = moved.cross_entropy_with_grad(logits + np.float32(offset), targets, reduction="none")
    true_loss, true_grad = reference.cross_entropy_with_grad(
        logits.astype(np.float64), targets, reduction="none"
    )
    np.testing.assert_allclose(loss, true_loss, rtol=CUDA_LOSS_EPS * eps(np.float32))
    assert_grad_close(grad, true_grad)


@pytest.mark.parametrize("n_classes", [5, 90, 200])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["target", "another class", "the whole row"])
@pytest.mark.parametrize("option", [{}, {"softcap": 5.0}, {"focal_gamma": 2.0}], ids=str)
def test_special_values_do_as_on_the_cpu_to_their_row_and_nothing_to_others(n_classes, value, place, option):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (3, n_classes)).astype(np.float32), np.array([1, 1, 1])
    logits[1, {"target": 1, "another class": -1}.get(place, slice(None))] = value
    loss, grad = moved.cross_entropy_with_grad(logits, targets, reduction="none", **option)
    expected, expected_grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="none", **option)
    np.testing.assert_allclose(loss, expected, rtol=CUDA_LOSS_EPS * eps(np.float32))
    assert_grad_close(grad, expected_grad)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64])
def test_targets_of_every_integer_dtype_mean_the_same_there_and_from_the_host(dtype):
    logits, targets = np.random.default_rng(0).normal(0, 3, (4, 40)), np.array([3, 39, 0, 7])
    expected = moved.cross_entropy(logits, targets)
    there = to_device(logits)
    assert fastxent.cross_entropy(there, targets.astype(dtype)) == expected
    assert fastxent.cross_entropy(there, to_device(targets.astype(dtype))) == expected


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_an_ignored_target_of_any_integer_dtype_is_ignored_there(dtype):
    logits, targets = np.random.default_rng(0).normal(0, 3, (3, 40)), np.array([3, -100, 7])
    expected = moved.cross_entropy(logits, targets)
    assert fastxent.cross_entropy(to_device(logits), to_device(targets.astype(dtype))) == expected


def test_weights_there_may_lie_backwards_and_be_too_small_for_float32():
    logits = np.random.default_rng(0).normal(0, 3, (3, 40)).astype(np.float32)
    weight, targets = np.arange(1.0, 41)[::-1], [0, 5, 9]
    with np.errstate(all="raise"):
        loss = moved.cross_entropy(logits, targets, weight=Borrowed(weight))
        moved.cross_entropy(logits, targets, sample_weight=[1, 1e-50, 1])
    expected = fastxent.cross_entropy(logits, targets, weight=weight)
    assert loss == relatively(expected, FLOAT32_RELATIVE)


@pytest.mark.parametrize("shape", [(0, 5), (0, 50), (3, 1)], ids=str)
def test_nothing_to_average_is_0(shape):
    logits = np.zeros(shape, np.float32)
    loss, grad = moved.cross_entropy_with_grad(logits, np.full(len(logits), -100))
    assert loss == 0.0
    assert grad.shape == shape
    assert not grad.any()


def test_one_row_needs_no_batch():
    logits = np.random.default_rng(0).normal(0, 3, 50)
    loss, grad = moved.cross_entropy_with_grad(logits, 7)
    true_loss, true_grad = reference.cross_entropy_with_grad(logits, 7)
    assert loss == relatively(true_loss, CUDA_ROW_LOSS_RELATIVE)
    relative, absolute = CUDA_ROW_GRAD_RELATIVE, CUDA_ROW_GRAD_ABSOLUTE
    np.testing.assert_allclose(grad, true_grad, rtol=relative, atol=absolute)


@pytest.mark.parametrize("n_classes", [5, 40])
def test_a_mean_over_classes_of_no_weight_has_no_slope_even_in_rows_of_nan(n_classes):
    logits, hess = np.full((3, n_classes), np.nan), np.ones((3, n_classes))
    weight = np.where(np.arange(n_classes) == 1, 0.0, 2.0)
    loss, grad = moved.cross_entropy_with_grad(logits, np.ones(3, int), weight=weight, hess_out=hess)
    assert loss == 0.0
    assert not grad.any()
    assert not hess.any()


@pytest.mark.parametrize("n_classes", [12, 40, 150])
@pytest.mark.parametrize("mask", ["first", "last"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_entropy_of_rows_masked_by_the_least_number_is_that_of_the_rest(n_classes, mask, dtype):
    logits = np.full((2, n_classes), np.finfo(dtype).min, dtype)
    kept = slice(-3, None) if mask == "first" else slice(3)
    logits[:, kept] = [1, 2, 3]
    targets, entropy = np.arange(n_classes)[kept][:2], np.empty(2, dtype)
    moved.cross_entropy(logits, targets, entropy_out=entropy)
    (expected,) = reference.entropy(reference.softmax([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(entropy, expected, rtol=CUDA_MASKED_ENTROPY_EPS * eps(dtype))


def test_a_thread_that_takes_a_row_of_many_classes_does_not_round_their_sum_too_often():
    n_classes = 20_000
    logits = np.random.default_rng(0).normal(0, 2, (2, n_classes)).astype(np.float32)
    logits, targets = np.asfortranarray(logits), np.array([0, n_classes - 1])
    options = {"label_smoothing": 0.1, "reduction": "none", "weight": np.linspace(0.5, 1.5, n_classes)}
    loss, grad = moved.cross_entropy_with_grad(logits, targets, **options)
    true_loss, _ = reference.cross_entropy_with_grad(logits.astype(np.float64), targets, **options)
    np.testing.assert_allclose(loss, true_loss, rtol=CUDA_LONG_ROW_EPS * eps(np.float32))
    assert np.abs(grad.sum(axis=1, dtype=np.float64)).max() < CUDA_LONG_ROW_SUM_EPS * eps(np.float32)


@pytest.mark.skipif(not config.ENABLE_CUDASIM, reason="what is compiled for a GPU runs there alone")
def test_ranks_beyond_what_float32_counts_are_exact():
    zero = np.float32(0)
    row = Row(0, 0, 4, 3, zero, zero, zero, zero)
    numbers = numbers_of("float32", PLAIN)
    sums = empty_sums(numbers)
    sums = sums._replace(above=type(sums.above)(2**24))  # counted in whatever they are counted in
    assert plus_above(sums, row, 0, np.float32([1, 2, np.nan, 0])).above == 2**24 + 3
