"""A loss of ours and PyTorch's on copies of the same tensors: results, gradients, errors."""

import torch
from torch.nn import functional as F

from fastxent import torch as ours
from tests.tolerances import TORCH_RELATIVE

CROSS_ENTROPIES = ours.cross_entropy, F.cross_entropy
BINARIES = ours.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits


def problem(dtype=torch.float64):
    """Six rows of seven logits, class indices of which one is ignored, probabilities, class weights."""
    generator = torch.Generator().manual_seed(0)
    logits, soft = (3 * torch.randn(6, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    y = torch.tensor([1, 6, -100, 3, 3, 0])
    return logits.to(dtype), y, soft.softmax(1).to(dtype), torch.linspace(0, 2, 7, dtype=dtype)


def outcome(function, *arguments, **options):
    """The loss, or the class of the error raised."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        return type(error)


def assert_as_torch(pair, *arguments, **options):
    """The loss has the value, shape, dtype of PyTorch's, and the gradients by whatever requires one too."""
    results = []
    for function in pair:
        copies = [copy(argument) for argument in arguments]
        loss = function(*copies, **{name: copy(value) for name, value in options.items()})
        by = [a for a in copies if isinstance(a, torch.Tensor) and a.requires_grad]
        assert loss.requires_grad == bool(by)
        upstream = torch.linspace(1, 2, loss.numel(), dtype=loss.dtype).reshape(loss.shape)
        grads = torch.autograd.grad(loss, by, upstream) if by else ()
        results.append((loss.detach(), *grads))
    for result, expected in zip(*results, strict=True):
        assert_close(result.detach(), expected.detach())


def copy(argument):
    """With the same strides."""
    if not isinstance(argument, torch.Tensor):
        return argument
    return argument.detach().requires_grad_(argument.requires_grad)


def assert_close(result, expected):
    assert result.dtype == expected.dtype
    largest = float(expected.detach().abs().nan_to_num(0, 0).max()) if expected.numel() else 0.0
    relative = TORCH_RELATIVE[str(expected.dtype)]
    torch.testing.assert_close(result, expected, rtol=0, atol=relative * largest, equal_nan=True)
