"""What holds for every test of the GPU path: it needs a GPU, or Numba's simulator of one."""

import sys
from importlib.util import find_spec

import pytest
from numba import config

import fastxent

collect_ignore_glob = [] if find_spec("numba.cuda") else ["test_*.py"]


@pytest.fixture(autouse=True)
def gpu(request):
    if request.node.get_closest_marker("gpu") and config.ENABLE_CUDASIM:
        pytest.skip("needs a GPU, and not the simulator of one")
    if not fastxent.cuda.is_available():
        pytest.skip("no GPU here; NUMBA_ENABLE_CUDASIM=1 simulates one")


@pytest.fixture(autouse=True)
def _threads_that_take_turns_often():
    """The simulator waits for its threads in a loop, which keeps them from running for this long."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)
