"""How many threads a kernel gets: as many as the rows can use."""

from __future__ import annotations

import warnings
from typing import Any

from .package import IS_SIMULATED, WARP

MOST_THREADS = 2 * WARP if IS_SIMULATED else 512
LANES_IN_BLOCK = WARP if IS_SIMULATED else 128


def launch(kernel: Any, n_blocks: int, n_threads: int, stream: Any, *arguments: Any) -> None:
    if n_blocks == 0:
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grid size")  # of few rows; each numba.cuda has a class of its own
        configured = kernel[n_blocks, n_threads, stream]
    configured(*arguments)


def threads_for(n: int, each: int = 1) -> int:
    """Whole warps for n elements, so many a thread, as far as a block has threads."""
    warps = -(-n // (each * WARP))
    return min(MOST_THREADS, max(1, warps) * WARP)
