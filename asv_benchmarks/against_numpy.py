"""How much faster than naive NumPy: prints the table in the README.

The two take turns on the same arrays in one process; each figure is the median over the rounds. The
results are compared before anything is timed.

    python asv_benchmarks/against_numpy.py
"""

from time import perf_counter

import numpy as np
from benchmarks.problems import SHAPES, problem

import fastxent
from fastxent import reference


def seconds(function, *arguments, **options):
    start = perf_counter()
    function(*arguments, **options)
    return perf_counter() - start


def rounds(shape, dtype, n_rounds=15):
    logits, targets = problem(shape, dtype)
    buffer = logits.copy()
    ours, naive = np.empty((2, n_rounds))
    calls = max(1, 100_000 // logits.size)  # one call on a small batch is shorter than the clock can tell
    for i in range(n_rounds):
        times = []
        for _ in range(calls):
            np.copyto(buffer, logits)
            times.append(seconds(fastxent.cross_entropy_with_grad, buffer, targets, grad_out=buffer))
        ours[i] = np.median(times)
        naive[i] = np.median(
            [seconds(reference.cross_entropy_with_grad, logits, targets) for _ in range(calls)]
        )
    return np.median(ours) * 1e3, np.median(naive) * 1e3, np.median(naive / ours)


def main():
    print("| loss and gradient in place | naive NumPy, ms | fastxent, ms | times as fast |")
    print("|---|--:|--:|--:|")
    for dtype in ("float32", "float64"):
        for shape in SHAPES:
            ours, naive, ratio = rounds(shape, dtype)
            print(f"| {shape[0]}×{shape[1]} {dtype} | {naive:.3f} | {ours:.4f} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
