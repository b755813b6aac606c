"""What a kernel is told: which options are on, as it is compiled; numbers and arrays, at each call."""

from typing import Any, NamedTuple

import numpy as np


class On(NamedTuple):
    """What is asked for, settled when a kernel is compiled: what is off costs nothing."""

    grad: bool = False
    weight: bool = False
    sample_weight: bool = False
    label_smoothing: bool = False
    focal_gamma: bool = False
    z_loss: bool = False
    softcap: bool = False
    logit_scale: bool = False
    lse: bool = False
    rank: bool = False
    entropy: bool = False
    hess: bool = False


class Numbers(NamedTuple):
    """In the dtype of the arithmetic, constants too: a float32 beside a literal 1.0 would become float64."""

    label_smoothing: Any
    focal_gamma: Any
    z_loss: Any
    softcap: Any
    logit_scale: Any
    zero: Any
    half: Any
    one: Any
    two: Any
    infinity: Any
    nan: Any
    largest: Any


class Arrays(NamedTuple):
    """Rows on the first two axes, their classes, or one number, on the third; the weights have one axis.

    What is off has another array in its place.
    """

    logits: Any
    targets: Any
    weight: Any
    sample_weight: Any
    loss: Any
    lse: Any
    rank: Any
    entropy: Any
    grad: Any
    hess: Any


class Row(NamedTuple):
    a: Any  # its place on the two axes of rows
    b: Any
    n_classes: Any  # 0 for a row that is not kept
    target: Any
    z_y: Any  # the target's logit, as given
    u_y: Any  # and transformed
    w_y: Any  # the weight of the target's class
    sample_weight: Any


def arithmetic_of(storage: str) -> Any:
    """Of logits stored so; half types are computed with in float32."""
    return np.float64 if storage == "float64" else np.float32


def bits_of(storage: str) -> Any:
    """As kernels see what is stored: half types as their bits."""
    return {"float32": np.float32, "float64": np.float64}.get(storage, np.uint16)


def vector_length(storage: str) -> int:
    """Elements in 16 bytes."""
    return 16 // np.dtype(bits_of(storage)).itemsize


def numbers_of(storage: str, options: Any) -> Numbers:
    real = arithmetic_of(storage)
    asked = (getattr(options, name, None) for name in Numbers._fields[:5])
    constants = 0, 0.5, 1, 2, np.inf, np.nan, np.finfo(real).max
    return Numbers(*(real(0 if number is None else number) for number in (*asked, *constants)))
