"""The Kullback-Leibler divergence: signatures, documentation and delegation; no arithmetic here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _dispatch, _options, _outputs, _validation, cpu
from .losses import Loss, Reduction


def kl_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Loss:
    """Kullback-Leibler divergence KL(targets ‖ softmax(logits)) of each row, in nats.

    That of a row with logits z, targets t and sample weight s is (Kullback and Leibler, On Information
    and Sufficiency, Annals of Mathematical Statistics 22, 1951)

        s·Σ_j t_j·(log t_j − log softmax(z)_j)

    the cross-entropy of soft targets less their entropy, with 0·log 0 = 0. It is at least 0, but for
    rounding, where the targets sum to 1.

    Parameters
    ----------
    logits
        float32, float64, float16 or bfloat16 (of ml_dtypes) of any shape and strides, classes on `axis`.
    targets
        Floats of the logits' shape and any of their dtypes, at least 0: the mass of each class. They are
        rounded to float32 unless the logits are float64; subnormal ones may count as 0.
    axis
        The axis of the classes.
    sample_weight
        Of each row: an array of the rows' shape, finite and at least 0. Rows of weight 0 are not read.
    reduction
        "mean" divides the sum by Σ s (without `sample_weight` the number of rows), and is 0.0 where that
        is 0; "sum"; or "none" for the divergence of each row.
    normalizer
        What "mean" divides by instead: finite and at least 2⁻¹²⁶.

    Returns
    -------
    float, summed in float64; for reduction="none" an array of the rows' shape and the logits' dtype,
    float32 for half types. A negative target makes its row NaN.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range. Raised before anything
        is written.
    NotImplementedError
        An argument is on a GPU, where this is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> round(kl_divergence(np.log([0.25, 0.75]), [0.5, 0.5]), 4)
    0.1438
    """
    z = _validation.float_array("logits", logits)
    return _solve(z, targets, axis, sample_weight, reduction, normalizer, None)


def kl_divergence_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    """`kl_divergence` and its gradient with respect to the logits, in one pass over memory.

    The gradient is that of `cross_entropy_with_grad` with soft targets, s·((Σ_k t_k)·softmax(z)_j − t_j),
    divided as the divergence is.

    Parameters
    ----------
    grad_out
        Where to store the gradient: an array of the logits' shape and dtype, or float32 for half types,
        that either is the logits, which the gradient then overwrites, or does not overlap them.

    Returns
    -------
    (loss, grad)
        As `kl_divergence`; and `grad_out`, or a new array of the logits' shape and dtype.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `kl_divergence`.

    Examples
    --------
    >>> import numpy as np
    >>> loss, grad = kl_divergence_with_grad(np.log([0.25, 0.75]), [0.5, 0.5])
    >>> grad.round(4)
    array([-0.25,  0.25])
    """
    z = _validation.float_array("logits", logits)
    grad = _outputs.output_like("grad_out", grad_out, "logits", z)
    if grad_out is not None:
        _outputs.check_apart("grad_out", grad, "targets", targets)
        _outputs.check_apart("grad_out", grad, "sample_weight", sample_weight)
    return _solve(z, targets, axis, sample_weight, reduction, normalizer, grad), grad


def _solve(
    logits: NDArray[Any],
    targets: ArrayLike,
    axis: int,
    sample_weight: ArrayLike | None,
    reduction: Reduction,
    normalizer: float | None,
    grad: NDArray[Any] | None,
) -> Loss:
    rows = _validation.classes_last(logits, axis)
    shape = rows.shape[:-1]
    divisor = _validation.check_reduction(reduction, normalizer)
    soft_targets = _validation.float_array("targets", targets)  # a distribution, not a class
    _validation.check_shape("targets", soft_targets, "logits", logits.shape)
    options = cpu.Options(
        soft_targets=_validation.classes_last(soft_targets, axis),
        sample_weight=_options.weights("sample_weight", sample_weight, shape),
        label_smoothing=0.0,
        divergence=True,
    )
    row_losses = np.empty(shape, np.float64) if reduction == "none" else None
    grad = None if grad is None else _validation.classes_last(grad, axis)
    loss, _ = _dispatch.cross_entropy(rows, None, 0, divisor, options, row_losses, None, grad)
    return loss if row_losses is None else _dispatch.rounded(row_losses, _validation.row_dtype(logits.dtype))
