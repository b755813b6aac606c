"""What kernels are made of, for `NUMBA_ENABLE_CUDASIM=1`: Python threads, one after the other.

The same names as in `hardware.py`. A block is one warp wide and reduces in memory that its threads share.
"""

import functools
import threading
from types import SimpleNamespace

import numpy as np
from numba import cuda as numba_cuda

WARP = 4  # threads are slow here, and a few show as much as 32
_KEPT = "fastxent_shared"


class _Cuda:
    """The part of `numba.cuda` that kernels use. Numba's stand-in knows only one module at a time."""

    local = SimpleNamespace(array=np.empty)

    @property
    def threadIdx(self):
        return threading.current_thread().threadIdx

    @property
    def blockIdx(self):
        return threading.current_thread().blockIdx

    @property
    def blockDim(self):
        return SimpleNamespace(x=threading.current_thread()._manager._block_dim[0])

    def syncthreads(self):
        threading.current_thread().syncthreads()


cuda = _Cuda()


def device(function):
    return function


def kernel(function):
    @functools.wraps(function)
    def quiet(*arguments):
        with np.errstate(all="ignore"):  # threads begin with NumPy's defaults, and a GPU warns of nothing
            function(*arguments)

    return numba_cuda.jit(quiet)


exp, log, log1p, tanh, power = np.exp, np.log, np.log1p, np.tanh, np.power


def cast(x, like):
    """x in the type of `like`."""
    return np.asarray(x).astype(type(like))[()]


def _of_block(reduce, x):
    shared = threading.current_thread()._manager.__dict__.setdefault(_KEPT, {})
    shared[cuda.threadIdx.x] = x
    cuda.syncthreads()
    result = reduce([shared[t] for t in range(cuda.blockDim.x)])
    cuda.syncthreads()
    return result


def sum_of_block(x):
    return _of_block(functools.partial(functools.reduce, np.add), x)


def max_of_block(x):
    return _of_block(max, x)


def address(row):
    return row.ctypes.data


def _would_fault(row, j):
    return (address(row) + j * row.strides[0]) % 16 != 0 or row.strides[0] != row.itemsize


def load_vector(row, j, z):
    if _would_fault(row, j):
        raise MemoryError("16 bytes at once from an address that is no multiple of 16")
    z[:] = [row[j + k] for k in range(len(z))]


def store_vector(row, j, z, first):
    if _would_fault(row, j):
        raise MemoryError("16 bytes at once to an address that is no multiple of 16")
    for k in range(16 // row.itemsize):
        row[j + k] = z[first + k]


def _same(x):
    return x


def _from_float16(bits):
    return np.float32(np.uint16(bits).view(np.float16))


def _from_bfloat16(bits):
    return (np.uint32(bits) << np.uint32(16)).view(np.float32)


def _to_float16(x):
    return np.float16(x).view(np.uint16)


def _to_bfloat16(x):
    if np.isnan(x):
        return np.uint16(0x7FFF)
    bits = np.float32(x).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


def _each(encode):
    def encode_vector(z, bits):
        bits[:] = [encode(x) for x in z]

    return encode_vector


decoded = {"float32": _same, "float64": _same, "float16": _from_float16, "bfloat16": _from_bfloat16}
encoded = {
    "float32": _each(_same),
    "float64": _each(_same),
    "float16": _each(_to_float16),
    "bfloat16": _each(_to_bfloat16),
}
