"""Functions that become part of their caller as it is compiled, instruction by instruction.

Numba compiles every function by itself, and takes some 30 ms for it however small the function: a kernel
made of a hundred would take seconds. A `formula` is not compiled. It is Python that runs while its
caller is compiled, twice: once on values known by their types alone, which tells the type of the
result, and once on values with a place in the caller's LLVM code, which adds the instructions to it.
What is known by then, such as which arguments are None, is plain Python. So a formula has no branch on,
and no loop over, what only a run of the kernel knows; functions that have are `inline`.

Operators and functions mean what they mean in a compiled function, with the same bits, but that
dividing float64 by 0 raises nothing. Arguments are given by position.
"""

import builtins
import inspect
import operator
from functools import partial, wraps
from types import BuiltinFunctionType, CodeType, FunctionType

from numba.core import cgutils, types
from numba.core.dispatcher import Dispatcher
from numba.core.errors import TypingError
from numba.core.imputils import builtin_registry
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template, signature
from numba.extending import _Intrinsic

from .vector import operation


class Value:
    """What only a run of the kernel knows: its type and, while instructions are added, its place."""

    __hash__ = None

    def __init__(self, emitter, numba_type, place):
        self.emitter, self.type, self.place = emitter, numba_type, place

    def __bool__(self):
        raise TypeError("a formula cannot branch on what only a run of the kernel knows")

    def __getattr__(self, name):
        return self.emitter.attribute(self, name)

    def __getitem__(self, index):
        return self.emitter.operate(operator.getitem, self, index)


def _give_operators(value_class):
    def give(special, function, is_reflected=False):
        def method(self, *others):
            operands = (*others, self) if is_reflected else (self, *others)
            return self.emitter.operate(function, *operands)

        setattr(value_class, f"__{special}__", method)

    for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "invert"):
        give(name, getattr(operator, name))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and_", "or_", "lshift", "rshift"):
        give(name.rstrip("_"), getattr(operator, name))
        give("r" + name.rstrip("_"), getattr(operator, name), is_reflected=True)


_give_operators(Value)


class _Emitter:
    """Runs formulas: without a builder for the types alone, with one to add the instructions."""

    def __init__(self, typing_context, context=None, builder=None):
        self.typing_context, self.context, self.builder = typing_context, context, builder

    def run(self, choose, *arguments):
        """What is chosen by the types of the arguments, on these arguments."""
        function = choose(*(None if a is None else type_of(a) for a in arguments))
        if isinstance(function, Dispatcher):
            return self._usable(function)(*arguments)
        outside = vars(builtins) | function.__globals__
        used = _names_in(function.__code__)
        names = {name: self._usable(outside[name]) for name in used if name in outside}
        return FunctionType(function.__code__, names, closure=function.__closure__)(*arguments)

    def _usable(self, thing):
        """What a formula finds under a global name: what takes Values in the place of what does not."""
        if isinstance(thing, (FunctionType, Dispatcher)):
            return partial(self.call, thing)
        if isinstance(thing, _Formula):
            return partial(self.run, thing.choose)
        if isinstance(thing, _Intrinsic):
            return partial(self._add, thing.__wrapped__)
        if isinstance(thing, type | BuiltinFunctionType) and thing in _BUILTINS:
            return partial(self._add, _BUILTINS[thing])
        return thing

    def operate(self, operation_of_python, *operands):
        found = operation(operation_of_python, *map(type_of, operands))
        if found is None:
            return self.call(operation_of_python, *operands)
        return self._emit(*found, operands)

    def call(self, function, *arguments):
        """A function that Numba compiles, or knows."""
        function_type = self.typing_context.resolve_value_type(function)
        sig = self.typing_context.resolve_function_type(function_type, tuple(map(type_of, arguments)), {})
        if sig is None:
            raise TypingError(f"{function_type} does not take {[type_of(a) for a in arguments]}")

        def emit(context, builder, sig, places):
            return context.get_function(function_type, sig)(builder, places)

        return self._emit(sig, emit, arguments)

    def _add(self, define, *arguments):
        """The instructions of an intrinsic."""
        found = define(self.typing_context, *map(type_of, arguments))
        if found is None:
            raise TypingError(f"{define.__name__} does not take {[type_of(a) for a in arguments]}")
        return self._emit(*found, arguments)

    def _emit(self, sig, emit, arguments):
        if self.builder is None:
            return self.value(sig.return_type)
        places = [self.place_of(a, t) for a, t in zip(arguments, sig.args, strict=False)]
        places += [self.context.get_dummy_value()] * (len(sig.args) - len(places))  # what has a default
        return self.value(sig.return_type, emit(self.context, self.builder, sig, places))

    def attribute(self, value, name):
        if name == "ndim":
            return value.type.ndim
        result = self.typing_context.resolve_getattr(value.type, name)
        if result is None:
            raise AttributeError(f"{value.type} has no attribute {name}")
        if self.builder is None:
            return self.value(result)
        get = self.context.get_getattr(value.type, name)
        return self.value(result, get(self.context, self.builder, value.type, value.place, name))

    def value(self, numba_type, place=None):
        """What a formula is given for something of this type: None and tuples as they are in Python."""
        if isinstance(numba_type, (types.NoneType, types.Omitted)):
            return None
        if not isinstance(numba_type, types.BaseTuple):
            return Value(self, types.unliteral(numba_type), place)
        count = len(numba_type)
        places = cgutils.unpack_tuple(self.builder, place, count) if self.builder else [None] * count
        fields = [self.value(t, p) for t, p in zip(numba_type, places, strict=True)]
        return numba_type.instance_class(*fields) if hasattr(numba_type, "instance_class") else tuple(fields)

    def place_of(self, value, numba_type):
        """Where a value is, or is put, as this type."""
        own = type_of(value)
        if isinstance(value, Value):
            place = value.place
        elif isinstance(value, tuple):
            fields = [self.place_of(field, t) for field, t in zip(value, own, strict=True)]
            place = self.context.make_tuple(self.builder, own, fields)
        else:
            place = self.context.get_constant_generic(self.builder, own, value)
        return self.context.cast(self.builder, place, own, numba_type)


