"""Views of arrays with as few axes as they can have, so that few kernels are compiled."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import cpu


def with_fewest_axes(
    logits: NDArray[Any], grad: NDArray[Any] | None, options: cpu.Options
) -> tuple[NDArray[Any], NDArray[Any] | None, cpu.Options]:
    soft_targets, hess, targets_grad = options.soft_targets, options.hess, options.targets_grad
    logits, grad, soft_targets, hess, targets_grad = merged([logits, grad, soft_targets, hess, targets_grad])
    if options is not cpu.PLAIN:
        options = options._replace(soft_targets=soft_targets, hess=hess, targets_grad=targets_grad)
    return logits, grad, options


def merged(arrays: list[Any]) -> list[Any]:
    """Views of arrays with the same leading axes, or None, with as few of these as all can be viewed with."""
    given = [a for a in arrays if a is not None]
    if given[0].ndim == 2:
        return arrays
    sizes: list[int] = []
    end = 0  # the last axis of the last run of axes that merge
    for axis, size in enumerate(given[0].shape[:-1]):
        if size == 1:
            continue
        if sizes and all(a.strides[end] == size * a.strides[axis] for a in given):
            sizes[-1] *= size
        else:
            sizes.append(size)
        end = axis
    return [a if a is None else a.reshape(*(sizes or [1]), a.shape[-1]) for a in arrays]
