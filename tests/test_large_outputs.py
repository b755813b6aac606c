"""Outputs too large for the caches, which are stored past them, have the bits of small ones."""

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch
from fastxent.cpu.strided import LARGE
from tests.measure import assert_same_bits

pytestmark = pytest.mark.slow


def large_problem(n_classes):
    n_rows = LARGE // (4 * n_classes) + 1
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((n_rows, n_classes), np.float32)
    return logits, rng.integers(0, n_classes, n_rows), rng.random(logits.shape, np.float32)


def memory_from_byte(byte, shape):
    size = 4 * np.prod(shape)
    memory = np.empty(size + 64, np.uint8)
    return memory[byte : byte + size].view(np.float32).reshape(shape)


@pytest.fixture
def in_parallel(monkeypatch):
    """Few rows too, whose kernel need then not be another."""
    monkeypatch.setattr(_dispatch, "PARALLEL_FROM", 0)


def assert_large_as_small(logits, targets, large):
    """`large` are outputs, by name, not expected to stay in the caches."""
    _, grad = fastxent.cross_entropy_with_grad(logits, targets, reduction="sum", **large)
    middle = len(logits) // 2  # about where one thread's rows end and another's begin
    for rows in (slice(0, 3), slice(middle - 1, middle + 2), slice(-3, None)):
        small = {name: np.empty(array[rows].shape, array.dtype) for name, array in large.items()}
        _, few = fastxent.cross_entropy_with_grad(logits[rows], targets[rows], reduction="sum", **small)
        assert_same_bits(grad[rows], few)
        for name, array in large.items():
            assert_same_bits(array[rows], small[name])


@pytest.mark.parametrize("n_classes", [1100, 11003])
@pytest.mark.parametrize("byte", [0, 4, 12, 2])
def test_outputs_too_large_for_the_caches_have_the_bits_of_small_ones(byte, n_classes, in_parallel):
    logits, targets, soft_targets = large_problem(n_classes)
    large = memory_from_byte(byte, logits.shape)
    assert_large_as_small(logits, targets, {"hess_out": large})
    assert_large_as_small(logits, soft_targets, {"targets_grad_out": large})


@pytest.mark.exhaustive
@pytest.mark.parametrize("byte", [0, 2, 40, 1])
def test_large_outputs_of_half_types_have_the_bits_of_small_ones(byte, in_parallel):
    logits, targets, _ = large_problem(1100)
    logits, targets = np.tile(logits, (2, 1)).astype(np.float16), np.tile(targets, 2)
    large = memory_from_byte(byte, (len(logits), 550)).view(np.float16)
    assert_large_as_small(logits, targets, {"hess_out": large})


@pytest.mark.exhaustive
@pytest.mark.parametrize("byte", [0, 4])
def test_two_large_outputs_that_lie_alike_or_not_have_the_bits_of_small_ones(byte, in_parallel):
    logits, _, soft_targets = large_problem(1100)
    hess, targets_grad = memory_from_byte(0, logits.shape), memory_from_byte(byte, logits.shape)
    assert_large_as_small(logits, soft_targets, {"hess_out": hess, "targets_grad_out": targets_grad})


@pytest.mark.parametrize("name", ["hess_out", "grad_out"])
def test_a_large_output_whose_classes_lie_apart_has_the_bits_of_a_small_one(name, in_parallel):
    logits, targets, _ = large_problem(1100)
    every_other = np.full((len(logits), 2200), 7.0, np.float32)
    assert_large_as_small(logits, targets, {name: every_other[:, ::2]})
    assert np.all(every_other[:, 1::2] == 7.0)


@pytest.mark.parametrize(
    "dtype",
    [np.float32, *(pytest.param(dtype, marks=pytest.mark.exhaustive) for dtype in (np.float16, np.float64))],
)
@pytest.mark.parametrize("byte", [0, 8, 2])
def test_a_large_gradient_apart_from_the_logits_has_the_bits_of_that_over_them(dtype, byte):
    logits, targets, _ = large_problem(1100)
    logits = np.tile(logits, (2, 1)).astype(dtype)
    targets = np.tile(targets, 2)
    targets[3] = -100
    before = logits.copy()
    grad = memory_from_byte(byte, (*logits.shape[:-1], 550 * logits.itemsize // 2)).view(dtype)
    result = fastxent.cross_entropy_with_grad(logits, targets, grad_out=grad)
    assert_same_bits(logits, before)
    new = fastxent.cross_entropy_with_grad(logits, targets)
    in_place = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    assert result[0] == new[0] == in_place[0]
    assert_same_bits(grad, logits)
    assert_same_bits(new[1], logits)


@pytest.mark.parametrize(
    "dtype",
    [np.float32, *(pytest.param(dtype, marks=pytest.mark.exhaustive) for dtype in (np.float16, np.float64))],
)
@pytest.mark.parametrize("byte", [0, 8, 2])
@pytest.mark.parametrize("shape", [(2000, 1100), (1, LARGE // 2 + 6)], ids=str)
def test_a_large_log_softmax_has_the_bits_of_that_over_its_logits(shape, byte, dtype):
    logits = np.random.default_rng(3).standard_normal(shape, np.float32).astype(dtype)
    log_probs = memory_from_byte(byte, (*shape[:-1], logits.nbytes // shape[0] // 4)).view(dtype)
    fastxent.log_softmax(logits, out=log_probs)
    assert_same_bits(log_probs, fastxent.log_softmax(logits, out=logits))


@pytest.mark.parametrize(
    "dtype",
    [np.float32, *(pytest.param(dtype, marks=pytest.mark.exhaustive) for dtype in (np.float16, np.float64))],
)
@pytest.mark.parametrize("byte", [0, 8, 2])
@pytest.mark.parametrize("n_classes", [300, 1100])
def test_a_large_softmax_grad_has_the_bits_of_those_over_its_arguments(n_classes, byte, dtype):
    probs, _, grad = (np.tile(array, 2).astype(dtype) for array in large_problem(n_classes // 2))
    result = memory_from_byte(byte, (len(probs), probs.nbytes // len(probs) // 4)).view(dtype)
    fastxent.softmax_grad(probs, grad, out=result)
    assert_same_bits(result, fastxent.softmax_grad(probs, grad, out=grad.copy()))
    assert_same_bits(result, fastxent.softmax_grad(probs, grad, out=probs))
