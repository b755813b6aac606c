"""What a new process waits for: the first call with an empty cache, and with machine code in it.

    python asv_benchmarks/first_call.py

Seconds of a call of `cross_entropy_with_grad` in place; the imports before it are not in them.
"""

import os
import subprocess
import sys
import tempfile

PROGRAM = """
import sys, time
import numpy as np, fastxent
n_rows, n_classes = map(int, sys.argv[1:])
logits = np.random.default_rng(0).standard_normal((n_rows, n_classes)).astype(np.float32)
targets = np.arange(n_rows) % n_classes
start = time.perf_counter()
fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
print(time.perf_counter() - start)
"""
SHAPES = {"few classes": (128, 10), "many classes": (128, 100), "many, in parallel": (4096, 1000)}
ROUNDS = 3


def seconds(shape, cache):
    arguments = [sys.executable, "-c", PROGRAM, *map(str, shape)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def first_calls(shape):
    """The quickest of some rounds: seconds with the cache empty, and with the cache filled."""
    pairs = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            pairs.append((seconds(shape, cache), seconds(shape, cache)))
    return tuple(map(min, zip(*pairs, strict=True)))


if __name__ == "__main__":
    print("| first call | compiles, s | from the cache, s |\n|---|---:|---:|")
    for name, shape in SHAPES.items():
        compiled, cached = first_calls(shape)
        print(f"| {name} ({shape[0]}×{shape[1]}) | {compiled:.1f} | {cached:.2f} |", flush=True)
