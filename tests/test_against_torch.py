"""PyTorch in float64, where it has the option, and its autograd over the formula where it has not.

Every mix is a question to the specification, which other tests ask the kernels to follow: of those the
ordinary run compiles few here, and the others are behind the mark "exhaustive".

Where the two mean different things: with nothing kept PyTorch's mean is NaN and ours 0.0, and PyTorch
divides the mean over soft targets by the number of rows whatever their weight.
"""

import itertools

import numpy as np
import pytest

import fastxent
from fastxent import reference
from tests.tolerances import PEER_RELATIVE

WEIGHT = np.linspace(0, 2, 7)
SAMPLE_WEIGHT = np.array([1, 0.5, 0, 2, 3, 0.25])
REDUCTIONS = ["mean", "sum", "none"]

each_implementation = pytest.mark.parametrize(
    "implementation", [reference, fastxent], ids=["reference", "fastxent"]
)


def each_mix(names, mixes, compiled):
    """The specification with each mix, and the kernels with those at these places, or marked exhaustive."""
    cases = [
        pytest.param(
            implementation,
            *mix,
            marks=() if implementation is reference or i in compiled else pytest.mark.exhaustive,
            id=f"{implementation.__name__.split('.')[-1]}-{i}",
        )
        for i, mix in enumerate(mixes)
        for implementation in (reference, fastxent)
    ]
    return pytest.mark.parametrize(("implementation", *names), cases)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def problem():
    """Six rows of seven logits, integer targets with one to ignore, and soft targets that sum to 1."""
    rng = np.random.default_rng(0)
    logits, soft = rng.normal(0, 3, (6, 7)), rng.dirichlet(np.ones(7), 6)
    return logits, np.array([1, 6, -100, 3, 3, 0]), soft


