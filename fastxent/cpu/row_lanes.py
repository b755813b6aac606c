"""What there is one of for each row, with one row a lane."""

from typing import Any, NamedTuple

from ..simd import broadcast, load_masked, store_masked, where, widen
from .compile import formula


class RowOutputs(NamedTuple):
    """Where to put one number a row, as addresses, of which any may be None."""

    loss: Any
    lse: Any
    entropy: Any
    rank: Any


@formula
def row_lanes(vector, otherwise, start, inside, z):
    """Float64 in the lanes from `start`."""
    values = widen(broadcast(otherwise, z))
    if vector is not None:
        values = load_masked(vector, start, inside, 0.0)
    return values


@formula
def _set_lanes(vector, start, inside, x):
    if vector is not None:
        store_masked(vector, start, x, inside)


@formula
def set_row_lanes(to, start, inside, kept, s, outcome, above, n_classes):
    """The results of rows; those of rows not kept are 0, and all of their classes above."""
    _set_lanes(to.loss, start, inside, where(kept, s * outcome.loss, 0.0))
    _set_lanes(to.lse, start, inside, where(kept, outcome.lse, 0.0))
    _set_lanes(to.entropy, start, inside, where(kept, outcome.entropy, 0.0))
    _set_lanes(to.rank, start, inside, where(kept, above, n_classes))
