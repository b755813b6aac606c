"""Numbers of less than 2^−126 (float64: 2^−1022), which x86 processors make far more slowly than others.

From `flush_subnormals` to `restore_subnormals`, in flush mode, they make 0 of them instead. Other processors
are as quick with these numbers as with any, and keep them.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from . import storage
from .streaming import LINE

_WORD = ir.IntType(32)
_FLUSH_TO_ZERO = _WORD(1 << 15)


def _call(builder, name, word):
    byte = ir.IntType(8).as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [byte])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    builder.call(function, [builder.bitcast(word, byte)])


def _set(builder, control):
    word = cgutils.alloca_once_value(builder, control)
    builder.store(control, word)
    _call(builder, "llvm.x86.sse.ldmxcsr", word)


@intrinsic
def flush_subnormals(typing_context):
    """From here on, in this thread; gives what to `restore_subnormals`."""

    def lower(context, builder, sig, args):
        if not storage.has_flush_mode(context):
            return _WORD(0)
        word = cgutils.alloca_once(builder, _WORD)
        # A whole line, so that LLVM lays out the frame of the function in lines: vectors which registers have
        # no room for would each lie across two, and take twice as long to fetch.
        word.align = LINE
        _call(builder, "llvm.x86.sse.stmxcsr", word)
        before = builder.load(word)
        _set(builder, builder.or_(before, _FLUSH_TO_ZERO))
        return before

    return signature(types.int32), lower


@intrinsic
def restore_subnormals(typing_context, before):
    def lower(context, builder, sig, args):
        if storage.has_flush_mode(context):
            _set(builder, args[0])
        return context.get_dummy_value()

    return signature(types.void, before), lower


@intrinsic
def without_subnormals(typing_context, x, p):
    """A vector to be stored at p outside of flush mode: on x86 bfloat16 has 0 for subnormal numbers."""

    def lower(context, builder, sig, args):
        if x.dtype != types.float32:
            return args[0]
        return storage.without_subnormals(context, builder, args[0], p.dtype)

    return signature(x, x, p), lower
