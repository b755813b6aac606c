"""Python that compiled code calls by name, and machine code that it so comes to know the address of.

What a compiled function calls becomes part of it, and of what Numba's cache keeps of it: it takes its time
to compile in each caller, and callers in the cache keep an old one. What is called by name does not.
"""

from ctypes import CFUNCTYPE, POINTER, c_ssize_t, c_void_p, cast

from llvmlite import binding, ir
from numba.core import cgutils

address_of = binding.address_of_symbol
_C_FUNCTION = CFUNCTYPE(None, c_ssize_t, POINTER(c_ssize_t))
_INTEGER = cgutils.intp_t


class Callback:
    """From an integer to another, not 0: `result`, which subclasses define; it takes the GIL.

    Numba's cache keeps the callbacks of a compiled function with it, and unpickles them before it loads
    that. So subclasses pickle as a call that makes them anew, under the same name. If that raises OSError,
    Numba compiles the function instead.
    """

    def __init__(self, name):
        self._name, self._c_function = name, _C_FUNCTION(self._store_result)
        binding.add_symbol(name, cast(self._c_function, c_void_p).value)

    def __call__(self):
        """Numba does this before it loads a function that needs the name, which is known by now."""

    def _store_result(self, number, places):
        try:
            places[0] = self.result(number)
        except KeyboardInterrupt:  # of Ctrl-C while that compiled, or before
            places[0], places[1] = self.result(number), 1

    def call(self, context, builder, number):
        """LLVM: the result; where that raises an exception, which ctypes prints and forgets, an error."""
        context.active_code_library._reload_init.add(self)
        place = cgutils.alloca_once(builder, _INTEGER, size=2)
        place_of_interrupt = cgutils.gep_inbounds(builder, place, 1)
        builder.store(_INTEGER(0), place)
        builder.store(_INTEGER(0), place_of_interrupt)
        function_type = ir.FunctionType(ir.VoidType(), [_INTEGER, place.type])
        function = cgutils.get_or_insert_function(builder.module, function_type, self._name)
        builder.call(function, [number, place])
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, builder.load(place_of_interrupt))):
            function_type = ir.FunctionType(ir.VoidType(), [])
            interrupt = cgutils.get_or_insert_function(builder.module, function_type, "PyErr_SetInterrupt")
            builder.call(interrupt, [])
        result = builder.load(place)
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, result)):
            message = "what compiled code asked of Python failed, for the reason that was printed"
            context.call_conv.return_user_exc(builder, RuntimeError, (message,))
        return result

    def call_once(self, context, builder, number, count):
        """LLVM: the result for a number below the count; asked for again while it is 0."""
        results = self._results(builder, count)
        place = builder.gep(results, [_INTEGER(0), number])
        align = context.get_abi_sizeof(_INTEGER)
        result = cgutils.alloca_once_value(builder, builder.load_atomic(place, "acquire", align))
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(result))):
            found = self.call(context, builder, number)
            builder.store_atomic(found, place, "release", align)
            builder.store(found, result)
        return builder.load(result)

    def _results(self, builder, count):
        name = f"{self._name} results"
        if name in builder.module.globals:
            return builder.module.globals[name]
        array = ir.ArrayType(_INTEGER, count)
        results = cgutils.add_global_variable(builder.module, array, name)
        results.linkage, results.initializer = "internal", ir.Constant(array, None)
        return results


def raise_pending(context, builder):
    """LLVM: what the handlers of signals raise, Ctrl-C's above all, which callbacks lose; with the GIL.

    Ctrl-C's is made one of compiled code, whose `try` catches no other.
    """
    function_type = ir.FunctionType(cgutils.int32_t, [])
    check = cgutils.get_or_insert_function(builder.module, function_type, "PyErr_CheckSignals")
    with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, builder.call(check, []))):
        python = context.get_python_api(builder)
        ctrl_c = python.get_c_object("PyExc_KeyboardInterrupt")
        function_type = ir.FunctionType(cgutils.int32_t, [ctrl_c.type])
        matches = cgutils.get_or_insert_function(builder.module, function_type, "PyErr_ExceptionMatches")
        with builder.if_then(cgutils.is_not_null(builder, builder.call(matches, [ctrl_c]))):
            python.err_clear()
            context.call_conv.return_user_exc(builder, KeyboardInterrupt, ())
        context.call_conv.return_exc(builder)


def int_at(builder, address):
    """LLVM: the C int that is there."""
    return builder.load(builder.inttoptr(address, cgutils.int32_t.as_pointer()))


def int_from(builder, address):
    """LLVM: what the C function that is there gives for nothing."""
    return builder.call(builder.inttoptr(address, ir.FunctionType(cgutils.int32_t, []).as_pointer()), [])


def call_address(context, builder, address, signature, arguments):
    """LLVM: a call of what Numba has compiled for the signature; its errors are the caller's."""
    function_type = context.call_conv.get_function_type(signature.return_type, signature.args)
    function = builder.inttoptr(address, function_type.as_pointer())
    status, result = context.call_conv.call_function(
        builder, function, signature.return_type, signature.args, arguments
    )
    with cgutils.if_unlikely(builder, status.is_error):
        context.call_conv.return_status_propagate(builder, status)
    return result
