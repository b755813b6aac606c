"""Losses of probabilities, not logits: signatures, documentation and delegation; no arithmetic here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _dispatch, _options, _outputs, _validation
from .losses import Loss, Reduction


def log_loss(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Loss:
    """Cross-entropy of probabilities with integer or soft targets, in nats: the logarithmic score.

    The loss of a row with probabilities p, target y and sample weight s is (Good, Rational Decisions,
    Journal of the Royal Statistical Society B 14, 1952)

        −s·log p_y,  with soft targets t  −s·Σ_j t_j·log p_j

    where a class of mass 0 adds 0 even if it is impossible. The probabilities are taken as they are: nothing
    is clipped, nothing is added and they need not sum to 1, so that a certain class costs exactly 0 and
    an impossible one +inf. From logits, `cross_entropy` keeps digits that probabilities have lost.

    Parameters
    ----------
    probs
        float32, float64, float16 or bfloat16 (of ml_dtypes) of any shape and strides, classes on `axis`.
        A 1-D array is one row. A negative one has the loss NaN.
    targets
        Integers of any dtype, of the shape of `probs` without `axis`: for each row a class, or
        `ignore_index`. Or floats of the shape of `probs` and any of its dtypes: the mass of each class,
        which need not sum to 1. They are rounded to float32 unless `probs` are float64.
    axis
        The axis of the classes.
    sample_weight
        Of each row: an array of the rows' shape, finite and at least 0.
    ignore_index
        Rows with this target, like rows with a sample weight of 0, are not read: they add nothing.
    reduction
        "mean" divides the sum by Σ s over the rows kept, and is 0.0 where that is 0; "sum"; or "none" for
        the loss of each row.
    normalizer
        What "mean" divides by instead: finite and at least 2⁻¹²⁶.

    Returns
    -------
    float, computed and summed in float64; for reduction="none" an array of the rows' shape and the dtype
    of `probs`, float32 for half types.

    Raises
    ------
    IndexError
        A target is neither a class nor `ignore_index`; names the first.
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape, a value out of range, or no meaning beside
        another.
    NotImplementedError
        An argument is on a GPU, where this is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> probs = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    >>> log_loss(probs, [1, 1], reduction="none").round(4)
    array([1.3863, 0.    ])
    >>> log_loss(probs, [1, 0])
    inf
    """
    p = _validation.float_array("probs", probs)
    rows = _validation.classes_last(p, axis)
    shape = rows.shape[:-1]
    ignored = _validation.check_ignore_index(ignore_index)
    divisor = _validation.check_reduction(reduction, normalizer)
    y, soft_targets = _validation.check_targets(targets, p, shape, "probs")
    given = _options.Given(sample_weight=sample_weight)
    options = _options.check_options(p, soft_targets, axis, ignored, given)
    row_losses = np.empty(shape, np.float64)
    loss, bad = _dispatch.log_loss(rows, y, ignored, divisor, options, row_losses)
    if bad >= 0:
        _validation.raise_bad_target(targets, bad, rows.shape[-1], ignored)
    if reduction == "none":
        return _dispatch.rounded(row_losses, _validation.row_dtype(p.dtype))
    return loss


def entropy(probs: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Entropy −Σ_j p_j·log p_j along an axis, in nats; 0·log 0 is 0.

    (Shannon, A Mathematical Theory of Communication, 1948, section 6.) The probabilities are taken as they
    are: they need not sum to 1. That of softmax is had from logits by `cross_entropy(..., entropy_out=)`.

    Parameters
    ----------
    probs
        float32, float64, float16 or bfloat16 (of ml_dtypes) of any shape and strides. A negative one makes
        its row NaN.
    axis
        The axis of the classes.
    out
        Where to store the result: an array of the shape of `probs` without `axis` and of its dtype,
        float32 for half types, that does not overlap it.

    Returns
    -------
    An array of that shape and dtype, computed in float64; `out` if given.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range.
    NotImplementedError
        An argument is on a GPU, where this is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> entropy(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])).round(4)
    array([0.6931, 0.    ])
    """
    p = _validation.float_array("probs", probs)
    rows = _validation.classes_last(p, axis)
    shape, dtype = rows.shape[:-1], _validation.row_dtype(p.dtype)
    if out is None:
        out = np.empty(shape, dtype)
    else:
        _outputs.check_output("out", out, shape, dtype, probs=p)
    _dispatch.entropy(rows, out)
    return out
