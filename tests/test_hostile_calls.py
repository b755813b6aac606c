"""A few calls of `tests.fuzz`: each agrees with the reference or is refused, and writes nothing else."""

import pytest
from hypothesis import given, settings

from tests.fuzz import AS_DRAWN, outcome_of
from tests.hostile_arguments import FEW
from tests.hostile_calls import calls

pytestmark = pytest.mark.slow


@settings(AS_DRAWN, max_examples=1500, derandomize=True)
@given(calls(FEW))
def test_a_call_does_as_the_reference_does_or_is_refused_with_nothing_written(call):
    outcome_of(call)
