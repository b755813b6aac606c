"""Arrays on a GPU: hand them to the public functions, and the work is done where they are, by `numba.cuda`.

    d = fastxent.cuda.to_device(logits)  # or a CuPy array, or a CUDA tensor of PyTorch
    loss, grad = fastxent.cross_entropy_with_grad(d, targets)

`cross_entropy`, `cross_entropy_with_grad`, `softmax`, `log_softmax` and `logsumexp` take any object with
`__cuda_array_interface__` as logits. NumPy arrays stay on the CPU.

Nothing here is imported before it is needed. `package.py` knows which `numba.cuda` there is; `hardware.py`
and `simulated.py` are what kernels are made of, on a GPU and in Numba's simulator; `losses.py` and
`activations.py` check arguments and launch the kernels of `survey.py`, `loss_rows.py` and
`activation_rows.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._validation import as_array, is_on_device

__all__ = ["is_available", "to_device"]


@cache
def is_available() -> bool:
    """Whether there is a GPU that `numba.cuda` can use, or its simulator; asked once, and never an error."""
    try:
        from . import package

        return package.is_available()
    except Exception:
        return False


def to_device(array: ArrayLike) -> Any:
    """A copy on the current GPU, as a device array of Numba, whose `copy_to_host()` is the way back.

    Parameters
    ----------
    array
        An array-like of any dtype, `ml_dtypes.bfloat16` among them. One on a GPU is returned as it is.

    Raises
    ------
    RuntimeError, ImportError
        There is no GPU, or nothing to use it with; the message says what to install.
    """
    if is_on_device(array):
        return array
    from . import package

    if not is_available():
        raise RuntimeError(
            f"there is no GPU that numba.cuda can use; if there should be: {package.TO_INSTALL}"
        )
    host = as_array("array", array)
    return package.to_device(host if host.flags.forc else np.ascontiguousarray(host), 0)
