"""What must be known of all targets before anything is computed or written."""

from ..simd import pointer
from .compile import inline, kernel


@inline
def count(targets, n_classes, ignore_index):
    """How many targets are not ignored, and the first that is neither ignored nor a class (−1 if none)."""
    y = pointer(targets, 0)
    n_kept, n_bad = 0, 0
    for i in range(targets.size):
        kept = y[i] != ignore_index
        n_kept += kept
        n_bad += kept & ((y[i] < 0) | (y[i] >= n_classes))
    first_bad = -1
    if n_bad > 0:
        first_bad = 0
        while y[first_bad] == ignore_index or 0 <= y[first_bad] < n_classes:
            first_bad += 1
    return n_kept, first_bad


@kernel()
def count_kept(targets, n_classes, ignore_index):
    return count(targets, n_classes, ignore_index)
