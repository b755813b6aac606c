"""The losses for PyTorch give what PyTorch's own give: results, shapes, dtypes and errors."""

import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="of the extra 'torch'")

from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import fastxent  # noqa: E402
from fastxent import torch as ours  # noqa: E402
from tests.tolerances import FLOAT16_SCALED_RELATIVE, FLOAT32_RELATIVE, relatively  # noqa: E402
from tests.torch_measure import BINARIES, CROSS_ENTROPIES, assert_as_torch, assert_close, outcome, problem  # noqa: E402

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
REDUCTIONS = ["mean", "sum", "none"]


@pytest.fixture
def by_specification(monkeypatch):
    """Of what becomes of PyTorch's arguments no kernel decides; each mix of them would be compiled."""
    for name in ("cross_entropy", "binary_cross_entropy"):
        for function in (name, f"{name}_with_grad"):
            monkeypatch.setattr(fastxent, function, getattr(fastxent.reference, function))


def samples(name, dtype):
    from torch.testing._internal.common_methods_invocations import op_db

    (op,) = (op for op in op_db if op.name == name)
    return list(op.sample_inputs("cpu", dtype, requires_grad=True))


each_sampled = pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("nn.functional.cross_entropy", CROSS_ENTROPIES),
        ("nn.functional.binary_cross_entropy_with_logits", BINARIES),
    ],
)


@each_sampled
def test_samples_of_torch_are_asked_for_as_they_are_meant(name, pair, by_specification):
    for sample in samples(name, torch.float64):
        assert_as_torch(pair, sample.input, *sample.args, **sample.kwargs)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_sampled
def test_samples_of_torch(name, pair, dtype):
    for sample in samples(name, dtype):
        assert_as_torch(pair, sample.input, *sample.args, **sample.kwargs)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_options_go_together(weighted, label_smoothing, reduction, by_specification):
    assert_options_as_torch(weighted, label_smoothing, reduction)


def test_kernels_are_called_as_the_specification_is():
    assert_options_as_torch(True, 0.1, "mean")


def assert_options_as_torch(weighted, label_smoothing, reduction):
    logits, y, soft, weight = problem()
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    weight = weight if weighted else None
    assert_as_torch(CROSS_ENTROPIES, logits.requires_grad_(), y, weight, **options)
    assert_as_torch(CROSS_ENTROPIES, logits, y.where(y >= 0, 3), weight, ignore_index=3, **options)
    assert_as_torch(CROSS_ENTROPIES, logits, soft.requires_grad_(), weight, **options)
    assert_as_torch(CROSS_ENTROPIES, logits.detach(), soft, weight, **options)
    assert_as_torch(CROSS_ENTROPIES, logits[0], y[0], weight, **options)
    assert_as_torch(CROSS_ENTROPIES, logits[0], soft[0], weight, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_of_the_binary_loss(reduction):
    logits, _, soft, weight = problem()
    logits.requires_grad_()
    for options in (
        {"weight": weight},
        {"pos_weight": weight},
        {"weight": torch.rand(6, 1, dtype=torch.float64), "pos_weight": torch.tensor([3.0]).double()},
    ):
        assert_as_torch(BINARIES, logits, soft, reduction=reduction, **options)


@pytest.mark.parametrize(
    "strided",
    [
        lambda z: z.t().contiguous().t(),
        lambda z: z[::2],
        lambda z: z[:, 1:],
        lambda z: z[:1].expand(6, 7),
        lambda z: z.flip(0),
    ],
)
def test_strided_and_expanded_inputs(strided):
    logits, y, soft, _ = problem()
    view = strided(logits).requires_grad_()
    soft, y = strided(soft), y[: len(view)].clamp(0, view.shape[1] - 1)
    assert_as_torch(CROSS_ENTROPIES, view, y)
    assert_as_torch(CROSS_ENTROPIES, view, y.clone().repeat_interleave(2)[::2])
    assert_as_torch(CROSS_ENTROPIES, view, soft)
    assert_as_torch(BINARIES, view, soft)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_tensors_that_numpy_has_not_are_torchs(dtype):
    logits, y, soft, weight = problem(dtype)
    negative = torch._neg_view(logits).requires_grad_()
    assert_as_torch(CROSS_ENTROPIES, negative, y, torch._neg_view(-weight))
    assert_as_torch(CROSS_ENTROPIES, logits, torch._neg_view(-soft))
    assert_as_torch(BINARIES, negative, torch._neg_view(-soft), pos_weight=weight)
    zeros = torch._efficientzerotensor((6, 7), dtype=dtype)
    assert_as_torch(CROSS_ENTROPIES, zeros, y)
    assert_as_torch(BINARIES, logits, zeros)


def test_weights_too_small_for_the_arithmetic_of_the_logits_are_torchs():
    logits, y, soft, weight = problem(torch.float32)
    for target in (y, soft):
        assert_as_torch(CROSS_ENTROPIES, logits, target, weight * 1e-38, label_smoothing=0.1)


def test_gradients_have_the_strides_of_the_logits():
    images = torch.randn(2, 7, 4, 5, requires_grad=True)
    y = torch.randint(7, (2, 4, 5))
    for input in (images, images.contiguous(memory_format=torch.channels_last)):
        results = [torch.autograd.grad(function(input, y), input)[0] for function in CROSS_ENTROPIES]
        assert results[0].stride() == input.stride()
        assert_close(*results)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16], ids=str)
