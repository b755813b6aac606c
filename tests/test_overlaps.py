"""Arguments of cross-entropy that share memory are refused, before anything is written."""

import itertools

import numpy as np
import pytest
from numba import carray, njit

import fastxent
from fastxent.simd import pointer, skip


@njit
def array_at(memory, first):
    return carray(skip(pointer(memory), first), (3, 4))


def test_a_gradient_may_not_lie_on_the_logits_turned():
    logits = np.zeros((3, 3))
    with pytest.raises(ValueError, match="grad_out must be logits itself or not overlap"):
        fastxent.cross_entropy_with_grad(logits, [0, 1, 2], grad_out=logits.T)
    assert not logits.any()


def test_a_gradient_of_another_dtype_may_not_lie_on_the_logits():
    memory = np.zeros((3, 4), np.float32)
    logits = memory.view(np.float16)[:, ::2]
    with pytest.raises(ValueError, match="grad_out must be logits itself or not overlap"):
        fastxent.cross_entropy_with_grad(logits, [0, 1, 2], grad_out=memory)
    assert not memory.any()


def test_outputs_may_not_overlap_the_targets():
    logits = np.zeros((3, 4))
    targets = logits.view(np.int64)[:, 0]
    with pytest.raises(ValueError, match="grad_out must not overlap targets"):
        fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    with pytest.raises(ValueError, match="loss_out must not overlap targets"):
        fastxent.cross_entropy(np.ones((3, 4)), targets, loss_out=logits[:, 0])
    assert not logits.any()


def overlapping():
    """Element 3 of one stretch of memory, in every argument that is an array."""
    integers = np.zeros(20, np.int64)
    floats = integers.view(np.float64)
    return {
        "logits": floats[:12].reshape(3, 4),
        "targets": integers[2:5],
        "weight": floats[:4],
        "sample_weight": floats[3:6],
        "loss_out": floats[1:4],
        "lse_out": floats[2:5],
        "rank_out": integers[3:6],
        "entropy_out": floats[1:4],
        "grad_out": floats[1:13].reshape(3, 4),
        "hess_out": floats[:12].reshape(3, 4),
        "targets_grad_out": floats[3:15].reshape(3, 4),
    }


OVERLAPS = [
    (name, other)
    for name, other in itertools.combinations(overlapping(), 2)
    if other.endswith("_out") and (name, other) != ("rank_out", "targets_grad_out")
]


@pytest.mark.parametrize(("name", "other"), OVERLAPS)
def test_no_output_may_overlap_another_argument(name, other):
    shared = overlapping()
    soft = other == "targets_grad_out"
    if soft:
        shared["targets"] = shared["logits"]
    arguments = {
        "logits": np.arange(12.0).reshape(3, 4),
        "targets": np.full((3, 4), 0.25) if soft else np.array([0, 3, 2]),
    }
    arguments |= {name: shared[name], other: shared[other]}
    before = {key: value.copy() for key, value in arguments.items()}
    with pytest.raises(ValueError, match=rf"({name}|{other}) must .*overlap ({name}|{other}|it) in memory"):
        fastxent.cross_entropy_with_grad(**arguments)
    for key, value in arguments.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("views", [False, True], ids=["a view of the logits", "views of one buffer"])
def test_plain_targets_in_the_memory_of_the_gradient_are_refused(views):
    buffer = np.zeros(4 * 5 + 8, np.float64)
    logits = buffer[:20].reshape(4, 5) if views else np.zeros((4, 5))
    targets = (buffer[17:21] if views else logits.reshape(-1)[4:8]).view(np.int64)
    with pytest.raises(ValueError, match="grad_out must not overlap targets"):
        fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    assert not logits.any()


class Wrapped:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("wrap", [memoryview, Wrapped])
@pytest.mark.parametrize("name", ["targets", "soft targets", "weight", "sample_weight"])
def test_outputs_may_not_overlap_what_becomes_an_array_without_a_copy(name, wrap):
    grad = np.full((4, 4), 0.25)
    inside = {"targets": grad[0].view(np.int64), "soft targets": grad}.get(name, grad[0])
    arguments = {"targets": np.arange(4)} | {name.removeprefix("soft "): wrap(inside)}
    with pytest.raises(ValueError, match=rf"grad_out must not overlap {name.removeprefix('soft ')}"):
        fastxent.cross_entropy_with_grad(np.zeros((4, 4)), grad_out=grad, **arguments)
    assert (grad == 0.25).all()


def test_an_axis_of_one_element_may_have_any_stride_in_arrays_that_are_the_same():
    logits = np.arange(5.0)
    other_strides = logits.reshape(1, -1)
    assert logits[None].strides != other_strides.strides
    _, expected = fastxent.cross_entropy_with_grad(logits[None], [1])
    fastxent.cross_entropy_with_grad(logits[None], [1], grad_out=other_strides)
    np.testing.assert_array_equal(other_strides, expected)


def test_an_axis_of_one_element_may_have_any_stride_in_an_output():
    logits = np.arange(12.0).reshape(3, 1, 4)
    out = np.lib.stride_tricks.as_strided(np.zeros((3, 8)), (3, 1, 4), (64, 0, 8))
    _, expected = fastxent.cross_entropy_with_grad(logits, [[0], [1], [2]])
    fastxent.cross_entropy_with_grad(logits, [[0], [1], [2]], grad_out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("plain", [True, False])
def test_arrays_of_compiled_code_that_do_not_say_whose_memory_they_are_in_are_told_apart(plain):
    memory = np.zeros(30)
    logits, grad, apart = (array_at(memory, first) for first in (0, 1, 12))
    assert logits.base is grad.base is None
    options = {} if plain else {"z_loss": 0.1}
    with pytest.raises(ValueError, match="grad_out must be logits itself or not overlap"):
        fastxent.cross_entropy_with_grad(logits, np.arange(3), grad_out=grad, **options)
    with pytest.raises(ValueError, match="out must be logits itself or not overlap"):
        fastxent.softmax(logits, out=grad)
    assert not memory.any()
    fastxent.cross_entropy_with_grad(logits, np.arange(3), grad_out=apart, **options)
    assert apart.any()
    assert not logits.any()
