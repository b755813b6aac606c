"""Binary cross-entropy and its gradient, against exact arithmetic and the float64 reference."""

import itertools
import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fastxent import binary_cross_entropy, binary_cross_entropy_with_grad, cpu, reference
from tests.layouts import LAYOUTS, spaced
from tests.measure import assert_same_bits, exactly, ulp, ulp_error
from tests.numerical import numerical_grad
from tests.tolerances import (
    BINARY_GRAD_ULP,
    BINARY_LOSS_ULP,
    FLOAT32_RELATIVE,
    NUMERICAL_GRAD_ABSOLUTE,
    OPTION_ULP,
    SUM_RELATIVE,
    relatively,
)

INF, NAN = np.inf, np.nan
DTYPES = [np.float32, np.float64]
HALVES = [pytest.param("float16", marks=pytest.mark.exhaustive), "bfloat16"]
WEIGHTS = {"weight": 0.75, "pos_weight": [2.0, 0.5, 3.0, 0.0, 1.5]}
OPTIONS = [{}, {"label_smoothing": 0.125}, WEIGHTS, {**WEIGHTS, "label_smoothing": 1.0, "normalizer": 2.5}]

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
few_examples = settings(deadline=None, max_examples=60)


def half(name):
    return np.dtype(name) if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16


