"""The kernels of cross-entropy, called from what users compile: the machine code that Python calls too.

A call learns the address of its kernel when it is first run; that kernel is compiled or loaded then.
"""

import pickle
import sys
from functools import cache
from itertools import product

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from ..simd.callbacks import Callback, call_address, int_at, int_from, raise_pending
from .cache import source_digest
from .loss_lanes import cross_entropy_columns, cross_entropy_lanes
from .loss_rows import cross_entropy_rows
from .loss_short import cross_entropy_short
from .options import Options
from .threads import addresses_for_compiled_code

_KERNELS = cross_entropy_lanes, cross_entropy_columns, cross_entropy_short, cross_entropy_rows
LANES, COLUMNS, SHORT, ROWS = range(len(_KERNELS))
_RESULT = types.Tuple((types.float64, types.int64))
_OFF = {"label_smoothing": 0.0, "focal_gamma": 0.0, "z_loss": 0.0, "logit_scale": 1.0}
"""Values with which Python leaves an option out."""


class _Callback(Callback):
    """One of the package as it is: what was compiled with another is not loaded from Numba's cache."""

    def __init__(self, digest, *arguments):
        self._made_of = type(self), digest, *arguments
        super().__init__(f"fastxent.{digest}.{type(self).__name__}{arguments}")

    def __reduce__(self):
        return _from_cache, (self._made_of[1], pickle.dumps(self._made_of))


@cache
def _callback(kind, digest, *arguments):
    return kind(digest, *arguments)


def _from_cache(digest, made_of):
    """Whatever else another version had pickled, this one may not have: all releases must have this name."""
    if digest != source_digest():
        raise OSError("compiled with another version of fastxent")
    return _callback(*pickle.loads(made_of))


class _Threads(_Callback):
    """Addresses where compiled code reads the number of threads: Python would run signal handlers."""

    def result(self, number):
        return addresses_for_compiled_code()[number]


class _Addresses(_Callback):
    """Of the kernels for arguments of some types, each serial and parallel."""

    def result(self, number):
        _, _, *argument_types = self._made_of
        kernel, parallel = _KERNELS[number // 2], number % 2 == 1
        return kernel.address(parallel, signature(_RESULT, *argument_types))


@intrinsic
def number_of_threads(typing_context):
    """To be asked for outside of parallel loops, with the GIL."""

    def lower(context, builder, sig, args):
        raise_pending(context, builder)
        threads = _callback(_Threads, source_digest())
        is_one, get = (threads.call_once(context, builder, cgutils.intp_t(i), 2) for i in range(2))
        is_many = cgutils.is_null(builder, int_at(builder, is_one))
        number = builder.select(is_many, int_from(builder, get), cgutils.int32_t(1))
        return builder.sext(number, cgutils.intp_t)

    return signature(types.intp), lower


_RUNNING = "PyThreadState_GetUnchecked" if sys.version_info >= (3, 13) else "_PyThreadState_UncheckedGet"


@intrinsic
def gil_is_held(typing_context):
    """By this thread. PyGILState_Check says so of all threads once there was a second interpreter."""

    def lower(context, builder, sig, args):
        function_type = ir.FunctionType(cgutils.voidptr_t, [])
        own, running = (
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [])
            for name in ("PyGILState_GetThisThreadState", _RUNNING)
        )
        return builder.and_(cgutils.is_not_null(builder, own), builder.icmp_unsigned("==", own, running))

    return signature(types.boolean), lower


def _mixes(context, builder, options, place):
    """LLVM: for each set of options that may be off, whether that is so, and type and place without them."""
    fields = list(zip(options, cgutils.unpack_tuple(builder, place), strict=True))
    nothing = types.none, context.get_dummy_value()
    maybe_off = [i for i, name in enumerate(Options._fields) if name in _OFF and options[i] != types.none]
    for off in product((False, True), repeat=len(maybe_off)):
        is_this, left = cgutils.true_bit, list(fields)
        for i, is_off in zip(maybe_off, off, strict=True):
            value = fields[i][1]
            symbol = "==" if is_off else "!="
            compare = builder.fcmp_ordered if is_off else builder.fcmp_unordered
            is_this = builder.and_(is_this, compare(symbol, value, value.type(_OFF[Options._fields[i]])))
            left[i] = nothing if is_off else fields[i]
        mix = types.BaseTuple.from_types([t for t, _ in left], Options)
        yield is_this, mix, context.make_tuple(builder, mix, [p for _, p in left])


@intrinsic
def cross_entropy(
    typing_context,
    kernel,
    is_parallel,
    n_chunks,
    logits,
    targets,
    ignore_index,
    divisor,
    options,
    loss,
    lse,
    grad,
):
    """What the kernel of this number gives; options of a value that switches them off are left out."""
    names = ["n_chunks", "logits", "targets", "ignore_index", "divisor", "options", "loss", "lse", "grad"]
    given = [types.int64, logits, targets, types.int64, types.float64, options, loss, lse, grad]
    at = names.index("options")

    def lower(context, builder, sig, args):
        kernel, is_parallel, *places = args
        number = builder.add(builder.mul(kernel, kernel.type(2)), builder.zext(is_parallel, kernel.type))
        result = cgutils.alloca_once(builder, context.get_value_type(_RESULT))
        for is_this, mix, mix_place in _mixes(context, builder, options, places[at]):
            with builder.if_then(is_this):
                kernel_types = tuple(
                    _KERNELS[0].parameter_type(name, mix if name == "options" else numba_type)
                    for name, numba_type in zip(names, given, strict=True)
                )
                addresses = _callback(_Addresses, source_digest(), *kernel_types)
                address = addresses.call_once(context, builder, number, 2 * len(_KERNELS))
                arguments = [*places[:at], mix_place, *places[at + 1 :]]
                kernel_signature = signature(_RESULT, *kernel_types)
                builder.store(call_address(context, builder, address, kernel_signature, arguments), result)
        return builder.load(result)

    return signature(_RESULT, types.int64, types.boolean, *given), lower
