"""What is compiled in place of a call in a user's function: the checks that Python makes, and the kernel.

Every argument has one type here. None stands for those that were not given, which leave no code behind.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numba import types

from . import _dispatch
from ._njit_arrays import (
    flat,
    function,
    loss_of_each,
    loss_of_only,
    new_rows,
    nothing,
    one_row,
    put_values,
    reduced_loss,
    same,
    stored_losses,
    to_float64,
    to_int64,
)
from ._options import factor_range
from ._validation import LEAST_NORMALIZER, NO_CLASS_BEYOND
from .cpu import FEW_CLASSES, MOST_THROUGH_CACHES, SHORT_ROW, Options, calls
from .simd.formula import formula
from .simd.overlap import first_overlapping, overlaps_itself


class Invalid(ValueError):
    """Compiled code raises it with a message, and the values to put in."""

    def __str__(self):
        message, *values = self.args
        return message.format(*values)


_OUTPUTS = "loss_out", "lse_out", "rank_out", "entropy_out", "hess_out", "grad_out"


class Overlap(ValueError):
    def __str__(self):
        name = _OUTPUTS[self.args[0]]
        but = ", unless it is the logits" if name == "grad_out" else ""
        return f"{name} must not overlap another array in memory, nor lie between its elements{but}"


class NoClass(IndexError):
    def __str__(self):
        shape, i, target, n_classes, ignore_index = self.args
        if target == NO_CLASS_BEYOND:
            target = "2**63 - 1 or more"
        position = ", ".join(str(place) for place in np.unravel_index(i, shape))
        return (
            f"{f'targets[{position}]' if shape else 'targets'} is {target}, expected a class from 0 to"
            f" {n_classes - 1} or ignore_index ({ignore_index})"
        )


@formula
def _float(number):
    return None if number is None else float(number)


@function
def _first_bad(weights):
    for i in range(weights.size):
        if not 0.0 <= weights.flat[i] < math.inf:
            return i
    return -1


_OF_LARGEST_WEIGHT = "the largest weight must be from {:.3g} to {:.3g} for logits of this dtype, got {}"


# What checks several arguments is made for each: Numba 0.63 mixes up constants that one function is called
# with and raises.
def _check_of_weights(name: str) -> Any:
    of_shape = f"{name} must have shape {{}}, got {{}}"
    of_values = f"{name} must be finite and at least 0, got {{}} at flat index {{}}"

    @function
    def check(weights, shape):
        if weights is not None:
            if weights.shape != shape:
                raise Invalid(of_shape, shape, weights.shape)
            i = _first_bad(weights)
            if i >= 0:
                raise Invalid(of_values, weights.flat[i], i)

    return check


def _check_of_output(name: str) -> Any:
    of_shape = f"{name} must have shape {{}}, got {{}}"
    of_strides = f"{name} must have memory of its own for every element, got strides {{}}"

    @function
    def check(out, shape):
        if out is not None:
            if out.shape != shape:
                raise Invalid(of_shape, shape, out.shape)
            if overlaps_itself(out):
                raise Invalid(of_strides, out.strides)

    return check


def _check_of_factor(name: str) -> Any:
    of_range = f"{name} must be from {{:.3g}} to {{:.3g}} for logits of this dtype, got {{}}"

    @function
    def check(number, least, most):
        if number is not None and not least <= number <= most:
            raise Invalid(of_range, least, most, number)

    return check


@function
def _largest(weights):
    largest = 0.0
    for weight in weights.flat:
        largest = max(largest, weight)
    return largest


@function
def _check_largest_weight(weights, least, most):
    if weights is not None:
        largest = _largest(weights)
        if largest != 0.0 and not least <= largest <= most:
            raise Invalid(_OF_LARGEST_WEIGHT, least, most, largest)


_check_weight, _check_sample_weight = map(_check_of_weights, ("weight", "sample_weight"))
_check_loss, _check_lse, _check_rank, _check_entropy, _check_hess, _check_grad = map(
    _check_of_output, _OUTPUTS
)
_check_softcap, _check_scale = map(_check_of_factor, ("softcap", "logit_scale"))


@function
def _check_numbers(ignore_index, label_smoothing, focal_gamma, z_loss, normalizer, hess_out):
    if ignore_index == NO_CLASS_BEYOND:
        raise Invalid("ignore_index must be from -2**63 to 2**63 - 2, got {}", ignore_index)
    if label_smoothing is not None and not 0.0 <= label_smoothing <= 1.0:
        raise Invalid("label_smoothing must be from 0 to 1, got {}", label_smoothing)
    if focal_gamma is not None and not 0.0 <= focal_gamma < math.inf:
        raise Invalid("focal_gamma must be finite and at least 0, got {}", focal_gamma)
    if z_loss is not None and not 0.0 <= z_loss < math.inf:
        raise Invalid("z_loss must be finite and at least 0, got {}", z_loss)
    if normalizer is not None and not LEAST_NORMALIZER <= normalizer < math.inf:
        raise Invalid("normalizer must be finite and at least 2**-126, got {}", normalizer)
    if hess_out is not None and focal_gamma is not None and focal_gamma != 0.0:
        raise Invalid("hess_out cannot be had with focal_gamma, where the Hessian is not that of softmax")


_go_one_a_lane, _is_for_memory = function(_dispatch.go_one_a_lane), function(_dispatch.is_for_memory)


@function
def _is_side_by_side(array):
    return True if array is None else array.strides[array.ndim - 1] == array.itemsize


@function
def _run(z, y, ignore_index, divisor, options, losses, lse, grad):
    are_side_by_side = _is_side_by_side(z) and _is_side_by_side(grad) and _is_side_by_side(options.hess)
    are_for_memory = _is_for_memory(grad, z) or _is_for_memory(options.hess, z)
    if z.shape[-1] <= FEW_CLASSES:
        kernel = calls.LANES
    elif z.shape[-1] <= (MOST_THROUGH_CACHES if are_for_memory else SHORT_ROW) and are_side_by_side:
        kernel = calls.SHORT
    elif _go_one_a_lane(z):
        kernel = calls.COLUMNS
    else:
        kernel = calls.ROWS
    n_chunks = 1
    has_work = z.size >= _dispatch.PARALLEL_FROM and z.size > z.shape[-1]
    # In a parallel loop, where there are threads enough and some layers abort on more, nobody has the GIL.
    if has_work and calls.gil_is_held():
        n_chunks = calls.number_of_threads()
    return calls.cross_entropy(
        kernel, n_chunks > 1, n_chunks, z, y, ignore_index, divisor, options, losses, lse, grad
    )


@cache
def solver(reduction: str, **given: types.Type | None) -> Any:
    """What to call with these arguments, in this order, for arguments of these types."""
    is_row, is_reduced = given["logits"].ndim == 1, reduction != "none"
    as_y = to_int64(given["targets"])
    as_w, as_s = to_float64(given["weight"]), to_float64(given["sample_weight"])
    as_rows, as_grad, as_hess = (
        one_row if is_row and given[name] else same for name in ("logits", "grad", "hess_out")
    )
    y_given, w_given, s_given = (
        same if isinstance(given[name], types.Array) else nothing
        for name in ("targets", "weight", "sample_weight")
    )
    flat_s = flat if given["sample_weight"] else same
    new_losses = nothing if is_reduced and not given["loss_out"] else new_rows
    new_lse, new_rank, new_entropy = (
        new_rows if given[name] else nothing for name in ("lse_out", "rank_out", "entropy_out")
    )
    loss_of = loss_of_only if is_row else loss_of_each
    if given["loss_out"]:
        loss_of = stored_losses
    if is_reduced:
        loss_of = reduced_loss
    least, most = factor_range(np.dtype(str(given["logits"].dtype)))
    usual_divisor = 0.0 if reduction == "mean" else 1.0

    # fmt: off
    @function
    def solve(
        logits, targets, weight, sample_weight, ignore_index, label_smoothing, focal_gamma, z_loss, softcap,
        logit_scale, normalizer, loss_out, lse_out, rank_out, entropy_out, grad, hess_out,
    ):
        # fmt: on
        z, y, w, s = as_rows(logits), as_y(targets), as_w(weight), as_s(sample_weight)
        if y.shape != z.shape[:-1]:
            raise Invalid(
                "targets must have shape {}, that of logits without its class axis; got {}",
                z.shape[:-1],
                y.shape,
            )
        _check_weight(w, z.shape[-1:])
        _check_largest_weight(w, least, most)
        _check_sample_weight(s, z.shape[:-1])
        _check_softcap(softcap, least, most)
        _check_scale(logit_scale, least, most)
        _check_numbers(ignore_index, label_smoothing, focal_gamma, z_loss, normalizer, hess_out)
        _check_loss(loss_out, logits.shape[:-1])
        _check_lse(lse_out, logits.shape[:-1])
        _check_rank(rank_out, logits.shape[:-1])
        _check_entropy(entropy_out, logits.shape[:-1])
        _check_grad(grad, logits.shape)
        _check_hess(hess_out, logits.shape)
        g, h = as_grad(grad), as_hess(hess_out)
        inputs = z, y_given(targets), w_given(weight), s_given(sample_weight)
        i = first_overlapping(inputs, (loss_out, lse_out, rank_out, entropy_out, h, g))
        if i >= 0:
            raise Overlap(i)

        losses, lse, rank, entropy = new_losses(z), new_lse(z), new_rank(z), new_entropy(z)
        # fmt: off
        options = Options(
            None, w, flat_s(s), _float(label_smoothing), _float(focal_gamma), _float(z_loss), _float(softcap),
            _float(logit_scale), rank, entropy, h, None, None,
        )
        # fmt: on
        divisor = usual_divisor if normalizer is None else float(normalizer)
        loss, bad = _run(z, flat(y), ignore_index, divisor, options, losses, lse, g)
        if bad >= 0:
            raise NoClass(logits.shape[:-1], bad, y.flat[bad], z.shape[-1], ignore_index)
        if loss_out is not None:
            put_values(loss_out, losses)
        if lse_out is not None:
            put_values(lse_out, lse)
        if rank_out is not None:
            put_values(rank_out, rank)
        if entropy_out is not None:
            put_values(entropy_out, entropy)
        return loss_of(loss, losses, z, loss_out)

    return solve
