"""How far losses and gradients of float32 logits are from the truth: fastxent and others on the same rows."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastxent
from fastxent import reference

from .contenders import Contender

Results = tuple[NDArray[Any], NDArray[Any]]  # row losses, and the gradient of their sum

CLASSES = (2, 10, 100, 1000, 10_000, 100_000, 1_000_000)
SPREADS = (1e-3, 0.1, 1.0, 10.0, 100.0, 1e4)
"""Standard deviations of the logits."""
_ELEMENTS = 400_000  # at least, for each number of classes and spread
_LEAST = 2.0**-75  # what is less hangs on probabilities below 2^−125, which may be 0, and may be a million


def _torch(logits: NDArray[Any], targets: NDArray[Any]) -> Results:
    import torch

    z = torch.tensor(logits, requires_grad=True)
    losses = torch.nn.functional.cross_entropy(z, torch.tensor(targets), reduction="none")
    losses.sum().backward()
    return losses.detach().numpy(), z.grad.numpy()


def _jax(logits: NDArray[Any], targets: NDArray[Any]) -> Results:
    import jax
    from optax import softmax_cross_entropy_with_integer_labels

    jax.config.update("jax_platforms", "cpu")
    losses, pull_back = jax.vjp(lambda z: softmax_cross_entropy_with_integer_labels(z, targets), logits)
    return np.asarray(losses), np.asarray(pull_back(np.ones_like(losses))[0])


CONTENDERS = {
    "fastxent": Contender(partial(fastxent.cross_entropy_with_grad, reduction="none")),
    "PyTorch": Contender(_torch, ("torch",)),
    "JAX + optax": Contender(_jax, ("jax", "optax")),
    "naive NumPy": Contender(partial(reference.cross_entropy_with_grad, reduction="none")),
}


class Errors(NamedTuple):
    """In units in the last place of the correctly rounded float32."""

    largest: float
    total: float
    count: int

    def __add__(self, other: "Errors") -> "Errors":  # type: ignore[override]
        largest = max(self.largest, other.largest)
        return Errors(largest, self.total + other.total, self.count + other.count)

    def __str__(self) -> str:
        return f"{self.largest:.3g} / {self.total / max(1, self.count):.2g}"


def truth(logits: NDArray[Any], targets: NDArray[Any]) -> Results:
    """In extended precision where the machine has it; the others are summed apart, so nothing cancels."""
    rows = np.arange(len(targets))
    z = logits.astype(np.longdouble)
    z -= z.max(axis=1, keepdims=True)
    exps = np.exp(z)
    total, target = exps.sum(axis=1), exps[rows, targets]
    exps[rows, targets] = 0
    others = exps.sum(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        likely = target > others
        losses = np.where(likely, np.log1p(others / target), np.log(total) - z[rows, targets])
    grad = exps / total[:, None]
    grad[rows, targets] = -others / total
    return losses, grad


def errors(result: NDArray[Any], true: NDArray[Any]) -> Errors:
    """Of all numbers that are not too small."""
    with np.errstate(invalid="ignore"):
        counted = np.abs(true) >= _LEAST
    exact, found = true[counted], result[counted].astype(np.longdouble)
    ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.longdouble)
    off = np.abs(found - exact) / ulp
    return Errors(float(off.max(initial=0)), float(off.sum()), off.size)


def errors_of(name: str, n_classes: int, spread: float, n_elements: int = _ELEMENTS) -> tuple[Errors, Errors]:
    """Those of the losses, and of the gradients."""
    rng = np.random.default_rng(0)
    n_rows = max(1, n_elements // n_classes)
    logits = (rng.standard_normal((n_rows, n_classes)) * spread).astype(np.float32)
    targets = rng.integers(0, n_classes, n_rows)
    targets[::2] = logits[::2].argmax(axis=1)  # learnt: cancellation would show there
    results, true = CONTENDERS[name].task(logits, targets), truth(logits, targets)
    return errors(results[0], true[0]), errors(results[1], true[1])
