"""What a kernel is told: which options are on, as it is compiled; numbers and arrays, at each call."""

from typing import Any, NamedTuple

import numpy as np

from ..cpu import Options


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
    mass: Any  # all that label_smoothing gives to the classes, which sums of shares would round
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


def numbers_of(storage: str, options: Options) -> Numbers:
    """Of options whose weight is on the host; 0 for what is off."""
    real, smoothing, weight = arithmetic_of(storage), options.label_smoothing or 0.0, options.weight
    mean_weight = 1.0 if weight is None else weight.sum() / max(1, weight.size)
    numbers = Numbers(
        label_smoothing=smoothing,
        focal_gamma=options.focal_gamma or 0.0,
        z_loss=options.z_loss or 0.0,
        softcap=options.softcap or 0.0,
        logit_scale=options.logit_scale or 0.0,
        mass=smoothing * mean_weight,
        zero=0.0,
        half=0.5,
        one=1.0,
        two=2.0,
        infinity=np.inf,
        nan=np.nan,
        largest=np.finfo(real).max,
    )
    return Numbers(*map(real, numbers))
