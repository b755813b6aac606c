"""The losses for PyTorch where its compiler and its exporter see them, and not eager code."""

import pytest

torch = pytest.importorskip("torch", reason="of the extra 'torch'")

from torch.nn import functional as F  # noqa: E402

from fastxent import torch as ours  # noqa: E402
from tests.torch_measure import assert_close  # noqa: E402

pytestmark = pytest.mark.slow


class Loss(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, input, target):
        return self.function(input, target)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("cross_entropy", torch.tensor([0, 1])),
        ("cross_entropy", torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])),
        ("binary_cross_entropy_with_logits", torch.tensor([[0.0, 1.0, 0.5], [0.1, 0.8, 0.1]])),
    ],
)
def test_what_was_exported_without_gradients_gives_them(name, target):
    exported = torch.export.export(Loss(getattr(ours, name)), (torch.randn(2, 3), target)).module()
    z, by_target = torch.randn(2, 3), name == "cross_entropy" and target.is_floating_point()
    grads = []
    for function in (exported, getattr(F, name)):
        leaf, y = z.clone().requires_grad_(), target.clone().requires_grad_(by_target)
        function(leaf, y).backward()
        grads.append((leaf.grad, y.grad if by_target else torch.zeros(1)))
    for grad, expected in zip(*grads, strict=True):
        assert_close(grad, expected)


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_class_indices_of_another_shape_are_refused_while_exporting(shape):
    target = torch.zeros(shape, dtype=torch.int64)
    for function in (F.cross_entropy, ours.cross_entropy):
        with pytest.raises((ValueError, RuntimeError)):
            torch.export.export(Loss(function), (torch.randn(4, 3), target))


def labelled(z, y):
    rows = (y != -100).nonzero().squeeze(1)
    return ours.cross_entropy(z[rows], y[rows])


def test_rows_chosen_while_running_are_compiled_in_one_graph_and_may_be_none():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(labelled, backend="aot_eager", fullgraph=True)
        for y in (torch.tensor([0, -100, 2]), torch.full((3,), -100)):
            expected, z = (torch.randn(3, 7).requires_grad_() for _ in range(2))
            z.data.copy_(expected.data)
            F.cross_entropy(expected, y).backward()
            result = compiled(z, y)
            result.backward()
            assert_close(result, F.cross_entropy(expected, y))
            assert_close(z.grad, expected.grad)


def test_rows_chosen_while_running_are_exported():
    exported = torch.export.export(Loss(labelled), (torch.randn(3, 7), torch.tensor([0, -100, 2]))).module()
    for y in (torch.tensor([5, 1, -100]), torch.full((3,), -100)):
        z = torch.randn(3, 7)
        assert_close(exported(z, y), F.cross_entropy(z, y))
