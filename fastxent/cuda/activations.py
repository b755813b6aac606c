"""softmax, log_softmax and logsumexp of logits on a GPU: the checks of the CPU path, and the kernels."""

from __future__ import annotations

import math
from typing import Any

from .. import _outputs, _validation
from ..cpu import PLAIN
from .activation_rows import logsumexp_rows, softmax_rows
from .arrays import empty, have_wait_for, ready_on, view_if_given, view_of, with_rows_on_two_axes
from .launch import launch, threads_for
from .options import numbers_of, vector_length


def softmax(logits: Any, axis: int, out: Any, of_log: bool = False) -> Any:
    """Or its logarithm."""
    stream = ready_on(logits, out)
    z = _validation.float_array("logits", view_of("logits", logits))
    view = view_if_given("out", out)
    if view is not None:
        _outputs.output_like("out", view, "logits", z)
    rows = _validation.classes_last(z, axis)
    if view is None:
        out, view = empty(z.shape, z.dtype, stream)
    kernel = softmax_rows(z.dtype.name, view.dtype.name, of_log)
    _launch(kernel, stream, rows, _validation.classes_last(view, axis))
    have_wait_for(out, logits, stream)
    return out


def logsumexp(logits: Any, axis: int, out: Any) -> Any:
    stream = ready_on(logits, out)
    z = _validation.float_array("logits", view_of("logits", logits))
    rows = _validation.classes_last(z, axis)
    shape, dtype = rows.shape[:-1], _validation.row_dtype(z.dtype)
    if out is None:
        out, view = empty(shape, dtype, stream)
    else:
        view = view_of("out", out)
        _outputs.check_output("out", view, shape, dtype, logits=z)
    _launch(logsumexp_rows(z.dtype.name), stream, rows, view[..., None])
    have_wait_for(out, logits, stream)
    return out


def _launch(kernel: Any, stream: Any, rows: Any, out: Any) -> None:
    storage, n_classes = rows.dtype.name, rows.shape[-1]
    n_threads = threads_for(-(-n_classes // vector_length(storage)))
    arrays = with_rows_on_two_axes([rows, out])
    launch(kernel, math.prod(rows.shape[:-1]), n_threads, stream, *arrays, numbers_of(storage, PLAIN))
