"""What holds for every call of every test."""

import os

import pytest

# As many processes as cores test at once: threads that spin while they wait would take each other's cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from fastxent.cpu import Kernel


@pytest.fixture(scope="session", autouse=True)
def _one_signature_for_each_variant():
    """A variant that stood for two signatures would run machine code on arrays of the wrong types."""
    call, signatures = Kernel.__call__, {}

    def checked_call(self, variant, *arguments):
        signature = self.signature(arguments)
        assert signatures.setdefault((self, variant), signature) == signature, variant
        return call(self, variant, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "__call__", checked_call)
        yield


@pytest.fixture
def run_kernels_in_parallel(monkeypatch):
    """A function that makes all row kernels parallel, or all serial, whatever the size of a problem."""
    call = Kernel.__call__

    def run_in_parallel(parallel):
        def forced_call(self, variant, n_chunks, *arguments):
            return call(self, (parallel, *variant[1:]), 3 if parallel else 1, *arguments)

        monkeypatch.setattr(Kernel, "__call__", forced_call)

    return run_in_parallel
