"""The options of cross-entropy, checked, as the kernels take them. A plain call pays for `are_off` alone."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import cpu
from ._outputs import check_apart, check_output, check_same_or_apart, dtype_for
from ._validation import as_array, classes_last, real, row_dtype

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
_DEFAULT_IGNORE_INDEX = -100


class Given(NamedTuple):
    """The options as they came."""

    weight: Any = None
    sample_weight: Any = None
    label_smoothing: Any = 0.0
    focal_gamma: Any = 0.0
    z_loss: Any = 0.0
    softcap: Any = None
    logit_scale: Any = 1.0
    rank_out: Any = None
    entropy_out: Any = None
    hess_out: Any = None
    targets_grad_out: Any = None


def check_options(
    logits: NDArray[Any], soft_targets: NDArray[Any] | None, axis: int, ignore_index: int, given: Given
) -> cpu.Options:
    """With the classes last, and float64 buffers where `rank_out` and `entropy_out` are given."""
    rows = classes_last(logits, axis)
    shape, n_classes = rows.shape[:-1], rows.shape[-1]
    smoothing = number("label_smoothing", given.label_smoothing, most=1.0)
    scale = _factor("logit_scale", given.logit_scale, logits.dtype)
    options = cpu.Options(
        soft_targets=None if soft_targets is None else classes_last(soft_targets, axis),
        weight=_class_weights(given.weight, n_classes, logits.dtype),
        sample_weight=weights("sample_weight", given.sample_weight, shape),
        label_smoothing=smoothing if smoothing or soft_targets is not None else None,
        focal_gamma=number("focal_gamma", given.focal_gamma) or None,
        z_loss=number("z_loss", given.z_loss) or None,
        softcap=None if given.softcap is None else _factor("softcap", given.softcap, logits.dtype),
        logit_scale=None if scale == 1 else scale,
        rank=_row_buffer("rank_out", given.rank_out, shape, _INT64),
        entropy=_row_buffer("entropy_out", given.entropy_out, shape, row_dtype(logits.dtype)),
        hess=_derivative("hess_out", given.hess_out, logits, axis),
        targets_grad=_derivative("targets_grad_out", given.targets_grad_out, soft_targets, axis),
    )
    _check_mix(options, ignore_index, given.targets_grad_out)
    return cpu.PLAIN if all(option is None for option in options) else options


def _check_mix(options: cpu.Options, ignore_index: int, targets_grad_out: Any) -> None:
    if options.soft_targets is None:
        if targets_grad_out is not None:
            raise ValueError("targets_grad_out needs targets that are floats: classes have no gradient")
    elif ignore_index != _DEFAULT_IGNORE_INDEX:
        raise ValueError("ignore_index needs targets that are integers; leave out a row by sample_weight 0")
    elif options.focal_gamma is not None or options.rank is not None:
        name = "focal_gamma" if options.rank is None else "rank_out"
        raise ValueError(f"{name} needs targets that are integers: it is about the one class that they name")
    if options.hess is not None and (options.focal_gamma is not None or options.softcap is not None):
        name = "focal_gamma" if options.softcap is None else "softcap"
        raise ValueError(f"hess_out cannot be had with {name}, where the Hessian is not that of softmax")


def check_outputs(
    logits: NDArray[Any],
    targets: Any,
    shape: tuple[int, ...],
    loss_out: Any,
    lse_out: Any,
    grad_out: Any,
    given: Given,
) -> None:
    """That row outputs have the right shape and dtype, and that no output lies over another array.

    But a gradient may lie exactly on what it is the gradient by.
    """
    for name, out in (("loss_out", loss_out), ("lse_out", lse_out)):
        if out is not None:
            check_output(name, out, shape, row_dtype(logits.dtype))
    inputs = (
        ("logits", logits),
        ("targets", targets),
        ("weight", given.weight),
        ("sample_weight", given.sample_weight),
    )
    outputs = (
        ("loss_out", loss_out),
        ("lse_out", lse_out),
        ("grad_out", grad_out),
        ("rank_out", given.rank_out),
        ("entropy_out", given.entropy_out),
        ("hess_out", given.hess_out),
        ("targets_grad_out", given.targets_grad_out),
    )
    others = [(name, array) for name, array in inputs if array is not None]
    for name, out in outputs:
        if out is None:
            continue
        for other_name, other in others:
            if (name, other_name) == ("targets_grad_out", "targets"):
                check_same_or_apart(name, out, other_name, np.asarray(other))
            elif (name, other_name) != ("grad_out", "logits"):  # which `output_like` has checked
                check_apart(name, out, other_name, other)
        others.append((name, out))


def are_off(
    weight: Any,
    sample_weight: Any,
    label_smoothing: Any,
    focal_gamma: Any,
    z_loss: Any,
    softcap: Any,
    logit_scale: Any,
    rank_out: Any,
    entropy_out: Any,
    hess_out: Any,
    targets_grad_out: Any,
) -> bool:
    """Whether each has its default; quick, since every call asks. False sends the unusual to be checked."""
    return (
        weight is sample_weight is softcap is None
        and rank_out is entropy_out is hess_out is targets_grad_out is None
        and type(label_smoothing) is type(focal_gamma) is type(z_loss) is type(logit_scale) is float
        and label_smoothing == focal_gamma == z_loss == 0.0
        and logit_scale == 1.0
    )


def number(name: str, value: Any, *, most: float = math.inf) -> float:
    """A finite real number from 0 to this."""
    result = real(name, value)
    if not 0.0 <= result <= most or math.isinf(result):
        wanted = f"from 0 to {most:g}" if most < math.inf else "finite and at least 0"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return result


def factor_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Of softcap, logit_scale and the largest weight: far from the ends of what logits are computed in."""
    most = 2.0**512 if dtype == _FLOAT64 else 2.0**64
    return 1 / most, most


