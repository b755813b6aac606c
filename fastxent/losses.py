"""The losses: signatures, documentation and delegation; no arithmetic here."""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import ArrayLike, NDArray

from . import _dispatch, _validation

Reduction = Literal["mean", "sum", "none"]
Loss = Any  # a float; for reduction="none" an array


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
) -> Loss:
    """Softmax cross-entropy of logits with integer targets, in nats.

    The loss of row i, with logits z and target y, is the negative log-likelihood

        loss_i = lse_i − z_iy,    lse_i = log Σ_j exp(z_ij)

    computed without overflow, and without cancellation where the target holds nearly all of the
    probability (Goodfellow, Bengio and Courville, Deep Learning, 2016, section 6.2.2.3).

    Parameters
    ----------
    logits
        float32 or float64 of any shape and strides, classes on `axis`. A 1-D array is one row. They are
        only read.
    targets
        Integers of any dtype, of the logits' shape without `axis`: for each row a class from 0 to
        n_classes − 1, or `ignore_index`.
    axis
        The axis of the classes.
    ignore_index
        Rows with this target are not read: they add nothing to the sum and do not count in the mean.
    reduction
        "mean" over the rows that are not ignored (0.0 if there are none), "sum", or "none" for the loss
        of each row.
    normalizer
        What "mean" divides the sum by instead of the number of rows kept: positive and finite.
    loss_out, lse_out
        Where to store each row's loss and log-sum-exp: arrays of the targets' shape and the logits'
        dtype. Ignored rows get 0.

    Returns
    -------
    float, summed in float64; for reduction="none" an array of the targets' shape and the logits' dtype,
    which is `loss_out` if given. A row of −inf only, with NaN, with +inf, or whose target's logit is
    −inf has the loss NaN or +inf that the formula gives, and no other row is touched by it.

    Raises
    ------
    IndexError
        A target is neither a class nor `ignore_index`; names the first.
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range. Like every error, it is
        raised before anything is written.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])
    >>> round(cross_entropy(logits, [1, 2]), 4)
    0.7815
    >>> cross_entropy(logits, [1, 2], reduction="none").round(4)
    array([0.4644, 1.0986])
    """
    z = _validation.float_array("logits", logits)
    rows, y, ignore_index, divisor = _validation.check_cross_entropy(
        z, targets, axis, ignore_index, reduction, normalizer, loss_out, lse_out
    )
    loss, bad = _dispatch.cross_entropy(rows, y, ignore_index, divisor, reduction, loss_out, lse_out, None)
    if bad >= 0:
        _validation.raise_bad_target(targets, bad, rows.shape[-1], ignore_index)
    return loss


def cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    """Softmax cross-entropy and its gradient with respect to the logits, in one pass over memory.

    The loss is that of `cross_entropy`, whose arguments these are. The gradient of the mean is

        grad_ij = (softmax(z_i)_j − [j = y_i]) / divisor

    with the number of rows kept, or `normalizer`, as divisor (Bishop, Pattern Recognition and Machine
    Learning, 2006, equation 4.109); for "sum" and "none" it is that of the sum. Ignored rows, and
    classes whose logit is −inf, have exactly 0; rows whose loss is NaN, or that hold +inf, have NaN.

    Parameters
    ----------
    grad_out
        Where to store the gradient: an array of the logits' shape and dtype that either is the logits,
        which the gradient then overwrites, or does not overlap them. Without it the logits are only
        read, and the gradient is a new array.

    Returns
    -------
    (loss, grad)
        As `cross_entropy`; and `grad_out`, or the new array of the logits' shape and dtype.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`, before anything is written.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([[1.0, 2.0, 0.5]])
    >>> loss, grad = cross_entropy_with_grad(logits, [1], grad_out=logits)
    >>> round(loss, 4), grad.round(2)
    (0.4644, array([[ 0.23, -0.37,  0.14]]))
    >>> grad is logits
    True
    """
    z = _validation.float_array("logits", logits)
    rows, y, ignore_index, divisor = _validation.check_cross_entropy(
        z, targets, axis, ignore_index, reduction, normalizer, loss_out, lse_out
    )
    grad = _validation.output_like("grad_out", grad_out, "logits", z)
    if grad_out is not None:
        _validation.check_apart("grad_out", grad, "targets", targets)
        if loss_out is not None:
            _validation.check_apart("grad_out", grad, "loss_out", loss_out)
        if lse_out is not None:
            _validation.check_apart("grad_out", grad, "lse_out", lse_out)
    grad_rows = grad if rows is z else _validation.classes_last(grad, axis)
    loss, bad = _dispatch.cross_entropy(
        rows, y, ignore_index, divisor, reduction, loss_out, lse_out, grad_rows
    )
    if bad >= 0:
        _validation.raise_bad_target(targets, bad, rows.shape[-1], ignore_index)
    return loss, grad
