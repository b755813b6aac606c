"""Functions with loops and branches that become part of the kernels that call them.

Numba optimises every function that it compiles together with all that this calls, and makes machine
code of it: a function five calls deep in a kernel goes through that six times. The functions here, and
those that Numba itself makes of a parallel loop, go through it once, as part of the kernel. Nothing of
Numba is changed for others, and without these classes kernels would only take longer to compile.
"""

from typing import Any

from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Part(JITCodeLibrary):
    """LLVM code to be linked into that of kernels, neither optimised before nor run by itself."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self):
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return 0


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
    return context


class _PartCompiler(Compiler):
    def define_pipelines(self):
        self.state.targetctx = _making_parts(self.state.targetctx)
        return super().define_pipelines()


class KernelCompiler(Compiler):
    """Compiles a kernel; what Numba makes of its parallel loop are parts."""

    def define_pipelines(self):
        state = self.state
        state.library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        state.library.enable_object_caching()
        state.targetctx = _making_parts(state.targetctx)
        return super().define_pipelines()


# What is only inlined needs no entries from outside either.
inline: Any = njit(
    fastmath=False,
    forceinline=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    pipeline_class=_PartCompiler,
)
