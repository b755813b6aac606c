"""A large gradient gets the memory of the last, and never memory that is in use."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="of the extra 'torch'")

from fastxent import torch as ours  # noqa: E402
from fastxent.torch import memory  # noqa: E402
from tests.torch_measure import problem  # noqa: E402

LARGE = memory._LARGE


@pytest.fixture(autouse=True)
def _every_gradient_is_large(monkeypatch):
    monkeypatch.setattr(memory, "_LARGE", 1)
    yield
    ours.empty_cache()


def gradient(scale=1.0, n_rows=6, dtype=torch.float64):
    logits, targets, *_ = problem(dtype)
    logits = (logits[:n_rows] * scale).requires_grad_()
    ours.cross_entropy(logits, targets[:n_rows]).backward()
    return logits.grad


def test_a_gradient_that_nobody_has_leaves_its_memory_to_the_next():
    first = gradient().data_ptr()
    assert [gradient(0.5).data_ptr(), gradient(2.0).data_ptr()] == [first, first]


@pytest.mark.parametrize(
    "part_of",
    [
        lambda grad: grad,
        lambda grad: grad[1],
        lambda grad: grad.numpy(),
        lambda grad: np.from_dlpack(grad.t()),
        lambda grad: grad.untyped_storage(),
    ],
)
def test_memory_that_is_in_use_is_not_written(part_of):
    part = part_of(gradient())
    before = part.tolist()
    others = [gradient(0.5), gradient(2.0)]
    assert part.tolist() == before
    assert others[0].data_ptr() != others[1].data_ptr()


def test_a_gradient_of_another_size_or_dtype_is_right_in_memory_that_is_kept():
    expected = [gradient(n_rows=n).clone() for n in (6, 3)]
    halves = {dtype: gradient(dtype=dtype).clone() for dtype in (torch.bfloat16, torch.float16)}
    first = gradient().data_ptr()
    few = gradient(n_rows=3)
    assert few.data_ptr() == first
    assert torch.equal(few, expected[1])
    del few
    for dtype, grad in halves.items():
        assert torch.equal(gradient(dtype=dtype), grad)
    gradient(n_rows=1)
    assert torch.equal(gradient(n_rows=6), expected[0])


def test_too_little_memory_is_not_taken_for_more():
    little = gradient(n_rows=1)
    n_bytes = little.nbytes
    del little
    much = gradient()
    assert much.nbytes > n_bytes
    assert len(memory._kept) == 1
    assert memory._kept[0][0].nbytes == much.nbytes


def test_empty_cache_keeps_nothing_but_what_is_in_use():
    grad = gradient()
    expected = grad.clone()
    ours.empty_cache()
    assert not memory._kept
    other = gradient(0.5)
    assert other.data_ptr() != grad.data_ptr()
    assert torch.equal(grad, expected)


def test_small_gradients_keep_no_memory(monkeypatch):
    monkeypatch.setattr(memory, "_LARGE", 10**6)
    gradient()
    assert not memory._kept


def test_memory_is_kept_from_32_mib_on(monkeypatch):
    monkeypatch.setattr(memory, "_LARGE", LARGE)
    for n_bytes, is_kept in ((2**25 - 4, False), (2**25, True)):
        logits = torch.empty(n_bytes // 4)  # pages that nobody writes
        given = memory.memory_for_gradient(logits, logits.dtype, logits.numpy())
        assert (given is not None) == bool(memory._kept) == is_kept
