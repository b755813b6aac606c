"""In place, the logits' memory becomes the gradient, and PyTorch catches who still wants the logits."""

from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="of the extra 'torch'")

from torch.autograd.graph import save_on_cpu  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from fastxent import torch as ours  # noqa: E402
from tests.test_torch_autograd import YES, Y, each_loss, leaf, make_logits  # noqa: E402
from tests.tolerances import SUM_RELATIVE, relatively  # noqa: E402
from tests.torch_measure import assert_close  # noqa: E402


def head():
    """A linear layer of six rows, its loss in place or not, and the gradients of its weight."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 7, dtype=torch.float64)
    return layer, layer(torch.randn(6, 5, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1, 0.25])
@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(2, 3, 7).transpose(1, 2), lambda z: z[1:]])
@each_loss
def test_in_place_gives_the_logits_memory_to_the_gradient(function, torchs, target, view, scale):
    layer, logits = head()
    z = view(logits)
    target = view(target) if target is YES else target[-len(z) :] if z.dim() == 2 else target.view(2, 3)
    expected = torch.autograd.grad(torchs(z, target) * scale, logits, retain_graph=True)[0]
    (weight_grad,) = torch.autograd.grad(logits, layer.weight, expected, retain_graph=True)
    overwritten = view_all(logits.detach(), expected, view)
    (function(z, target, inplace=True) * scale).backward()
    assert_close(layer.weight.grad, weight_grad)
    assert_close(logits.detach(), overwritten)


def view_all(logits, grad, view):
    """The gradient, with the logits outside the view."""
    result = logits.clone()
    view(result).copy_(view(grad))
    return result


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(6, 7)])
def test_in_place_bears_with_logits_that_retain_their_gradient(view):
    grads = []
    for inplace in (True, False):
        layer, logits = head()
        logits = view(logits)
        logits.retain_grad()
        ours.cross_entropy(logits, Y, inplace=inplace).backward()
        grads.append(layer.weight.grad)
    assert_close(*grads)


def test_in_place_without_a_gradient_writes_nothing():
    logits = make_logits()
    ours.cross_entropy(logits, Y, inplace=True)
    with torch.no_grad():
        ours.cross_entropy(layer_logits := head()[1], Y, inplace=True)
    assert torch.equal(logits, make_logits())
    assert torch.equal(layer_logits, head()[1])


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z[1:], lambda z: (2 * z).split(3)[1]])
def test_logits_that_nobody_may_write_are_refused_before_they_are_written_or_marked(view):
    logits = leaf()
    refused = view(logits)
    earlier, before = (refused**2).sum(), refused.detach().clone()
    with pytest.raises(RuntimeError, match=r"being used in an in-place|multiple views"):
        ours.cross_entropy(refused, Y[-len(refused) :], inplace=True)
    assert torch.equal(refused.detach(), before)
    earlier.backward()
    assert logits.grad.any()


@pytest.mark.parametrize("keeps_its_output", [torch.exp, torch.softmax, torch.tanh])
def test_in_place_of_what_another_backward_needs_is_caught(keeps_its_output):
    logits = head()[1]
    logits = keeps_its_output(logits, 1) if keeps_its_output is torch.softmax else keeps_its_output(logits)
    loss = ours.cross_entropy(logits, Y, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_in_place_of_logits_kept_as_an_input_is_caught():
    logits = head()[1]
    other = (logits**2).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (other + ours.cross_entropy(logits, Y, inplace=True)).backward()


def loss_of_tanh(hidden):
    return ours.cross_entropy(torch.tanh(hidden), Y, inplace=True)


def saved_on_cpu(hidden):
    with save_on_cpu():
        return loss_of_tanh(hidden)


@pytest.mark.parametrize("loss", [partial(checkpoint, loss_of_tanh, use_reentrant=False), saved_on_cpu])
def test_nothing_is_overwritten_where_torch_would_not_see_it(loss):
    hidden = leaf()
    loss(hidden).backward()
    expected = torch.autograd.grad(F.cross_entropy(torch.tanh(hidden), Y), hidden)[0]
    assert_close(hidden.grad, expected)


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(-1)])
def test_logits_used_after_they_were_overwritten_are_caught(view):
    logits = head()[1]
    loss = ours.cross_entropy(logits, Y, inplace=True)
    with pytest.raises(RuntimeError, match="used after a loss with inplace=True"):
        (loss + view(logits).logsumexp(0)).sum().backward()


def test_logits_changed_after_they_were_overwritten_are_caught():
    logits = head()[1]
    loss = ours.cross_entropy(logits, Y, inplace=True)
    logits.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_in_place_within_a_checkpoint():
    grads = []
    for inplace in (True, False):
        hidden = leaf()
        run = partial(lambda h, inplace: ours.cross_entropy(2 * h, Y, inplace=inplace), inplace=inplace)
        checkpoint(run, hidden, use_reentrant=False).backward()
        grads.append(hidden.grad)
    assert_close(*grads)


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(6, 7)])
def test_a_bad_target_leaves_the_logits_and_their_history_as_they_were(view):
    layer, logits = head()
    logits = view(logits)
    earlier = (logits**2).sum()
    for bad, error in ((Y + 7, IndexError), (Y[:5], ValueError)):
        with pytest.raises(error):
            ours.cross_entropy(logits, bad, inplace=True)
    assert torch.equal(logits, head()[1])
    (earlier - (logits**2).sum() + logits.sum()).backward()
    assert layer.bias.grad.tolist() == relatively(7 * [len(logits)], SUM_RELATIVE)


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(6, 7)])
def test_logits_that_were_not_overwritten_can_be_used_after(view):
    grads = []
    for function, options in ((ours.cross_entropy, {"inplace": True}), (F.cross_entropy, {})):
        layer, logits = head()
        logits = view(logits)
        loss = function(logits, Y, -torch.ones(7, dtype=torch.float64), **options)
        (loss + (logits**2).sum()).backward()
        grads.append(layer.weight.grad)
    assert_close(*grads)


def test_a_view_from_before_that_is_used_after_is_caught():
    logits = head()[1]
    view = logits[1:]
    loss = ours.cross_entropy(logits, Y, inplace=True)
    with pytest.raises(RuntimeError, match="used after a loss with inplace=True"):
        (loss + view.sum()).backward()


class GivesNothingBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss):
        return loss + 0

    @staticmethod
    def backward(ctx, upstream):
        return None


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(6, 7)])
def test_no_gradient_comes_of_a_loss_that_is_given_none(view):
    layer, logits = head()
    loss = ours.cross_entropy(view(logits), Y, inplace=True)
    GivesNothingBack.apply(loss).backward()
    assert layer.weight.grad is None or not layer.weight.grad.any()


@pytest.mark.parametrize(
    ("module", "target"),
    [(ours.CrossEntropyLoss, Y), (ours.BCEWithLogitsLoss, YES)],
    ids=["softmax", "binary"],
)
def test_a_module_hands_inplace_on_and_says_so(module, target):
    logits, before = head()[1], head()[1].detach()
    module()(logits, target)
    assert torch.equal(logits.detach(), before)
    loss = module(inplace=True)
    assert repr(loss) == f"{module.__name__}(inplace=True)"
    loss(logits, target)
    assert not torch.equal(logits.detach(), before)
