"""Programs in processes of their own, with a package and a cache of machine code of their own."""

import os
import subprocess
import sys
from pathlib import Path

import fastxent

PACKAGE = Path(fastxent.__file__).parent
# Where pip leaves the library of the tbb layer, and no loader looks for it.
LIBRARIES = os.pathsep.join(filter(None, [str(Path(sys.prefix, "lib")), os.environ.get("LD_LIBRARY_PATH")]))


def start(program, *arguments, root=PACKAGE.parent, **environment):
    """A process that finds the package, and modules, in the root."""
    environment = {**os.environ, "PYTHONPATH": str(root), "LD_LIBRARY_PATH": LIBRARIES, **environment}
    command = [sys.executable, "-c", program, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=root, stdout=pipe, stderr=pipe, text=True)


def finish(process):
    """What it printed, once it has ended well."""
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return out, errors


def run(program, *arguments, **where):
    return finish(start(program, *arguments, **where))