def test_targets_of_other_integer_dtypes(dtype):
    logits, y, _, weight = problem()
    kept = y >= 0
    result = ours.cross_entropy(logits[kept], y[kept].to(dtype))
    assert_close(result, F.cross_entropy(logits, y))
    left_to_torch = ours.cross_entropy(logits[kept], y[kept].to(dtype), -weight)
    assert_close(left_to_torch, F.cross_entropy(logits, y, -weight))
    with FlopCounterMode(display=False):
        left_by_the_operator = ours.cross_entropy(logits[kept], y[kept].to(dtype), -weight)
    assert_close(left_by_the_operator, left_to_torch)


def test_losses_are_where_the_logits_are_and_not_on_the_default_device():
    logits, y, soft, _ = problem()
    with torch.device("meta"):
        for function, target in ((ours.cross_entropy, y), (ours.binary_cross_entropy_with_logits, soft)):
            assert function(logits, target).is_cpu


def test_a_mean_of_nothing_is_nan_and_one_of_zeros_is_zero():
    logits, y, _, weight = problem()
    logits.requires_grad_()
    nothing = torch.full_like(y, -100)
    assert_as_torch(CROSS_ENTROPIES, logits, nothing)
    assert_as_torch(CROSS_ENTROPIES, logits, nothing, reduction="sum")
    assert_as_torch(CROSS_ENTROPIES, logits, nothing, weight, label_smoothing=0.1)
    assert ours.cross_entropy(logits, y, torch.zeros_like(weight)).isnan()
    certain = 1000 * torch.eye(7, dtype=torch.float64)[y.clamp(0)]
    assert ours.cross_entropy(certain, y.clamp(0)) == F.cross_entropy(certain, y.clamp(0)) == 0


def test_where_the_formula_has_a_value_and_torch_nan_the_losses_and_gradients_are_those_of_the_formula():
    inf, (softmax, torchs), (binary, binary_torchs) = torch.inf, CROSS_ENTROPIES, BINARIES
    masked = torch.tensor([[-inf, 0.0, 0.0]], requires_grad=True)
    half, above = torch.tensor([[0.0, 0.5, 0.5]]), torch.tensor([[inf, 0.0]])
    assert torchs(masked, half).isnan()
    assert softmax(masked, half) == torch.tensor(2.0).log()
    assert not torch.autograd.grad(softmax(masked, half), masked)[0].any()
    assert torchs(above, torch.tensor([1])).isnan()
    assert softmax(above, torch.tensor([1])) == inf
    certain, yes_and_no = torch.tensor([inf, -inf], requires_grad=True), torch.tensor([1.0, 0.0])
    assert binary_torchs(certain, yes_and_no).isnan()
    assert binary(certain, yes_and_no) == 0
    assert not torch.autograd.grad(binary(certain, yes_and_no), certain)[0].any()
    leaf, nothing = torch.ones(1, 2, requires_grad=True), torch.zeros(2)
    for loss_of, is_nan in ((torchs, True), (softmax, False)):
        loss = loss_of(leaf, torch.tensor([0]), nothing)
        assert loss.isnan()
        assert torch.autograd.grad(loss, leaf)[0].isnan().any() == is_nan


@pytest.mark.parametrize("pair", [CROSS_ENTROPIES, BINARIES], ids=["softmax", "binary"])
def test_nothing_at_all(pair):
    empty = torch.empty(0, 7, requires_grad=True)
    for reduction in REDUCTIONS:
        assert_as_torch(pair, empty, torch.empty(0, 7), reduction=reduction)
    assert_as_torch(CROSS_ENTROPIES, empty, torch.empty(0, dtype=torch.int64))


