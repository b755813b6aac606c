"""Calls of every public function, with whatever arguments there are, as hypothesis draws them."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.disguises import BAD, BAD_OUT, BAD_VALUES, GOOD, GOOD_OUT, NUMBERS, VALUES, owner_of
from tests.mixes import MIXES

try:
    from ml_dtypes import bfloat16
except ImportError:
    HALVES: tuple[Any, ...] = (np.float16,)
else:
    HALVES = np.float16, bfloat16


class Range(NamedTuple):
    """What calls are drawn from; since kernels take long to compile, tests have few dtypes and mixes."""

    dtypes: tuple[Any, ...]
    classes: tuple[int, ...]
    batches: tuple[tuple[int, ...], ...]
    mixes: tuple[str, ...]
    is_full: bool  # with any axis, and any outputs and weights


FEW = Range((np.float32,), (0, 1, 3, 10, 64), ((), (0,), (1,), (5,), (17,)), ("all with Hessian",), False)
MANY = Range(
    (np.float32, np.float64, *HALVES),
    (0, 1, 2, 3, 10, 64, 65, 130, 1030),
    ((), (0,), (1,), (5,), (17,), (33,), (2, 3), (0, 4), (2, 17), (3, 1, 2)),
    tuple(MIXES),
    True,
)


class Call(NamedTuple):
    function: str
    arguments: dict[str, Any]
    is_bad: bool  # and to be refused

    def __repr__(self):
        told = {
            name: a if np.size(a) < 20 else f"{type(a).__name__} of {getattr(a, 'dtype', None)} {np.shape(a)}"
            for name, a in self.arguments.items()
        }
        return f"{self.function}({told})"


class _Drawn:
    """The arguments drawn so far, by name."""

    def __init__(self, draw, limits):
        self.draw, self.limits = draw, limits
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        self.bad_left = draw(st.sampled_from([0, 0, 1, 1, 2]))
        self.is_bad = False
        self.arguments = {}

    def one_of(self, values):
        return self.draw(st.sampled_from(list(values)))

    def chance(self, n):
        """One in n."""
        return self.draw(st.integers(1, n)) == n

    def goes_bad(self):
        bad = self.bad_left > 0 and self.chance(6)
        self.bad_left -= bad
        self.is_bad |= bad
        return bad

    def disguised(self, name, values, bad):
        """The values in a good form, or what becomes of them in a bad one."""
        forms = bad if self.goes_bad() else GOOD
        self.arguments[name] = forms[self.one_of(forms)](values)

    def option(self, name, *values):
        if values:
            self.arguments[name] = self.one_of(values)
        if self.goes_bad():
            self.arguments[name] = self.one_of(BAD_VALUES[name])

    def floats(self, shape, dtype, kinds=NUMBERS):
        x = self.rng.normal(0, self.one_of([1e-3, 1.0, 1.0, 30.0, 1000.0]), shape)
        numbers, rate = NUMBERS[self.one_of(kinds)], self.one_of([0.02, 0.3, 1.0])
        if numbers:
            x = np.where(self.rng.random(shape) < rate, self.rng.choice(numbers, shape), x)
        with np.errstate(over="ignore"):
            return np.asarray(x).astype(dtype)

    def masses(self, shape, dtype):
        x = self.rng.random(shape) * self.one_of([2 / max(1, shape[-1]), 1.0])
        return np.where(self.rng.random(shape) < 0.1, self.one_of([0.0, 1.0]), x).astype(dtype)

    def logits(self, name="logits", kinds=NUMBERS, has_axis=True, least_classes=0):
        """With `axis`, and what follows from them."""
        batch = self.one_of(self.limits.batches)
        n_classes = self.one_of(n for n in self.limits.classes if n >= least_classes)
        axis = self.one_of(range(len(batch) + 1)) if self.limits.is_full and self.chance(3) else len(batch)
        self.rows, self.n_classes, self.shape = batch, n_classes, (*batch[:axis], n_classes, *batch[axis:])
        dtype = np.dtype(self.one_of(self.limits.dtypes))
        values = self.masses(self.shape, dtype) if kinds is None else self.floats(self.shape, dtype, kinds)
        self.disguised(name, values, BAD)
        self.dtype = dtype if self.is_bad else np.asarray(self.arguments[name]).dtype
        self.row_dtype = np.dtype(np.float32) if self.dtype.itemsize == 2 else self.dtype
        if has_axis:
            is_last = axis == len(batch) and self.chance(2)
            self.option("axis", *(() if is_last else (axis, axis - len(batch) - 1)))

    def out(self, name, shape, dtype, same_as=None):
        """Maybe where an input is, maybe of no use."""
        given = self.arguments.get(same_as)
        if self.goes_bad():
            self.arguments[name] = self.bad_out(shape, dtype)
        elif self.chance(2) and isinstance(given, np.ndarray) and not self.is_bad and may_be_written(given):
            self.arguments[name] = self.one_of([given, given[...]])
        else:
            self.arguments[name] = GOOD_OUT[self.one_of(GOOD_OUT)](np.full(shape, 77, dtype))

    def bad_out(self, shape, dtype):
        arrays = [a for a in self.arguments.values() if isinstance(a, np.ndarray)]
        inputs = [a for a in arrays if a.size and not a.dtype.hasobject]
        if inputs and self.chance(2):
            other = self.one_of(inputs)
            memory, n_bytes = owner_of(other), np.dtype(dtype).itemsize * int(np.prod(shape))
            start = self.draw(st.integers(1, 16))
            if n_bytes + start <= memory.nbytes and other.flags.writeable:
                out = np.ndarray(shape, dtype, memory, start)
                if np.shares_memory(out, other):
                    return out
        return BAD_OUT[self.one_of(BAD_OUT)](np.full(shape, 77, dtype))

    def weights(self, name, shape):
        w = self.rng.uniform(0, 3, shape).astype(self.one_of([np.float64, np.float32]))
        w = np.where(self.rng.random(shape) < 0.2, 0, w)
        hostile = {
            "masked": np.ma.array,
            "strings": lambda w: w.astype(float).astype(str),
            "booleans": lambda w: w > 1,
            "complex": lambda w: w.astype(complex),
            "axes too many": lambda w: w[(None,) * 5],
        }
        if w.size:
            hostile |= {
                "negative": lambda w: -1 - w,
                "NaN": lambda w: w + np.nan,
                "infinite": lambda w: w + np.inf,
            }
        self.disguised(name, w, hostile)

    def classes(self):
        """Integer targets."""
        y = np.asarray(self.rng.integers(0, max(self.n_classes, 1), self.rows))
        kept = self.rng.random(self.rows) >= self.one_of([0.0, 0.3, 1.0])
        y = np.where(kept if self.n_classes else False, y, -100)
        hostile = {
            "booleans": lambda y: y.astype(bool),
            "strings": lambda y: y.astype(float).astype(str),
            "objects": lambda y: y.astype(object),
            "foreign floats": lambda y: y.astype(">f4"),
            "times": lambda y: y.astype("m8"),
            "long": lambda y: y.astype(np.longdouble),
            "masked": np.ma.array,
            "another axis": lambda y: y[None],
            "none": lambda y: None,
        }
        if y.size:
            wrong = self.one_of([self.n_classes, -1, -101, 2**40, -(2**62)])
            place = self.rng.integers(y.size)
            hostile["no class"] = lambda y: np.where(
                np.arange(y.size).reshape(y.shape) == place, wrong, y.astype(np.int64)
            )
            hostile["no int64"] = lambda y: np.full(y.shape, 2**64 - 100, np.uint64)
            hostile["floats"] = lambda y: y.astype(np.float64)
        fitting = [t for t in ("b", "h", "i", "q", "B", "H", "I", "Q", ">i8", ">i4", ">u2") if fits(y, t)]
        self.disguised("targets", y.astype(self.one_of(fitting)), hostile)
        self.option("ignore_index")

    def reduction(self):
        self.option("reduction", "mean", "sum", "none")
        if self.arguments["reduction"] == "mean" and self.chance(4):
            self.option("normalizer", *VALUES["normalizer"])


def may_be_written(a):
    return a.flags.writeable and 0 not in a.strides


def fits(y, dtype):
    return np.array_equal(y.astype(dtype).tolist(), y.tolist())


def _activation(d, name):
    first = "probs" if name == "softmax_grad" else "logits"
    d.logits(first)
    if name == "softmax_grad":
        d.arguments["grad"] = d.floats(d.shape, d.dtype)
    if d.chance(2):
        if name == "logsumexp":
            d.out("out", d.rows, d.row_dtype)
        else:
            d.out("out", d.shape, d.dtype, first)


def _entropy(d, name):
    d.logits("probs", None)
    if d.chance(2):
        d.out("out", d.rows, d.row_dtype)


def _cross_entropy(d, name):
    with_grad = name.endswith("grad")
    mix = MIXES[d.one_of(d.limits.mixes)] if with_grad and d.chance(2) else None
    d.logits(least_classes=mix is not None and mix.soft)
    if mix is not None and mix.soft:
        d.arguments["targets"] = d.masses(d.shape, d.dtype)
    else:
        d.classes()
    d.reduction()
    if mix is not None:
        for option in mix.options:
            d.option(option, *VALUES[option])
        for weight in mix.weights:
            d.weights(weight, (d.n_classes,) if weight == "weight" else d.rows)
        for out in ("loss_out", "lse_out", *mix.outputs):
            if out in ("hess_out", "targets_grad_out"):
                d.out(out, d.shape, d.dtype)
            else:
                d.out(out, d.rows, np.int64 if out == "rank_out" else d.row_dtype)
    if with_grad and d.chance(2):
        d.out("grad_out", d.shape, d.dtype, "logits")


def _divergence(d, name):
    d.logits(least_classes=1)  # no distribution is over none
    d.arguments["targets"] = d.masses(d.shape, d.dtype)
    d.reduction()
    if d.limits.is_full and d.chance(2):
        d.weights("sample_weight", d.rows)
    if name.endswith("grad") and d.chance(2):
        d.out("grad_out", d.shape, d.dtype, "logits")


def _log_loss(d, name):
    d.logits("probs", None)
    d.classes()
    d.reduction()


def _binary(d, name):
    d.logits(has_axis=False)
    dtype = d.one_of([d.dtype, bool, np.int64, np.uint8])
    y = np.asarray(d.rng.random(d.shape)).astype(d.dtype)
    hostile = {
        "masked": np.ma.array,
        "strings": lambda y: y.astype(float).astype(str),
        "foreign": lambda y: y.astype(float).astype(">f8"),
        "another axis": lambda y: y[None],
    }
    if y.size:
        hostile |= {
            "too large": lambda y: 1.5 + y,
            "negative": lambda y: -1.5 - y,
            "NaN": lambda y: y + np.nan,
        }
    d.disguised("targets", y if dtype == d.dtype else np.round(y).astype(dtype), hostile)
    d.option("label_smoothing", 0, 0.1, 1)
    if d.limits.is_full and d.chance(2):
        for weight in ("weight", "pos_weight"):
            d.weights(weight, d.one_of([d.shape, d.shape[-1:], ()]))
    d.reduction()
    if d.limits.is_full and d.chance(3):
        d.out("loss_out", d.shape, d.row_dtype)
    if name.endswith("grad") and d.chance(2):
        d.out("grad_out", d.shape, d.dtype, "logits")


_ACTIVATIONS = "softmax", "log_softmax", "logsumexp", "softmax_grad", "sigmoid"
FUNCTIONS = {
    **dict.fromkeys(_ACTIVATIONS, _activation),
    **dict.fromkeys(("cross_entropy", "cross_entropy_with_grad"), _cross_entropy),
    **dict.fromkeys(("kl_divergence", "kl_divergence_with_grad"), _divergence),
    **dict.fromkeys(("binary_cross_entropy", "binary_cross_entropy_with_grad"), _binary),
    "log_loss": _log_loss,
    "entropy": _entropy,
}


@st.composite
def calls(draw, limits):
    d, name = _Drawn(draw, limits), draw(st.sampled_from(sorted(FUNCTIONS)))
    FUNCTIONS[name](d, name)
    return Call(name, d.arguments, d.is_bad)
