"""softmax and its relatives: signatures, documentation and delegation; no arithmetic here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _dispatch
from ._outputs import check_output, check_same_or_apart, output_like
from ._validation import check_shape, classes_last, float_array, is_on_device, row_dtype


def softmax(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Probabilities exp(z_j) / Σ_k exp(z_k) along an axis, for logits of any size.

    Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.62.

    Parameters
    ----------
    logits
        float32, float64, float16 or bfloat16 (of ml_dtypes), any shape and strides; or an array with
        `__cuda_array_interface__`, and the result is made on its GPU, where `out` must be too.
    axis
        The axis of the classes.
    out
        Where to store the result: an array of the logits' shape and dtype, or float32 for half types,
        that either is the logits or does not overlap them.

    Returns
    -------
    An array of the logits' shape and dtype, `out` if given. −inf gives exactly 0; a row of −inf only, or
    with NaN or +inf, is NaN throughout.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range.
    NotImplementedError
        Rows on a GPU lie on more than two axes, even with those merged whose strides allow it, or have 2³¹
        classes or more.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([0.0, 10.0, 15.0, 18.0, 20.0])).round(4)
    array([0.    , 0.    , 0.0059, 0.1185, 0.8756])
    """
    if is_on_device(logits):
        from .cuda import activations as on_gpu

        return on_gpu.softmax(logits, axis, out)
    z = float_array("logits", logits)
    result = output_like("out", out, "logits", z)
    _dispatch.softmax(classes_last(z, axis), classes_last(result, axis))
    return result


def log_softmax(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Log-probabilities z_j − log Σ_k exp(z_k) along an axis, for logits of any size.

    Blanchard, Higham and Higham, IMA Journal of Numerical Analysis 41, 2021.

    Parameters, errors and result are those of `softmax`; −inf gives −inf.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.array([1.0, 2.0, 0.5])).round(4)
    array([-1.4644, -0.4644, -1.9644])
    """
    if is_on_device(logits):
        from .cuda import activations as on_gpu

        return on_gpu.softmax(logits, axis, out, of_log=True)
    z = float_array("logits", logits)
    result = output_like("out", out, "logits", z)
    _dispatch.log_softmax(classes_last(z, axis), classes_last(result, axis))
    return result


def logsumexp(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """log Σ_j exp(z_j) along an axis, for logits of any size.

    Blanchard, Higham and Higham, IMA Journal of Numerical Analysis 41, 2021.

    Parameters and errors are those of `softmax`, except that `out` has the shape and dtype of what is
    returned and does not overlap the logits.

    Returns
    -------
    An array of the logits' shape without `axis`, and their dtype, float32 for half types; `out` if
    given. −inf for a row of −inf only, +inf for one with +inf.

    Examples
    --------
    >>> import numpy as np
    >>> logsumexp(np.array([[1000.0, 1000.0], [0.0, -np.inf]])).round(4)
    array([1000.6931,    0.    ])
    """
    if is_on_device(logits):
        from .cuda import activations as on_gpu

        return on_gpu.logsumexp(logits, axis, out)
    z = float_array("logits", logits)
    rows = classes_last(z, axis)
    if out is None:
        out = np.empty(rows.shape[:-1], row_dtype(z.dtype))
    else:
        check_output("out", out, rows.shape[:-1], row_dtype(z.dtype), logits=z)
    _dispatch.logsumexp(rows, out)
    return out


def softmax_grad(
    probs: ArrayLike, grad: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """The gradient with respect to logits, from that with respect to their softmax.

        out_i = Σ_j grad_j · p_j·(δ_ij − p_i) = p_i·(grad_i − Σ_j p_j·grad_j)

    the product of `grad` with the Jacobian of softmax at `probs` (Bishop, Pattern Recognition and Machine
    Learning, 2006, equation 4.106); rows of these sum to 1, those of it to 0.

    Parameters
    ----------
    probs
        What `softmax` gave: float32, float64, float16 or bfloat16, any shape and strides.
    grad
        The gradient with respect to `probs`, of their shape and dtype.
    axis
        The axis of the classes.
    out
        Where to store the result: an array of that shape and dtype, or float32 for half types, that is
        `probs`, is `grad`, or overlaps neither.

    Returns
    -------
    An array of the shape and dtype of `probs`, `out` if given. A row with NaN or an infinity is NaN
    throughout.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range.
    NotImplementedError
        An argument is on a GPU, where this is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_grad(np.array([0.25, 0.75]), np.array([1.0, 0.0]))
    array([ 0.1875, -0.1875])
    """
    p, g = float_array("probs", probs), float_array("grad", grad)
    if g.dtype != p.dtype:
        raise TypeError(f"grad must be {p.dtype}, as probs is; got {g.dtype}")
    check_shape("grad", g, "probs", p.shape)
    result = output_like("out", out, "probs", p)
    check_same_or_apart("out", result, "grad", g)
    _dispatch.softmax_grad(classes_last(p, axis), classes_last(g, axis), classes_last(result, axis))
    return result


def sigmoid(logits: ArrayLike, *, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """The logistic function 1 / (1 + exp(−z)) of every element: the two-class softmax of (z, 0).

    Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.59.

    Parameters
    ----------
    logits
        float32, float64, float16 or bfloat16 (of ml_dtypes), one axis or more and any strides.
    axis
        The axis of the classes, so that one call serves softmax and sigmoid alike: it must be an axis of
        the logits, and each class is taken by itself whichever it is.
    out
        Where to store the result: an array of the logits' shape and dtype, or float32 for half types,
        that either is the logits or does not overlap them.

    Returns
    -------
    An array of the logits' shape and dtype, `out` if given.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape or a value out of range.
    NotImplementedError
        An argument is on a GPU, where this is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    z = float_array("logits", logits)
    classes_last(z, axis)
    result = output_like("out", out, "logits", z)
    _dispatch.sigmoid(z, result)
    return result
