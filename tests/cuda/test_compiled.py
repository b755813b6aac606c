"""The kernels as NVIDIA's compiler makes them, which needs its library but no GPU."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from numba import config, types

from fastxent.cuda import activation_rows, loss_rows, survey
from fastxent.cuda.launch import launch
from fastxent.cuda.options import Arrays, Numbers, On, arithmetic_of, bits_of

pytestmark = pytest.mark.exhaustive

PLAIN = On(grad=True)
EVERYTHING = On(*[True] * len(On._fields))
KINDS = ["kept", "walked", "lanes"]


@pytest.fixture(autouse=True, scope="module")
def gpu():
    """Not asked for: of a GPU only the generation is, that of an A100."""
    if config.ENABLE_CUDASIM:
        pytest.skip("the simulator compiles nothing")
    nvvm = pytest.importorskip("numba.cuda.cudadrv.nvvm")
    from numba.cuda import dispatcher

    try:
        nvvm.NVVM()
    except Exception as error:
        pytest.skip(f"no NVVM, which comes with numba-cuda[cu12]: {error}")
    with pytest.MonkeyPatch.context() as patch:
        device = SimpleNamespace(compute_capability=(8, 0))
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        yield


def compiled(kernel, *signature, generation=(8, 0)):
    from numba import cuda

    return cuda.compile_ptx(kernel.py_func, types.void(*signature), cc=generation)[0]


def array(dtype, ndim=3):
    return types.Array(getattr(types, np.dtype(dtype).name), ndim, "A" if ndim > 1 else "C")


def numbers(storage):
    real = getattr(types, np.dtype(arithmetic_of(storage)).name)
    return types.NamedUniTuple(real, len(Numbers._fields), Numbers)


def loss_kernel(storage, on, kind):
    if kind == "lanes":
        return loss_rows.cross_entropy_lanes(storage, storage, storage, on)
    return loss_rows.cross_entropy_rows(storage, storage, storage, on, kind == "kept")


def loss_code(storage, on, kind, generation=(8, 0)):
    real, logits = arithmetic_of(storage), array(bits_of(storage))
    a_row, weights = array(real), array(real, 1)
    # What is off has another array of that type in its place.
    arrays = [logits, array(np.int64), weights, weights, a_row, a_row, array(np.int64), a_row, logits, logits]
    given = types.NamedTuple(tuple(arrays), Arrays)
    kernel = loss_kernel(storage, on, kind)
    signature = given, numbers(storage), types.int64, array(np.float64, 1)
    return compiled(kernel, *signature, generation=generation)


def assert_fast(code, storage):
    word = {"float64": "v2.f64", "float32": "v4.f32"}.get(storage, "v4.u32")
    assert re.search(rf"\bld\.(global\.)?{word}", code), "no loads of 16 bytes"
    assert ".local" not in code, "an array in memory that was to be in registers"
    if storage != "float64":
        assert not re.search(r"\b(ex2|rcp|div|fma)\.\S*f64", code), "arithmetic in float64"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", ["float32", "float64", "float16", "bfloat16"])
def test_the_plain_loss_moves_16_bytes_at_once_and_keeps_to_registers(storage, kind):
    code = loss_code(storage, PLAIN, kind)
    assert_fast(code, storage)
    assert re.search(r"\bst\.(global\.)?v[24]\.", code), "no stores of 16 bytes"
    assert ("shfl.sync" in code) == (kind != "lanes")


@pytest.mark.parametrize(("generation", "n_instructions"), [((7, 5), 0), ((8, 0), 4), ((9, 0), 4)])
def test_two_bfloat16_are_rounded_by_one_instruction_where_gpus_have_it(generation, n_instructions):
    code = loss_code("bfloat16", PLAIN, "walked", generation)
    assert code.count("cvt.rn.bf16x2.f32") == n_instructions
    assert "__nvvm_reflect" not in code, "asked when the kernel runs"
    assert_fast(code, "bfloat16")


@pytest.mark.parametrize("kind", KINDS)
def test_all_options_at_once_compile_to_float32_arithmetic_too(kind):
    assert_fast(loss_code("float32", EVERYTHING, kind), "float32")


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_activations_move_16_bytes_at_once(storage):
    logits, lse = array(bits_of(storage)), array(arithmetic_of(storage))
    softmax, log_softmax = (activation_rows.softmax_rows(storage, storage, log) for log in (False, True))
    assert_fast(compiled(softmax, logits, logits, numbers(storage)), storage)
    assert_fast(compiled(log_softmax, logits, logits, numbers(storage)), storage)
    assert_fast(compiled(activation_rows.logsumexp_rows(storage), logits, lse, numbers(storage)), storage)


@pytest.mark.parametrize("targets", [np.int64, np.uint8, np.uint64])
def test_the_survey_and_the_mean_compile(targets):
    weights, state = types.UniTuple(array(np.float32, 1), 2), array(np.float64, 1)
    has = types.UniTuple(types.boolean, 2)
    signature = array(targets), types.int64, types.int64, types.float64, weights, has, state
    assert "shfl.sync" in compiled(survey.survey, *signature)
    assert "shfl.sync" in compiled(survey.mean_of, array(np.float32), state)


def test_a_launch_of_few_blocks_warns_of_nothing(monkeypatch):
    calls = []
    monkeypatch.setattr(type(survey.survey), "call", lambda *arguments: calls.append(arguments))
    launch(survey.survey, 1, 32, 0, "an argument")
    assert len(calls) == 1
