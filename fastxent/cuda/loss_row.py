"""A row of cross-entropy: what is known of it, the walk over its vectors, and where its results go."""

from typing import Any, NamedTuple

from .options import Row
from .outcome import gradient, second_derivative
from .package import cast, device
from .sums import is_target, mass_of, plus_above, plus_vector, transformed
from .survey import SCALE, target_of
from .vectors import put, take


class Scratch(NamedTuple):
    """Local arrays of a vector of classes: derivatives, and the bits they are stored as."""

    grad: Any
    hess: Any
    results: Any


class Slope(NamedTuple):
    """What the derivatives of all classes of a row are multiplied by."""

    is_any: Any
    factor: Any


@device
def row_at(i, arrays, ignore_index, decode, on, c):
    """A row that is not kept has no classes; the survey has seen that targets are right."""
    a, b = i // arrays.logits.shape[1], i % arrays.logits.shape[1]
    y = target_of(arrays.targets, a, b, ignore_index)
    s = arrays.sample_weight[i] if on.sample_weight else c.one
    if y == ignore_index or s == c.zero:
        return Row(a, b, 0, -1, c.zero, c.zero, c.zero, c.zero)
    z_y = decode(arrays.logits[a, b, y])
    w_y = arrays.weight[y] if on.weight else c.one
    return Row(a, b, arrays.logits.shape[2], y, z_y, transformed(z_y, on, c), w_y, s)


@device
def read_vector(row, logits, j, raw, u, decode, on, c):
    """The transformed logits from class j on, −inf beyond the row. One that is not kept is not read."""
    if row.n_classes > 0:
        take(logits, j, raw, u, -c.infinity, decode)
        for k in range(len(u)):
            u[k] = transformed(u[k], on, c)


@device
def sum_vector(sums, row, logits, j, raw, u, weight, decode, on, c):
    """Reads the classes from j on, and leaves their transformed logits in u."""
    take(logits, j, raw, u, -c.infinity, decode)
    if on.rank:
        sums = plus_above(sums, row, j, u)
    for k in range(len(u)):
        u[k] = transformed(u[k], on, c)
    return plus_vector(sums, row, j, u, weight, on, c)


@device
def slope_of(row, state, c):
    """None for a row that is not kept, and for all rows of a mean over classes that weigh 0."""
    is_any = row.n_classes > 0 and state[SCALE] != 0.0
    return Slope(is_any, cast(state[SCALE], c.zero) * row.sample_weight)


@device
def finish_vector(row, j, u, scratch, top, outcome, arrays, slope, encode, encode_hess, on, c):
    """Stores the derivatives of the classes from j on; u is used up. 0 without a slope, even of NaN."""
    results = scratch.results
    for k in range(len(u)):
        m = mass_of(row, j + k, arrays.weight, on, c) if on.label_smoothing else c.zero
        g = gradient(u[k], is_target(row, j, k), m, outcome, top, slope.factor, on, c)
        results[k] = g if slope.is_any else c.zero
        if on.hess:
            h = second_derivative(u[k], is_target(row, j, k), outcome, top, slope.factor, on, c)
            u[k] = h if slope.is_any else c.zero
    put(arrays.grad[row.a, row.b], j, scratch.grad, results, encode)
    if on.hess:
        put(arrays.hess[row.a, row.b], j, scratch.hess, u, encode_hess)


@device
def write_row(row, sums, outcome, arrays, on, c):
    """One number each; 0 for a row that is not kept, and a rank behind all classes."""
    is_kept = row.n_classes > 0
    arrays.loss[row.a, row.b, 0] = row.sample_weight * outcome.loss if is_kept else c.zero
    if on.lse:
        arrays.lse[row.a, row.b, 0] = outcome.lse if is_kept else c.zero
    if on.entropy:
        arrays.entropy[row.a, row.b, 0] = outcome.entropy if is_kept else c.zero
    if on.rank:
        arrays.rank[row.a, row.b, 0] = sums.above if is_kept else arrays.logits.shape[2]