def assert_as_torch(torch, ours, function, logits):
    """The loss and gradient are those of a function of a tensor; for reduction="none" those of the sum."""
    z = torch.tensor(logits, requires_grad=True)
    loss = function(z)
    loss.sum().backward()
    for result, expected in zip(ours, (loss.detach().numpy(), z.grad.numpy()), strict=True):
        assert np.shape(result) == expected.shape
        np.testing.assert_allclose(result, expected, rtol=0, atol=PEER_RELATIVE * np.max(np.abs(expected)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@each_mix(
    ("label_smoothing", "weight"), itertools.product((0.0, 0.1, 1.0), (None, WEIGHT)), compiled=(0, 3, 5)
)
def test_integer_targets(torch, implementation, label_smoothing, weight, reduction):
    logits, y, _ = problem()
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    losses = np.empty(len(y))  # so that all reductions share a kernel
    for ignore_index in (-100, 3):
        kept = np.where(y == -100, ignore_index, y)
        assert_as_torch(
            torch,
            implementation.cross_entropy_with_grad(
                logits, kept, weight=weight, ignore_index=ignore_index, loss_out=losses, **options
            ),
            lambda z, kept=kept, ignore_index=ignore_index: torch.nn.functional.cross_entropy(
                z, torch.tensor(kept), tensor(torch, weight), ignore_index=ignore_index, **options
            ),
            logits,
        )


def tensor(torch, array):
    return None if array is None else torch.tensor(array)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@each_mix(("label_smoothing", "weight"), itertools.product((0.0, 0.1), (None, WEIGHT)), compiled=(1, 3))
def test_soft_targets(torch, implementation, label_smoothing, weight, reduction):
    logits, _, soft = problem()
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    targets_grad, losses = np.zeros_like(soft), np.empty(len(soft))
    ours = implementation.cross_entropy_with_grad(
        logits, soft, weight=weight, loss_out=losses, targets_grad_out=targets_grad, **options
    )
    t = torch.tensor(soft, requires_grad=True)
    assert_as_torch(
        torch,
        ours,
        lambda z: torch.nn.functional.cross_entropy(z, t, tensor(torch, weight), **options),
        logits,
    )
    expected = t.grad.numpy()
    np.testing.assert_allclose(targets_grad, expected, rtol=0, atol=PEER_RELATIVE * np.max(np.abs(expected)))


@each_implementation
def test_classes_on_axis_1_as_torch_has_them(torch, implementation):
    logits, y = problem()[0].reshape(2, 3, 7).swapaxes(1, 2).copy(), problem()[1].reshape(2, 3)
    assert_as_torch(
        torch,
        implementation.cross_entropy_with_grad(logits, y, axis=1, weight=WEIGHT),
        lambda z: torch.nn.functional.cross_entropy(z, torch.tensor(y), torch.tensor(WEIGHT)),
        logits,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@each_mix(
    ("options",),
    [
        ({"focal_gamma": 2.0},),
        ({"focal_gamma": 0.5},),
        ({"z_loss": 0.1},),
        ({"softcap": 3.0},),
        ({"logit_scale": 0.3},),
        ({"focal_gamma": 2.0, "z_loss": 0.1, "softcap": 3.0, "logit_scale": 0.3},),
    ],
    compiled=(5,),
)
def test_options_that_torch_lacks_are_the_autograd_of_their_formula(
    torch, implementation, options, reduction
):
    logits, y, _ = problem()
    kept = np.flatnonzero(y >= 0)
    weights = SAMPLE_WEIGHT[kept] * WEIGHT[y[kept]]

    def formula(z):
        u = options.get("logit_scale", 1.0) * z
        if "softcap" in options:
            u = options["softcap"] * torch.tanh(u / options["softcap"])
        log_p = torch.log_softmax(u, dim=1)[kept, y[kept]]
        hard = -torch.tensor(WEIGHT[y[kept]]) * (1 - log_p.exp()) ** options.get("focal_gamma", 0.0) * log_p
        lse = torch.logsumexp(u, dim=1)[kept]
        losses = torch.tensor(SAMPLE_WEIGHT[kept]) * (hard + options.get("z_loss", 0.0) * lse**2)
        if reduction == "none":
            return torch.zeros(len(y), dtype=torch.float64).index_put((torch.tensor(kept),), losses)
        return losses.sum() / (weights.sum() if reduction == "mean" else 1)

    rows = {"sample_weight": SAMPLE_WEIGHT, "loss_out": np.empty(len(y))}
    ours = implementation.cross_entropy_with_grad(
        logits, y, weight=WEIGHT, reduction=reduction, **rows, **options
    )
    assert_as_torch(torch, ours, formula, logits)


@each_implementation
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight": np.linspace(0, 2, 42).reshape(6, 7)},
        {"weight": WEIGHT},
        {"pos_weight": WEIGHT},
        {"weight": SAMPLE_WEIGHT[:, None], "pos_weight": np.array(3.0)},
    ],
    ids=["plain", "weight", "weight-by-column", "pos_weight", "both"],
)
def test_binary_cross_entropy(torch, implementation, options, reduction):
    logits, _, soft = problem()
    for targets in (soft, (soft > 0.1).astype(np.float64)):
        assert_as_torch(
            torch,
            implementation.binary_cross_entropy_with_grad(logits, targets, reduction=reduction, **options),
            lambda z, targets=targets: torch.nn.functional.binary_cross_entropy_with_logits(
                z,
                torch.tensor(targets),
                reduction=reduction,
                **{name: torch.tensor(value) for name, value in options.items()},
            ),
            logits,
        )


@each_implementation
def test_divergence(torch, implementation):
    logits, _, soft = problem()
    soft[0, :3] = 0
    for ours, theirs in (("mean", "batchmean"), ("sum", "sum")):
        assert_as_torch(
            torch,
            implementation.kl_divergence_with_grad(logits, soft, reduction=ours),
            lambda z, theirs=theirs: torch.nn.functional.kl_div(
                torch.log_softmax(z, dim=1), torch.tensor(soft), reduction=theirs
            ),
            logits,
        )


@each_implementation
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_log_loss_and_entropy(torch, implementation, reduction):
    logits, y, _ = problem()
    p = torch.softmax(torch.tensor(logits), dim=1)
    expected = torch.nn.functional.nll_loss(p.log(), torch.tensor(y), reduction=reduction).numpy()
    np.testing.assert_allclose(
        implementation.log_loss(p.numpy(), y, reduction=reduction), expected, rtol=PEER_RELATIVE
    )
    expected = torch.distributions.Categorical(probs=p).entropy().numpy()
    np.testing.assert_allclose(implementation.entropy(p.numpy()), expected, rtol=PEER_RELATIVE)
