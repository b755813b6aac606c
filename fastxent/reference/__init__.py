"""The specification: every public function in plain NumPy, with the same names and signatures.

Everything is computed in the dtype of its input, half types in float32. Given float64 it is what the tests
compare with; given float32 it is what the tables of accuracy call naive NumPy, and the benchmarks of all
functions but cross-entropy. Arguments are not validated. Formulas, shapes and dtypes stand in the docstrings
of `fastxent`.
"""

from .activations import log_softmax, logsumexp, sigmoid, softmax, softmax_grad
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_grad,
    cross_entropy,
    cross_entropy_with_grad,
    entropy,
    kl_divergence,
    kl_divergence_with_grad,
    log_loss,
)

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
    "sigmoid",
    "softmax",
    "softmax_grad",
]
