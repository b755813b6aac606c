"""Arguments of hostile calls, drawn one by one: good ones, and some to be refused."""

import math
from typing import Any, NamedTuple

import numpy as np

from tests.disguises import BAD, BAD_OUT, BAD_VALUES, GOOD, GOOD_OUT, NUMBERS, VALUES, interleaved, owner_of
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


class Drawn:
    """The arguments drawn so far, by name."""

    def __init__(self, random, limits):
        self.random, self.limits = random, limits
        self.rng = np.random.default_rng(random.getrandbits(64))
        # As in training loops, which have a way of their own; but for what is bad.
        self.is_plain = self.chance(3)
        self.bad_left = self.one_of([0, 1, 1, 2])
        self.is_bad = False
        self.arguments = {}

    def one_of(self, values):
        return self.random.choice(list(values))

    def chance(self, n):
        """One in n."""
        return self.random.randrange(n) == 0

    def goes_bad(self):
        bad = self.bad_left > 0 and self.chance(4)
        self.bad_left -= bad
        self.is_bad |= bad
        return bad

    def stays_plain(self):
        """Mostly, in a plain call: what differs in one argument must not be taken for plain either."""
        return self.is_plain and not self.chance(5)

    def disguised(self, name, values, bad):
        """The values in a good form, or what becomes of them in a bad one."""
        forms = bad if self.goes_bad() else {"plain": np.copy} if self.stays_plain() else GOOD
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

    def logits(self, name="logits", kinds=NUMBERS, has_axis=True):
        """With `axis`, and what follows from them."""
        batch = self.one_of(b for b in self.limits.batches if len(b) == 1 or not self.is_plain)
        n_classes = self.one_of(self.limits.classes)
        any_axis = self.limits.is_full and not self.is_plain and self.chance(3)
        axis = self.one_of(range(len(batch) + 1)) if any_axis else len(batch)
        self.rows, self.n_classes, self.shape = batch, n_classes, (*batch[:axis], n_classes, *batch[axis:])
        dtype = np.dtype(self.one_of(self.limits.dtypes))
        values = self.masses(self.shape, dtype) if kinds is None else self.floats(self.shape, dtype, kinds)
        self.disguised(name, values, BAD)
        self.dtype = dtype if self.is_bad else np.asarray(self.arguments[name]).dtype
        self.row_dtype = np.dtype(np.float32) if self.dtype.itemsize == 2 else self.dtype
        if has_axis:
            is_default = axis == len(batch) and (self.is_plain or self.chance(2))
            self.option("axis", *(() if is_default else (axis, axis - len(batch) - 1)))

    def out(self, name, shape, dtype, same_as=None):
        """Maybe where an input is, or between its numbers; maybe of no use."""
        given = self.arguments.get(same_as)
        may_be_given = isinstance(given, np.ndarray) and not self.is_bad and may_be_written(given)
        if self.goes_bad():
            self.arguments[name] = self.bad_out(shape, dtype, given)
        elif may_be_given and self.chance(2):
            self.arguments[name] = self.one_of([given, given[...]])
        elif may_be_given and not self.is_plain and self.chance(4):
            self.arguments[same_as], self.arguments[name] = interleaved(given)
        else:
            forms = {"plain": np.copy} if self.stays_plain() else GOOD_OUT
            self.arguments[name] = forms[self.one_of(forms)](np.full(shape, 77, dtype))

    def bad_out(self, shape, dtype, given):
        kind = self.one_of(["over another", "over another", "over parts", "of no use", "of no use"])
        out = None
        if kind == "over another":
            out = self.over_another(shape, dtype, given)
        elif kind == "over parts":
            out = self.over_parts(shape, dtype)
        elif isinstance(given, np.ndarray) and not given.flags.writeable:
            out = given
        return BAD_OUT[self.one_of(BAD_OUT)](np.full(shape, 77, dtype)) if out is None else out

    def arrays(self):
        """Those that an output can lie over, by name."""
        given = {name: a for name, a in self.arguments.items() if isinstance(a, np.ndarray)}
        return {name: a for name, a in given.items() if a.size and not a.dtype.hasobject}

    def over_another(self, shape, dtype, given):
        """Side by side in memory to which another argument moves, of which it takes a part; None for none."""
        n_bytes = np.dtype(dtype).itemsize * math.prod(shape)
        arrays = self.arrays()
        if not (arrays and n_bytes):
            return None
        name = self.one_of(arrays)
        other, step = arrays[name], self.one_of([1, 4, 8])
        start = step * self.random.randint(-((n_bytes - 1) // step), (other.nbytes - 1) // step)
        if start == 0 and (other is given or name in ("probs", "grad")):
            return None  # since that may be
        memory = np.zeros(max(other.nbytes, n_bytes) + abs(start), np.uint8)
        moved = np.ndarray(other.shape, other.dtype, memory, max(0, -start))
        moved[...] = other
        self.arguments[name] = moved
        return np.ndarray(shape, dtype, memory, max(0, start))

    def over_parts(self, shape, dtype):
        """In an argument's memory where that is, whatever its strides; None if it does not fit there."""
        arrays = [a for a in self.arrays().values() if a.flags.writeable]
        if not arrays:
            return None
        other = self.one_of(arrays)
        memory, n_bytes = owner_of(other), np.dtype(dtype).itemsize * math.prod(shape)
        start = self.random.randrange(17)
        if n_bytes + start > memory.nbytes:
            return None
        out = np.ndarray(shape, dtype, memory, start)
        same = out.ctypes.data == other.ctypes.data and out.strides == other.strides
        return out if np.shares_memory(out, other) and not same else None

    def weights(self, name, shape, broadcasts=False):
        w = self.rng.uniform(0, 3, shape).astype(self.one_of([np.float64, np.float32, np.float16, np.int32]))
        w = np.where(self.rng.random(shape) < 0.2, 0, w).astype(w.dtype)
        hostile = {
            "masked": np.ma.array,
            "strings": lambda w: w.astype(float).astype(str),
            "booleans": lambda w: w > 1,
            "complex": lambda w: w.astype(complex),
            "axes too many": lambda w: w[(None,) * 5],
        }
        if not broadcasts:
            hostile["one more"] = lambda w: np.resize(w, w.size + 1)
        if w.size:
            place = np.arange(w.size).reshape(shape) == self.rng.integers(w.size)
            wrong = self.one_of([-1.0, np.nan, np.inf, -np.inf])
            hostile["one bad"] = lambda w: np.where(place, wrong, w)
        self.disguised(name, w, hostile)

    def classes(self):
        """Integer targets, and what to ignore."""
        y = np.asarray(self.rng.integers(0, max(self.n_classes, 1), self.rows))
        kept = self.rng.random(self.rows) >= self.one_of([0.0, 0.3, 1.0])
        ignored = -100 if self.stays_plain() else self.one_of([-100, -100, -1, 0, 255, 2**62])
        y = np.where(kept if self.n_classes else False, y, ignored)
        hostile = {
            "booleans": lambda y: y.astype(bool),
            "strings": lambda y: y.astype(float).astype(str),
            "objects": lambda y: y.astype(object),
            "foreign floats": lambda y: y.astype(">f4"),
            "times": lambda y: y.astype("m8"),
            "long": lambda y: y.astype(np.longdouble),
            "masked": np.ma.array,
            "another axis": lambda y: y[None],
            "one more": lambda y: np.resize(y, y.size + 1),
            "none": lambda y: None,
        }
        if y.size:
            hostile["one less"] = lambda y: y.reshape(-1)[1:]
            wrong = self.one_of({self.n_classes, -1, -101, 2**40, -(2**62)} - {ignored})
            place = np.arange(y.size).reshape(y.shape) == self.rng.integers(y.size)
            hostile["no class"] = lambda y: np.where(place, wrong, y.astype(np.int64))
            hostile["no int64"] = lambda y: np.full(y.shape, 2**64 - 100, np.uint64)
            hostile["floats"] = lambda y: y.astype(np.float64)
        dtypes = ["int64"]  # "q" is equal, but another where long has 64 bits
        if not self.stays_plain():
            dtypes += ["b", "h", "i", "q", "B", "H", "I", "Q", ">i8", ">i4", ">u2"]
        self.disguised("targets", y.astype(self.one_of(t for t in dtypes if fits(y, t))), hostile)
        self.option("ignore_index", *((ignored,) if ignored != -100 else ()))

    def soft_targets(self, or_classes=True):
        hostile = BAD | {"another axis": lambda t: t[None], "one more": lambda t: np.resize(t, t.size + 1)}
        if not or_classes:
            hostile["classes"] = lambda t: np.zeros(self.rows, int)
        self.disguised("targets", self.masses(self.shape, self.dtype), hostile)

    def reduction(self):
        self.option("reduction", *(() if self.stays_plain() else ("mean", "sum", "none")))
        is_mean = self.arguments.get("reduction", "mean") == "mean"
        if is_mean and not self.stays_plain() and self.chance(3):
            self.option("normalizer", *VALUES["normalizer"])
        elif not is_mean and self.goes_bad():
            self.arguments["normalizer"] = 1.0


def may_be_written(a):
    return a.flags.writeable and 0 not in a.strides


def fits(y, dtype):
    return np.array_equal(y.astype(dtype).tolist(), y.tolist())
