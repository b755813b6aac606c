"""Formulas mean in compiled code what they mean in Python, and say so where they cannot."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError

from fastxent.simd import empty_float64, pointer, where
from fastxent.simd.formula import formula, specialised_formula
from fastxent.simd.inlining import inline


class Pair(NamedTuple):
    first: object
    second: object


def arithmetic(i, j, x, y):
    return i + j, i - 3, 7 * i, i // j, i % j, x / y, x - i, -x, 2 / x, i << 2, i & j, ~i


def comparisons(i, j, x, y):
    return i < j, i == 3, x >= y, x != y, 1.5 < x, (x < y) | (i > j)


def conversions(i, j, x, y):
    return min(i, j), max(i, 3), float(i) / 2.0, int(x), max(2, 5), min(i, max(j, 0))


def tuples(i, j, x, y):
    pair, (a, b) = Pair(x, None), (i, y)
    if pair.second is None:
        pair = Pair(pair.first * a, Pair(j, (b, True)))
    return pair, pair.second[1][:1], (1, 2.5)


def comprehensions(i, j, x, y):
    pair = Pair(*(max(k, 2) for k in (i, j)))
    return pair, [float(k) * x for k in pair][1]


@pytest.mark.parametrize("function", [arithmetic, comparisons, conversions, tuples, comprehensions])
@pytest.mark.parametrize("arguments", [(7, 2, 1.25, 3.5), (-7, 3, 2.0, -2.0), (2**40, -5, 1e15, 1e-3)])
def test_formula_gives_what_python_gives(function, arguments):
    from_formula = formula(function)
    got = njit(lambda i, j, x, y: from_formula(i, j, x, y))(*arguments)
    assert got == function(*arguments)
    assert str(got) == str(function(*arguments)), "another type of number"


def test_division_by_zero_is_infinite_whatever_the_caller_was_compiled_with():
    quotient = formula(lambda x, y: x / y)
    assert njit(lambda x: quotient(1.0, x))(0.0) == math.inf


def test_formula_calls_formulas_intrinsics_and_compiled_functions():
    half = formula(lambda x: 0.5 * x)

    @inline
    def power(x, n):
        result = 1.0
        for _ in range(n):
            result *= x
        return result

    namespace = {"half": half, "power": power, "where": where}
    exec("def caller(x, n): return where(x > 0.0, power(half(x), n), -1.0)", namespace)
    caller = formula(namespace["caller"])
    compiled = njit(lambda x, n: caller(x, n))
    assert compiled(6.0, 3) == 27.0
    assert compiled(-6.0, 3) == -1.0


def test_none_is_none_and_its_branch_alone_is_typed():
    @formula
    def first_or(array, otherwise):
        return otherwise if array is None else array[0]

    compiled = njit(lambda array: first_or(array, 5))
    assert compiled(None) == 5
    assert compiled(np.array([2.5])) == 2.5


@specialised_formula
def bits_of(x):
    bits = x.bitwidth if isinstance(x, types.Float) else 0
    return lambda x: (bits, x)


def test_specialised_formula_is_chosen_by_type():
    compiled = njit(lambda x: bits_of(x))
    assert compiled(np.float32(2)) == (32, 2.0)
    assert compiled(2.0) == (64, 2.0)
    assert compiled(2) == (0, 2)


def test_new_array_lives_as_long_as_it_is_used():
    new, address = formula(lambda n: empty_float64(2 * n)), pointer

    @njit
    def total(n):
        memory = new(n)
        for i in range(memory.size):
            memory[i] = i
        z = address(memory)
        return memory, z[memory.size - 1]

    memory, last = total(1000)
    assert last == 1999
    assert np.array_equal(memory, np.arange(2000.0))


@pytest.mark.parametrize("function", [lambda x: 1 if x > 0 else 2, lambda x: x > 0 and x < 1])
def test_branch_on_what_only_a_run_knows_is_an_error(function):
    branching = formula(function)
    with pytest.raises(TypeError, match="cannot branch"):
        njit(lambda x: branching(x))(1.0)


def test_argument_that_an_instruction_does_not_take_is_an_error():
    wrong = formula(lambda x: max(x, 1))
    with pytest.raises(TypingError, match="does not take"):
        njit(lambda x: wrong(x))(1.0)
