"""PyTorch's loss beside ours for PyTorch: forward and backward of logits that a layer before has made."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks.problems import TOLERANCE, check_same
from benchmarks.rounds import ROUNDS, Call, quickest
from torch import Tensor
from torch.nn import functional as F

import fastxent.torch

Loss = Callable[[Tensor, Tensor], Tensor]

TORCH, OURS, IN_PLACE = "PyTorch", "fastxent.torch", "inplace=True"
LOSSES: dict[str, Loss] = {
    TORCH: F.cross_entropy,
    OURS: fastxent.torch.cross_entropy,
    IN_PLACE: lambda logits, targets: fastxent.torch.cross_entropy(logits, targets, inplace=True),
}


class Case(NamedTuple):
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        sizes = "×".join(map(str, self.shape)) if len(self.shape) == 2 else str(self.shape)
        return f"{sizes} {self.dtype}"


class Step(NamedTuple):
    """A linear layer's two or three matrix products, and the loss between them."""

    n_rows: int
    n_hidden: int
    n_classes: int
    n_times: int
    """In a row, as one call: threads that spin after their work disturb what comes next."""

    def __str__(self) -> str:
        return f"{self.n_rows}×{self.n_hidden} · {self.n_hidden}×{self.n_classes}, the loss, and back"


VOCABULARY = Case((512, 50257))
CASES = [
    VOCABULARY,
    Case(VOCABULARY.shape, "bfloat16"),
    Case((4096, 1000)),
    Case((8, 21, 256, 256)),
    Case((128, 10)),
]
STEPS = [Step(512, 64, 50257, n_times=2), Step(128, 256, 1000, n_times=20)]
TINY_CASES = [Case((16, 10)), Case((16, 10), "bfloat16"), Case((2, 3, 4, 5))]
TINY_STEPS = [Step(4, 5, 100, n_times=2)]
_BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


class _Source(torch.autograd.Function):
    """Stands for the layer before: gives logits in memory that is there, and keeps their gradient."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, logits: Tensor, seen: list[Tensor]) -> Tensor:
        ctx.seen = seen
        return logits.data  # a tensor of its own, with the same memory

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        ctx.seen[:] = [grad]
        return None, None, None


class Problem:
    def __init__(self, case: Case) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(case.shape, generator=generator).mul_(3)
        self.logits = logits.to(getattr(torch, case.dtype))
        self.targets = torch.randint(
            case.shape[1], case.shape[:1] + case.shape[2:], generator=generator, dtype=torch.int64
        )
        self.parameter = torch.zeros(1, requires_grad=True)
        self.grad: list[Tensor] = []

    def layer(self, memory: Tensor) -> Tensor:
        self.grad.clear()
        return _Source.apply(self.parameter, memory, self.grad)

    def call(self, loss: Loss, memory: Tensor) -> Call:
        given: list[Tensor] = []

        def prepare() -> None:
            memory.copy_(self.logits)
            given[:] = [self.layer(memory)]

        def run() -> Tensor:
            result = loss(given[0], self.targets)
            result.backward()
            return result

        return Call(run, prepare)

    def result(self, call: Call) -> tuple[float, np.ndarray]:
        call.prepare()
        loss = call.run().item()
        return loss, self.grad[0].float().numpy().copy()


def contest(case: Case, n_rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of each loss, once all have given the same loss and gradient."""
    problem = Problem(case)
    memory = problem.logits.clone()
    calls = {name: problem.call(loss, memory) for name, loss in LOSSES.items()}
    expected = problem.result(calls[TORCH])
    for call in calls.values():
        check_same(problem.result(call), expected, TOLERANCE[problem.logits.itemsize])
    return quickest(calls, n_rounds)


def peak_memory(case: Case, name: str) -> float:
    """The most that forward and backward take beside the logits, in sizes of the logits; in a new process."""
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    few = Problem(Case((64, 1024), case.dtype))  # the same machine code in little memory
    few.result(few.call(LOSSES[name], few.logits.clone()))
    problem = Problem(case)
    logits = problem.layer(problem.logits)
    before = peak()
    LOSSES[name](logits, problem.targets).backward()
    return (peak() - before) * _BYTES_OF_MAXRSS / problem.logits.nbytes


def alternating(step: Step, n_rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of a step, whose matrix products and loss are computed by two libraries' threads in turn."""
    torch.manual_seed(0)
    hidden = torch.randn(step.n_rows, step.n_hidden)
    targets = torch.randint(step.n_classes, (step.n_rows,))
    layer = torch.nn.Linear(step.n_hidden, step.n_classes)

    def run(loss: Loss) -> None:
        for _ in range(step.n_times):
            layer.zero_grad()
            loss(layer(hidden), targets).backward()

    def result(loss: Loss) -> np.ndarray:
        run(loss)
        return layer.weight.grad.numpy().copy()

    for loss in LOSSES.values():
        check_same(result(loss), result(LOSSES[TORCH]), TOLERANCE[4])
    calls = {name: Call(lambda loss=loss: run(loss)) for name, loss in LOSSES.items()}
    return {name: seconds / step.n_times for name, seconds in quickest(calls, n_rounds).items()}
