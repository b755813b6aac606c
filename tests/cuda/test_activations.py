"""softmax, log_softmax and logsumexp of device arrays are what they are on the CPU."""

import numpy as np
import pytest

import fastxent
from fastxent import reference
from fastxent.cuda import to_device
from tests.cuda.moved import Borrowed, moved, to_host
from tests.layouts import spaced
from tests.tolerances import CUDA_ACTIVATION_EPS, CUDA_SPECIAL_EPS, CUDA_WIDE_LOSS_RELATIVE, eps

each_function = pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
EPS = {"float32": eps(np.float32), "float64": eps(np.float64), "float16": 2.0**-10, "bfloat16": 2.0**-7}


@each_function
@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("n_classes", [1, 10, 150])
def test_every_dtype_is_as_specified(name, dtype, n_classes):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    logits = np.random.default_rng(0).normal(0, 3, (3, n_classes))
    logits = logits.astype(bfloat16 if dtype == "bfloat16" else dtype)
    result, on_cpu = getattr(moved, name)(logits), getattr(fastxent, name)(logits)
    truth = getattr(reference, name)(logits.astype(np.float64))
    assert (result.dtype, result.shape) == (on_cpu.dtype, on_cpu.shape)
    rounding, absolute = (
        CUDA_ACTIVATION_EPS * EPS[result.dtype.name],
        CUDA_ACTIVATION_EPS * min(EPS[dtype], EPS["float32"]),
    )
    np.testing.assert_allclose(result.astype(float), truth, rtol=rounding, atol=absolute)


@each_function
def test_any_axis_strides_and_output_give_the_same(name):
    logits = np.random.default_rng(0).normal(0, 3, (3, 40, 4))
    expected = getattr(reference, name)(logits, axis=1)
    out = spaced(np.empty_like(expected))
    result = getattr(moved, name)(spaced(logits), axis=1, out=out)
    np.testing.assert_allclose(result, expected, rtol=CUDA_WIDE_LOSS_RELATIVE)
    assert np.array_equal(out, result)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_logits_can_be_overwritten(name):
    logits = np.random.default_rng(0).normal(0, 3, (3, 150)).astype(np.float32)
    there = to_device(logits)
    result = getattr(fastxent, name)(there, out=there)
    assert result is there
    assert np.array_equal(to_host(there), getattr(moved, name)(logits))


@each_function
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, slice(None)], ids=["one class", "the whole row"])
def test_special_values_do_as_on_the_cpu(name, value, place):
    logits = np.random.default_rng(0).normal(0, 3, (3, 70)).astype(np.float32)
    logits[1, place] = value
    result, expected = getattr(moved, name)(logits), getattr(fastxent, name)(logits)
    np.testing.assert_allclose(result, expected, rtol=CUDA_SPECIAL_EPS * eps(np.float32))


@each_function
def test_bad_input_is_refused_as_on_the_cpu(name):
    there, function = to_device(np.zeros((3, 5), np.float32)), getattr(fastxent, name)
    with pytest.raises(ValueError, match="axis must be from -2 to 1, got 2"):
        function(there, axis=2)
    with pytest.raises(TypeError, match="logits must be float32"):
        function(to_device(np.zeros((3, 5), int)))
    with pytest.raises(ValueError, match="out must have shape"):
        function(there, out=to_device(np.zeros((4, 9), np.float32)))
    with pytest.raises(TypeError, match="out must be on the GPU, as logits are; got ndarray"):
        function(there, out=np.zeros((3, 5), np.float32))


def test_an_output_that_overlaps_the_logits_is_refused():
    memory = np.zeros((3, 6), np.float32)
    logits = Borrowed(memory)
    out = Borrowed(memory[:, 1:])
    out.__cuda_array_interface__["data"] = (logits.__cuda_array_interface__["data"][0] + 4, False)
    inner = Borrowed(memory[:, :5])
    inner.__cuda_array_interface__["data"] = logits.__cuda_array_interface__["data"]
    with pytest.raises(ValueError, match="out must be logits itself or not overlap it"):
        fastxent.softmax(inner, out=out)
