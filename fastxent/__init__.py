"""Softmax cross-entropy, its gradient and its close relatives for NumPy arrays, compiled with Numba."""

from importlib import import_module as _import_module
from typing import Any as _Any

from . import _njit as _njit  # for Numba to know it
from . import reference
from .activations import log_softmax, logsumexp, sigmoid, softmax, softmax_grad
from .binary import binary_cross_entropy, binary_cross_entropy_with_grad
from .divergence import kl_divergence, kl_divergence_with_grad
from .losses import cross_entropy, cross_entropy_with_grad
from .probabilities import entropy, log_loss

__version__ = "0.3.0.dev0"

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_grad",
    "cross_entropy",
    "cross_entropy_with_grad",
    "entropy",
    "kl_divergence",
    "kl_divergence_with_grad",
    "log_loss",
    "log_softmax",
    "logsumexp",
    "reference",
    "sigmoid",
    "softmax",
    "softmax_grad",
]


def __getattr__(name: str) -> _Any:
    """`fastxent.cuda`, imported once it is asked for."""
    if name == "cuda":
        return _import_module(".cuda", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__", "cuda"]
