"""The two things to know about targets before anything is computed."""

from ..simd import pointer
from .compile import kernel


@kernel()
def count_kept(targets, n_classes, ignore_index):
    """How many targets are not ignored, and the first that is neither ignored nor a class (−1 if none)."""
    y = pointer(targets, 0)
    n_kept, n_bad = 0, 0
    for i in range(targets.size):
        kept = y[i] != ignore_index
        n_kept += kept
        n_bad += kept & ((y[i] < 0) | (y[i] >= n_classes))
    if n_bad == 0:
        return n_kept, -1
    for i in range(targets.size):
        if y[i] != ignore_index and (y[i] < 0 or y[i] >= n_classes):
            break
    return n_kept, i
