"""Functions with loops and branches that become part of the kernels that call them.

Numba optimises every function that it compiles together with all that this calls, and makes machine
code of it: a function five calls deep in a kernel goes through that six times. The functions here, and
those that Numba itself makes of a parallel loop, go through it once, as part of the kernel. Nothing of
Numba is changed for others, and without these classes kernels would only take longer to compile.
"""

from functools import partial
from typing import Any

from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.imputils import builtin_registry


class _Part(JITCodeLibrary):
    """LLVM code that a kernel links with that of the parts it calls, not optimised before nor run alone."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self):
        self._linking_libraries = _with_parts(self._linking_libraries)
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return 0


class _Whole(JITCodeLibrary):
    """A kernel's machine code, of its own LLVM code and that of all its parts, each linked once."""

    def finalize(self):
        self._linking_libraries = _with_parts(self._linking_libraries)
        super().finalize()


def _with_parts(libraries):
    """These, and what those of them that are parts have found by themselves."""
    found = {}
    for library in libraries:
        found[library] = None
        if isinstance(library, _Part):
            found.update(dict.fromkeys(library._linking_libraries))
    return list(found)


class _PartsCodegen:
    """Numba's code generator, but for what it gives out: parts of kernels."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def create_library(self, name):
        return _Part(self, name)

    def set_env(self, env_name, env):
        """Parts have no environment: they hold no Python object."""


_functions_of_numba: dict = {}  # that it compiles for parts, such as those that allocate arrays


def _making_parts(target_context):
    context = target_context.subtarget(_internal_codegen=_PartsCodegen(target_context.codegen()))
    context.cached_internal_func = _functions_of_numba
    # Numba asks for every array's `__array__`, and at each miss looks through all that it knows.
    context.refresh = partial(context.install_registry, builtin_registry)
    return context


class _PartCompiler(Compiler):
    def define_pipelines(self):
        self.state.targetctx = _making_parts(self.state.targetctx)
        return super().define_pipelines()


class KernelCompiler(Compiler):
    """Compiles a kernel; what Numba makes of its parallel loop are parts."""

    def define_pipelines(self):
        state = self.state
        state.library = _Whole(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        state.targetctx = _making_parts(state.targetctx)
        return super().define_pipelines()


# For kernels: what others compile does not find the parts of a part. And no entries from outside are needed.
inline: Any = njit(
    fastmath=False,
    forceinline=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    pipeline_class=_PartCompiler,
)
