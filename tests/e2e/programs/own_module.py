# Writes a module and a package beside itself, imports them, runs one with -m.
import importlib
import os
import pathlib
import subprocess
import sys

pathlib.Path("helper.py").write_text("import sys\nVALUE = [1]\ndef f():\n    raise LookupError('from helper')\n"
                                     "if __name__ == '__main__':\n    print('run as', sys.argv)\n")
os.makedirs("pack")
pathlib.Path("pack/__init__.py").write_text("from .part import *\n")
pathlib.Path("pack/part.py").write_text("__all__ = ['seen']\nseen = __name__\nhidden = 1\n")
importlib.invalidate_caches()
import helper
from pack import *
import pack.part as part
print(helper.VALUE, seen, part.hidden, "hidden" in globals(), helper.__name__, helper.__file__ == os.path.abspath("helper.py"))
pathlib.Path("helper.py").write_text("VALUE = [1, 2, 3]\n")
importlib.invalidate_caches()
importlib.reload(helper)
print(helper.VALUE, os.path.samefile(sys.path[0], os.getcwd()))
pathlib.Path("tool.py").write_text("import sys\nprint('run as', sys.argv[1:], __name__)\n")
sys.stdout.flush()
subprocess.run([sys.executable, "-m", "tool", "x"], check=True)
try:
    import no_such_module
except ModuleNotFoundError as error:
    print(error, error.name)
pathlib.Path("broken.py").write_text("def f(:\n")
importlib.invalidate_caches()
try:
    import broken
except SyntaxError as error:
    print(error.msg, os.path.basename(error.filename), error.lineno)
helper.f()
