"""What a compiled call in a user's function makes of its arguments, and of what the kernel gives."""

from typing import Any

import numpy as np
from numba import njit, types

from ._validation import NO_CLASS_BEYOND

# All of these are set, because what is not set is as in the caller; fastmath, say.
FLAGS: Any = {"fastmath": False, "error_model": "numpy", "boundscheck": False, "no_cpython_wrapper": True}
function = njit(no_cfunc_wrapper=True, **FLAGS)

_NO_CLASS_BEYOND = np.uint64(NO_CLASS_BEYOND)


@function
def same(argument):
    return argument


@function
def nothing(argument):
    return None


@function
def one_row(array):
    return np.expand_dims(array, 0)


@function
def _one_int64(number):
    array = np.empty(1, np.int64)
    array[0] = number
    return array


@function
def _one_float64(number):
    array = np.empty(1, np.float64)
    array[0] = number
    return array


@function
def _as_int64(array):
    return np.ascontiguousarray(array).astype(np.int64)


@function
def _uint64_as_int64(array):
    return np.minimum(np.ascontiguousarray(array), _NO_CLASS_BEYOND).astype(np.int64)


@function
def _one_uint64(number):
    return _one_int64(min(number, _NO_CLASS_BEYOND))


@function
def _as_float64(array):
    return np.ascontiguousarray(array).astype(np.float64)


def to_int64(given: types.Type) -> Any:
    """What makes of targets of this type a contiguous array."""
    if isinstance(given, types.Integer):
        return _one_uint64 if types.unliteral(given) == types.uint64 else _one_int64
    if given.dtype == types.uint64:
        return _uint64_as_int64
    return same if (given.dtype, given.layout) == (types.int64, "C") else _as_int64


def to_float64(given: types.Type | None) -> Any:
    """The same of weights."""
    if given is None:
        return same
    if isinstance(given, types.Number):
        return _one_float64
    return same if (given.dtype, given.layout) == (types.float64, "C") else _as_float64


@function
def new_rows(z):
    n_rows = 1
    for size in z.shape[:-1]:
        n_rows *= size
    return np.empty(n_rows, np.float64)


@function
def flat(array):
    return array.reshape(array.size)


@function
def put_values(out, values):
    for i in range(out.size):
        out.flat[i] = values[i]


@function
def new_grad(logits, grad_out):
    return np.empty(logits.shape, logits.dtype)


@function
def given_grad(logits, grad_out):
    return grad_out


@function
def reduced_loss(loss, losses, z, loss_out):
    return loss


@function
def loss_of_each(loss, losses, z, loss_out):
    result = np.empty(z.shape[:-1], z.dtype)
    put_values(result, losses)
    return result


@function
def loss_of_only(loss, losses, z, loss_out):
    return z.dtype.type(losses[0])


@function
def stored_losses(loss, losses, z, loss_out):
    return loss_out
