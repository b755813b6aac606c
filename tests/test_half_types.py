"""float16 and bfloat16: computed in float32, rounded once when stored."""

import numpy as np
import pytest

import fastxent
from tests.layouts import LAYOUTS, spaced
from tests.measure import assert_same_bits
from tests.mixes import ALL_SOFT, ALL_WITH_HESSIAN, Mix, problem, solve
from tests.tolerances import (
    BFLOAT16_GRAD_RELATIVE,
    HALF_GRAD_ABSOLUTE,
    HALF_LOSS_EPS,
    MEAN_RELATIVE,
    eps,
    relatively,
)

PLAIN = Mix({})
FEW, MANY = 10, 148


@pytest.fixture(params=[pytest.param("float16", marks=pytest.mark.slow), "bfloat16"])
def half(request):
    return dtype_of(request.param)


def dtype_of(name):
    return np.dtype(name if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)


def bits(array):
    return np.asarray(array).view(f"i{array.dtype.itemsize}")


def assert_as_float32(results, expected):
    """Row results bit for bit, and the others rounded once from what is float32 there."""
    for name, value in expected.items():
        if name == "loss":
            assert results[name] == value
        elif results[name].dtype.itemsize == 2:
            with np.errstate(over="ignore"):
                rounded = value.astype(results[name].dtype)
            np.testing.assert_array_equal(bits(results[name]), bits(rounded), err_msg=name)
        else:
            assert_same_bits(results[name], value)


@pytest.mark.parametrize("n_classes", [1, FEW, 15, 16, 17, 63, 64, MANY, 1025, 2050])
def test_results_are_those_of_float32_logits_rounded_once(half, n_classes):
    logits, targets, _ = problem(PLAIN, 37 if n_classes < 1000 else 7, n_classes, half)
    expected = solve(fastxent, PLAIN, logits.astype(np.float32), targets, {})
    results = solve(fastxent, PLAIN, logits, targets, {})
    assert (results["grad"].dtype, results["loss_out"].dtype) == (half, np.float32)
    assert_as_float32(results, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mix", "n_classes"),
    [("float16", ALL_WITH_HESSIAN, FEW), ("bfloat16", ALL_SOFT, MANY)],
    ids=["float16, Hessian", "bfloat16, soft"],
)
def test_options_give_the_results_of_float32_rounded_once(name, mix, n_classes):
    logits, targets, options = problem(mix, 37, n_classes, dtype_of(name))
    wide = targets.astype(np.float32) if mix.soft else targets
    expected = solve(fastxent, mix, logits.astype(np.float32), wide, options)
    assert_as_float32(solve(fastxent, mix, logits, targets, options), expected)


@pytest.mark.slow
def test_a_float32_gradient_is_not_rounded_at_all():
    logits, targets, _ = problem(PLAIN, 37, MANY, np.float16)
    expected = solve(fastxent, PLAIN, logits.astype(np.float32), targets, {})
    grad = np.empty(logits.shape, np.float32)
    assert_as_float32(solve(fastxent, PLAIN, logits, targets, {}, grad_out=grad), expected)


@pytest.mark.parametrize("n_classes", [FEW, MANY])
def test_layouts_and_in_place_change_no_bit(half, n_classes):
    matrix, targets, _ = problem(PLAIN, 13, n_classes, half)
    expected = solve(fastxent, PLAIN, matrix, targets, {})["grad"]
    for layout in LAYOUTS.values():
        logits = layout(matrix)
        out = layout(np.zeros_like(matrix))
        solve(fastxent, PLAIN, matrix, targets, {}, grad_out=out)
        solve(fastxent, PLAIN, logits, targets, {}, grad_out=logits)
        for grad in (logits, out):
            np.testing.assert_array_equal(bits(grad.copy()), bits(expected))


@pytest.mark.parametrize("n_classes", [FEW, MANY])
def test_nothing_between_the_elements_is_written_and_ignored_rows_are_not_read(half, n_classes):
    matrix, targets, _ = problem(PLAIN, 13, n_classes, half)
    logits = spaced(matrix)
    assert np.isnan(logits[targets == -100].astype(np.float32)).all()
    grad = solve(fastxent, PLAIN, logits, targets, {}, grad_out=logits)["grad"]
    assert not grad[targets == -100].astype(np.float32).any()
    assert np.isfinite(grad.astype(np.float32)).all()
    logits[...] = np.nan
    assert np.isnan(logits.base.astype(np.float32)).all()


