"""Named tuples, some within others, as the numbers that they are made of."""

from typing import get_type_hints


def _is_tuple(kind):
    return hasattr(kind, "_fields")


class Flattened:
    """One kind of named tuple, by the types of its fields; formulas use it as it is."""

    def __init__(self, kind):
        self._kind = kind
        self._of_fields = [Flattened(t) if _is_tuple(t) else None for t in get_type_hints(kind).values()]
        self.count = sum(1 if field is None else field.count for field in self._of_fields)

    def numbers(self, named):
        """One after the other."""
        for field, value in zip(self._of_fields, named, strict=True):
            yield from (value,) if field is None else field.numbers(value)

    def named(self, numbers):
        """A tuple of this kind, made of its numbers."""
        rest = iter(numbers)
        return self._kind(*(next(rest) if field is None else field.named(rest) for field in self._of_fields))
