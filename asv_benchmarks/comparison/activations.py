"""softmax, log-softmax and log-sum-exp, beside other libraries' on the same logits."""

from typing import NamedTuple

import numpy as np
from benchmarks.problems import Problem
from benchmarks.rounds import ROUNDS, Call, quickest

from .contenders import Contender, Task
from .contest import IMAGES, Case

NAMES = "softmax", "log_softmax", "logsumexp"


class Activation(NamedTuple):
    """Of float32 logits, in place where the result is as large."""

    name: str
    of: Case

    def __str__(self) -> str:
        return f"{self.name} {self.of}"


def activations_of(*cases: Case) -> list[Activation]:
    return [Activation(name, case) for name in NAMES for case in cases]


CASES = activations_of(*map(Case, [(32768, 10), (8192, 100), (4096, 1000), (512, 50257)]), IMAGES)
TINY_CASES = activations_of(Case((16, 10)), Case((3, 5, 4), axis=1))


def _scipy(problem):
    import scipy.special

    function = getattr(scipy.special, problem.name)
    return Task(Call(lambda: function(problem.first, axis=problem.axis)), np.asarray)


def _torch(problem):
    import torch

    function, z = getattr(torch, problem.name), torch.tensor(problem.first)
    out = torch.empty_like(function(z, problem.axis))
    return Task(Call(lambda: function(z, problem.axis, out=out)), np.asarray)


def _jax(problem):
    import jax

    jax.config.update("jax_platforms", "cpu")
    function, z = getattr(jax.nn, problem.name), jax.device_put(problem.first)
    compiled = jax.jit(lambda z: function(z, problem.axis))
    return Task(Call(lambda: jax.block_until_ready(compiled(z))), np.asarray)


LIBRARIES = {
    "SciPy": Contender(_scipy, ("scipy",)),
    "PyTorch": Contender(_torch, ("torch",)),
    "JAX jit": Contender(_jax, ("jax",)),
}


def contest(library: str, case: Activation, n_rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds of fastxent and of the library, once both have given the same."""
    problem = Problem(case.name, case.of.shape, axis=case.of.axis)
    problem.refill()
    expected = problem.fastxent().copy()
    task = LIBRARIES[library].task(problem)
    task.check(expected)
    times = quickest({"fastxent": problem.calls()["fastxent"], library: task.call}, n_rounds)
    return times["fastxent"], times[library]
