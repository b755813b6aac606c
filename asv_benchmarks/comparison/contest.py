"""fastxent and one contender, in turn on the same arrays in one process; and processes to do it in."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, NamedTuple

from benchmarks.problems import Problem, Shape
from benchmarks.rounds import ROUNDS, quickest

from .contenders import CONTENDERS

Seconds = dict[str, dict[Any, tuple[float, float]]]
"""Of each contender in each case: fastxent's, and its own."""


class Case(NamedTuple):
    """Loss and gradient of float32 logits, in place."""

    shape: Shape
    axis: int = -1

    def __str__(self) -> str:
        return f"{self.shape}, axis={self.axis}" if self.axis != -1 else "×".join(map(str, self.shape))


IMAGES = Case((32, 81, 8732), axis=1)
CASES = [
    *map(
        Case, [(128, 10), (32768, 10), (8192, 100), (4096, 1000), (2048, 10000), (512, 50257), (512, 128256)]
    ),
    IMAGES,
]
TINY_CASES = [Case((16, 10)), Case((3, 5, 4), axis=1)]


def contest(name: str, case: Case, n_rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds of fastxent and of the contender, once both have given the same loss and gradient."""
    problem = Problem("cross_entropy_with_grad", case.shape, axis=case.axis)
    problem.refill()
    loss, grad = problem.fastxent()
    task = CONTENDERS[name].task(problem)
    task.check((loss, grad.copy()))
    times = quickest({"fastxent": problem.calls()["fastxent"], name: task.call}, n_rounds)
    return times["fastxent"], times[name]


@contextmanager
def new_process(**environment: str) -> Iterator[Callable[..., Any]]:
    """A function that calls functions in a process of its own: libraries' threads disturb each other."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(os.getpid).result()  # starts it, in this environment
            os.environ.clear()
            os.environ.update(before)
            yield lambda function, *arguments: pool.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)