def problem(shape, dtype=np.float64, soft=True, seed=0):
    """Logits and targets; with those and a smoothing of 1/8 the reference rounds neither y' nor 1 − y'."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2**12 + 1, shape) / 2**12
    return (rng.standard_normal(shape) * 4).astype(dtype), (y if soft else y.round()).astype(dtype)


def elementwise(z, y, **options):
    """Losses and gradient of their sum, element by element."""
    return binary_cross_entropy_with_grad(z, y, reduction="none", **options)


def larger_term(z, y, weight=1.0, pos_weight=1.0, label_smoothing=0.0):
    """Of the two in the gradient: what its rounding errors are in proportion to."""
    z, y = np.asarray(z, np.float64), np.asarray(y, np.float64)
    y = (1 - label_smoothing) * y + label_smoothing / 2
    terms = (1 - y) * reference.sigmoid(z), np.asarray(pos_weight) * y * reference.sigmoid(-z)
    return np.asarray(weight) * np.maximum(*terms)


@each_dtype
def test_loss_and_gradient_are_exact_at_awkward_logits(dtype):
    sizes = [0, 1e-30, 1e-8, 0.3, 1, 2.74, 17.3, 36.8, 80, 1e4]
    pairs = itertools.product([-s for s in sizes] + sizes, [0, 1, 0.3, 1e-8, 1 - 1e-7])
    z, y = np.array(list(pairs), dtype).T.copy()
    loss, grad = elementwise(z, y)
    true_loss = exactly(
        lambda z, y: y * mpmath.log1p(mpmath.exp(-z)) + (1 - y) * mpmath.log1p(mpmath.exp(z)), z, y
    )
    true_grad, _ = exactly(lambda z, y: (1 - y) / (1 + mpmath.exp(-z)) - y / (1 + mpmath.exp(z)), z, y)
    normal = true_loss[0] >= np.finfo(dtype).tiny
    assert np.all(ulp_error(loss, *true_loss)[normal] <= BINARY_LOSS_ULP)
    assert np.all(loss[~normal] <= np.finfo(dtype).tiny)
    assert np.all(np.abs(grad - true_grad) <= BINARY_GRAD_ULP * ulp(larger_term(z, y), dtype))


@pytest.mark.parametrize("y", [0, 1])
def test_gradient_of_a_nearly_certain_logit_keeps_its_digits(y):
    z = np.array([20.0, 60.0], np.float32) * (2 * y - 1)
    _, grad = elementwise(z, np.full(2, y))
    np.testing.assert_allclose(grad, (1 - 2 * y) * np.exp(-np.abs(z, dtype=float)), rtol=FLOAT32_RELATIVE)


@each_dtype
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("soft", [True, False])
def test_every_option_gives_what_the_reference_gives(options, soft, dtype):
    z, y = problem((400, 5), dtype, soft)
    exact = z.astype(np.float64), y.astype(np.float64)
    options = {name: value for name, value in options.items() if name != "normalizer"}
    loss, grad = elementwise(z, y, **options)
    true_loss, true_grad = reference.binary_cross_entropy_with_grad(*exact, reduction="none", **options)
    assert loss.dtype == grad.dtype == dtype
    assert np.all(ulp_error(loss, true_loss) <= BINARY_LOSS_ULP + OPTION_ULP)
    allowed = (BINARY_GRAD_ULP + OPTION_ULP) * ulp(larger_term(z, y, **options), dtype)
    assert np.all(np.abs(grad - true_grad) <= allowed)


@each_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", [{}, WEIGHTS])
def test_loss_is_the_float64_sum_and_the_gradient_is_divided_as_it_is(options, reduction, dtype):
    z, y = problem((301, 5), dtype)
    losses, grads = elementwise(z, y, **options)
    total = math.fsum(losses.ravel().tolist())
    for normalizer in (None, 7.5) if reduction == "mean" else (None,):
        divisor = 1.0 if reduction == "sum" else normalizer or z.size  # not the sum of the weights
        arguments = {**options, "reduction": reduction, "normalizer": normalizer}
        loss, grad = binary_cross_entropy_with_grad(z, y, **arguments)
        assert type(loss) is float
        assert loss == relatively(total / divisor, SUM_RELATIVE)
        assert loss == binary_cross_entropy(z, y, **arguments)
        assert np.all(ulp_error(grad, grads.astype(np.float64) / divisor) <= OPTION_ULP)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradient_is_the_derivative_of_the_loss(options):
    z, y = problem((3, 5))
    _, grad = binary_cross_entropy_with_grad(z, y, **options)
    numerical = numerical_grad(lambda z: binary_cross_entropy(z, y, **options), z)
    np.testing.assert_allclose(grad, numerical, rtol=0, atol=NUMERICAL_GRAD_ABSOLUTE)


@each_dtype
def test_infinite_logits_and_nan_give_what_the_mathematics_says(dtype):
    z = np.array([-INF, INF, -INF, INF, INF, -INF, NAN, NAN, 0] * 5, dtype)
    y = np.array([0, 1, 1, 0, 0.5, 0.25, 0, 1, 1] * 5, dtype)
    loss, grad = elementwise(z, y)
    at_zero = np.log(2)
    np.testing.assert_allclose(loss, [0, 0, INF, INF, INF, INF, NAN, NAN, at_zero] * 5, rtol=FLOAT32_RELATIVE)
    np.testing.assert_array_equal(grad, np.array([0, 0, -1, 1, 0.5, -0.25, NAN, NAN, -0.5] * 5, dtype))
    assert binary_cross_entropy(z[:2], y[:2]) == 0.0
    assert binary_cross_entropy(z[:3], y[:3]) == INF


@each_dtype
def test_weight_of_zero_makes_an_infinite_loss_zero(dtype):
    z, y = np.array([-INF, INF, INF], dtype), np.array([1, 0, 0], dtype)
    loss, grad = elementwise(z, y, weight=[0, 0, 1], pos_weight=0)
    assert_same_bits(loss, np.array([0, 0, INF], dtype))
    np.testing.assert_array_equal(grad, np.array([0, 0, 1], dtype))
    assert elementwise(z[:1], y[:1], pos_weight=0)[0] == 0


@each_dtype
def test_lanes_and_blocks_have_no_seams(dtype):
    n = 2 * 8192 + 40
    z, y = problem(n, dtype)
    w, pos = np.linspace(0, 2, n), np.linspace(3, 0.5, n)
    losses, grads = elementwise(z, y, weight=w, pos_weight=pos)
    for size in (0, 1, 7, 8, 9, 15, 16, 17, 33, 8191, 8192, 8193, n):
        part = slice(n - size, n)
        loss, grad = elementwise(z[part], y[part], weight=w[part], pos_weight=pos[part])
        assert_same_bits(loss, losses[part])
        assert_same_bits(grad, grads[part])
        total = binary_cross_entropy(z[:size], y[:size], reduction="sum")
        assert total == relatively(math.fsum(elementwise(z[:size], y[:size])[0].tolist()), SUM_RELATIVE)


@pytest.mark.parametrize("shape", [(), (1, 1, 1), (5,), (1, 5), (40, 1), (4, 40, 1), (4, 1, 5), (1, 40, 5)])
def test_weights_broadcast_against_the_logits(shape):
    z, y = problem((4, 40, 5), np.float32)
    w, pos = np.random.default_rng(2).uniform(0, 3, (2, *shape))
    spread_out = {
        "weight": np.broadcast_to(w, z.shape).copy(),
        "pos_weight": np.broadcast_to(pos, z.shape).copy(),
    }
    for result, expected in zip(
        elementwise(z, y, weight=w, pos_weight=pos), elementwise(z, y, **spread_out), strict=True
    ):
        assert_same_bits(result, expected)


@each_dtype
def test_every_layout_gives_the_bits_of_a_contiguous_array_and_may_be_overwritten(dtype):
    z, y = problem((3, 4, 17), dtype)
    loss, grad = elementwise(z, y)
    for layout in LAYOUTS.values():
        logits, targets, loss_out, grad_out = layout(z), layout(y), layout(z), spaced(z)
        for result in (
            elementwise(logits, targets),
            elementwise(logits, targets, grad_out=grad_out, loss_out=loss_out),
            (loss_out, grad_out),
            elementwise(logits, targets, grad_out=logits),
        ):
            assert_same_bits(result[0], loss)
            assert_same_bits(result[1], grad)
        assert result[1] is logits
        assert np.isnan(grad_out.base).sum() == grad_out.base.size - grad_out.size


def test_logits_and_targets_are_only_read_unless_asked():
    z, y = problem((6, 5), np.float32)
    for a in (z, y):
        a.flags.writeable = False
    before = z.copy()
    loss_out = np.empty_like(z)
    assert binary_cross_entropy(z, y, reduction="none", loss_out=loss_out) is loss_out
    total, grad = binary_cross_entropy_with_grad(z, y, reduction="sum")
    assert total == relatively(loss_out.sum(dtype=float), SUM_RELATIVE)
    assert not np.shares_memory(grad, z)
    assert_same_bits(z, before)


@pytest.mark.parametrize("name", HALVES)
def test_half_types_are_computed_in_float32_and_rounded_once(name):
    dtype = half(name)
    z, y = (a.astype(dtype) for a in problem((70, 5), np.float32))
    loss, grad = elementwise(z, y)
    expected_loss, expected_grad = elementwise(z.astype(np.float32), y.astype(np.float32))
    assert loss.dtype == np.float32
    assert_same_bits(loss, expected_loss)
    assert grad.dtype == dtype
    np.testing.assert_array_equal(grad.astype(np.float32), expected_grad.astype(dtype).astype(np.float32))
    wide = np.empty(z.shape, np.float32)
    elementwise(z, y, grad_out=wide)
    assert_same_bits(wide, expected_grad)
    elementwise(z, y, grad_out=z)
    np.testing.assert_array_equal(z.astype(np.float32), grad.astype(np.float32))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", ">i4", "float16", "float64"])
def test_targets_of_any_dtype_mean_the_same(dtype):
    z, y = problem((30, 5), np.float32, soft=False)
    for result, expected in zip(elementwise(z, y.astype(dtype)), elementwise(z, y), strict=True):
        assert_same_bits(result, expected)
    assert elementwise([0.0, 1.0], [True, False])[0].dtype == np.float64


def test_threads_change_no_bit():
    n = 6 * 8192 + 5
    z, y = problem(n, np.float32)
    w = cpu.cyclic(np.array([2.0, 0.5, 1.0]), np.float32)
    results = []
    threads = numba.get_num_threads()
    for parallel, count in [(False, 1), *((True, count) for count in range(1, threads + 1))]:
        numba.set_num_threads(count)
        try:
            loss, grad = np.empty_like(z), np.empty_like(z)
            total = cpu.binary_cross_entropy_blocks((parallel, "test"), z, y, w, w, 0.1, 0.25, loss, grad)
        finally:
            numba.set_num_threads(threads)
        results.append((total, loss, grad))
    for result in results[1:]:
        for array, expected in zip(result, results[0], strict=True):
            assert_same_bits(array, expected)
    assert results[0][0] == relatively(loss.sum(dtype=float), SUM_RELATIVE)


def test_a_large_array_is_computed_as_its_parts_are():
    z, y = problem((2, 40000), np.float32)
    losses, grads = elementwise(z, y)
    for part in np.array_split(np.arange(40000), 5):
        loss, grad = elementwise(z[1, part], y[1, part])
        assert_same_bits(losses[1, part], loss)
        assert_same_bits(grads[1, part], grad)


def test_loss_of_no_elements_is_zero():
    z, y = np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)
    for reduction in ("mean", "sum"):
        loss, grad = binary_cross_entropy_with_grad(z, y, reduction=reduction, weight=[1, 2, 3])
        assert loss == 0.0
        assert grad.shape == (0, 3)
    assert elementwise(z, y)[0].shape == (0, 3)


any_logits = st_numpy.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32, allow_nan=False))


@few_examples
@given(any_logits, st.integers(0, 2**32))
def test_yes_to_a_logit_is_no_to_its_opposite(z, seed):
    y = np.random.default_rng(seed).random(z.shape) < 0.5
    loss, grad = elementwise(z, y)
    opposite_loss, opposite_grad = elementwise(-z, ~y)
    assert_same_bits(loss, opposite_loss)
    np.testing.assert_array_equal(grad, -opposite_grad)


@few_examples
@given(any_logits, st.integers(0, 2**32), st.floats(0, 1))
def test_loss_is_not_negative_and_the_gradient_not_longer_than_the_distance(z, seed, smoothing):
    y = np.random.default_rng(seed).random(z.shape, np.float32)
    loss, grad = elementwise(z, y, label_smoothing=smoothing)
    assert np.all(loss >= 0)
    assert np.all(np.abs(grad) <= 1)
    assert np.all(grad[z == INF] >= 0)
    assert np.all(grad[z == -INF] <= 0)
