"""Threads and processes call random functions on random problems, for as long as you like.

Every result is compared with `fastxent.reference`. The first process forks others again and again, while its
threads are in calls; two more are spawned. Memory is to stay as it is once the last kernel is compiled. Fails
on any mismatch, any error, and any process that ends badly; one that hangs ends with its tracebacks.

    python tests/soak.py --minutes 10
    NUMBA_THREADING_LAYER=workqueue python tests/soak.py --minutes 0.1 --seed 3
"""

import argparse
import collections
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numba
import numpy as np

import fastxent
from fastxent import cpu, reference
from tests.layouts import LAYOUTS
from tests.mixes import MIXES, assert_close, problem, solve, true_results
from tests.tolerances import OPTIONS_RELATIVE

N_THREADS = 3
MOST_GROWTH = 32  # MiB in one process
LAST_CALLS = 900  # seconds, with their compilations on a slow machine
DTYPES = np.float32, np.float64
SHAPES = (9, 7), (33, 64), (20, 90), (2000, 20), (40, 1100), (3, 20_000), (1, 70_000)
KERNELS = [kernel for kernel in vars(cpu).values() if isinstance(kernel, cpu.Kernel)]


@numba.njit
def compiled_cross_entropy(logits, targets, grad):
    loss, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=grad)
    return loss


LARGEST_TERM = 20  # of logits of standard deviation 3, and of what losses are made of


def check(results, truths, sizes):
    """All to so much of the size of their terms and their own.

    That of a gradient or a probability is its own: with many classes or rows they are far smaller than 1.
    """
    for result, truth, size in zip(results, truths, sizes, strict=True):
        relative = OPTIONS_RELATIVE[np.dtype(getattr(result, "dtype", np.float32))]
        right = np.abs(np.asarray(result, np.float64) - truth) <= relative * (size + np.abs(truth))
        assert np.all(right), f"{np.asarray(result)[~right][:5]}, not {np.asarray(truth)[~right][:5]}"


def plain(rng, shape, dtype):
    logits = rng.normal(0, 3, shape).astype(dtype)
    targets = rng.integers(0, shape[1], shape[0])
    targets[rng.random(shape[0]) < 0.1] = -100
    truth = reference.cross_entropy_with_grad(logits.astype(np.float64), targets)
    kind = rng.integers(0, 3)
    if kind == 0:
        results = fastxent.cross_entropy_with_grad(LAYOUTS[rng.choice(list(LAYOUTS))](logits), targets)
    else:
        run = fastxent.cross_entropy_with_grad if kind == 1 else compiled_cross_entropy
        loss = run(logits, targets, grad_out=logits) if kind == 1 else run(logits, targets, logits)
        results = loss[0] if kind == 1 else loss, logits
    size = LARGEST_TERM * np.abs(truth[1])
    if dtype == np.float64:  # p − 1 cancels in the reference, which has no more digits here
        size += (np.arange(shape[1]) == targets[:, None]) / max(1, np.count_nonzero(targets != -100))
    check(results, truth, [LARGEST_TERM, size])


def with_options(rng, shape, dtype):
    mix = MIXES[rng.choice(["all hard", "soft"])]
    case = problem(mix, *shape, dtype, seed=int(rng.integers(2**32)))
    assert_close(solve(fastxent, mix, *case), true_results(mix, *case), dtype, mix, *case)


def activations(rng, shape, dtype):
    logits = rng.normal(0, 3, shape).astype(dtype)
    name = rng.choice(["softmax", "log_softmax", "logsumexp", "sigmoid"])
    truth = getattr(reference, name)(logits.astype(np.float64))
    size = np.abs(truth) if name in ("softmax", "sigmoid") else 1
    check([getattr(fastxent, name)(logits)], [truth], [LARGEST_TERM * size])


def of_probabilities(rng, shape, dtype):
    probs, targets = (fastxent.softmax(rng.normal(0, 3, shape)).astype(dtype) for _ in range(2))
    wide = probs.astype(np.float64), targets.astype(np.float64)
    check([fastxent.entropy(probs)], [reference.entropy(wide[0])], [LARGEST_TERM])
    check([fastxent.log_loss(probs, targets)], [reference.log_loss(*wide)], [LARGEST_TERM])


def binary(rng, shape, dtype):
    logits, targets = rng.normal(0, 3, shape).astype(dtype), rng.random(shape).astype(dtype)
    wide = logits.astype(np.float64), targets.astype(np.float64)
    truth = reference.binary_cross_entropy_with_grad(*wide)
    size = LARGEST_TERM * wide[1] / logits.size  # the gradient is a probability less the target, divided
    check(fastxent.binary_cross_entropy_with_grad(logits, targets), truth, [LARGEST_TERM, size])