@pytest.mark.parametrize("value", [0.0, 1.5, -200.0])
@pytest.mark.parametrize("shape", [(300, 10), (3, 257), (300, 64)], ids=str)
def test_equal_logits_give_exactly_log_k(half, shape, value):
    """Sums of 257 or 300 ones in a half type would stop at 256, or at 2048."""
    logits = np.full(shape, value, half)
    targets = np.arange(shape[0]) % shape[1]
    loss_out = np.empty(shape[0], np.float32)
    loss, grad = fastxent.cross_entropy_with_grad(
        logits, targets, loss_out=loss_out, lse_out=np.empty_like(loss_out)
    )
    relative = HALF_LOSS_EPS * eps(np.float32)
    assert loss == relatively(np.log(shape[1]), MEAN_RELATIVE if value == 0 else relative)
    np.testing.assert_allclose(loss_out, np.log(shape[1]), rtol=relative)
    others = grad[0, 1:].astype(np.float64)
    np.testing.assert_allclose(
        others, 1 / shape[1] / shape[0], rtol=BFLOAT16_GRAD_RELATIVE, atol=HALF_GRAD_ABSOLUTE
    )


@pytest.mark.slow
def test_soft_targets_may_have_more_digits_than_the_logits():
    logits, targets, options = problem(ALL_SOFT, 5, MANY, np.float16)
    wide = np.nextafter(targets.astype(np.float32), np.float32(2))
    expected = solve(fastxent, ALL_SOFT, logits.astype(np.float32), wide, options)
    assert_as_float32(solve(fastxent, ALL_SOFT, logits, wide, options), expected)


@pytest.mark.parametrize("shape", [(5, 40), (3, 1030)], ids=str)
@pytest.mark.parametrize(
    "half", ["bfloat16", pytest.param("float16", marks=pytest.mark.exhaustive)], indirect=True
)
def test_activations_of_half_types_are_those_of_float32_rounded_once(half, shape):
    rng = np.random.default_rng(0)
    z, g = rng.normal(0, 3, shape).astype(half), rng.normal(size=shape).astype(half)
    p = fastxent.softmax(z)
    calls = {"softmax": (z,), "log_softmax": (z,), "logsumexp": (z,), "sigmoid": (z,), "softmax_grad": (p, g)}
    for name, arrays in calls.items():
        function = getattr(fastxent, name)
        expected = function(*(a.astype(np.float32) for a in arrays))
        result = function(*arrays)
        assert result.dtype == (np.float32 if name == "logsumexp" else half), name
        assert_as_float32({name: result}, {name: expected})
        if name != "logsumexp":
            out = spaced(arrays[0])
            assert function(out, *arrays[1:], out=out) is out
            np.testing.assert_array_equal(bits(out.copy()), bits(result))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("softmax", "float16"),
        ("log_softmax", "bfloat16"),
        ("softmax_grad", "bfloat16"),
        ("sigmoid", "float16"),
    ],
    indirect=["half"],
)
def test_activations_into_float32_are_not_rounded_at_all(name, half):
    """After a call into a half type, whose machine code must not be run on an array of float32."""
    function = getattr(fastxent, name)
    z = np.random.default_rng(0).normal(size=(5, 40)).astype(half)
    arguments = (fastxent.softmax(z), z) if name == "softmax_grad" else (z,)
    assert function(*arguments).dtype == half
    expected = function(*(a.astype(np.float32) for a in arguments))
    for out in (np.empty((5, 40), np.float32), np.empty((5, 80), np.float32)[:, ::2]):
        assert function(*arguments, out=out) is out
        assert_same_bits(out, expected)


@pytest.mark.parametrize("option", ["softcap", "logit_scale"])
def test_factors_of_the_logits_are_refused_beyond_the_range_of_float32(half, option):
    for value in (2.0**-65, 2.0**65):
        with pytest.raises(ValueError, match=f"{option} must be from 5.42e-20 to 1.84e\\+19"):
            fastxent.cross_entropy(np.zeros((2, 3), half), [0, 1], **{option: value})


@pytest.mark.slow
def test_a_float32_hessian_is_not_rounded_at_all():
    logits, targets, _ = problem(PLAIN, 37, FEW, np.float16)
    hess, expected = np.empty(logits.shape, np.float32), np.empty(logits.shape, np.float32)
    fastxent.cross_entropy_with_grad(logits, targets, hess_out=hess)
    fastxent.cross_entropy_with_grad(logits.astype(np.float32), targets, hess_out=expected)
    assert_same_bits(hess, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "uint8", "int64", "float32"])
def test_weights_of_any_dtype_mean_the_same(dtype):
    dtype = dtype_of(dtype) if dtype.endswith("float16") else np.dtype(dtype)
    logits, targets, _ = problem(PLAIN, 9, FEW, np.float32, masks=False)
    weight, sample_weight = np.arange(1.0, FEW + 1), np.arange(9.0)
    expected = fastxent.cross_entropy(logits, targets, weight=weight, sample_weight=sample_weight)
    weights = {"weight": weight.astype(dtype), "sample_weight": sample_weight.astype(dtype)}
    assert fastxent.cross_entropy(logits, targets, **weights) == expected
