"""Cross-entropy of logits on a GPU: the checks of the CPU path, and the kernels in their order."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _options, _outputs, _validation, cpu
from . import package
from .arrays import copied_to_host, empty, for_kernel, ready_on, view_if_given, view_of, with_rows_on_two_axes
from .launch import LANES_IN_BLOCK, MOST_THREADS, launch, threads_for
from .loss_rows import cross_entropy_lanes, cross_entropy_rows, vectors_kept
from .options import Arrays, On, arithmetic_of, numbers_of, vector_length
from .survey import FIRST_BAD, LOSS, N_NUMBERS, mean_of, survey

MOST_CLASSES_IN_LANES = 32
"""Up to which one thread takes a row: more would keep too few threads busy, and their rows in no cache."""


class Outputs(NamedTuple):
    """Views of the rows' shape, or of the logits' with the classes last; None is off."""

    loss: Any
    lse: Any
    rank: Any
    entropy: Any
    grad: Any
    hess: Any


def cross_entropy(
    logits: Any,
    targets: Any,
    axis: int,
    ignore_index: int,
    reduction: str,
    normalizer: float | None,
    outs: tuple[Any, Any, Any],
    with_grad: bool,
    options_given: tuple[Any, ...],
) -> tuple[Any, Any]:
    """Loss and gradient as `fastxent.losses` has them; what is an array stays on the GPU."""
    loss_out, lse_out, grad_out = outs
    stream = ready_on(logits, targets, *outs, *options_given)
    z = _validation.float_array("logits", view_of("logits", logits))
    asked = _options.Given(*options_given)
    views = _viewed(asked)
    given = _with_weights_on_host(views, asked, stream)
    loss, lse = view_if_given("loss_out", loss_out), view_if_given("lse_out", lse_out)
    grad = view_if_given("grad_out", grad_out)
    if grad is not None:
        _outputs.output_like("grad_out", grad, "logits", z)
    rows = _validation.classes_last(z, axis)
    shape = rows.shape[:-1]
    ignored = _validation.check_ignore_index(ignore_index)
    divisor = _validation.check_reduction(reduction, normalizer)
    y, y_owner = _targets(targets, z, shape, stream)
    options = _options.check_options(z, None, axis, ignored, given)
    _options.check_outputs(z, y, shape, loss, lse, grad, views)

    if with_grad and grad is None:
        grad_out, grad = empty(z.shape, z.dtype, stream)
    if loss is None:
        loss_out, loss = empty(shape, _validation.row_dtype(z.dtype), stream)
    grad = None if grad is None else _validation.classes_last(grad, axis)
    outputs = Outputs(loss, lse, given.rank_out, given.entropy_out, grad, options.hess)
    is_reduced = reduction != "none"
    mean, bad = _run(stream, rows, y, np.int64(ignored), divisor, options, outputs, is_reduced)
    if bad >= 0:
        host = copied_to_host(y, stream) if y_owner is None else targets
        _validation.raise_bad_target(host, bad, rows.shape[-1], ignored)
    return (mean if is_reduced else loss_out), grad_out


_WEIGHTS = "weight", "sample_weight"


def _viewed(given: _options.Given) -> _options.Given:
    """Outputs as views, and weights where they are there."""
    arrays = {name: view_if_given(name, getattr(given, name)) for name in given._fields if "_out" in name}
    for name in _WEIGHTS:
        array = getattr(given, name)
        arrays[name] = view_of(name, array) if _validation.is_on_device(array) else array
    return given._replace(**arrays)


def _with_weights_on_host(views: _options.Given, asked: _options.Given, stream: Any) -> _options.Given:
    """Where their values are checked."""
    there = [name for name in _WEIGHTS if _validation.is_on_device(getattr(asked, name))]
    return views._replace(**{name: copied_to_host(getattr(views, name), stream) for name in there})


def _targets(
    targets: Any, logits: NDArray[Any], shape: tuple[int, ...], stream: Any
) -> tuple[NDArray[Any], Any]:
    """A view of integer targets on the GPU, and what was made for them there, if anything."""
    is_there = _validation.is_on_device(targets)
    y = view_of("targets", targets) if is_there else _validation.as_array("targets", targets)
    if _validation.check_if_soft(y, logits, shape):
        raise NotImplementedError("targets that are floats are not there on the GPU yet; pass integers")
    if is_there:
        if not y.dtype.isnative:
            raise TypeError(f"targets on the GPU must be in native byte order, got {y.dtype}")
        return y, None
    owner = package.to_device(_validation.contiguous_int64(y).reshape(-1), stream)
    return view_of("targets", owner).reshape(shape), owner


def _run(
    stream: Any,
    rows: NDArray[Any],
    y: NDArray[Any],
    ignored: np.int64,
    divisor: float,
    options: cpu.Options,
    outputs: Outputs,
    is_reduced: bool,
) -> tuple[float, int]:
    """The loss, 0.0 if it is not reduced, and the first bad target, −1 if there is none."""
    storage, n_classes, n_rows = rows.dtype.name, rows.shape[-1], math.prod(rows.shape[:-1])
    one_a_row = (y, *outputs[:4])
    views = [rows, outputs.grad, outputs.hess, *(a if a is None else a[..., None] for a in one_a_row)]
    logits, grad, hess, targets, loss, lse, rank, entropy = with_rows_on_two_axes(views)
    state, state_view = empty((N_NUMBERS,), np.dtype(np.float64), stream)
    nothing = for_kernel(state_view.view(arithmetic_of(storage))[:1])
    with np.errstate(over="ignore", under="ignore"):
        weights = tuple(
            nothing if w is None else package.to_device(w.astype(arithmetic_of(storage)), stream)
            for w in (options.weight, options.sample_weight)
        )
        numbers = numbers_of(storage, options)
    has = options.weight is not None, options.sample_weight is not None
    of_rows = targets, n_classes, ignored, divisor, weights, has, state
    launch(survey, 1, threads_for(n_rows), stream, *of_rows)
    one_each = (loss if out is None else out for out in (loss, lse, rank, entropy))
    of_classes = (logits if out is None else out for out in (grad, hess))
    arrays = Arrays._make([logits, targets, *weights, *one_each, *of_classes])
    kernel, n_blocks, n_threads = _kernel_for(rows, n_rows, options, outputs)
    launch(kernel, n_blocks, n_threads, stream, arrays, numbers, ignored, state)
    if is_reduced:
        launch(mean_of, 1, threads_for(n_rows), stream, loss, state)
    found = package.to_host(state, stream)
    return float(found[LOSS]) if is_reduced else 0.0, int(found[FIRST_BAD])


def _kernel_for(
    rows: NDArray[Any], n_rows: int, options: cpu.Options, outputs: Outputs
) -> tuple[Any, int, int]:
    """With its numbers of blocks and threads."""
    asked = {name: getattr(options, name, None) is not None for name in On._fields}
    asked |= {name: out is not None for name, out in outputs._asdict().items() if name in On._fields}
    storages = [(rows if out is None else out).dtype.name for out in (rows, outputs.grad, outputs.hess)]
    storage, n_classes = storages[0], rows.shape[-1]
    rows_are_neighbours = rows.ndim > 1 and rows.strides[-2] == rows.itemsize != rows.strides[-1]
    if n_classes <= MOST_CLASSES_IN_LANES or rows_are_neighbours:
        n_blocks = -(-n_rows // LANES_IN_BLOCK)
        return cross_entropy_lanes(*storages, On(**asked)), n_blocks, LANES_IN_BLOCK
    n = vector_length(storage)
    starts = rows.__array_interface__["data"][0], *rows.strides[:-1]
    lead = 0 if all(start % 16 == 0 for start in starts) else n - 1  # rows may begin amid a vector
    n_vectors = -(-(n_classes + lead) // n)
    each = vectors_kept(storage)
    keeps = n_vectors <= each * MOST_THREADS
    kernel = cross_entropy_rows(*storages, On(**asked), keeps)
    return kernel, n_rows, threads_for(n_vectors, each if keeps else 1)
