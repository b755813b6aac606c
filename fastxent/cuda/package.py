"""Which `numba.cuda` is in use: NVIDIA's package, Numba's own, or the simulator. No other module asks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config
from numpy.typing import NDArray

TO_INSTALL = "python -m pip install 'fastxent[cuda12]', or 'fastxent[cuda13]' for CUDA 13"

try:
    from numba import cuda as numba_cuda
except ImportError as error:
    raise ImportError(f"arrays on a GPU need numba.cuda: {TO_INSTALL}") from error

IS_SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]

if IS_SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    from .simulated import (
        WARP,
        address,
        cast,
        cuda,
        decoded,
        device,
        encoded,
        exp,
        kernel,
        load_vector,
        log,
        log1p,
        max_of_block,
        power,
        store_vector,
        sum_of_block,
        tanh,
    )
else:
    from .hardware import (
        WARP,
        address,
        cast,
        cuda,
        decoded,
        device,
        encoded,
        exp,
        kernel,
        load_vector,
        log,
        log1p,
        max_of_block,
        power,
        store_vector,
        sum_of_block,
        tanh,
    )


def is_available() -> bool:
    return bool(numba_cuda.is_available())


def gpu_in_use() -> int:
    """The number of that where this thread launches kernels."""
    return 0 if IS_SIMULATED else int(numba_cuda.current_context().device.id)


def interface(array: Any) -> dict[str, Any]:
    """`__cuda_array_interface__`, which the simulator's arrays do not have."""
    if IS_SIMULATED and isinstance(array, FakeCUDAArray):
        return dict(array._ary.__array_interface__, typestr=array.dtype.str)
    return array.__cuda_array_interface__


def device_array(view: NDArray[Any]) -> Any:
    """As kernels take it; `view` has the addresses, and is not read. Nobody's memory is kept alive."""
    if IS_SIMULATED:
        return FakeCUDAArray(view)
    pointer = view.__array_interface__["data"][0] if view.size else 0  # NumPy's own memory is not there
    description = {
        "shape": view.shape,
        "strides": view.strides,
        "typestr": view.dtype.str,
        "data": (pointer, False),
        "version": 3,
    }
    return numba_cuda.from_cuda_array_interface(description, sync=False)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], stream: Any) -> Any:
    return numba_cuda.device_array(shape, dtype, stream=stream)


def to_device(array: NDArray[Any], stream: Any) -> Any:
    if IS_SIMULATED or array.dtype.name != "bfloat16":
        return numba_cuda.to_device(array, stream=stream)
    # Numba asks for the host's memory as a buffer of Python, and bfloat16 has none.
    return numba_cuda.to_device(array.view(np.uint16), stream=stream).view(array.dtype)


def to_host(array: Any, stream: Any) -> NDArray[Any]:
    """Waits for all that the stream has been given."""
    result = array.copy_to_host(stream=stream)
    if stream:
        stream.synchronize()
    return result


def stream_at(pointer: int) -> Any:
    """By its number in the interface: 1 and 2 are CUDA's two default streams, else it is a handle."""
    if IS_SIMULATED:
        return 0
    if pointer == 1:
        return numba_cuda.legacy_default_stream()
    return numba_cuda.per_thread_default_stream() if pointer == 2 else numba_cuda.external_stream(pointer)


def wait(stream: Any, other: Any) -> None:
    """Let a stream go on once another has done what it has been given so far."""
    if not IS_SIMULATED:
        event = numba_cuda.event(timing=False)
        event.record(other)
        event.wait(stream)