def test_values_that_fastxent_refuses_are_torchs():
    logits, y, soft, weight = problem()
    logits.requires_grad_()
    for reduction in REDUCTIONS:
        assert_as_torch(CROSS_ENTROPIES, logits, y, -weight, reduction=reduction)
        assert_as_torch(CROSS_ENTROPIES, logits, soft.requires_grad_(), -weight, reduction=reduction)
        assert_as_torch(BINARIES, logits, 3 * soft.detach() - 1, reduction=reduction)
        assert_as_torch(BINARIES, logits, soft.detach(), pos_weight=-weight, reduction=reduction)
    assert_as_torch(BINARIES, logits, soft.detach() * torch.nan)


def test_what_fastxent_does_not_cover_is_torchs():
    logits, y, soft, weight = problem()
    logits.requires_grad_()
    assert_as_torch(CROSS_ENTROPIES, logits, soft, weight.clone().requires_grad_())
    assert_as_torch(CROSS_ENTROPIES, logits, soft.float())
    assert_as_torch(CROSS_ENTROPIES, logits, y, label_smoothing=-0.1)
    assert_as_torch(CROSS_ENTROPIES, logits, soft, ignore_index=-1)
    assert_as_torch(BINARIES, logits, soft.requires_grad_())
    assert_as_torch(BINARIES, logits, soft.detach().float())
    assert_as_torch(BINARIES, logits[0, 0], soft.detach()[0, 0])
    meta = logits.to("meta"), y.to("meta")
    assert ours.cross_entropy(*meta).device.type == "meta"


def test_a_loss_that_no_float32_holds_is_infinite_as_torchs():
    apart = torch.tensor([[-3e38, 3e38], [3e38, -3e38]], requires_grad=True)
    for reduction in REDUCTIONS:
        assert_as_torch(CROSS_ENTROPIES, apart, torch.tensor([0, 1]), reduction=reduction)
    masked = torch.full((2, 2), torch.finfo(torch.float32).min, requires_grad=True)
    assert_as_torch(BINARIES, masked, torch.ones(2, 2), reduction="sum")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_tensor_whose_memory_was_freed_is_refused_as_by_torch(dtype):
    logits, y, _, _ = problem(dtype)
    logits.untyped_storage().resize_(0)
    assert [outcome(function, logits, y) for function in CROSS_ENTROPIES] == [RuntimeError] * 2


LOGITS, Y, SOFT, WEIGHT = problem(torch.float32)


def test_positions_are_torchs():
    logits, y, soft, weight = problem()
    assert_as_torch(CROSS_ENTROPIES, logits, y.clamp(0), weight, None, 3, None, "sum", 0.1)
    assert_as_torch(BINARIES, logits, soft, weight, None, None, "sum", weight)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CrossEntropyLoss", {}),
        ("CrossEntropyLoss", {"weight": WEIGHT, "ignore_index": 3, "label_smoothing": 0.1}),
        ("CrossEntropyLoss", {"reduction": "none"}),
        ("BCEWithLogitsLoss", {}),
        ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT, "reduction": "sum"}),
    ],
)
def test_modules_are_torchs(name, options):
    modules = [getattr(library, name)(**options) for library in (ours, torch.nn)]
    assert repr(modules[0]) == repr(modules[1])
    states = [module.state_dict() for module in modules]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    modules[0].load_state_dict(states[1])
    target = Y.clamp(0) if name == "CrossEntropyLoss" else SOFT
    assert_as_torch(modules, LOGITS.clone().requires_grad_(), target)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types(dtype):
    logits, y, soft, _ = problem(dtype)
    logits.requires_grad_()
    assert_as_torch(CROSS_ENTROPIES, logits, y)
    assert_as_torch(CROSS_ENTROPIES, logits, y, reduction="none")
    assert_as_torch(BINARIES, logits, soft)


@pytest.mark.parametrize("run", [lambda f: f, partial(torch.compile, backend="aot_eager")])
@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (ours.cross_entropy, torch.tensor([0])),
        (ours.binary_cross_entropy_with_logits, torch.ones(1, 2).half()),
    ],
)
def test_gradients_too_small_for_float16_are_there_after_a_loss_scale(loss, target, run):
    logits = torch.tensor([[18.0, 0.0]], dtype=torch.float16, requires_grad=True)
    (2**15 * run(partial(loss, reduction="sum"))(logits, target)).backward()
    assert logits.grad.dtype == torch.float16
    assert float(logits.grad[0, 0]) == relatively(-(2**15) * np.exp(-18), FLOAT16_SCALED_RELATIVE)