def _factor(name: str, value: Any, dtype: np.dtype[Any]) -> float:
    result, (least, most) = real(name, value), factor_range(dtype)
    if not least <= result <= most:
        raise ValueError(
            f"{name} must be from {least:.3g} to {most:.3g} for logits of this dtype, got {value!r}"
        )
    return result


def _class_weights(value: Any, n_classes: int, dtype: np.dtype[Any]) -> NDArray[np.float64] | None:
    w = weights("weight", value, (n_classes,))
    if w is None:
        return None
    largest, (least, most) = w.max(initial=0.0), factor_range(dtype)
    if largest and not least <= largest <= most:
        raise ValueError(
            f"the largest weight must be from {least:.3g} to {most:.3g} for logits of this dtype,"
            f" got {largest}"
        )
    return w


def weights(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Finite weights of at least 0, as one run of float64."""
    if value is None:
        return None
    return np.ascontiguousarray(_checked_weights(name, as_array(name, value), shape), _FLOAT64).reshape(-1)


def _checked_weights(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """As float32 if they are, or else as float64."""
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if array.dtype not in (_FLOAT32, _FLOAT64):
        with np.errstate(over="ignore", under="ignore"):  # of longer floats
            array = array.astype(_FLOAT64)
    if array.size and not (array.min() >= 0 and array.max() < math.inf):
        bad = int(np.flatnonzero(~((array >= 0) & (array < math.inf)))[0])
        raise ValueError(f"{name} must be finite and at least 0, got {array.flat[bad]} at flat index {bad}")
    return array


def repeating_weights(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Finite weights of at least 0 that broadcast to the shape, as a view of the run that repeats over it."""
    if value is None:
        return None
    given = as_array(name, value)
    array = _checked_weights(name, given, given.shape)
    try:
        np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must broadcast to shape {shape}, got {array.shape}") from None
    first = next((axis for axis, size in enumerate(array.shape) if size != 1), array.ndim)
    repeated = array.reshape(array.shape[first:])
    return np.broadcast_to(repeated, shape[len(shape) - repeated.ndim :])


def _row_buffer(
    name: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[np.float64] | None:
    if out is None:
        return None
    check_output(name, out, shape, dtype)
    return np.empty(math.prod(shape), np.float64)


def _derivative(name: str, out: Any, of: NDArray[Any] | None, axis: int) -> NDArray[Any] | None:
    """The output, of the shape and dtype of what it is the derivative by, or float32 for half types."""
    if out is None or of is None:
        return None
    check_output(name, out, of.shape, dtype_for(out, of.dtype))
    return classes_last(out, axis)
