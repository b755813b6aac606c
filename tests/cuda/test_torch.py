"""CUDA tensors go through `fastxent.torch` to the GPU path, and come back as PyTorch has them.

PyTorch has no simulator: where there is no GPU, tensors in the processor's memory pretend to be on one.
"""

import pytest
from numba import config

import fastxent
from fastxent.cuda import package

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

import fastxent.torch as ours  # noqa: E402
from fastxent.torch import covered  # noqa: E402
from tests.tolerances import CUDA_TORCH_EPS  # noqa: E402


class Pretending(torch.Tensor):
    """A tensor of which everybody but PyTorch believes that it is on a GPU."""

    is_cuda, is_cpu = True, False

    @property
    def __cuda_array_interface__(self):
        here = self.as_subclass(torch.Tensor)
        if here.requires_grad:
            raise RuntimeError("requires grad")
        size = here.element_size()
        kind = {torch.int64: "i", torch.bfloat16: "V"}.get(here.dtype, "f")
        return {
            "shape": tuple(here.shape),
            "strides": tuple(stride * size for stride in here.stride()),
            "typestr": f"<{kind}{size}",
            "data": (here.data_ptr(), False),
            "version": 3,
            "stream": 1,
        }


@pytest.fixture
def there(monkeypatch):
    """Moves a tensor, and refuses PyTorch's own function."""

    def refuse(*arguments, **options):
        raise AssertionError("PyTorch was asked")

    moved = torch.Tensor.cuda
    if config.ENABLE_CUDASIM:
        monkeypatch.setattr(covered, "_TENSOR_TYPES", covered._TENSOR_TYPES | {Pretending})
        monkeypatch.setattr(package, "gpu_in_use", lambda: None)  # the index of the processor
        moved = lambda tensor: tensor.as_subclass(Pretending)  # noqa: E731
    elif not torch.cuda.is_available():
        pytest.skip("this PyTorch has no GPU, nor is there Numba's simulator")
    monkeypatch.setattr(F, "cross_entropy", refuse)
    monkeypatch.setattr(covered, "_warn_of_device", lambda device: None)
    return moved


PLAIN_TORCH = F.cross_entropy

OPTIONS = {
    "plain": {},
    "sum": {"reduction": "sum"},
    "rows": {"reduction": "none"},
    "smoothing": {"label_smoothing": 0.1},
    "weight": {"weight": torch.linspace(0.5, 2, 7)},
    "ignored": {"ignore_index": 3},
}


def problem(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    n_classes = shape[1] if len(shape) > 1 else shape[0]
    return torch.randn(shape, generator=generator).to(dtype), torch.randint(
        0, n_classes, rows, generator=generator
    )


def true_results(logits, y, upstream=None, **options):
    logits = logits.detach().double().clone().requires_grad_()
    if "weight" in options:
        options = options | {"weight": options["weight"].double()}
    loss = PLAIN_TORCH(logits, y, **options)
    loss.backward(torch.ones_like(loss) if upstream is None else upstream.double())
    return loss.detach(), logits.grad


def assert_close(ours, truth, dtype=torch.float32):
    tolerance = CUDA_TORCH_EPS * torch.finfo(dtype).eps
    torch.testing.assert_close(ours.detach().cpu().double(), truth, rtol=tolerance, atol=tolerance / 8)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 7, 3), (2, 7, 3, 4)], ids=str)
