"""The losses for PyTorch behave in autograd as its own do, or say clearly that they do not."""

from contextlib import nullcontext
from functools import partial
from math import inf, nan

import pytest

torch = pytest.importorskip("torch", reason="of the extra 'torch'")

from torch.autograd import forward_ad  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import fastxent  # noqa: E402
from fastxent import torch as ours  # noqa: E402
from tests.torch_measure import assert_close  # noqa: E402

Y = torch.tensor([1, 6, -100, 3, 3, 0])
YES = (Y % 2).double()[:, None].expand(6, 7)
PAIRS = {
    "softmax": (ours.cross_entropy, F.cross_entropy, Y),
    "binary": (ours.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, YES),
}
each_loss = pytest.mark.parametrize(("function", "torchs", "target"), PAIRS.values(), ids=PAIRS)


def make_logits():
    return 3 * torch.randn(6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def leaf():
    return make_logits().requires_grad_()


@pytest.fixture
def solved(monkeypatch):
    """The names of the functions of fastxent that are called."""
    names = []
    for name in ("cross_entropy", "binary_cross_entropy"):
        for full in (name, f"{name}_with_grad"):
            function = getattr(fastxent, full)

            def spy(*arguments, full=full, function=function, **options):
                names.append(full)
                return function(*arguments, **options)

            monkeypatch.setattr(fastxent, full, spy)
    return names


@each_loss
def test_the_gradient_is_computed_if_and_only_if_it_will_be_needed(solved, function, torchs, target):
    function(make_logits(), target)
    with torch.no_grad():
        function(leaf(), target)
    with torch.inference_mode():
        function(leaf(), target)
    assert not any(name.endswith("with_grad") for name in solved)
    solved.clear()
    function(leaf(), target).backward()
    assert solved in (["cross_entropy_with_grad"], ["binary_cross_entropy_with_grad"])


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_numerical_gradients(function, torchs, target, reduction):
    assert torch.autograd.gradcheck(lambda z: function(z, target, reduction=reduction), leaf())


@pytest.mark.slow
def test_numerical_gradients_by_probabilities():
    soft = make_logits().softmax(1).requires_grad_()
    for reduction in ("mean", "none"):
        assert torch.autograd.gradcheck(
            lambda z, t, reduction=reduction: ours.cross_entropy(z, t, reduction=reduction), (leaf(), soft)
        )
        assert torch.autograd.gradcheck(
            lambda t, reduction=reduction: ours.cross_entropy(make_logits(), t, reduction=reduction), soft
        )


@each_loss
def test_each_backward_of_a_kept_graph_gives_the_gradient_anew(function, torchs, target):
    logits = leaf()
    loss, expected = function(logits, target), torch.autograd.grad(torchs(logits, target), logits)[0]
    first = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    second = torch.autograd.grad(loss, logits, 3 * torch.ones_like(loss), retain_graph=True)[0]
    first += 1
    last = torch.autograd.grad(loss, logits, 0.5 * torch.ones_like(loss))[0]
    assert_close(first - 1, expected)
    assert_close(second, 3 * expected)
    assert_close(last, 0.5 * expected)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@each_loss
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own
def test_several_backwards_at_once(function, torchs, target):
    grads = []
    for loss_of in (function, torchs):
        logits = leaf()
        losses = loss_of(logits, target, reduction="none")
        upstream = torch.eye(losses.numel(), dtype=torch.float64).view(-1, *losses.shape)

        def back(one, losses=losses, logits=logits):
            return torch.autograd.grad(losses, logits, one, retain_graph=True)[0]

        mean = torch.autograd.functional.jacobian(partial(loss_of, target=target), logits, vectorize=True)
        at_once = torch.autograd.grad(losses, logits, upstream, retain_graph=True, is_grads_batched=True)[0]
        grads.append((mean, at_once, torch.vmap(back)(upstream)))
    for grad, expected in zip(*grads, strict=True):
        assert_close(grad, expected)


@each_loss
def test_gradients_accumulate(function, torchs, target):
    grads = []
    for loss_of in (function, torchs):
        logits = leaf()
        for _ in range(3):
            (loss_of(logits, target) / 3 + loss_of(2 * logits, target)).backward()
        grads.append(logits.grad)
    assert_close(*grads)


def test_a_loss_used_twice_and_a_graph_kept_for_one_branch():
    grads = []
    for loss_of in (ours.cross_entropy, F.cross_entropy):
        logits = leaf()
        loss = loss_of(logits, Y)
        (loss**2 + 3 * loss).backward(retain_graph=True)
        loss.backward()
        grads.append(logits.grad)
    assert_close(*grads)


@each_loss
def test_checkpoints(function, torchs, target):
    grads = []
    for loss_of in (function, torchs):
        for use_reentrant in (False, True):
            hidden = leaf()
            checkpoint(lambda h, f=loss_of: f(2 * h, target), hidden, use_reentrant=use_reentrant).backward()
            grads.append(hidden.grad)
    for grad in grads[:-1]:
        assert_close(grad, grads[-1])


@each_loss
def test_second_derivatives_are_refused(function, torchs, target):
    logits = leaf()
    with pytest.raises(RuntimeError, match="no second derivatives"):
        function(logits, target).backward(create_graph=True)


@each_loss
def test_second_derivatives_are_refused_where_operators_are_watched(function, torchs, target):
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    with FlopCounterMode(display=False), pytest.raises(RuntimeError, match="no second derivatives"):
        function(leaf(), target).backward(create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        compiled(leaf(), target).backward(create_graph=True)


@each_loss
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own
def test_transforms_are_torchs_own(function, torchs, target):
    logits, z = make_logits(), make_logits()[0]
    for transform in (
        lambda f: torch.func.grad(f)(logits, target),
        lambda f: torch.func.vmap(torch.func.grad(f))(logits, target),
        lambda f: torch.func.hessian(f)(z, target[0]),
        lambda f: torch.func.jvp(lambda z: f(z, target), (logits,), (logits,))[1],
    ):
        assert_close(transform(function), transform(torchs))


@each_loss
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own
@pytest.mark.filterwarnings("ignore:Converting a tensor")  # as well
def test_a_trace_computes_the_loss_of_other_logits(function, torchs, target):
    traced = torch.jit.trace(function, (make_logits(), target), check_trace=False)
    assert_close(traced(2 * make_logits(), target), torchs(2 * make_logits(), target))


@each_loss
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own
def test_forward_mode_is_torchs_own(function, torchs, target, mode):
    def derivative(loss):
        with mode(), forward_ad.dual_level():
            logits = forward_ad.make_dual(make_logits(), make_logits() + 1)
            return forward_ad.unpack_dual(loss(logits, target)).tangent

    assert_close(derivative(function), derivative(torchs))


@each_loss
def test_deterministic_mode(function, torchs, target):
    expected = torch.autograd.grad(function(logits := leaf(), target), logits)[0]
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(torch.autograd.grad(function(logits, target), logits)[0], expected)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_operators_are_registered_as_torch_wants_them(reduction):
    soft, weight = make_logits().softmax(1).requires_grad_(), torch.linspace(0, 2, 7, dtype=torch.float64)
    by_class = torch.ops.fastxent.cross_entropy.default
    options = reduction, -100, 0.0, torch.float64
    torch.library.opcheck(by_class, (leaf(), Y, None, *options, True, False))
    torch.library.opcheck(by_class, (leaf(), soft, weight, *options, True, True))
    binary = torch.ops.fastxent.binary_cross_entropy_with_logits.default
    torch.library.opcheck(binary, (leaf(), soft.detach(), weight, reduction, None, torch.float64, True))
    images = make_logits().repeat(2, 1, 1).transpose(1, 2).requires_grad_()
    torch.library.opcheck(by_class, (images, Y.repeat(2, 1), -weight, *options, True, False))
    torch.library.opcheck(binary, (images, 3 * images.detach(), None, reduction, None, torch.float64, True))


def test_operators_are_seen_by_those_who_watch():
    from torch.fx.experimental.proxy_tensor import make_fx

    def loss_and_grad(logits, y):
        loss = ours.cross_entropy(logits, y)
        return loss, torch.autograd.grad(loss, logits)[0]

    graph = make_fx(loss_and_grad, tracing_mode="fake")(leaf(), Y)
    assert "fastxent.cross_entropy" in graph.code
    for result, expected in zip(graph(leaf(), Y), loss_and_grad(leaf(), Y), strict=True):
        assert_close(result.detach(), expected.detach())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_values_that_fastxent_refuses_are_torchs_where_operators_are_watched(backend):
    soft, weight = make_logits().softmax(1), torch.linspace(-1, 1, 7, dtype=torch.float64)
    for function, torchs, *arguments in (
        (ours.cross_entropy, F.cross_entropy, Y, weight),
        (ours.cross_entropy, F.cross_entropy, soft.requires_grad_(), weight),
        (ours.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, 3 * soft.detach()),
    ):
        compiled = torch.compile(function, backend=backend, fullgraph=True)
        results = []
        for loss_of in (torchs, compiled, function):
            with FlopCounterMode(display=False) if loss_of is function else nullcontext():
                loss = loss_of(logits := leaf(), *arguments)
                by = [t for t in (logits, arguments[0]) if t.requires_grad]
                results.append((loss.detach(), *torch.autograd.grad(loss, by)))
        for result in results[1:]:
            for value, expected in zip(result, results[0], strict=True):
                assert_close(value, expected)


class Model(torch.nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.layer, self.loss = torch.nn.Linear(5, 7, dtype=torch.float64), loss

    def forward(self, hidden, target):
        return self.loss(self.layer(hidden), target)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.exhaustive)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own modules
def test_compiled_in_one_graph(backend):
    soft = make_logits().softmax(1)
    hidden = torch.randn(6, 5, dtype=torch.float64)
    for loss, target in (
        (ours.CrossEntropyLoss(inplace=True), Y),
        (ours.CrossEntropyLoss(reduction="sum"), soft),
        (ours.BCEWithLogitsLoss(), soft),
    ):
        grads = []
        model = Model(loss)
        for run in (model, torch.compile(model, fullgraph=True, backend=backend)):
            model.zero_grad()
            (2 * run(hidden, target)).backward()
            grads.append(model.layer.weight.grad)
        assert_close(*grads)
        with torch.no_grad():
            assert_close(run(hidden, target), model(hidden, target))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(7,), (4, 7), (4, 7, 3)])
