"""On a GPU itself: what the simulator cannot show. None of it has run on one yet."""

import numpy as np
import pytest

import fastxent
from fastxent.cuda import to_device
from tests.cuda.moved import moved, to_host
from tests.tolerances import (
    CUDA_LARGE_GRAD_TIMES,
    CUDA_RELATIVE,
    CUDA_TORCH_GRAD,
    CUDA_TORCH_LOSS_RELATIVE,
    eps,
    relatively,
)

pytestmark = pytest.mark.gpu

SHAPES = [(4096, 10), (4096, 1000), (300, 8192), (300, 50257), (64, 128256)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_large_batches_are_what_they_are_on_the_cpu_in_place_and_apart(shape, dtype):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    moved_loss, moved_grad = moved.cross_entropy_with_grad(logits, targets)
    relative = CUDA_RELATIVE[np.dtype(dtype)]
    assert moved_loss == relatively(loss, relative)
    np.testing.assert_allclose(
        moved_grad, grad, rtol=CUDA_LARGE_GRAD_TIMES * relative, atol=eps(dtype) / shape[0]
    )
    there = to_device(logits)
    assert fastxent.cross_entropy_with_grad(there, targets, grad_out=there)[0] == moved_loss
    assert np.array_equal(to_host(there), moved_grad)


@pytest.mark.parametrize("n_classes", [10, 1000, 50257])
def test_the_same_bits_come_back_every_time(n_classes):
    rng = np.random.default_rng(0)
    logits = to_device(rng.normal(0, 3, (500, n_classes)).astype(np.float32))
    targets = rng.integers(0, n_classes, 500)
    (loss, grad), *others = [fastxent.cross_entropy_with_grad(logits, targets) for _ in range(5)]
    for other_loss, other_grad in others:
        assert other_loss == loss
        assert np.array_equal(to_host(other_grad), to_host(grad))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pytorch_tensors_are_taken_on_the_stream_that_is_current_there(dtype):
    torch = pytest.importorskip("torch")
    with torch.cuda.stream(torch.cuda.Stream()):
        logits = torch.randn(512, 5000, device="cuda").mul_(3).to(getattr(torch, dtype))
        targets = torch.randint(5000, (512,), device="cuda")
        expected = logits.float().requires_grad_()
        true_loss = torch.nn.functional.cross_entropy(expected, targets)
        true_loss.backward()
        loss, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
        torch.testing.assert_close(
            torch.tensor(loss), true_loss.detach().cpu(), rtol=CUDA_TORCH_LOSS_RELATIVE, atol=0
        )
        relative, least = CUDA_TORCH_GRAD[dtype]
        torch.testing.assert_close(logits.float(), expected.grad, rtol=relative, atol=least)


def test_cupy_arrays_are_taken():
    cupy = pytest.importorskip("cupy")
    logits, targets = cupy.random.normal(0, 3, (512, 5000), cupy.float32), cupy.arange(512)
    expected = fastxent.cross_entropy(cupy.asnumpy(logits), cupy.asnumpy(targets))
    assert fastxent.cross_entropy(logits, targets) == relatively(expected, CUDA_TORCH_LOSS_RELATIVE)
