"""softmax, log-softmax and log-sum-exp along the last axis, beside other libraries' on the same logits."""

from typing import NamedTuple

import numpy as np
from benchmarks.problems import Problem, Shape
from benchmarks.rounds import ROUNDS, Call, quickest

from .contenders import Contender, Task

NAMES = "softmax", "log_softmax", "logsumexp"


class Activation(NamedTuple):
    """Of float32 logits, in place where the result is as large."""

    name: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {'×'.join(map(str, self.shape))}"


def cases(*shapes: Shape) -> list[Activation]:
    return [Activation(name, shape) for name in NAMES for shape in shapes]


CASES = cases((32768, 10), (8192, 100), (4096, 1000), (512, 50257))
TINY_CASES = cases((16, 10))


def _scipy(problem):
    import scipy.special

    function = getattr(scipy.special, problem.name)
    return Task(Call(lambda: function(problem.first, axis=-1)), np.asarray)


def _torch(problem):
    import torch

    function, z = getattr(torch, problem.name), torch.tensor(problem.first)
    out = torch.empty_like(function(z, -1))
    return Task(Call(lambda: function(z, -1, out=out)), np.asarray)


def _jax(problem):
    import jax

    jax.config.update("jax_platforms", "cpu")
    function, z = getattr(jax.nn, problem.name), jax.device_put(problem.first)
    compiled = jax.jit(lambda z: function(z, -1))
    return Task(Call(lambda: jax.block_until_ready(compiled(z))), np.asarray)


LIBRARIES = {
    "SciPy": Contender(_scipy, ("scipy",)),
    "PyTorch": Contender(_torch, ("torch",)),
    "JAX jit": Contender(_jax, ("jax",)),
}


def contest(library: str, case: Activation, n_rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds of fastxent and of the library, once both have given the same."""
    problem = Problem(case.name, case.shape)
    problem.refill()
    expected = problem.fastxent().copy()
    task = LIBRARIES[library].task(problem)
    task.check(expected)
    times = quickest({"fastxent": problem.calls()["fastxent"], library: task.call}, n_rounds)
    return times["fastxent"], times[library]
