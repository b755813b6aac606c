"""Binary cross-entropy: signatures, documentation and delegation; no arithmetic here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _dispatch, _options, _outputs, _validation
from .losses import Loss, Reduction


def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
) -> Loss:
    """Cross-entropy of each logit with its own yes or no, in nats: the loss of logistic regression.

    For a logit z, a target y, smoothing e and y' = (1−e)·y + e/2 it is (Bishop, Pattern Recognition and
    Machine Learning, 2006, equation 4.90, with the weights of PyTorch's `BCEWithLogitsLoss`)

        weight·[pos_weight·y'·log(1 + exp(−z)) + (1 − y')·log(1 + exp(z))]

    Nothing overflows, nothing cancels where the sigmoid of z is near 0 or 1, and a term of weight 0 adds
    0 even if it is infinite.

    Parameters
    ----------
    logits
        float32, float64, float16 or bfloat16 (of ml_dtypes) of one axis or more and any strides. They are
        only read; half types are computed with in float32. They are copied unless their elements are in C
        order, and so are targets and outputs.
    targets
        Of the logits' shape: floats of any of their dtypes from 0 to 1, or integers or booleans, 0 or 1,
        which are copied to floats.
    weight
        Of each element: finite, at least 0, and of a shape that broadcasts to the logits'. Weights that vary
        over the first axis take memory of the logits' size.
    pos_weight
        The same, for the first term alone: more than 1 where positives are rare.
    label_smoothing
        From 0 to 1: how much of every target is moved to ½ (Szegedy et al., 2016, arXiv:1512.00567).
    reduction
        "mean" divides the sum by the number of elements, whatever they weigh, and is 0.0 for none; "sum";
        or "none" for the loss of each element.
    normalizer
        What "mean" divides by instead: finite and at least 2⁻¹²⁶.
    loss_out
        Where to store each element's loss: an array of the logits' shape and dtype, float32 for half
        types.

    Returns
    -------
    float, summed in float64; for reduction="none" an array of the logits' shape and the dtype of
    `loss_out`, which it is if given. A logit of −inf is a certain no, one of +inf a certain yes: their loss
    is 0 or +inf. That of NaN is NaN.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range, targets too, of which the
        first is named. Like every error, it is raised before anything is written.
    NotImplementedError
        An argument is on a GPU, where this is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([2.0, -1.0, 1000.0])
    >>> binary_cross_entropy(logits, [1, 0, 1], reduction="none").round(4)
    array([0.1269, 0.3133, 0.    ])
    >>> round(binary_cross_entropy(logits, [1, 1, 1], pos_weight=3), 4)
    1.4402
    """
    z = _validation.float_array("logits", logits)
    return _solve(
        z, targets, weight, pos_weight, label_smoothing, reduction, normalizer, loss_out, None, None
    )


def binary_cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    """Binary cross-entropy and its gradient with respect to the logits, in one pass over memory.

    The loss is that of `binary_cross_entropy`, whose arguments these are. The gradient of an element's is

        weight·[(1 − y')·σ(z) − pos_weight·y'·σ(−z)],  σ(z) = 1/(1 + exp(−z))

    without options σ(z) − y (Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.91). It is
    divided as the loss is; for "none" it is that of the sum.

    Parameters
    ----------
    grad_out
        Where to store the gradient: an array of the logits' shape and dtype, or float32 for half types,
        that either is the logits, which the gradient then overwrites, or does not overlap them. Without
        it the logits are only read, and the gradient is a new array.

    Returns
    -------
    (loss, grad)
        As `binary_cross_entropy`; and `grad_out`, or the new array of the logits' shape and dtype.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `binary_cross_entropy`, before anything is written.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([2.0, -1.0, -np.inf])
    >>> loss, grad = binary_cross_entropy_with_grad(logits, [1, 0, 0], reduction="sum", grad_out=logits)
    >>> round(loss, 4), grad.round(4)
    (0.4402, array([-0.1192,  0.2689,  0.    ]))
    >>> grad is logits
    True
    """
    z = _validation.float_array("logits", logits)
    grad = _outputs.output_like("grad_out", grad_out, "logits", z)
    loss = _solve(
        z, targets, weight, pos_weight, label_smoothing, reduction, normalizer, loss_out, grad, grad_out
    )
    return loss, grad


def _solve(
    logits: NDArray[Any],
    targets: ArrayLike,
    weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    label_smoothing: float,
    reduction: Reduction,
    normalizer: float | None,
    loss_out: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    grad_out: NDArray[Any] | None,
) -> Loss:
    """Both functions, from checked logits. `grad` is `grad_out` or new."""
    shape, dtype = logits.shape, _validation.row_dtype(logits.dtype)
    divisor = _validation.check_reduction(reduction, normalizer) or max(1, logits.size)
    smoothing = _options.number("label_smoothing", label_smoothing, most=1.0)
    y = _validation.check_fractions(targets, shape, dtype)
    w = _options.repeating_weights("weight", weight, shape)
    pos_w = _options.repeating_weights("pos_weight", pos_weight, shape)
    inputs: dict[str, Any] = {"targets": targets, "weight": weight, "pos_weight": pos_weight}
    if loss_out is not None:
        _outputs.check_output("loss_out", loss_out, shape, dtype, logits=logits, grad_out=grad_out, **inputs)
    if grad_out is not None:
        for name, array in inputs.items():
            _outputs.check_apart("grad_out", grad_out, name, array)

    losses = np.empty(shape, dtype) if reduction == "none" and loss_out is None else loss_out
    total, bad = _dispatch.binary_cross_entropy(logits, y, w, pos_w, smoothing, 1.0 / divisor, losses, grad)
    if bad >= 0:
        _validation.raise_bad_fraction(targets, bad)
    return losses if reduction == "none" else total / divisor
