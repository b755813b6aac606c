"""Import, and the first call in a new process, compiling and from Numba's cache."""

from .problems import checked_problem

PREPARE = """
import numpy as np, fastxent
logits, targets = np.zeros({shape}, np.float32), np.zeros({shape}[0], np.int64)
"""
WITHOUT_CACHE = """
import atexit, os, shutil, tempfile
os.environ["NUMBA_CACHE_DIR"] = folder = tempfile.mkdtemp()
atexit.register(shutil.rmtree, folder)
"""
CALL = "fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)"


class Import:
    """In a new process; moves no bytes."""

    rounds = 1
    repeat = 5

    def timeraw_numba(self):
        """Most of it: the import of what everything stands on."""
        return "import numba"

    def timeraw_fastxent(self):
        return "import fastxent"


class FirstCall:
    """Loss and gradient in place, in a new process; import not included. What bytes it moves takes no time
    beside compiling: 8 a logit."""

    params = ([(128, 10), (4096, 1000)],)  # serial with few classes, parallel with many
    param_names = ("shape",)
    rounds = 1
    repeat = 3

    def setup(self, shape):
        checked_problem("cross_entropy_with_grad", shape, "float32")  # leaves its machine code in the cache

    def timeraw_compiling(self, shape):
        return CALL, WITHOUT_CACHE + PREPARE.format(shape=shape)

    def timeraw_from_cache(self, shape):
        return CALL, PREPARE.format(shape=shape)
