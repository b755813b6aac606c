"""How contenders on the CPU are timed: in turn, in one process, and the quickest call counts.

Whatever else a machine does only adds to a call's time, so that the quickest of many is the nearest to
what the call takes; contenders that take turns meet the same machine.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

ROUNDS = 11
_TURN = 0.02
"""Seconds that a turn lasts at least: the threads of the contender before may spin for the first few."""
_MOST_CALLS = 1000  # in a turn


class Call(NamedTuple):
    run: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None  # before every run, outside the clock


def seconds(call: Call) -> float:
    call.prepare()
    start = perf_counter()
    call.run()
    return perf_counter() - start


def turn(call: Call) -> float:
    """Seconds of the quickest of a few calls."""
    first = seconds(call)
    n_more = min(int(_TURN / first), _MOST_CALLS)
    return min([first, *(seconds(call) for _ in range(n_more))])


def quickest(calls: dict[str, Call], n_rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of the quickest run of each call."""
    for call in calls.values():  # compiles, and touches all memory
        seconds(call)
    turns = [{name: turn(call) for name, call in calls.items()} for _ in range(n_rounds)]
    return {name: min(times[name] for times in turns) for name in calls}