def divergence(rng, shape, dtype):
    shape = shape[0], min(shape[1], 90)  # the kernel for more takes long to compile
    logits, targets = rng.normal(0, 3, shape).astype(dtype), rng.random(shape).astype(dtype)
    wide = logits.astype(np.float64), targets.astype(np.float64)
    truth = reference.kl_divergence_with_grad(*wide)
    masses = wide[1].sum(axis=1, keepdims=True) * reference.softmax(wide[0]) + wide[1]
    sizes = LARGEST_TERM * shape[1], LARGEST_TERM * masses / len(logits)
    check(fastxent.kl_divergence_with_grad(logits, targets), truth, sizes)


CASES = plain, plain, with_options, activations, of_probabilities, binary, divergence


def keep_calling(rng, until, counts):
    while time.monotonic() < until:
        case = CASES[rng.integers(len(CASES))]
        shape, dtype = SHAPES[rng.integers(len(SHAPES))], DTYPES[rng.integers(len(DTYPES))]
        try:
            case(rng, shape, dtype)
        except AssertionError as error:
            counts["mismatches"] += 1
            print(f"{case.__name__} {shape} {dtype.__name__}: {error}", flush=True)
        except Exception:
            counts["errors"] += 1
            traceback.print_exc()
        counts["calls"] += 1
        counts["rows"] += shape[0]


class Growth:
    """Of memory, in MiB, since the last kernel was compiled."""

    def __init__(self):
        self.n_compiled, self.before = -1, 0.0

    def look(self):
        n_compiled = sum(len(kernel.entries) for kernel in KERNELS) + len(compiled_cross_entropy.signatures)
        status = Path("/proc/self/statm")  # nowhere but on Linux
        now = (
            int(status.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20 if status.exists() else 0.0
        )
        if n_compiled != self.n_compiled:
            self.n_compiled, self.before = n_compiled, now
        return now - self.before


def soak(seed, seconds, between=lambda i: time.sleep(1)):
    """What threads of this process counted; `between` is done again and again meanwhile."""
    until, growth = time.monotonic() + seconds, Growth()
    counts = [collections.Counter() for _ in range(N_THREADS)]
    rngs = np.random.default_rng(seed).spawn(N_THREADS)
    threads = [
        threading.Thread(target=keep_calling, args=(rng, until, own))
        for rng, own in zip(rngs, counts, strict=True)
    ]
    for thread in threads:
        thread.start()
    i = 0
    while time.monotonic() < until:
        between(i)
        growth.look()
        i += 1
    for thread in threads:
        thread.join()
    total = sum(counts, collections.Counter(processes=1))
    total["grown"] = int(growth.look() > MOST_GROWTH)
    return total, growth.look()


def end_after(seconds):
    """End this process, and show where its threads are; a timer of faulthandler's own hangs after a fork."""
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(int(seconds))


def soak_in_process(results, seed, seconds):
    end_after(seconds + LAST_CALLS)
    results.put(soak(seed, seconds))


def finish(process, results, found):
    process.join()
    if process.exitcode == 0:
        found.append(results.get())
    else:
        found.append((collections.Counter(processes=1, errors=1), 0.0))
        print(f"a process ended with {process.exitcode}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    seconds, found = 60 * arguments.minutes, []
    end_after(seconds + 2 * LAST_CALLS)
    spawn, fork = (multiprocessing.get_context(kind) for kind in ("spawn", "fork"))
    results = spawn.SimpleQueue()
    spawned = [
        spawn.Process(target=soak_in_process, args=(results, [arguments.seed, i], seconds)) for i in range(2)
    ]
    for process in spawned:
        process.start()

    def fork_one(i):
        child = fork.Process(target=soak_in_process, args=(results, [arguments.seed, 3, i], 1))
        child.start()
        finish(child, results, found)
        time.sleep(1)

    found.append(soak([arguments.seed, 2], seconds, fork_one))
    for process in spawned:
        finish(process, results, found)
    total = sum((counts for counts, _ in found), collections.Counter())
    growth = max(grown for _, grown in found)
    print(
        f"seed {arguments.seed}, {numba.threading_layer()}:"
        f" {total['processes']} processes of {N_THREADS} threads,"
        f" {total['calls']} calls, {total['rows']} rows, {total['mismatches']} mismatches,"
        f" {total['errors']} errors; memory grew by {growth:.1f} MiB at most, since the last compilation"
    )
    sys.exit(bool(total["mismatches"] or total["errors"] or total["grown"]))


if __name__ == "__main__":
    main()
