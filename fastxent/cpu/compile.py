"""How kernels are compiled: the one place with Numba's options.

`fastmath` stays off: NaN, infinities and the order of every sum are part of the contract. Helpers are
`formula`s or `inline`, and become part of the batch loop that calls them; batch loops are `Kernel`s,
compiled on first use and cached on disk.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.templates import Signature

from ..simd import storage_type
from ..simd.formula import formula, specialised_formula
from ..simd.inlining import KernelCompiler, inline
from .cache import cache_for, source_digest
from .interrupts import interrupts_wait
from .threads import taking_turns

__all__ = ["Kernel", "formula", "inline", "kernel", "or_none", "specialised_formula"]

Variant = tuple[Any, ...]

_KERNEL: Any = {
    "nogil": True,
    "fastmath": False,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,  # nobody calls a kernel from C
    "pipeline_class": KernelCompiler,
}


def or_none(function: Callable[..., Any]) -> Any:
    """The function for kernels, inlined; None where its first argument is None."""
    compiled = inline(function)

    @wraps(function)
    def choose(*argument_types: types.Type | None) -> Any:
        return compiled if argument_types[0] is not None else lambda *arguments: None

    return specialised_formula(choose)


class Kernel:
    """A batch loop over `prange`, compiled once for each variant of its arguments.

    A call goes straight to the machine code, past Numba's own dispatch, which takes longer than a small
    batch and does not know every dtype that a kernel does. In its place stands `variant`: a hashable that
    starts with whether to run in parallel, and tells apart all mixes of dtypes, numbers of axes and Nones
    that the caller passes. Strides, alignment and writeability are no part of an array's type, so that no
    caller's layout compiles the loop anew. `outputs` names the arrays that the loop writes.
    """

    def __init__(self, loop: Callable[..., Any], outputs: tuple[str, ...]) -> None:
        self._loop = loop
        self._outputs = outputs
        self._parameters = tuple(inspect.signature(loop).parameters)
        self.entries: dict[Variant, Callable[..., Any]] = {}
        self._dispatchers: dict[bool, Any] = {}
        self.__doc__ = loop.__doc__

    def __call__(self, variant: Variant, *arguments: Any) -> Any:
        entry = self.entries.get(variant)
        if entry is None:
            entry = self._compiled(variant, arguments)
        return entry(*arguments)

    def dispatcher(self, parallel: bool) -> Any:
        """Numba's dispatcher, for `inspect_asm` and the like; None before the first call."""
        return self._dispatchers.get(parallel)

    def signature(self, arguments: tuple[Any, ...]) -> tuple[types.Type, ...]:
        return tuple(map(self._type_of, self._parameters, arguments))

    def address(self, parallel: bool, signature: Signature) -> int:
        """Where the machine code for a signature is, which compiled code calls as Numba does."""
        result = self._compiled_for(parallel, signature.args).overloads[signature.args]
        if result.signature.return_type != signature.return_type:
            raise TypeError(f"expected {signature}, got {result.signature}")
        return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)

    def parameter_type(self, name: str, given: types.Type) -> types.Type:
        """The type as which an argument of this type is passed."""
        if isinstance(given, types.Array):
            readonly = name not in self._outputs
            return types.Array(given.dtype, given.ndim, "A", readonly, aligned=False)
        if isinstance(given, types.NamedTuple):
            fields = map(self.parameter_type, given.fields, given)
            return types.BaseTuple.from_types(list(fields), given.instance_class)
        return given

    def _compiled(self, variant: Variant, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        signature = self.signature(arguments)
        entry = self._compiled_for(variant[0], signature).get_overload(signature)
        if variant[0]:
            entry = taking_turns(entry)
        self.entries[variant] = entry
        return entry

    def _compiled_for(self, parallel: bool, signature: tuple[types.Type, ...]) -> Any:
        with global_compiler_lock, interrupts_wait():
            if parallel not in self._dispatchers:
                self._dispatchers[parallel] = self._new_dispatcher(parallel)
            dispatcher = self._dispatchers[parallel]
            dispatcher.compile(signature)
            return dispatcher

    def _new_dispatcher(self, parallel: bool) -> Any:
        # Numba names the cache file after the function, and forgets the compile options there.
        loop = FunctionType(self._loop.__code__, self._loop.__globals__, self._loop.__name__)
        variant = "parallel" if parallel else "serial"
        loop.__qualname__ = f"{self._loop.__name__}_{variant}_{source_digest()}"
        loop.__module__ = self._loop.__module__
        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise RuntimeError("NUMBA_DISABLE_JIT is set; without compiling there is fastxent.reference")
        dispatcher: Any = njit(parallel=parallel, **_KERNEL)(loop)
        dispatcher._cache = cache_for(loop)
        return dispatcher

    def _type_of(self, name: str, argument: Any) -> types.Type:
        if argument is None:
            return types.none
        if isinstance(argument, np.ndarray):
            return self.parameter_type(name, types.Array(storage_type(argument.dtype), argument.ndim, "A"))
        if isinstance(argument, tuple):
            fields = map(self._type_of, type(argument)._fields, argument)  # type: ignore[attr-defined]
            return types.BaseTuple.from_types(list(fields), type(argument))  # as Numba types one in a kernel
        return types.int64 if isinstance(argument, int) else types.float64


def kernel(*outputs: str) -> Callable[[Callable[..., Any]], Kernel]:
    return lambda loop: Kernel(loop, outputs)
