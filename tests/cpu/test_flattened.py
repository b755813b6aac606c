"""Named tuples come back from their numbers as they were."""

from typing import Any, NamedTuple

from fastxent.cpu.flattened import Flattened


class Inner(NamedTuple):
    a: Any
    b: float


class Outer(NamedTuple):
    first: float
    inner: Inner
    last: Any
    again: Inner


def test_a_tuple_with_others_within_is_made_anew_of_its_numbers():
    flattened, given = Flattened(Outer), Outer(1.0, Inner(2.0, 3.0), 4.0, Inner(5.0, 6.0))
    numbers = list(flattened.numbers(given))
    assert numbers == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert flattened.count == 6
    made = flattened.named(numbers)
    assert made == given
    assert type(made.inner) is Inner
