"""Softmax cross-entropy: signatures, documentation and delegation; no arithmetic here."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _dispatch, _options, _outputs, _validation, cpu

Reduction = Literal["mean", "sum", "none"]
Loss = Any  # a float; for reduction="none" an array


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
    rank_out: NDArray[Any] | None = None,
    entropy_out: NDArray[Any] | None = None,
) -> Loss:
    """Softmax cross-entropy of logits with integer or soft targets, in nats.

    The logits enter as u = logit_scale·z, or softcap·tanh(logit_scale·z/softcap). With K classes,
    lse = log Σ_j exp(u_j), p = softmax(u), class weights w, sample weight s and smoothing e, the loss of
    a row with target y is (Goodfellow, Bengio and Courville, Deep Learning, 2016, section 6.2.2.3)

        s·[(1−e)·w_y·(1−p_y)^focal_gamma·(lse − u_y) + Σ_j m_j·(lse − u_j) + z_loss·lse²],  m_j = w_j·e/K

    and with soft targets t it is s·[Σ_j m_j·(lse − u_j) + z_loss·lse²], m_j = w_j·((1−e)·t_j + e/K).
    Nothing overflows, and a class of weight or mass 0 adds 0 even if it is impossible. Where one class has
    nearly all of the probability the loss keeps its digits; with soft targets down to losses of 1e-13.
    Functions compiled with `@njit` may call it too, with integer targets and classes on the last axis.

    Parameters
    ----------
    logits
        float32, float64, float16 or bfloat16 (of ml_dtypes) of any shape and strides, classes on `axis`.
        A 1-D array is one row. They are only read; half types are computed with in float32. Or an array
        with `__cuda_array_interface__`, whose loss is computed on its GPU, where outputs must be too; there
        targets are integers. Weights are checked on the host.
    targets
        Integers of any dtype, of the logits' shape without `axis`: for each row a class from 0 to K − 1,
        or `ignore_index`. Or floats of the logits' shape and any of their dtypes: the mass of each class,
        which need not sum to 1. They are rounded to what is computed with, float32 unless the
        logits are float64; subnormal ones may count as 0.
    axis
        The axis of the classes.
    weight
        Of each class: K numbers, finite and at least 0, the largest (unless 0) from 2⁻⁶⁴ to 2⁶⁴, for float64
        logits from 2⁻⁵¹² to 2⁵¹².
    sample_weight
        Of each row: an array of the rows' shape, finite and at least 0.
    ignore_index
        Rows with this target, like rows with a sample weight of 0, are not read: they add nothing. From −2⁶³
        to 2⁶³ − 2. Integer targets only.
    label_smoothing
        From 0 to 1: how much of the target's mass is spread evenly over all classes (Szegedy et al., 2016,
        arXiv:1512.00567; with class weights as PyTorch has it).
    focal_gamma
        At least 0: how strongly rows that are right already are discounted (Lin et al., 2017,
        arXiv:1708.02002). Integer targets only.
    z_loss
        At least 0: weight of lse², which holds logits near 0 (Chowdhery et al., 2022, arXiv:2204.02311).
    logit_scale, softcap
        What the logits are multiplied by (an inverse temperature), and the absolute value that they are
        then kept under: from 2⁻⁶⁴ to 2⁶⁴, for float64 logits from 2⁻⁵¹² to 2⁵¹². A logit of −inf stays −inf;
        one whose product with logit_scale is beyond its dtype, float32 for half types, counts as infinite.
    reduction
        "mean" divides the sum by Σ s·w_y over the rows kept, or Σ s for soft targets, and is 0.0 where
        that is 0; "sum"; or "none" for the loss of each row.
    normalizer
        What "mean" divides by instead, and nothing else: finite and at least 2⁻¹²⁶.
    loss_out, lse_out, entropy_out
        Where to store each row's loss, lse, and entropy of p: arrays of the rows' shape and the logits'
        dtype, float32 for half types. Rows that are not read get 0.
    rank_out
        Where to store how many logits of each row are greater than the target's, NaN being greater than
        all, so that top-k accuracy is `mean(rank_out < k)`: an int64 array of the rows' shape. Rows whose
        target's logit is NaN, or that are not read, get K. Integer targets only.

    Returns
    -------
    float, summed in float64; for reduction="none" an array of the rows' shape, () for 1-D logits, and of the
    dtype of `loss_out`, which it is if given. A row of −inf only, with NaN, with +inf, or whose target's
    logit is −inf has the loss NaN or +inf that the formula gives, and no other row is touched by it.

    Raises
    ------
    IndexError
        A target is neither a class nor `ignore_index`; names the first.
    TypeError, ValueError
        An argument has the wrong dtype; the wrong shape, a value out of range, or no meaning beside
        another. Like every error, it is raised before anything is written.
    NotImplementedError
        What an argument on a GPU is asked for is not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])
    >>> round(cross_entropy(logits, [1, 2]), 4)
    0.7815
    >>> cross_entropy(logits, [1, 2], reduction="none").round(4)
    array([0.4644, 1.0986])
    >>> round(cross_entropy(logits, [1, 2], label_smoothing=0.1), 4)
    0.8232
    >>> rank = np.empty(2, np.int64)
    >>> _ = cross_entropy(logits, [0, 2], rank_out=rank)
    >>> rank
    array([1, 0])
    """
    # fmt: off
    given = (
        weight, sample_weight, label_smoothing, focal_gamma, z_loss, softcap, logit_scale,
        rank_out, entropy_out, None, None,
    )
    # fmt: on
    return _solve(
        logits, targets, axis, ignore_index, reduction, normalizer, loss_out, lse_out, None, False, given
    )[0]


def cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
    loss_out: NDArray[Any] | None = None,
    lse_out: NDArray[Any] | None = None,
    rank_out: NDArray[Any] | None = None,
    entropy_out: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
    hess_out: NDArray[Any] | None = None,
    targets_grad_out: NDArray[Any] | None = None,
) -> tuple[Loss, NDArray[Any]]:
    """Softmax cross-entropy and its gradient with respect to the logits, in one pass over memory.

    The loss is that of `cross_entropy`, whose arguments these are. The gradient of a row's loss is

        s·[C·(p_j − [j = y]) + (Σ_k m_k)·p_j − m_j + 2·z_loss·lse·p_j]·du_j/dz_j

    with C = (1−e)·w_y·(q^g + g·q^(g−1)·p_y·(lse − u_y)), q = 1 − p_y and g = focal_gamma: without options
    p_j − [j = y] (Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.109). It is divided
    as the loss is; for "none" it is that of the sum. Rows that are not read, and classes whose logit is
    −inf and whose mass is 0, have exactly 0; but rows that hold NaN or +inf, or nothing but −inf, have NaN
    throughout, unless softcap makes a finite logit of +inf. `@njit` functions may call it as they may
    `cross_entropy`, but outputs that lie between the elements of other arrays count as overlapping them.

    Parameters
    ----------
    grad_out
        Where to store the gradient: an array of the logits' shape and dtype, or float32 for half types,
        that either is the logits, which the gradient then overwrites, or does not overlap them. Without
        it the logits are only read, and the gradient is a new array.
    hess_out
        Where to store the diagonal of the Hessian, which boosting takes: without options p_j·(1 − p_j), else
        s·p_j·[(C + Σ_k m_k + 2·z_loss·lse)·(1 − p_j) + 2·z_loss·p_j]·logit_scale², divided as the loss is.
        An array as `grad_out`, apart from all others. Not with focal_gamma or softcap.
    targets_grad_out
        Where to store the gradient with respect to soft targets, s·w_j·(1−e)·(lse − u_j), divided as the
        loss is: an array of their shape and dtype, or float32 for half types, that is the targets or does
        not overlap them. NaN in rows that hold NaN or +inf.

    Returns
    -------
    (loss, grad)
        As `cross_entropy`; and `grad_out`, or the new array of the logits' shape and dtype.

    Raises
    ------
    IndexError, TypeError, ValueError, NotImplementedError
        As `cross_entropy`, before anything is written.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([[1.0, 2.0, 0.5]])
    >>> hess = np.empty_like(logits)
    >>> loss, grad = cross_entropy_with_grad(logits, [1], grad_out=logits, hess_out=hess)
    >>> round(loss, 4), grad.round(2), hess.round(2)
    (0.4644, array([[ 0.23, -0.37,  0.14]]), array([[0.18, 0.23, 0.12]]))
    >>> grad is logits
    True
    """
    # fmt: off
    given = (
        weight, sample_weight, label_smoothing, focal_gamma, z_loss, softcap, logit_scale,
        rank_out, entropy_out, hess_out, targets_grad_out,
    )
    # fmt: on
    return _solve(
        logits, targets, axis, ignore_index, reduction, normalizer, loss_out, lse_out, grad_out, True, given
    )


def _solve(
    logits: Any,
    targets: Any,
    axis: int,
    ignore_index: int,
    reduction: Reduction,
    normalizer: float | None,
    loss_out: NDArray[Any] | None,
    lse_out: NDArray[Any] | None,
    grad_out: NDArray[Any] | None,
    with_grad: bool,
    options_given: tuple[Any, ...],
) -> tuple[Loss, Any]:
    """Loss and gradient, the latter None if not asked for."""
    no_options = _options.are_off(*options_given)
    is_mean = isinstance(reduction, str) and reduction == "mean"
    is_plain = no_options and loss_out is lse_out is None and normalizer is None and is_mean
    plain = _validation.plain_targets(logits, targets, axis, ignore_index, grad_out) if is_plain else None
    if plain is not None:
        grad = np.empty_like(logits) if with_grad and grad_out is None else grad_out
        loss, bad = _dispatch.plain_cross_entropy(logits, plain, ignore_index, grad)
        if bad < 0:  # else it is found again below, and raised
            return loss, grad

    outs = loss_out, lse_out, grad_out
    solve = _on_host
    if _validation.is_on_device(logits):
        from .cuda import losses as on_gpu  # nobody else pays for it

        solve = on_gpu.cross_entropy
    return solve(logits, targets, axis, ignore_index, reduction, normalizer, outs, with_grad, options_given)


def _on_host(
    logits: Any,
    targets: Any,
    axis: int,
    ignore_index: int,
    reduction: Reduction,
    normalizer: float | None,
    outs: tuple[Any, Any, Any],
    with_grad: bool,
    options_given: tuple[Any, ...],
) -> tuple[Loss, Any]:
    """As the function of that signature on a GPU."""
    loss_out, lse_out, grad_out = outs
    z = _validation.float_array("logits", logits)
    grad = _outputs.output_like("grad_out", grad_out, "logits", z) if with_grad else None
    rows = _validation.classes_last(z, axis)
    shape = rows.shape[:-1]
    ignored = _validation.check_ignore_index(ignore_index)
    divisor = _validation.check_reduction(reduction, normalizer)
    y, soft_targets = _validation.check_targets(targets, z, shape)
    given = _options.Given(*options_given)
    options = cpu.PLAIN
    if soft_targets is not None or not _options.are_off(*given):
        options = _options.check_options(z, soft_targets, axis, ignored, given)
    _options.check_outputs(z, targets, shape, loss_out, lse_out, grad_out, given)

    row_losses: Any = None if reduction != "none" and loss_out is None else np.empty(shape, np.float64)
    lse: Any = None if lse_out is None else np.empty(shape, np.float64)
    grad_rows = None if grad is None else _validation.classes_last(grad, axis)
    loss, bad = _dispatch.cross_entropy(rows, y, ignored, divisor, options, row_losses, lse, grad_rows)
    if bad >= 0:
        _validation.raise_bad_target(targets, bad, rows.shape[-1], ignored)
    for out, values in (
        (loss_out, row_losses),
        (lse_out, lse),
        (given.rank_out, options.rank),
        (given.entropy_out, options.entropy),
    ):
        if out is not None:
            out[...] = _dispatch.rounded(values.reshape(shape), out.dtype)
    if reduction != "none":
        return loss, grad
    dtype = _validation.row_dtype(z.dtype)
    return (_dispatch.rounded(row_losses, dtype) if loss_out is None else loss_out), grad
