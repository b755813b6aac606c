"""Rows whose classes do not lie side by side are read from, and written by way of, a packed copy.

Functions that take an array have no branch in them, and those with branches take addresses: Numba then
sees that it need not count references to the array, which would take longer than a short row. None
stands for an array that is not there.

Also where a row's results go, past the caches or through them, and its working memory.
"""

from typing import Any, NamedTuple

from ..simd import (
    advance,
    are_apart,
    arithmetic_type,
    elements_to_line,
    empty_bytes,
    empty_row,
    get,
    pointer,
    pointer_as,
    put,
    row_pointer,
    skip,
    where,
)
from .compile import formula, or_none, specialised_formula
from .shape import n_classes_of


class Place(NamedTuple):
    """Where a row of an array is, and memory for a packed copy."""

    start: Any
    packed: Any
    n_classes: int
    stride: int
    is_strided: bool
    is_large: bool  # the array, as a whole


LARGE = 1 << 22
"""Bytes from which an array is not expected to stay in the caches."""

MOST_THROUGH_CACHES = 800
"""Classes of rows of which too little would be stored past the caches, as only whole lines are."""


@formula
def address(vector):
    return None if vector is None else pointer(vector)


@formula
def addresses(memory):
    """Of a named tuple of arrays, Nones and others like it."""
    if memory is None:
        return None
    return type(memory)(*(addresses(a) if isinstance(a, tuple) else address(a) for a in memory))


@formula
def put_or_none(vector, i, number):
    if vector is not None:
        put(vector, i, number)


@formula
def skip_or_none(p, n):
    return None if p is None else skip(p, n)


@formula
def is_strided(array):
    return array.strides[array.ndim - 1] != array.itemsize


@formula
def is_large(array):
    return array.size * array.itemsize >= LARGE


@formula
def packed_rows(array, n):
    """Memory for n packed rows of the array; of no size if its rows need none."""
    if array is None:
        return None
    return empty_bytes(n * n_classes_of(array) * array.itemsize * is_strided(array))


@formula
def row_at(array, i, packed, copy):
    """Row i, and which of the packed rows is to be its copy; packed is None if no row is strided."""
    if array is None:
        return None
    start, stride = row_pointer(array, i), array.strides[array.ndim - 1]
    return Place(
        start,
        start if packed is None else skip(pointer_as(packed, array), copy * n_classes_of(array)),
        n_classes_of(array),
        stride,
        is_strided(array),
        is_large(array),
    )


@or_none
def to_read(row):
    """The address of the row's classes side by side."""
    if row.is_strided:
        for j in range(row.n_classes):
            put(row.packed, j, get(advance(row.start, j * row.stride), 0))
    return row.packed if row.is_strided else row.start


class Streams(NamedTuple):
    """Which outputs that are written once and not read are stored past the caches, where whole lines are."""

    lead: int  # elements of the row before the first whole line
    grad: bool
    hess: bool
    targets_grad: bool


THROUGH_CACHES = Streams(0, False, False, False)
"""Nothing is stored past the caches, as of short rows, of which too little may be."""


@formula
def streams_of(logits, grad, hess, targets_grad):
    """Rows take part if they lie alike in memory; none of a small array, a copy or the logits does."""
    leads = _lead_of(grad, logits), _lead_of(hess, logits), _lead_of(targets_grad, logits)
    past_caches = where(leads[0] >= 0, leads[0], where(leads[1] >= 0, leads[1], leads[2]))
    lead = where(past_caches >= 0, past_caches, _lead_through_caches(grad))
    return Streams(lead, leads[0] == lead, leads[1] == lead, leads[2] == lead)


@formula
def _lead_of(row, logits):
    """Elements before the first whole line of the row's memory; −1 if it is not to be stored to."""
    if row is None:
        return -1
    lead = where(are_apart(row.start, logits.start), elements_to_line(row.start), -1)
    return where(row.is_large, where(row.is_strided, -1, lead), -1)


@formula
def _lead_through_caches(row):
    """Whole lines are quicker to store there too, but numbers of few bits make no whole ones."""
    if row is None:
        return 0
    lead = max(0, elements_to_line(to_write(row)))
    return lead if _are_stored_short(row.start) is None else 0


@formula
def to_write(row):
    """Where to put the row's classes side by side, for `written`."""
    return None if row is None else where(row.is_strided, row.packed, row.start)


@or_none
def written(row, n_classes):
    """Puts so many classes of the packed copy where they belong."""
    if row.is_strided:
        for j in range(n_classes):
            put(advance(row.start, j * row.stride), 0, get(row.packed, j))


@or_none
def set_to_zero(row):
    for j in range(row.n_classes):
        put(advance(row.start, j * row.stride), 0, 0.0)


@specialised_formula
def _are_stored_short(z):
    """True for elements of fewer bits than they are computed in; else None."""
    is_short = True if arithmetic_type(z.dtype) != z.dtype else None
    return lambda z: is_short


@formula
def scratch_computed(logits, size, options):
    """Memory for logits as they are computed with; None if that is as given."""
    as_given = _are_stored_short(logits) is options.logit_scale is options.softcap is None
    return None if as_given else empty_row(size, logits)


@formula
def scratch_transformed(grad, size, options):
    """Memory for transformed logits, where derivatives need them that the gradient may overwrite."""
    gradient_needs_none = options.softcap is None or options.label_smoothing is None
    if grad is None or (options.targets_grad is None and gradient_needs_none):
        return None
    return empty_row(size, grad)


@formula
def scratch_exps(logits, grad, n):
    """Memory for the exponentials of n rows; of no size if they may go where their gradients will be."""
    if grad is None:
        return None
    size = n * n_classes_of(grad)
    if _are_stored_short(grad) is None:
        size = size * (is_large(grad) & are_apart(address(logits), address(grad)))
    return empty_row(size, grad)


@formula
def exps_row(grad_row, scratch, past_caches):
    """Where the exponentials of a row go: where its gradient will be, if they fit and are to stay near."""
    return scratch if _are_stored_short(grad_row) is not None else where(past_caches, scratch, grad_row)
