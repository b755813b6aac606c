"""The vector and mask types, and the operators that make kernels read like NumPy.

A `Vector` is one LLVM SIMD value: `lanes` numbers of one dtype, worked on together. A `Mask` is one
boolean a lane. Scalars mix with vectors in every operator: a scalar takes the vector's dtype, so a
Python constant never widens the arithmetic. Every function here also takes plain float64 scalars, so
the same formula serves a whole vector or one number, with the same bits.

`+ - * / < <= > >= == != & | << >>` mean lane by lane what they mean for numbers.
"""

import operator
from functools import cache

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from .storage import arithmetic_type

VECTOR_BYTES = 64
"""One vector of every dtype: an AVX-512 register, or two of AVX2, with the same bits on both."""


@cache
def are_registers_long(triple, cpu, features):
    """Whether LLVM keeps a vector in one register there, of which it has 32."""
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    vector = f"<{VECTOR_BYTES // 4} x float>"
    module = binding.parse_assembly(
        f"define {vector} @f({vector} %x) {{\n  %y = fadd {vector} %x, %x\n  ret {vector} %y\n}}"
    )
    return "zmm" in machine.emit_assembly(module)


def has_long_registers():
    """Whether the processor that code is compiled for holds a vector in one register."""
    return are_registers_long(*cpu_target.target_context.codegen().magic_tuple())


class Vector(types.Type):
    def __init__(self, dtype: types.Number, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype} x {lanes})")


class Mask(types.Type):
    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


class PairPointer(types.CPointer):
    """The address of elements that are worked on in vectors of twice the natural length."""

    def __init__(self, dtype: types.Number) -> None:
        super().__init__(dtype)
        self.name = f"PairPointer({dtype})"

    @property
    def key(self) -> str:
        return self.name


register_model(PairPointer)(models.PointerModel)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


def vector_of(z):
    """The type of z, a vector; of a pointer or array, that of its elements: natural, or a pair of such."""
    if isinstance(z, Vector):
        return z
    dtype, n = arithmetic_type(z.dtype), 2 if isinstance(z, PairPointer) else 1
    return Vector(dtype, n * VECTOR_BYTES * 8 // dtype.bitwidth)


def common_type(*operands):
    """The one vector type among the operands, or float64 when all are scalars; None if they do not mix."""
    vectors = {t for t in operands if isinstance(t, Vector)}
    if not all(isinstance(t, (Vector, types.Number)) for t in operands) or len(vectors) > 1:
        return None
    return vectors.pop() if vectors else types.float64


def splat(builder, scalar, vector):
    """LLVM: the scalar in every lane of the LLVM vector type."""
    if isinstance(scalar, ir.Constant):
        return ir.Constant(vector, [scalar] * vector.count)
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, index(0))
    zeros = ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, first, zeros)


def as_type(context, builder, value, source, target):
    """LLVM: value, of numba type source, as numba type target; a scalar is cast, then splat."""
    if source == target:
        return value
    element = target.dtype if isinstance(target, Vector) else target
    value = context.cast(builder, value, source, element)
    return splat(builder, value, context.get_value_type(target)) if isinstance(target, Vector) else value


def call_intrinsic(builder, name, *values):
    """LLVM: an intrinsic of floats, or vectors of them, all of one type, as the result is."""
    kind = values[0].type
    lanes, element = (f"v{kind.count}", kind.element) if isinstance(kind, ir.VectorType) else ("", kind)
    full_name = f"llvm.{name}.{lanes}f{64 if element == ir.DoubleType() else 32}"
    function_type = ir.FunctionType(kind, [kind] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, full_name), values)


def as_it_is(builder, value):
    """LLVM: the same float or vector of floats, by a road the optimiser does not see through."""
    return call_intrinsic(builder, "arithmetic.fence", value)


def _compare(symbol):
    def emit(builder, left, right, is_float):
        if not is_float:
            return builder.icmp_signed(symbol, left, right)
        # NaN differs from everything, itself too.
        return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, left, right)

    return emit


def _arithmetic(float_name, int_name):
    def emit(builder, left, right, is_float):
        return getattr(builder, float_name if is_float else int_name)(left, right)

    return emit


_ARITHMETIC = {
    (operator.add, operator.iadd): _arithmetic("fadd", "add"),
    (operator.sub, operator.isub): _arithmetic("fsub", "sub"),
    (operator.mul, operator.imul): _arithmetic("fmul", "mul"),
    (operator.truediv, operator.itruediv): _arithmetic("fdiv", None),
    (operator.and_, operator.iand): _arithmetic(None, "and_"),
    (operator.or_, operator.ior): _arithmetic(None, "or_"),
    (operator.lshift,): _arithmetic(None, "shl"),
    (operator.rshift,): _arithmetic(None, "ashr"),
}
_COMPARISON = {
    (operator.lt,): _compare("<"),
    (operator.le,): _compare("<="),
    (operator.gt,): _compare(">"),
    (operator.ge,): _compare(">="),
    (operator.eq,): _compare("=="),
    (operator.ne,): _compare("!="),
}
_OF_MASKS = operator.and_, operator.iand, operator.or_, operator.ior
_EMITTERS = {}


def operation(function, *operands):
    """The definition of an operator on vectors, masks, float64 and int64, as of an intrinsic; else None.

    It is what Numba has for these, without a search through all that Numba has.
    """
    emit, gives_mask = _EMITTERS.get(function, (None, False))
    common = common_type(*operands)
    is_vector = isinstance(common, Vector)
    if function in _OF_MASKS and isinstance(operands[0], Mask):
        common = operands[0]
    if not is_vector and set(operands) == {types.int64} and function is not operator.truediv:
        common = types.int64
    if emit is None or not (is_vector or set(operands) <= {types.float64, common}):
        return None
    result = common
    if gives_mask:
        result = Mask(common.lanes) if is_vector else types.boolean

    def lower(context, builder, sig, args):
        values = (as_type(context, builder, a, t, common) for a, t in zip(args, sig.args, strict=True))
        return emit(builder, *values, isinstance(getattr(common, "dtype", common), types.Float))

    return signature(result, *operands), lower


def _register(function, emit, gives_mask):
    _EMITTERS[function] = emit, gives_mask

    @infer_global(function)
    class VectorOperator(AbstractTemplate):
        def generic(self, args, kws):
            if any(isinstance(argument, (Vector, Mask)) for argument in args):
                found = operation(function, *args)
                return None if found is None else found[0]

    def lower(context, builder, sig, args):
        return operation(function, *sig.args)[1](context, builder, sig, args)

    for left, right in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector), (Mask, Mask)):
        lower_builtin(function, left, right)(lower)


for _table, _gives_mask in ((_ARITHMETIC, False), (_COMPARISON, True)):
    for _functions, _emit in _table.items():
        for _function in _functions:
            _register(_function, _emit, _gives_mask)


@infer_global(operator.neg)
class _Negate(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Vector) and isinstance(args[0].dtype, types.Float):
            return signature(args[0], *args)


@lower_builtin(operator.neg, Vector)
def _neg(context, builder, sig, args):
    return builder.fneg(args[0])
