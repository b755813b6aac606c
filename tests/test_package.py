"""What a user meets first: the import, the version, the public names."""

import importlib.metadata
import os
import subprocess
import sys

import fastxent

IMPORT = """
import sys, threading, numba
from numba.core import event

class Compilations(event.Listener):
    seen = []
    def on_start(self, started):
        self.seen.append(started)
    def on_end(self, ended):
        pass

event.register("numba:compile", Compilations())
import fastxent
assert not Compilations.seen, Compilations.seen
assert threading.active_count() == 1
assert "numba.cuda" not in sys.modules
assert not {"torch", "jax", "sklearn"} & set(sys.modules), "a peer was imported"
assert "numba.np.arrayobj" not in sys.modules, "what only compiling needs was imported"
numba.njit(lambda x: x)(1)
assert Compilations.seen, "the listener hears nothing"
"""


def test_import_compiles_nothing_and_starts_no_thread():
    subprocess.run([sys.executable, "-c", IMPORT], check=True)


def test_every_public_name_is_there_and_documented():
    for name in fastxent.__all__:
        assert getattr(fastxent, name).__doc__, name


def test_a_shell_completes_all_public_names_and_cuda():
    assert {*fastxent.__all__, "cuda", "__version__"} == set(dir(fastxent))


def test_the_installed_version_is_the_one_stated():
    assert importlib.metadata.version("fastxent") == fastxent.__version__


def test_numba_without_compiling_is_told_of_the_reference():
    program = "import fastxent; fastxent.cross_entropy([[0.0, 1.0]], [1])"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: NUMBA_DISABLE_JIT is set" in done.stderr