@pytest.mark.parametrize("run", [lambda f: f, partial(torch.compile, backend="aot_eager")])
def test_gradients_by_targets_too_small_for_float16_are_there_after_a_loss_scale(run):
    logits = torch.tensor([[18.0, 0.0]], dtype=torch.float16)
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float16, requires_grad=True)
    (2**15 * run(ours.cross_entropy)(logits, target)).backward()
    assert target.grad.dtype == torch.float16
    assert float(target.grad[0, 0]) == relatively(2**15 * np.exp(-18), FLOAT16_SCALED_RELATIVE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_autocast_computes_in_float32_and_leaves_float64(dtype):
    logits, y, _, _ = problem(dtype)
    _, _, soft, weight = problem(torch.float32)
    logits.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_as_torch(CROSS_ENTROPIES, logits, y)
        assert_as_torch(CROSS_ENTROPIES, logits, y, reduction="none")
        assert_as_torch(CROSS_ENTROPIES, logits, soft, weight)
        assert_as_torch(BINARIES, logits, soft, pos_weight=weight)


@pytest.mark.slow
def test_autocast_computes_in_float32_what_fastxent_refuses_where_operators_are_watched():
    logits, _, _, weight = problem(torch.bfloat16)
    _, _, soft, _ = problem(torch.float32)
    logits.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16), FlopCounterMode(display=False):
        assert_as_torch(CROSS_ENTROPIES, logits, soft, -weight.float())
        assert_as_torch(BINARIES, logits, 3 * soft - 1)


def test_tensors_of_other_devices_are_torchs_and_warned_of_once():
    from torch._subclasses.fake_tensor import FakeTensorMode

    from fastxent.torch.covered import _warn_of_device

    _warn_of_device.cache_clear()
    with FakeTensorMode():
        logits, y = torch.randn(6, 7, device="cuda"), torch.zeros(6, dtype=torch.int64, device="cuda")
        with pytest.warns(UserWarning, match="no path for these cuda tensors") as caught:
            losses = [function(logits, y) for function in (ours.cross_entropy, ours.CrossEntropyLoss())]
    assert [loss.device.type for loss in losses] == ["cuda", "cuda"]
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.slow
def test_threads_are_torchs(monkeypatch):
    import numba

    seen, n_torch, n_numba = [], torch.get_num_threads(), numba.get_num_threads()
    solve = fastxent.cross_entropy

    def spy(*arguments, **options):
        seen.append(numba.get_num_threads())
        return solve(*arguments, **options)

    monkeypatch.setattr(fastxent, "cross_entropy", spy)
    logits, y = torch.zeros(40, 1000), torch.zeros(40, dtype=torch.int64)
    try:
        for n in (1, 2, 1000):
            torch.set_num_threads(n)
            ours.cross_entropy(logits, y)
    finally:
        torch.set_num_threads(n_torch)
    assert seen == [min(n, numba.config.NUMBA_NUM_THREADS) for n in (1, 2, 1000)]
    assert numba.get_num_threads() == n_numba


class _Rows(torch.utils.data.Dataset):
    """Batches, large enough for threads, and their losses, computed where they are made, with NumPy too."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        logits = torch.full((40, 1000), float(i))
        loss = fastxent.cross_entropy(logits.numpy(), np.zeros(40, int))
        assert loss == relatively(np.log(1000), FLOAT32_RELATIVE)
        return logits, ours.cross_entropy(logits, torch.zeros(40, dtype=torch.int64))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, which other tests import
def test_workers_forked_after_use():
    logits = torch.zeros(40, 1000, requires_grad=True)
    y = torch.zeros(40, dtype=torch.int64)
    ours.cross_entropy(logits, y).backward()
    loader = torch.utils.data.DataLoader(_Rows(), batch_size=2, num_workers=1, multiprocessing_context="fork")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        for batch, losses in loader:
            np.testing.assert_allclose(losses, np.log(1000), rtol=FLOAT32_RELATIVE)
            ours.cross_entropy(batch.view(-1, 1000), y.repeat(2))


@pytest.mark.slow
def test_import_compiles_nothing_and_leaves_torch_out_of_fastxent():
    code = "import sys, fastxent; assert 'torch' not in sys.modules; import fastxent.torch, threading; "
    code += "assert threading.active_count() == 1; assert not fastxent.cpu.cross_entropy_rows.entries"
    subprocess.run([sys.executable, "-c", code], check=True)
