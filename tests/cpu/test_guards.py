"""Every array that a kernel is given lies between pages that nobody may touch.

Kernels go by addresses, of which Numba's boundscheck sees none: to read or write a byte beside an array
ends the process.
"""

import ctypes
import itertools
import mmap
import subprocess
import sys

import numpy as np
import pytest

import fastxent
from fastxent import _dispatch
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve
from tests.same_bits import DTYPES, FUNCTIONS
from tests.same_bits import problem as any_problem

PAGE = mmap.PAGESIZE
CLASSES = (
    *range(1, 20),
    31,
    32,
    33,
    63,
    64,
    65,
    79,
    95,
    96,
    97,
    98,
    127,
    128,
    129,
    130,
    191,
    799,
    1023,
    1025,
    2047,
    2048,
    2049,
    2113,
)
ROWS = 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33
PLAIN = [name for name in FUNCTIONS if "options" not in name and "soft targets" not in name]
# Whose kernels other tests compile as well.
FEW = (
    "softmax",
    "log_softmax",
    "softmax_grad",
    "sigmoid",
    "cross_entropy_with_grad",
    "kl_divergence_with_grad",
)


def between_forbidden_pages(a, at_end, order="C"):
    """A copy that ends where the one page begins, or begins where the other ends."""
    n_pages = 1 + a.nbytes // PAGE
    pages = mmap.mmap(-1, (n_pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    for page in (start, start + (n_pages + 1) * PAGE):
        assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
    offset = PAGE + at_end * (n_pages * PAGE - a.nbytes)
    copy = np.ndarray(a.shape, a.dtype, pages, offset, order=order)
    copy[...] = a
    return copy


def every_second(a, at_end):
    """A view whose first or last element is beside a forbidden page."""
    spread = between_forbidden_pages(np.repeat(a, 2, axis=-1)[..., 1:], at_end)
    return spread[..., ::2]


LAYOUTS = {
    "C": between_forbidden_pages,
    "Fortran": lambda a, at_end: between_forbidden_pages(a, at_end, "F"),
    "every second": every_second,
}


def shapes(n_classes=CLASSES, n_rows=ROWS):
    """Every number of classes with some numbers of rows, and the other way about."""
    pairs = itertools.product(n_classes, n_rows)
    return [
        (n, k) for k, n in pairs if k * n < 5000 and (k in (1, 5, 10, 63, 64, 96, 97, 130) or n in (0, 1, 17))
    ]


def call_with_guards(names, dtype, layout):
    """The functions, on arrays with guards: their results are those of the same arrays without."""
    for shape in shapes():
        p = any_problem(*shape, dtype)
        for name in names:
            expected = [np.array(result) for result in FUNCTIONS[name](p, None)]
            for at_end in (False, True):
                guarded = [LAYOUTS[layout](a, at_end) for a in (p.logits, p.probs)]
                rows = [between_forbidden_pages(a, at_end) for a in (p.targets, p.sample_weight)]
                out = LAYOUTS[layout](np.zeros_like(p.logits), at_end)
                results = FUNCTIONS[name](type(p)(*guarded, *rows), out)
                for result, without_guards in zip(results, expected, strict=True):
                    assert_same_bits(result, without_guards)


def call_mixes_with_guards(names, dtype, layout):
    for name, shape in itertools.product(names, shapes()):
        mix = MIXES[name]
        logits, targets, options = problem(mix, *shape, dtype)
        expected = solve(fastxent, mix, logits, targets, options)
        for at_end in (False, True):
            z, out = (LAYOUTS[layout](a, at_end) for a in (logits, np.zeros_like(logits)))
            t = LAYOUTS[layout](targets, at_end) if mix.soft else between_forbidden_pages(targets, at_end)
            guarded = {
                key: between_forbidden_pages(value, at_end) if isinstance(value, np.ndarray) else value
                for key, value in options.items()
            }
            outs = {"grad_out": out}
            for key, value in expected.items():
                if key.endswith("_out"):
                    place = LAYOUTS[layout] if value.shape == logits.shape else between_forbidden_pages
                    outs[key] = place(np.zeros_like(value), at_end)
            for key, result in solve(fastxent, mix, z, t, guarded, **outs).items():
                np.testing.assert_array_equal(result, expected[key])


def share_out_with_guards(names, dtype, layout):
    """Three threads share out the classes of a row."""
    _dispatch.PARALLEL_FROM, _dispatch._n_threads_for = 0, lambda logits: 3
    _dispatch._is_split = lambda n_threads, *arrays: True
    rng = np.random.default_rng(0)
    for n_classes in (64, 2048, 2049, 4097, 6143, 6145, 9000):
        logits, y = rng.normal(size=(2, n_classes)).astype(dtype), np.array([3, n_classes - 1])
        for at_end in (False, True):
            z, out = (between_forbidden_pages(a, at_end) for a in (logits, logits))
            for name in names:
                more = {"grad_out": out, "targets": y} if "grad" in name else {"out": out}
                getattr(fastxent, name)(z, **more)
                assert np.isfinite(out).all()


def run_beside_pages(function, *arguments):
    """In a process of its own, which ends where a page is touched."""
    program = f"from tests.cpu.test_guards import *; {function.__name__}(*{arguments!r}); print('done')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "done\n", f"ended with {done.returncode}: {done.stderr[-2000:]}"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages the Linux way"),
]


@pytest.mark.parametrize("layout", ["C", "every second"])
def test_no_function_touches_a_byte_beside_its_arrays(layout):
    run_beside_pages(call_with_guards, FEW, "float32", layout)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [np.dtype(dtype).name for dtype in DTYPES])
def test_no_function_touches_a_byte_beside_arrays_of_any_dtype(dtype):
    run_beside_pages(call_with_guards, PLAIN if dtype == "float32" else FEW, dtype, "C")


@pytest.mark.exhaustive
def test_no_function_touches_a_byte_beside_classes_far_apart():
    run_beside_pages(call_with_guards, FEW, "float32", "Fortran")


@pytest.mark.exhaustive
def test_no_option_touches_a_byte_beside_its_arrays():
    for layout in LAYOUTS:
        run_beside_pages(call_mixes_with_guards, ["all with Hessian", "all soft"], "float32", layout)


def test_no_thread_touches_a_byte_beside_the_row_that_it_shares():
    run_beside_pages(share_out_with_guards, ["softmax", "cross_entropy_with_grad"], "float32", "C")
