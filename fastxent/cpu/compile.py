"""How kernels are compiled: the one place with Numba's options.

`fastmath` stays off: NaN, infinities and the order of every sum are part of the contract. Helpers are
`inline`d into the batch loop that calls them; batch loops are `Kernel`s, compiled on first use and
cached on disk.
"""

import hashlib
import inspect
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

inline = njit(forceinline=True, error_model="numpy", fastmath=False)


@cache
def _source_digest() -> str:
    """Names the package's sources, so that cached machine code of another version is never found.

    Numba's own cache looks at the file of the batch loop alone, not at the files of what it inlines.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Kernel:
    """A batch loop over `prange`, compiled serial or parallel, once for each mix of dtypes and Nones.

    Every array is passed as one type, whatever its strides, alignment and writeability, so that no
    caller's layout compiles the loop anew. `outputs` names the arrays that the loop writes.
    """

    def __init__(self, loop: Callable[..., Any], outputs: tuple[str, ...]) -> None:
        self._loop = loop
        self._outputs = outputs
        self._parameters = tuple(inspect.signature(loop).parameters)
        self._dispatchers: list[Any] = [None, None]  # serial, parallel
        self._lock = threading.Lock()
        self.__doc__ = loop.__doc__

    def __call__(self, parallel: bool, *arguments: Any) -> Any:
        try:
            return self._dispatchers[parallel](*arguments)
        except TypeError:  # nothing compiled yet, or nothing that takes these arguments
            return self._compiled(parallel, self._signature(arguments))(*arguments)

    def dispatcher(self, parallel: bool) -> Any:
        """Numba's dispatcher, for `inspect_asm` and the like; None before the first call."""
        return self._dispatchers[parallel]

    def _compiled(self, parallel: bool, signature: Any) -> Any:
        with self._lock:
            dispatcher = self._dispatchers[parallel] or self._new_dispatcher(parallel)
            dispatcher.disable_compile(False)
            dispatcher.compile(signature)
            dispatcher.disable_compile()
            self._dispatchers[parallel] = dispatcher
            return dispatcher

    def _new_dispatcher(self, parallel: bool) -> Any:
        # Numba names the cache file after the function, and forgets the compile options there.
        loop = FunctionType(self._loop.__code__, self._loop.__globals__, self._loop.__name__)
        variant = "parallel" if parallel else "serial"
        loop.__qualname__ = f"{self._loop.__name__}_{variant}_{_source_digest()}"
        loop.__module__ = self._loop.__module__
        return njit(parallel=parallel, nogil=True, fastmath=False, error_model="numpy", cache=True)(loop)

    def _signature(self, arguments: tuple[Any, ...]) -> tuple[types.Type, ...]:
        return tuple(map(self._type_of, self._parameters, arguments))

    def _type_of(self, name: str, argument: Any) -> types.Type:
        if argument is None:
            return types.none
        if isinstance(argument, np.ndarray):
            dtype, readonly = from_dtype(argument.dtype), name not in self._outputs
            return types.Array(dtype, argument.ndim, "A", readonly=readonly, aligned=False)
        return types.int64 if isinstance(argument, int) else types.float64


def kernel(*outputs: str) -> Callable[[Callable[..., Any]], Kernel]:
    return lambda loop: Kernel(loop, outputs)