def _names_in(code):
    """Those that a function looks up, in its comprehensions too."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return {*code.co_names}.union(*map(_names_in, inner))


def type_of(value):
    """Numba's type of what a formula works on."""
    if isinstance(value, Value):
        return value.type
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([type_of(field) for field in value], type(value))
    if type(value) not in _CONSTANTS:
        raise TypingError(f"{value!r} is nothing that a formula can work on")
    return _CONSTANTS[type(value)]


_CONSTANTS = {type(None): types.none, bool: types.boolean, int: types.int64, float: types.float64}


def _chosen(symbol):
    def define(typing_context, x, y):
        def emit(context, builder, sig, args):
            return builder.select(builder.icmp_signed(symbol, *args), *args)

        are_integers = isinstance(x, types.Integer) and isinstance(y, types.Integer)
        return (signature(types.int64, types.int64, types.int64), emit) if are_integers else None

    return define


def _converted(number_type):
    def define(typing_context, x):
        return signature(number_type, number_type), lambda context, builder, sig, args: args[0]

    return define


_BUILTINS = {
    min: _chosen("<"),
    max: _chosen(">"),
    int: _converted(types.int64),
    float: _converted(types.float64),
}


def specialised_formula(choose):
    """A formula, or an inlined function, chosen by the types of its arguments; None for None."""

    def define(typing_context, *argument_types):
        typing = _Emitter(typing_context)
        result = type_of(typing.run(choose, *map(typing.value, argument_types)))

        def emit(context, builder, sig, args):
            emitter = _Emitter(typing_context, context, builder)
            value = emitter.run(choose, *map(emitter.value, sig.args, args))
            return emitter.place_of(value, sig.return_type)

        return signature(result, *argument_types), emit

    code = inspect.unwrap(choose).__code__
    names = "typing_context", *code.co_varnames[: code.co_argcount]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    define.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    define.__name__, define.__doc__ = choose.__name__, choose.__doc__
    return _Formula(choose, define)


class _Formula(_Intrinsic):
    """An intrinsic whose definition is made of others."""

    def __init__(self, choose, define):
        super().__init__(choose.__name__, define)
        self.choose = choose
        template = make_intrinsic_template(self, define, choose.__name__)
        # Before it says where a definition goes, Numba's own looks through all that it knows.
        template._get_target_registry = lambda template, reason: builtin_registry
        infer_global(self, types.Function(infer(template)))


def formula(function):
    """A function for kernels that is made of instructions and other formulas: see above."""

    @wraps(function)
    def choose(*argument_types):
        return function

    return specialised_formula(choose)
