"""From row losses to what is made of all: their sum, in one order whatever the number of threads."""

from ..simd import broadcast, first_lanes, lanes_of, load, load_masked, pointer, reduce_sum, where
from .compile import formula, inline, or_none
from .shape import n_rows_of
from .strided import row_at, set_to_zero
from .vectors import full_vectors_end


@inline
def sum_of(values):
    """The sum of a contiguous float64 array: eight running sums side by side, then those."""
    z = pointer(values)
    sums = broadcast(0.0, z)
    full = full_vectors_end(z, 0, values.size)
    for i in range(0, full, lanes_of(z)):
        sums += load(z, i)
    sums += load_masked(z, full, first_lanes(values.size - full, z), 0.0)
    return reduce_sum(sums)


@formula
def mean_of(values, divisor):
    """Their sum over the divisor; 0 where that is 0."""
    return where(divisor > 0.0, sum_of(values) / divisor, 0.0)


@or_none
def _set_rows_to_zero(array, scale):
    if scale == 0.0:
        for i in range(n_rows_of(array)):
            set_to_zero(row_at(array, i, None, 0))


@formula
def flatten_mean_of_no_weight(grad, options, scale):
    """A mean over weights that add up to 0 is flat, also where rows hold NaN, of which 0 times is NaN."""
    if options.weight is not None or options.sample_weight is not None:
        for derivative in (grad, options.hess, options.targets_grad):
            _set_rows_to_zero(derivative, scale)