def test_loss_and_gradient_are_pytorchs(there, name, shape):
    logits, y = problem(shape)
    true_loss, true_grad = true_results(logits, y, **OPTIONS[name])
    options = {key: there(v) if key == "weight" else v for key, v in OPTIONS[name].items()}
    leaf = there(logits).requires_grad_()
    loss = ours.cross_entropy(leaf, there(y), **options)
    assert_close(loss, true_loss)
    loss.backward(torch.ones_like(loss))
    assert_close(leaf.grad, true_grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtypes_are_kept(there, dtype):
    logits, y = problem((5, 7), dtype)
    true_loss, true_grad = true_results(logits, y)
    leaf = there(logits).requires_grad_()
    loss = ours.cross_entropy(leaf, there(y))
    loss.backward()
    assert loss.dtype == leaf.grad.dtype == dtype
    assert_close(loss, true_loss, dtype)
    assert_close(leaf.grad, true_grad, dtype)
    rows = ours.cross_entropy(there(logits), there(y), reduction="none")
    assert rows.dtype == dtype
    assert_close(rows, true_results(logits, y, reduction="none", upstream=torch.ones(5))[0], dtype)


def test_autocast_on_the_gpu_gives_float32_and_on_the_processor_changes_nothing(there, monkeypatch):
    logits, y = problem((5, 7), torch.float16)
    for device, dtype in (("cuda", torch.float32), ("cpu", torch.float16)):
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda asked, device=device: asked == device)
        loss = ours.cross_entropy(there(logits), there(y))
        assert loss.dtype == dtype
        assert_close(loss, true_results(logits, y)[0], dtype)


def test_the_gradient_may_take_the_memory_of_the_logits(there):
    logits, y = problem((5, 7))
    true_loss, true_grad = true_results(logits, y, upstream=torch.tensor(3.0))
    leaf = there(logits).requires_grad_()
    z = leaf * 1
    loss = ours.cross_entropy(z, there(y), inplace=True)
    assert_close(z, true_grad / 3)
    (3 * loss).backward()
    assert_close(loss, true_loss)
    assert_close(leaf.grad, true_grad)


def test_without_a_gradient_none_is_computed(there, monkeypatch):
    monkeypatch.delattr(fastxent, "cross_entropy_with_grad")
    logits, y = problem((5, 7))
    with torch.no_grad():
        loss = ours.cross_entropy(there(logits).requires_grad_(), there(y))
    assert_close(loss, true_results(logits, y)[0])


def test_a_mean_of_nothing_is_nan_as_pytorchs(there):
    logits, y = problem((5, 7))
    loss = ours.cross_entropy(there(logits), there(torch.full_like(y, -100)))
    assert torch.isnan(loss.cpu())


def test_a_bad_target_raises_and_names_it(there):
    logits, y = problem((5, 7))
    y[3] = 7
    with pytest.raises(IndexError, match="7"):
        ours.cross_entropy(there(logits), there(y))


def test_soft_targets_are_pytorchs(there):
    logits, _ = problem((5, 7))
    with pytest.raises(AssertionError, match="PyTorch was asked"):
        ours.cross_entropy(there(logits), there(logits.softmax(1)))


def test_negative_weights_are_pytorchs(there):
    logits, y = problem((5, 7))
    with pytest.raises(AssertionError, match="PyTorch was asked"):
        ours.cross_entropy(there(logits), there(y), there(torch.linspace(-1, 1, 7)))


def test_tensors_whose_memory_holds_their_negatives_are_pytorchs(there):
    logits = torch.randn(5, 7, dtype=torch.complex64).conj().imag
    y = torch.arange(5)
    assert logits.is_neg()
    with pytest.raises(AssertionError, match="PyTorch was asked"):
        ours.cross_entropy(there(logits), there(y))
    with pytest.raises(ValueError, match="logits must hold its numbers in memory"):
        fastxent.softmax(there(logits))


def test_rows_that_lie_on_three_axes_are_pytorchs(there):
    logits = torch.zeros(3, 2, 4, 7).permute(1, 3, 0, 2)
    with pytest.raises(AssertionError, match="PyTorch was asked"):
        ours.cross_entropy(there(logits), there(torch.zeros(2, 3, 4, dtype=torch.int64)))


def test_a_tensor_on_another_gpu_is_pytorchs(there, monkeypatch):
    logits, y = problem((5, 7))
    monkeypatch.setattr(package, "gpu_in_use", lambda: 17)
    with pytest.raises(AssertionError, match="PyTorch was asked"):
        ours.cross_entropy(there(logits), there(y))