@pytest.mark.parametrize("how", ["eager", "inplace", "graph kept", "compiled"])
@pytest.mark.parametrize("upstream", [inf, -inf, nan])
def test_infinity_and_nan_from_above_do_nothing_to_ignored_rows(upstream, how, shape):
    z = torch.randn(shape)
    y = torch.full((*shape[:1], *shape[2:]) if len(shape) > 1 else (), -100)
    for reduction in ("sum", "none"):

        def loss(z, function, reduction=reduction, **more):
            return function(z, y, reduction=reduction, **more)

        if how == "compiled":
            torch._dynamo.reset()
            loss = torch.compile(loss, backend="aot_eager", fullgraph=True)
        grads = []
        for function in (F.cross_entropy, ours.cross_entropy):
            leaf = z.clone().requires_grad_()
            more = {"inplace": True} if how == "inplace" and function is ours.cross_entropy else {}
            losses = loss(leaf * 1 if more else leaf, function, **more)
            losses.backward(torch.full_like(losses, upstream), retain_graph=how == "graph kept")
            grads.append(leaf.grad)
        assert not grads[0].any()
        assert not grads[1].any()


@pytest.mark.parametrize("run", [lambda f: f, partial(torch.compile, backend="aot_eager")])
def test_infinity_and_nan_from_above_reach_rows_of_which_nothing_is_left_to_learn(run):
    z, y = torch.tensor([[200.0, 0.0], [0.0, 300.0]]), torch.tensor([0, 1])
    for upstream in (inf, nan):
        leaf = z.clone().requires_grad_()
        (run(ours.cross_entropy)(leaf, y) * upstream).backward()
        assert leaf.grad.isnan().all()


