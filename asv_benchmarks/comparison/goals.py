"""The speed that fastxent is meant to have, asked beside measured. Every ratio is of one process, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numba
import numpy as np
from benchmarks import limits, starting
from benchmarks.problems import Problem, Shape
from benchmarks.rounds import ROUNDS, Call, quickest, turn

import fastxent

from .contenders import MEMORY, RIVALS
from .contest import IMAGES, Case, Seconds, new_process
from .options import times_of_dtypes

TIMES_AS_FAST = {(4096, 1000): 5, (8192, 100): 3, (32768, 10): 3, (128, 10): 2}  # as the fastest rival
FIRST_CALLS = ((128, 10), (4096, 1000))  # serial with few classes, parallel with many
IN_PLACE = "cross_entropy_with_grad"


class Sizes(NamedTuple):
    n_rounds: int = ROUNDS
    large: tuple[Shape, ...] = ((2048, 10000), (512, 50257), (512, 128256))
    vocabulary: Shape = (512, 50257)
    far_apart: Shape = (4096, 1000)
    row: int = 262144
    most_classes: int = 1_000_000
    most_rows: int = 1_000_000
    n_first_calls: int = 3


TINY = Sizes(2, ((64, 1024),), (64, 1024), (64, 1024), 1024, 10_000, 100, n_first_calls=1)


class Goal(NamedTuple):
    what: str
    asked: float
    measured: float
    unit: str
    at_most: bool = False

    def is_met(self) -> bool:
        return self.measured <= self.asked if self.at_most else self.measured >= self.asked

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        met = "yes" if self.is_met() else "**no**"
        return f"| {self.what} | {sign} {self.asked:g} {self.unit} | {self.measured:.3g} | {met} |"


def steps(sizes: Sizes) -> list[Callable[[], Goal]]:
    """What `beside_contenders` lacks, each for a process of its own."""
    n = sizes.n_rounds
    powers = [10**i for i in range(7)]
    classes = [k for k in powers[3:] if k <= sizes.most_classes]
    rows = [r for r in powers if r <= sizes.most_rows]
    n_elements = 16 * sizes.most_classes
    return [
        *(partial(loss_only, shape, n) for shape in sizes.large),
        *(partial(separate, shape, n) for shape in sizes.large),
        partial(float64, sizes.vocabulary, n),
        partial(bfloat16, sizes.vocabulary, n),
        partial(far_apart, sizes.far_apart, 15, n),
        partial(one_row, "cross_entropy", sizes.row, n),
        *(partial(one_row, "softmax", sizes.row, n, in_place) for in_place in (True, False)),
        partial(flat, "From 1,000 classes up", [(n_elements // k, k) for k in classes], n),
        *(partial(flat, f"From 1 row of {k} up", fitting([(r, k) for r in rows]), n) for k in (10, 1000)),
    ]


def beside_contenders(seconds: Seconds) -> Iterator[Goal]:
    """What the contest has measured already."""
    rivals = [name for name in RIVALS if name in seconds]
    for case, (ours, memory) in seconds[MEMORY].items():
        if case.shape in Sizes().large:
            yield Goal(f"{case} in place", 0.88, memory / ours, "of the memory limit")
        if case.shape == (128, 10):
            yield Goal(f"{case} in place, the public call", 4, ours * 1e6, "µs", at_most=True)
        if case.shape in TIMES_AS_FAST and rivals:
            fastest = min(rivals, key=lambda name: _times_as_long(seconds, name, case))
            ratio = _times_as_long(seconds, fastest, case)
            asked = TIMES_AS_FAST[case.shape]
            yield Goal(f"{case} in place, beside {fastest}", asked, ratio, "times as fast")
        if case == IMAGES and "PyTorch eager" in seconds:
            ratio = _times_as_long(seconds, "PyTorch eager", case)
            yield Goal(f"{case}, beside PyTorch eager", 6, ratio, "times as fast")


def _times_as_long(seconds: Seconds, name: str, case: Case) -> float:
    ours, theirs = seconds[name][case]
    return theirs / ours


def loss_only(shape: Shape, n_rounds: int = ROUNDS) -> Goal:
    times = _calls("cross_entropy", shape, n_rounds)
    return Goal(f"{Case(shape)} loss only", 0.88, times["memory"] / times["fastxent"], "of reading")


def separate(shape: Shape, n_rounds: int = ROUNDS) -> Goal:
    problem = Problem(IN_PLACE, shape)
    problem.check()
    logits, targets, out = problem.first, problem.others[0], problem.buffer
    calls = {
        "fastxent": Call(lambda: fastxent.cross_entropy_with_grad(logits, targets, grad_out=out)),
        "copy": Call(lambda: limits.copy(logits, out)),
    }
    times = quickest(calls, n_rounds)
    return Goal(f"{Case(shape)} to another array", 0.75, times["copy"] / times["fastxent"], "of copying")


def float64(shape: Shape, n_rounds: int = ROUNDS) -> Goal:
    times = _calls(IN_PLACE, shape, n_rounds, "float64")
    share = times["memory"] / times["fastxent"]
    return Goal(f"{Case(shape)} float64 in place", 0.8, share, "of the memory limit")


def _calls(name: str, shape: Shape, n_rounds: int, dtype: str = "float32") -> dict[str, float]:
    problem = Problem(name, shape, dtype)
    problem.check()
    calls = problem.calls()
    return quickest({name: calls[name] for name in ("fastxent", "memory")}, n_rounds)


def bfloat16(shape: Shape, n_rounds: int = ROUNDS) -> Goal:
    times = times_of_dtypes(shape, n_rounds)
    ratio = times["bfloat16"] / times["float32"]
    return Goal(f"{Case(shape)} bfloat16 in place", 0.8, ratio, "times float32's time", at_most=True)


def far_apart(shape: Shape, times: float, n_rounds: int = ROUNDS) -> Goal:
    """Logits so many times as far apart have gradients near the smallest numbers that there are."""
    near, far = Problem(IN_PLACE, shape), Problem(IN_PLACE, shape)
    far.first *= times
    for problem in (near, far):
        problem.check()
    calls = {"near": near.calls()["fastxent"], "far": far.calls()["fastxent"]}
    seconds = quickest(calls, n_rounds)
    what = f"{Case(shape)} in place, logits {times:g} times as far apart"
    return Goal(what, 1.5, seconds["far"] / seconds["near"], "times as long", at_most=True)


def one_row(name: str, n_classes: int, n_rounds: int = ROUNDS, in_place: bool = True) -> Goal:
    """All threads beside one; in place, one has refilled the row, and the others' caches are without it."""
    problem = Problem(name, (1, n_classes), in_place=in_place)
    problem.check()
    n_threads = numba.get_num_threads()

    def on(n: int) -> Call:
        return Call(problem.fastxent, lambda: (numba.set_num_threads(n), problem.refill()))

    try:
        times = quickest({"one": on(1), "all": on(n_threads)}, n_rounds)
    finally:
        numba.set_num_threads(n_threads)
    ratio = times["one"] / times["all"]
    what = f"{name}{'' if in_place else ' to another array'}, all threads"
    return Goal(f"1×{n_classes} {what}", 1.6, ratio, "times as fast as one")


