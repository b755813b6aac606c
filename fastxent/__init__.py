"""Softmax cross-entropy, its gradient and its close relatives for NumPy arrays, at the speed of memory."""

from . import reference
from .activations import log_softmax, logsumexp, sigmoid, softmax, softmax_grad
from .losses import cross_entropy, cross_entropy_with_grad

__version__ = "0.1.0"

__all__ = [
    "cross_entropy",
    "cross_entropy_with_grad",
    "log_softmax",
    "logsumexp",
    "reference",
    "sigmoid",
    "softmax",
    "softmax_grad",
]
