"""Every public function on the same problems under every threading layer and for other processors: the bits.

python -m tests.same_bits            # all dtypes: a quarter of an hour; each processor's code is compiled
python -m tests.same_bits --quick    # float32 alone
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import binding

import fastxent
from tests.measure import canonical_bits
from tests.mixes import MIXES, solve
from tests.processes import LIBRARIES

try:
    from ml_dtypes import bfloat16
except ImportError:
    BFLOAT16 = []
else:
    BFLOAT16 = [bfloat16]

ENVIRONMENT = os.environ | {"LD_LIBRARY_PATH": LIBRARIES}
LAYERS = "omp", "tbb", "workqueue"
# What each needs beside what this processor may lack, and what it has that LLVM would make no use of here.
PROCESSORS = {
    "haswell": ("avx2", "fma"),
    "skylake-avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"),
    "icelake-server": ("avx512f", "avx512vbmi2", "avx512vnni", "avx512bitalg", "gfni", "vaes"),
    "znver4": ("avx512f", "avx512vbmi2", "avx512vnni", "avx512bf16", "gfni", "vaes"),
}


class Problem(NamedTuple):
    """Rows of classes; of each function what it takes of them."""

    logits: Any
    probs: Any
    targets: Any
    sample_weight: Any

    def rows(self, which):
        return Problem(*(a[which] for a in self))


def problem(n_rows, n_classes, dtype):
    """With masked classes, rows that are left out, and one of NaN."""
    rng = np.random.default_rng(n_rows + n_classes)
    logits = rng.normal(0, 4, (n_rows, n_classes))
    logits[1::5, ::3] = -np.inf
    logits[3::7] *= 30
    targets = rng.integers(0, n_classes, n_rows)
    targets[4::6] = -100
    if n_rows > 9:
        logits[9, n_classes // 2] = np.nan
    weight = np.where(np.arange(n_rows) % 8 == 5, 0, rng.uniform(0.5, 2, n_rows))
    probs = rng.random((n_rows, n_classes)) / n_classes
    return Problem(logits.astype(dtype), probs.astype(dtype), targets, weight)


def _mixed(name):
    mix = MIXES[name]

    def solved(p, out):
        options = {**mix.options, "sample_weight": p.sample_weight, "reduction": "none"}
        options["weight"] = np.linspace(0, 2, p.logits.shape[1])
        return list(
            solve(fastxent, mix, p.logits, p.probs if mix.soft else p.targets, options, grad_out=out).values()
        )

    return solved


# What each gives for a problem, row by row; where `out` is not None, that is where a gradient goes.
FUNCTIONS = {
    "softmax": lambda p, out: (fastxent.softmax(p.logits, out=out),),
    "log_softmax": lambda p, out: (fastxent.log_softmax(p.logits, out=out),),
    "logsumexp": lambda p, out: (fastxent.logsumexp(p.logits),),
    "sigmoid": lambda p, out: (fastxent.sigmoid(p.logits, out=out),),
    "softmax_grad": lambda p, out: (fastxent.softmax_grad(p.probs, p.logits, out=out),),
    "entropy": lambda p, out: (fastxent.entropy(p.probs),),
    "log_loss": lambda p, out: (fastxent.log_loss(p.probs, p.targets, reduction="none"),),
    "cross_entropy": lambda p, out: (fastxent.cross_entropy(p.logits, p.targets, reduction="none"),),
    "cross_entropy_with_grad": lambda p, out: fastxent.cross_entropy_with_grad(
        p.logits, p.targets, reduction="none", grad_out=out
    ),
    "cross_entropy_with_grad with options": _mixed("all with Hessian"),
    "cross_entropy_with_grad of soft targets": _mixed("all soft"),
    "binary_cross_entropy": lambda p, out: (
        fastxent.binary_cross_entropy(p.logits, p.probs, reduction="none", pos_weight=2.0),
    ),
    "binary_cross_entropy_with_grad": lambda p, out: fastxent.binary_cross_entropy_with_grad(
        p.logits, p.probs, reduction="none", pos_weight=2.0, grad_out=out
    ),
    "kl_divergence": lambda p, out: (fastxent.kl_divergence(p.logits, p.probs, reduction="none"),),
    "kl_divergence_with_grad": lambda p, out: fastxent.kl_divergence_with_grad(
        p.logits, p.probs, reduction="none", grad_out=out
    ),
    "log_loss of soft targets": lambda p, out: (fastxent.log_loss(p.probs, p.probs, reduction="none"),),
}
DTYPES = [np.float32, np.float64, np.float16, *BFLOAT16]
SMALL = (20, 10), (18, 118), (3, 1100)
LARGE = (3300, 10), (300, 130), (60, 1100), (1, 70000)
SIMPLEST = [name for name in FUNCTIONS if " " not in name and name + "_with_grad" not in FUNCTIONS]
FEW = "softmax", "cross_entropy_with_grad", "binary_cross_entropy_with_grad"


def digest(name, p):
    bits = hashlib.sha256()
    for result in FUNCTIONS[name](p, None):
        bits.update(np.ascontiguousarray(canonical_bits(result)).tobytes())
    return bits.hexdigest()[:16]


def digests(names, shapes, dtypes, far_apart):
    """Of each function, shape and dtype, for 1, 2 and 4 threads if there are so many.

    Of float32, if asked, also with the classes far apart, which must show as little.
    """
    found = {}
    threads = numba.config.NUMBA_NUM_THREADS
    for n_threads in sorted({min(n, threads) for n in (1, 2, 4)}):
        numba.set_num_threads(n_threads)
        for dtype in dtypes:
            for shape in shapes:
                p = problem(*shape, dtype)
                layouts = [p]
                if far_apart and dtype == np.float32:
                    layouts.append(Problem(*map(np.asfortranarray, p)))
                for name in names:
                    of = found.setdefault(f"{name} {np.dtype(dtype).name} {shape}", [])
                    of.extend(digest(name, q) for q in layouts)
    return found


def run(environment, *arguments):
    """What another process of this module prints."""
    command = [sys.executable, "-m", "tests.same_bits", "--digests", *arguments]
    done = subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{environment}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def under_layer(layer, *arguments):
    return run({"NUMBA_NUM_THREADS": "4", "NUMBA_THREADING_LAYER": layer}, *arguments)


def for_processor(name, *arguments):
    return run({"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}, *arguments)


def layers_here():
    """Those that Numba can import."""
    modules = {layer: f"numba.np.ufunc.{layer}{'' if layer == 'workqueue' else 'pool'}" for layer in LAYERS}
    return [
        layer
        for layer, module in modules.items()
        if not subprocess.run(
            [sys.executable, "-c", f"import {module}"], env=ENVIRONMENT, capture_output=True
        ).returncode
    ]


def processors_here():
    """Those whose code this one runs."""
    has = binding.get_host_cpu_features()
    return [name for name, needs in PROCESSORS.items() if all(map(has.get, needs))]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="float32 alone")
    parser.add_argument("--digests", action="store_true", help="print those of this process alone")
    parser.add_argument("--few", action="store_true", help="of three functions")
    parser.add_argument("--small", action="store_true", help="of problems that threads do not share")
    arguments = parser.parse_args()
    if arguments.digests:
        names, shapes = FEW if arguments.few else FUNCTIONS, SMALL if arguments.small else LARGE
        dtypes = DTYPES[: 1 if arguments.quick else None]
        print(json.dumps(digests(names, shapes, dtypes, far_apart=not arguments.few)))
        return
    quick = ["--quick"] if arguments.quick else []
    layers = layers_here()
    print("layers that are not here:", *({*LAYERS} - {*layers} or ["none"]))
    runs = {layer: partial(under_layer, layer, *quick) for layer in layers}
    runs |= {"this processor": partial(run, {}, "--small", *quick)}
    runs |= {name: partial(for_processor, name, "--small", *quick) for name in processors_here()}
    seen, n_different = {}, 0
    for name, of in runs.items():
        found = of()
        different = [f for f, bits in found.items() if len({*bits, seen.setdefault(f, bits[0])}) > 1]
        n_different += len(different)
        print(
            f"{name}: {sum(map(len, found.values()))} results, {len(different)} differ",
            *different,
            flush=True,
        )
    raise SystemExit(n_different > 0)


if __name__ == "__main__":
    main()