def flat(what: str, shapes: list[Shape], n_rounds: int = ROUNDS) -> Goal:
    """Time per element of the slowest shape beside the quickest, the first and smallest left out."""
    nanoseconds = [_seconds_in_place(shape, n_rounds) / np.prod(shape) * 1e9 for shape in shapes]
    steps = ", ".join(f"{Case(shape)}: {ns:.3g}" for shape, ns in zip(shapes, nanoseconds, strict=True))
    ratio = max(nanoseconds[1:]) / min(nanoseconds[1:])
    return Goal(f"{what}; ns per element: {steps}", 1.5, ratio, "slowest ÷ quickest", at_most=True)


def _seconds_in_place(shape: Shape, n_rounds: int) -> float:
    """For arrays of gigabytes: rows repeat, and there is no second array as large."""
    n_rows, n_classes = shape
    n_repeats = max(1, n_rows // 10_000)
    problem = Problem(IN_PLACE, (n_rows // n_repeats, n_classes))
    problem.check()
    logits = np.repeat(problem.first[None], n_repeats, axis=0)
    targets = np.tile(problem.others[0], n_repeats)
    rows = logits.reshape(-1, n_classes)

    def run() -> None:
        fastxent.cross_entropy_with_grad(rows, targets, grad_out=rows)

    return quickest({"fastxent": Call(run, lambda: np.copyto(logits, problem.first))}, n_rounds)["fastxent"]


def fitting(shapes: list[Shape]) -> list[Shape]:
    """Those whose float32 logits half of the available memory holds."""
    free = _available_memory()
    return [shape for shape in shapes if 8 * np.prod(shape) < free]


def _available_memory() -> int:
    """As Linux tells it; elsewhere it is taken for 8 GiB."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 8 << 30
    (line,) = (line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def avx2(shapes: list[Shape], n_rounds: int = ROUNDS, **environment: str) -> list[Goal]:
    """Two processes that take turns, for Numba compiles for one processor in each."""
    environment = environment or {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
    goals = []
    with new_process() as here, new_process(**environment) as there:
        for shape in shapes:
            rounds = [(here(turn_in_place, shape), there(turn_in_place, shape)) for _ in range(n_rounds + 1)]
            ours, theirs = (min(times) for times in zip(*rounds[1:], strict=True))
            what = f"{Case(shape)} in place, compiled for AVX2 alone"
            goals.append(Goal(what, 0.65, ours / theirs, "of the speed with all the processor has"))
    return goals


def turn_in_place(shape: Shape) -> float:
    return turn(_checked_problem_in_place(shape).calls()["fastxent"])


@cache
def _checked_problem_in_place(shape: Shape) -> Problem:
    problem = Problem(IN_PLACE, shape)
    problem.check()
    return problem


def first_call(shape: Shape, n_rounds: int = 3) -> list[Goal]:
    """Of a new process, import not included."""
    prepare = starting.PREPARE.format(shape=shape)
    with TemporaryDirectory() as folder:
        caches = [f"{folder}/{i}" for i in range(n_rounds)]
        compiling = [_first_call_seconds(prepare, cache) for cache in caches]
        cached = [_first_call_seconds(prepare, cache) for cache in caches]
    return [
        Goal(f"{Case(shape)} first call, compiling", 2.5, min(compiling), "s", at_most=True),
        Goal(f"{Case(shape)} first call, from the cache", 0.5, min(cached), "s", at_most=True),
    ]


def _first_call_seconds(prepare: str, cache_folder: str) -> float:
    clock = "from time import perf_counter; start = perf_counter()"
    code = f"{prepare}\n{clock}\n{starting.CALL}\nprint(perf_counter() - start)"
    environment = os.environ | {"NUMBA_CACHE_DIR": cache_folder}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(printed.stdout)