@pytest.mark.parametrize("watched", ["first", "again"])
@pytest.mark.parametrize("target", [Y, YES], ids=["indices", "probabilities"])
def test_a_checkpoint_may_be_watched_the_first_time_or_again(target, watched):
    def loss(z, t):
        return ours.cross_entropy(z * 1, t * 1)

    z, t = leaf(), target.clone().requires_grad_(target is YES)
    with FlopCounterMode(display=False) if watched == "first" else nullcontext():
        result = checkpoint(loss, z, t, use_reentrant=False, early_stop=False)
    with FlopCounterMode(display=False) if watched == "again" else nullcontext():
        result.backward()
    by = (z, t) if t.requires_grad else (z,)
    for tensor, expected in zip(by, torch.autograd.grad(F.cross_entropy(z, t), by), strict=True):
        assert_close(tensor.grad, expected)


def test_a_step_over_no_labels_is_of_0_and_rows_with_labels_have_what_torch_gives():
    z, y = torch.randn(6, 7), torch.tensor([1, -100, 2, -100, -100, 0])
    upstream = torch.tensor([1.0, inf, 2.0, nan, 0.5, nan])
    grads = []
    for function in (F.cross_entropy, ours.cross_entropy):
        leaf = z.clone().requires_grad_()
        function(leaf, y, reduction="none").backward(upstream)
        grads.append(leaf.grad)
    assert_close(grads[1], grads[0])
    assert not grads[1][[1, 3, 4]].any()
