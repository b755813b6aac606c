"""What is measured: each public function on its arrays, beside naive NumPy and beside the memory limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastxent
from fastxent import reference

from . import limits, textbook
from .rounds import Call

Shape = tuple[int, ...]

TOLERANCE = {2: 1e-2, 4: 1e-5, 8: 1e-12}  # by item size: that the right thing was timed, no more


def _logits(rng: np.random.Generator, shape: Shape, axis: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    drawn_as = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    logits = rng.standard_normal(shape, drawn_as)
    logits *= 3
    return logits.astype(dtype, copy=False)


def _probs(rng: np.random.Generator, shape: Shape, axis: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    probs = _logits(rng, shape, axis, dtype)  # in place from here on, for the sake of `memory`
    np.exp(probs, out=probs)
    probs /= probs.sum(axis=axis, keepdims=True)
    return probs


def _classes(rng: np.random.Generator, shape: Shape, axis: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    rows = list(shape)
    n_classes = rows.pop(axis)
    return rng.integers(0, n_classes, rows)


class Function(NamedTuple):
    """A function's arguments, by what they hold, and the keyword by which it overwrites the first."""

    arguments: tuple[Callable[..., NDArray[Any]], ...]
    overwrites: str | None = None


FUNCTIONS = {
    "cross_entropy": Function((_logits, _classes)),
    "cross_entropy_with_grad": Function((_logits, _classes), "grad_out"),
    "binary_cross_entropy": Function((_logits, _probs)),
    "binary_cross_entropy_with_grad": Function((_logits, _probs), "grad_out"),
    "kl_divergence": Function((_logits, _probs)),
    "kl_divergence_with_grad": Function((_logits, _probs), "grad_out"),
    "log_loss": Function((_probs, _classes)),
    "entropy": Function((_probs,)),
    "softmax": Function((_logits,), "out"),
    "log_softmax": Function((_logits,), "out"),
    "logsumexp": Function((_logits,)),
    "softmax_grad": Function((_probs, _logits), "out"),
    "sigmoid": Function((_logits,), "out"),
}


class Problem:
    """A function with its arrays, of which it may overwrite the first; or an output of its own."""

    def __init__(
        self, name: str, shape: Shape, dtype: Any = "float32", axis: int = -1, in_place: bool = True
    ) -> None:
        rng = np.random.default_rng(0)
        function = FUNCTIONS[name]
        self.name, self.axis = name, axis
        self.options = {} if axis == -1 else {"axis": axis}
        self.first, *self.others = (make(rng, shape, axis, np.dtype(dtype)) for make in function.arguments)
        self.buffer = self.first.copy() if function.overwrites else self.first
        output = self.buffer if in_place else np.empty_like(self.buffer)
        self.output = {function.overwrites: output} if function.overwrites else {}

    def refill(self) -> None:
        if any(output is self.buffer for output in self.output.values()):
            np.copyto(self.buffer, self.first)

    def fastxent(self) -> Any:
        return getattr(fastxent, self.name)(self.buffer, *self.others, **self.output, **self.options)

    def naive(self) -> Any:
        """The textbook's function, which no half type is enough for; of the others it is the reference."""
        has_digits = self.first.dtype.itemsize > 2
        function = getattr(textbook, self.name, None) if has_digits else None
        return (function or getattr(reference, self.name))(self.first, *self.others, **self.options)

    def memory(self) -> None:
        """The memory limit: the traffic of `fastxent`, and no work."""
        for output in self.output.values():
            limits.multiply(output) if output is self.buffer else limits.copy(self.buffer, output)
        if not self.output:
            limits.read(self.buffer)
        for array in self.others:
            limits.read(array)

    @property
    def bytes_moved(self) -> int:
        arrays = [self.first, *self.others, *self.output.values()]
        return sum(array.nbytes for array in arrays)

    def calls(self) -> dict[str, Call]:
        return {
            "fastxent": Call(self.fastxent, self.refill),
            "naive": Call(self.naive),
            "memory": Call(self.memory),
        }

    def check(self) -> None:
        self.refill()
        check_same(self.fastxent(), self.naive(), TOLERANCE[self.first.itemsize])


def check_same(results: Any, expected: Any, tolerance: float) -> None:
    """Of one array or number, or of several; differences count relative to the largest element."""
    if not isinstance(expected, tuple):
        results, expected = (results,), (expected,)
    for result, truth in zip(results, expected, strict=True):
        difference = np.max(np.abs(np.subtract(result, truth)), initial=0.0)
        largest = np.max(np.abs(truth), initial=0.0)
        assert difference <= tolerance * largest, f"off by {difference} where the largest is {largest}"


@cache
def checked_problem(name: str, shape: Shape, dtype: str, axis: int = -1, in_place: bool = True) -> Problem:
    """For asv, which skips what raises NotImplementedError: what an older release lacks."""
    if not hasattr(fastxent, name):
        raise NotImplementedError(f"fastxent {fastxent.__version__} has no {name}")
    if np.dtype(dtype).itemsize == 2 and not hasattr(fastxent, "entropy"):
        raise NotImplementedError(f"fastxent {fastxent.__version__} has no half types")
    if axis != -1 and "axis" not in signature(getattr(fastxent, name)).parameters:
        raise NotImplementedError(f"fastxent {fastxent.__version__} has no axis of {name}")
    problem = Problem(name, shape, dtype, axis, in_place)
    problem.check()
    return problem
