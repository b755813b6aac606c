"""Who else computes loss and gradient on a GPU, each given the same memory. PyTorch is needed for all."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from benchmarks.on_gpu import GPUProblem, quickest_on_gpu
from benchmarks.rounds import ROUNDS, Call

Loss = Callable[[Any, Any], Any]


def losses() -> dict[str, Loss]:
    """Of tensors, by name; those that are installed."""
    if not find_spec("torch"):
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    found: dict[str, Loss] = {
        "PyTorch": torch.nn.functional.cross_entropy,
        "torch.compile": torch.compile(torch.nn.functional.cross_entropy, dynamic=False),
    }
    if find_spec("liger_kernel"):
        from liger_kernel.transformers import LigerCrossEntropyLoss

        found["Liger Kernel"] = LigerCrossEntropyLoss()
    return found


def contest(shape: tuple[int, int], dtype: str, n_rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of the copy, of fastxent in place, and of the others, once all have given the same."""
    problem = GPUProblem(shape, dtype).checked()
    calls = problem.calls()
    for name, loss in losses().items():
        calls[name] = _with_autograd(problem, loss, dtype)
    return quickest_on_gpu(calls, n_rounds)


def _with_autograd(problem: GPUProblem, loss: Loss, dtype: str) -> Call:
    import torch
    from numba import cuda

    bits = problem.buffer if dtype != "bfloat16" else problem.buffer.view(np.int16)
    memory = torch.as_tensor(bits, device="cuda").view(getattr(torch, dtype))
    targets = torch.as_tensor(problem.targets, device="cuda")
    leaf = memory.detach().requires_grad_()

    def prepare() -> None:
        problem.refill()
        leaf.grad = None

    def run() -> Any:
        result = loss(leaf, targets)
        result.backward()
        return result

    prepare()
    result = run()
    problem.check(result.item(), cuda.as_cuda_array(leaf.grad.float()))
    return Call(run, prepare)
