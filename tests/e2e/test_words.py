# SPDX-License-Identifier: Apache-2.0
"""What a failure says: `message` comes from the exception, and a hint stands where it helps and nowhere else."""
import pytest

# Programs, and the message that each one ends with.
MESSAGES = {
    "two_lines": ("raise ValueError('row 3: price is missing\\n  see https://example.com/help')",
                  "ValueError: row 3: price is missing"),
    "rule_below": ("raise RuntimeError('import stopped\\n' + '=' * 60)", "RuntimeError: import stopped"),
    "rule_above": ("raise LookupError('\\n' + '*' * 70 + '\\n  Resource \\x1b[93mpunkt\\x1b[0m not found.\\n' + '*' * 70)",
                   "LookupError: Resource \x1b[93mpunkt\x1b[0m not found."),
    "only_a_rule": ("raise ValueError('----')", "ValueError: ----"),
    "no_text": ("assert False", "AssertionError"),
    "blank_text": ("raise ValueError('\\n \\n')", "ValueError"),
    "carriage_returns": ("raise ValueError('one\\rtwo\\r\\nthree')", "ValueError: one"),
    "exit_lines": ("import sys\nsys.exit('config: key \"rows\" is missing\\nusage: main.py --rows N')",
                   'config: key "rows" is missing'),
    "exit_code": ("raise SystemExit(3)", "Exited with code 3"),
    "own_class": ("class Bad(Exception): pass\nraise Bad('why\\nbecause')", "Bad: why"),
    "nested_class": ("class A:\n    class Bad(Exception): pass\nraise A.Bad('why')", "A.Bad: why"),
    "library_class": ("import json\njson.loads('{')",
                      "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 "
                      "(char 1)"),
    "static_class": ("import socket\nraise socket.herror('x')", "socket.herror: x"),
    "chained": ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('second\\nline') from e",
                "ValueError: second"),
    "note": ("e = ValueError('text')\ne.add_note('TypeError: a note')\nraise e", "ValueError: text"),
    "group": ("raise ExceptionGroup('two\\nlines', [ValueError('a'), ExceptionGroup('b', [OSError('c')])])",
              "ExceptionGroup: two"),
    "suggestion": ("total = 1\nprint(totl)", "NameError: name 'totl' is not defined. Did you mean: 'total'?"),
    "syntax": ("x = 1\nif x\n    y", "SyntaxError: expected ':' (main.py, line 2)"),
    "indentation": ("if 1:\nx", "IndentationError: expected an indented block after 'if' statement on line 1 (main.py, "
                                "line 2)"),
    "syntax_in_exec": ("exec('1 +')", "SyntaxError: invalid syntax (<string>, line 1)"),
    "key": ("{}['a\\nb']", r"KeyError: 'a\nb'"),
    "str_fails": ("class Odd(Exception):\n    def __str__(self): raise ValueError('no')\nraise Odd",
                  "Odd: <exception str() failed>"),
    "str_is_asked_once": ("class Odd(Exception):\n    def __str__(self):\n        print('asked')\n"
                          "        return 'Odd: it\\nis'\nraise Odd", "Odd: Odd: it"),
    "lies_about_its_class": ("class Odd(Exception):\n    __class__ = OSError\nOdd.__module__ = 5\nraise Odd('x')", "Odd: x"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_is_the_exceptions_first_line(server, name):
    code, message = MESSAGES[name]
    reply = server.run(code)
    assert reply.status == 400 and reply["message"] == message, reply
    if name == "str_is_asked_once":
        assert reply["stdout"] == "asked\n"


def test_long_texts_are_cut(server):
    assert server.run("raise ValueError('x' * 10**6)")["message"] == "ValueError: " + "x" * 300 + "..."
    assert server.run("class X(Exception):\n    def __str__(self): return 'é' * 10**6\nraise X")["message"] \
        == "X: " + "é" * 150 + "..."
    assert server.run("raise type('N' * 10**6, (Exception,), {})('text')")["message"] == "N" * 256 + ": text"


NETWORK, MODULE, JSON = "no network", "is not installed", "JSON, not Python"
# A package of the program's own, as one that is installed would be.
PACKAGE = ("import os\nos.mkdir({name!r})\nopen({name!r} + '/__init__.py', 'w').write({text!r})\n"
           "import {name}")
ELSEWHERE = """
import os, sys
os.makedirs('/tmp/p/pandas/_libs')
open('/tmp/p/pandas/__init__.py', 'w').write({init!r})
open('/tmp/p/pandas/_libs/{file}', 'w')
sys.path.insert(0, '/tmp/p')
import pandas"""  # as a package that the operator has installed, which is not in the working directory
SCRIPT = "import os, subprocess\nopen('x.sh', 'w').write('#!/bin/sh')\nos.chmod('x.sh', 0o755)\n"
POOL = """
import multiprocessing, sqlite3
def f(_):
    def inner(): yield
    inner().throw(sqlite3.{error})
with multiprocessing.Pool(1) as pool: pool.map(f, [1])"""
HINTS = {
    "sqlite_by_processes": (POOL.format(error="OperationalError('disk I/O error')"), "locks on files keep no process out"),
    "sqlite_spoiled_by_processes": (POOL.format(error="DatabaseError('database disk image is malformed')"),
                                    "hold a multiprocessing.Lock()"),
    "sqlite_of_the_caller": ("import sqlite3\nsqlite3.connect('/mnt/data/x.db').execute('select * from t')", "new and empty"),
    "sqlite_elsewhere": ("import sqlite3\nsqlite3.connect('/data/x.db').execute('select 1')", "only in a directory that exists"),
    "file_of_mnt_data": ("open('/mnt/data/sales.csv')", "no file comes with a request"),
    "file_of_the_working_directory": ("import os\nopen(os.path.abspath('x.csv'))", "no file comes with a request"),
    "directory_of_the_caller": ("import os\nos.listdir('/home/me')", "sees no files of yours"),
    "directory_of_the_system": ("import pathlib\nlist(pathlib.Path('/var/log').iterdir())", "sees no files of yours"),
    "copy_of_a_file": ("import shutil\nshutil.copy('/content/x.csv', 'x.csv')", "sees no files of yours"),
    "address_as_a_file": ("open('https://example.org/x.csv')", "an address of the web is no file"),
    "display": ("x = 1\ndisplay(x)", "display() is a notebook's"),
    "get_ipython": ("get_ipython().run_line_magic('matplotlib', 'inline')", "take the line out"),
    "ipython": ("from IPython.display import display", "IPython is a notebook's"),
    "breakpoint": ("breakpoint()\nx = 1", "a debugger gets no commands here"),
    "epoll_selector": ("import selectors\nselectors.EpollSelector()", "no epoll"),
    "epoll_selector_imported": ("from selectors import EpollSelector", "no epoll"),
    "exec_of_a_script": (SCRIPT + "subprocess.run(['./x.sh'])", "run a script by its interpreter"),
    "exec_by_os": (SCRIPT + "os.execv('x.sh', ['x'])", "run a script by its interpreter"),
    "exec_by_a_shell": (SCRIPT + "subprocess.run('./x.sh a', shell=True, check=True)", "run a script by its interpreter"),
    "library": ("import ctypes\nctypes.CDLL('libgdal.so.32')", "apt-get install libgdal32"),
    "library_unknown": ("import ctypes\nctypes.CDLL('libno_such.so.7')", "apt-file search libno_such.so.7"),
    "library_of_a_package": (PACKAGE.format(name="maps", text="raise ImportError('libgeos_c.so.1: cannot open shared object file: "
                                            "No such file or directory')"), "apt-get install libgeos-c1v5"),
    "library_in_a_packages_own_words": (PACKAGE.format(name="maps", text="""
try:
    raise ImportError('libodbc.so.2: cannot open shared object file: No such file or directory')
except ImportError:
    raise ImportError('READ THIS')"""), "apt-get install libodbc2"),
    "newer_libc": (PACKAGE.format(name="maps", text="raise ImportError(\"/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not "
                                  "found (required by x.so)\")"), "newer system than the server's"),
    "wheel_of_another_python": (ELSEWHERE.format(init="import pandas._libs.interval",
                                                 file="interval.cpython-312-x86_64-linux-gnu.so"), "cpython-312-x86_64"),
    "wheel_of_windows": (ELSEWHERE.format(init="import pandas._libs.interval", file="interval.cp311-win_amd64.pyd"),
                         "installed for another Python"),
    "wheel_in_a_packages_own_words": (ELSEWHERE.format(init="try:\n    import pandas._libs.interval\nexcept ImportError:\n"
                                                       "    raise ImportError('C extension not built')",
                                                       file="interval.cpython-39-x86_64-linux-gnu.so"), "another Python"),
    "part_of_a_package": (ELSEWHERE.format(init="import pandas.core", file="x"), "its part pandas.core is missing"),
    "optional_package": (PACKAGE.format(name="frames", text="""
try: import fitz_none
except ImportError: raise ImportError("Missing optional dependency 'fitz_none'.")"""), "no package installed for programs here"),
    "name_of_3_12": ("from itertools import batched", "came with Python 3.12"),
    "attribute_of_3_12": ("import math\nmath.sumprod([1], [2])", "math.sumprod came with Python 3.12"),
    "type_of_3_12": ("type X = int", "came with Python 3.12"),
    "function_of_3_12": ("def f[T](x: T) -> T: return x", "typing.TypeVar"),
    "class_of_3_12": ("if 1:\n    class A[T]: pass", "typing.TypeVar"),
    "f_string_quotes": ("d = {'a': 1}\nprint(f'é {d['a']} x')", "write the other quotes"),
    "f_string_join": ('x = ["a"]\nprint(f"{", ".join(x)}")', "write the other quotes"),
    "f_string_backslash": ("x = ['a']\nprint(f\"{'\\n'.join(x)}\")", "neither a backslash"),
    "n8n_equals": ("=print(1)", "begins with =, as n8n marks"),
    "javascript": ("const x = 1;", "this is JavaScript"),
    "comment_of_javascript": ("// adds\nx = 1", "begins with #"),
    "fence": ("```python\nprint(1)\n```", "Markdown fence"),
    "fence_at_end": ("print(1)\n```\n", "Markdown fence"),
    "fence_indented": ("if 1:\n    print(1)\n  ```", "Markdown fence"),
    "pip_line": ("!pip install pandas\nimport json", "Jupyter's"),
    "shell_line_in_block": ("if 1:\n    !ls", "Jupyter's"),
    "magic": ("%matplotlib inline\nimport math", "magics"),
    "cell_magic": ("%%time\nx = 1", "magics"),
    "prompt": (">>> x = 1\n>>> print(x)\n1", "interactive session"),
    "quotes": ("print(“hello”)", "typographic quotes"),
    "single_quotes": ("print(‘hello’)", "typographic quotes"),
    "dash": ("x = 2 – 1", "dash"),
    "no_break_space": ("x\u00a0= 1", "no-break space"),
    "zero_width": ("x\u200b = 1", "invisible"),
    "escaped_twice": (r"print(1)\nprint(2)", "escaped twice"),
    "escaped_twice_later": (r"é = 'é'\nprint(2)", "escaped twice"),
    "await": ("import asyncio\nawait asyncio.sleep(0)", "asyncio.run"),
    "await_and_return": ("import asyncio\nx = await asyncio.sleep(0)\nreturn x", "asyncio.run"),
    "await_in_comprehension": ("x = [await y for y in z]", "asyncio.run"),
    "async_with": ("async with x: pass", "asyncio.run"),
    "all_indented": ("    x = 1\n    print(x)", "first line is indented"),
    "json_null": ("rows = [{'a': null}]", JSON),
    "json_true": ("rows = [true, false]\nreturn rows", JSON),
    "module": ("import no_such_module", "no package installed for programs here has it"),
    "module_from": ("from no_such_module.sub import x", "no package installed"),
    "module_in_function": ("def f():\n    import no_such_module\nf()", "no package installed"),
    "input": ("name = input('Name? ')", "stdin is empty"),
    "recursion": ("def f(): return f()\nf()", "has probably no end"),
    "name_lookup": ("import socket\nsocket.gethostbyname('example.org')", NETWORK),
    "urllib": ("import urllib.request\nurllib.request.urlopen('http://example.org')", NETWORK),
    "https": ("import urllib.request\nurllib.request.urlopen('https://example.org')", NETWORK),
    "http_client": ("import http.client\nhttp.client.HTTPConnection('10.0.0.1').request('GET', '/')", NETWORK),
    "smtp": ("import smtplib\nsmtplib.SMTP('example.org')", NETWORK),
    "tcp": ("import socket\nsocket.create_connection(('127.0.0.1', 1))", NETWORK),
    "unix": ("import socket\nsocket.socket(socket.AF_UNIX)", NETWORK),
    "server": ("import http.server\nhttp.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)", NETWORK),
    "asyncio_connection": ("import asyncio\nasyncio.run(asyncio.open_connection('example.org', 80))", NETWORK),
    "wrapped": ("import socket\ntry:\n    socket.gethostbyname('x.example')\nexcept OSError as e:\n"
                "    raise RuntimeError('could not fetch') from e", NETWORK),
    "manager": ("from multiprocessing import Manager\nManager()", "multiprocessing's managers"),
    "forkserver": ("import multiprocessing as m\nc = m.get_context('forkserver')\nc.Process(target=print).start()",
                   "multiprocessing's managers and forkserver"),
    "pip_as_a_program": ("import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'x'], check=True)",
                         "can't install packages"),
    "pip_in_a_shell": ("import subprocess\nsubprocess.run('cd /tmp && pip3 -q install x', shell=True, check=True)",
                       "can't install packages"),
    "python_2": ("import urllib2", "urllib.request"),
    "package_for_module": ("import scikit_learn", "import sklearn"),
    "own_file": ("from utils import x", "a program is one file"),
    "loky": ("class TerminatedWorkerError(Exception): __module__ = 'joblib.externals.loky.process_executor'\n"
             "def f(): yield\nf().throw(TerminatedWorkerError('x'))", 'backend="threading"'),
    "psutil": ("class NoSuchProcess(Exception): __module__ = 'psutil'\ndef f(): yield\nf().throw(NoSuchProcess('x'))",
               "resource.getrusage"),
    "fence_after_prose": ("Here is the code:\n\n```python\nprint(1)\n```\nIt prints 1.", "Markdown fence"),
    "merge": ("x = 1\n<<<<<<< HEAD\nx = 2\n=======\nx = 3\n>>>>>>> b", "merge"),
    "quotes_escaped_twice": ('print(\\"hi\\")', '\\n or \\"'),
    "pip_without_mark": ("pip install pandas\nimport json", "command of a shell"),
    "notebook": ("In [1]: import json", "notebook"),
    "notebook_name": ("In [1]: x = 1", "notebook"),
    "html": ("x = 1\nif x &lt; 3:\n    print(x)", "escaped as HTML"),
    "html_quotes": ("print(&quot;hi&quot;)", "escaped as HTML"),
    "html_name": ("x = 1\ny = x &lt; 3", "escaped as HTML"),
    "soft_hyphen": ("x\u2060 = 1", "invisible"),
    "wide": ("print（1）", "wide character"),
    "n8n": ("x = {{ $json.name }}", "n8n's expression"),
    "n8n_bare": ("x = $json.name", "n8n's expression"),
    "n8n_object": ("rows = [object Object]", "n8n's expression"),
    "n8n_object_in_json": ("import json\njson.loads('[object Object]')", "n8n's expression"),
    "import_json": ("x = json.loads('1')", "import json"),
    "import_np": ("# np and more\nx = 1\ndef f(): return np.zeros(3)\nf()", "import numpy as np"),
    "import_member": ("d = defaultdict(list)", "from collections import defaultdict"),
    "file": ("open('sales.csv').read()", "empty directory"),
    "file_by_path": ("import pathlib\npathlib.Path('x.csv').open()", "put the data into the code"),
    "file_in_no_directory": ("open('out/x.txt', 'w')", "os.makedirs()"),
    "file_of_the_caller": ("open('/home/me/x.csv')", "sees no files of yours, and writes only"),
    "file_at_the_root": ("open('/x.csv')", "sees no files of yours, and writes only"),
    "directory_of_the_host": ("import os\nos.makedirs('/data')", "can write only"),
    "llvmlite": ("exec(compile('def f(e): raise e', '/x/llvmlite/binding.py', 'exec'))\n"
                 "f(PermissionError(13, 'cannot allocate executable memory'))", "machine code"),
    "environment": ("import os\nos.environ['API_KEY']", "environment variables"),
    "argument": ("import sys\nprint(sys.argv[1])", "no arguments"),
    "json_of_stdin": ("import json, sys\njson.load(sys.stdin)", "stdin is empty"),
    "number_of_stdin": ("import sys\nn = int(sys.stdin.readline())", "stdin is empty"),
    "disk": ("f = open('x', 'wb')\nwhile True: f.write(bytes(1 << 20))", "128 MiB (limits.scratch)"),
    "open_files": ("import os\nf = [os.open('/dev/null', 0) for _ in range(10**4)]", "256 open files"),
    "read_only": ("open('/usr/lib/x', 'w')", "can write only"),
    "epoll": ("import select\np = select.epoll()", "no epoll: use asyncio or selectors"),
    "epoll_constant": ("import select\nprint(select.EPOLLIN)", "the server's operator can allow it (isolation.epoll)"),
    "epoll_imported": ("from select import epoll, EPOLLIN", "no epoll"),
    "epoll_in_a_package": (PACKAGE.format(name="loop", text="import select\ndef f(): return select.epoll()\nf()"), "no epoll"),
    "trio": (PACKAGE.format(name="trio", text="import select\nclass C:\n    x = select.epoll"), "trio does not work here"),
    "uvloop": (PACKAGE.format(name="uvloop", text="import os\nraise OSError(38, os.strerror(38))"), "no epoll"),
    "mkfifo": ("import os\nos.mkfifo('x')", "jail"),
}
NO_HINTS = {
    "sqlite_own_error": "import sqlite3, multiprocessing\nraise sqlite3.OperationalError('disk I/O error')",
    "sqlite_without_processes": "import sqlite3\ndef f(): yield\nf().throw(sqlite3.OperationalError('disk I/O error'))",
    "sqlite_table_of_its_own": "import sqlite3\nc = sqlite3.connect('x.db')\nc.execute('CREATE TABLE t (a)')\nc.execute('select * from s')",
    "sqlite_in_memory": "import sqlite3\nsqlite3.connect(':memory:').execute('select * from t')",
    "sqlite_syntax": "import sqlite3\nsqlite3.connect(':memory:').execute('selec 1')",
    "own_file_in_tmp": "import os\nos.listdir('/tmp/missing')",
    "own_file_of_mnt_data": "raise FileNotFoundError(2, 'No such file', '/mnt/data/x')",
    "remove_in_mnt_data": "import os\nos.remove('/mnt/data/x')",
    "own_display": "def f(): return display\nraise ValueError('display')",
    "own_debugger": "import bdb\nraise bdb.BdbQuit",
    "exec_of_a_directory": "import os, subprocess\nsubprocess.run(['/usr/lib'])",
    "shell_ends_by_126": "import subprocess\nsubprocess.run('exit 126', shell=True, check=True)",
    "library_by_path": "import ctypes\nctypes.CDLL('./libx.so')",
    "own_library_error": "raise ImportError('libgeos_c.so.1: cannot open shared object file: No such file or directory')",
    "part_of_an_own_package": "import os\nos.mkdir('own')\nopen('own/__init__.py', 'w').write('import own.part')\nimport own",
    "name_in_an_own_package": PACKAGE.format(name="own", text="from own import part"),
    "name_of_no_python": "from itertools import batchy",
    "own_attribute_of_3_12": "import math\nraise AttributeError('x', name='sumprod', obj=math)",
    "own_class_with_that_name": "class C: pass\nC().batched",
    "f_string_open": "x = 1\nprint(f'{x')",
    "f_string_conversion": "x = 1\nprint(f'{x!}')",
    "index_of_a_call": "def f [",
    "type_as_a_name": "type = 3\ntype 4",
    "const_in_a_string": "x = '''\nconst y\n''' = = 1",
    "equals_later": "x = 1\n= 2",
    "division": "x = (8\n     // = 2)",
    "own_module_error": "raise ModuleNotFoundError(\"No module named 'pandas'\", name='pandas')",
    "own_module_error_in_if": "if 1: raise ModuleNotFoundError(\"No module named 'pandas'\", name='pandas')",
    "submodule": "import json.no_such_part",
    "import_name": "from json import no_such_name",
    "own_os_error": "raise OSError(97, 'Address family not supported by protocol')",
    "own_os_error_later": "e = OSError(97, 'x')\ndef f():\n    raise e\nf()",
    "own_gaierror": "import socket\nraise socket.gaierror(-2, 'Name or service not known')",
    "own_class_of_that_name": "class gaierror(OSError): pass\ndef f(): raise gaierror('x')\nf()",
    "own_eof": "raise EOFError('EOF when reading a line')",
    "eof_of_a_file": "import pickle, io\npickle.load(io.BytesIO())",
    "own_recursion": "raise RecursionError('x')",
    "own_memory": "import ctypes\nraise MemoryError",
    "real_memory": "import ctypes\nx = bytearray(1 << 60)",
    "own_permission": "raise PermissionError(1, 'Operation not permitted')",
    "own_file_error": "raise FileNotFoundError(2, 'No such file', 'x')",
    "no_such_directory": "import os\nos.listdir('missing')",
    "no_such_program": "import subprocess\nsubprocess.Popen(['no-such-program'])",
    "fence_in_a_string_behind": "y = = 1\nx = '''\n```\n'''",
    "modulo_of_a_name": "x = ('%s'\n     % name 5)",
    "end_of_a_merge_is_no_prompt": "x = 1\n>>>>>>> b",
    "html_in_a_string": "x = '&lt;' = = 1",
    "html_in_a_long_string": "x = '''\n&lt;\n''' = = 1",
    "pip_in_a_string": "x = '''\npip install x\n''' = = 1",
    "n8n_in_a_string": "x = '$json' = = 1",
    "own_lt": "print(1 & lt)",
    "name_assigned_later": "def f(): return np.x\nif 0: np = 1\nf()",
    "name_imported_elsewhere": "def g(): import json\njson.loads('1')",
    "name_of_another": "json_data.x",
    "no_use_of_a_module": "print(1 + json)",
    "own_permission_later": "e = PermissionError(13, 'x')\ndef f(): yield\nf().throw(e)",
    "own_attribute": "class C: pass\nC.epoll",
    "own_attribute_error": "import select\nraise AttributeError(\"module 'select' has no attribute 'epoll'\", name='epoll', obj=select)",
    "another_of_select": "import select\nselect.kqueue()",
    "own_module_select": "import sys, types\nsys.modules['select'] = m = types.ModuleType('select')\nm.poll_all",
    "own_import_error": "raise ImportError(\"cannot import name 'epoll' from 'select'\", name='select')",
    "epoll_of_another_module": "from json import epoll",
    "caught_epoll": "import select\ntry: select.epoll()\nexcept AttributeError: pass\nraise ValueError('later')",
    "own_key": "{}['API_KEY']",
    "own_environ": "import os\nraise KeyError('x')  # os.environ['x']",
    "own_index": "[][1]",
    "own_json": "import json\njson.loads('')",
    "own_proc_path": "raise FileNotFoundError(2, 'No such file', '/proc/x')",
    "name_error": "print(nul)",
    "own_name_error": "raise NameError(\"name 'null' is not defined\")",
    "fence_in_a_string": "x = '''\n```python\n!pip\n%magic\n>>> x\n'''\nraise ValueError(x)",
    "fence_in_a_string_and_a_syntax_error": "x = '''\n```\n'''\ny = = 1",
    "modulo_on_its_own_line": "x = ('%s'\n     %name 5)",
    "not_equal_on_its_own_line": "x = (1\n     != = 2)",
    "shift_on_its_own_line": "x = (1\n     >>> 2)",
    "continuation": "x = 1 \\ 2",
    "escape_in_a_string": "x = 'a\\nb' = = 1",
    "quotes_in_a_string": "x = '“' = = 1",
    "await_in_a_string": "raise ValueError(\"'await' outside function\")",
    "syntax_error_in_exec": "exec('```')",
    "indented_later": "x = 1\n    y = 2",
    "caught_before": "import socket\ntry: socket.gethostbyname('x.example')\nexcept OSError: pass\nraise ValueError('later')",
    "caught_import": "try:\n    import no_such_module\nexcept ImportError: pass\n1 / 0",
    "called_process": "import subprocess\nsubprocess.run(['false'], check=True)",
    "installed_txt": "import subprocess\nsubprocess.run('cat pipeline/installed.txt', shell=True, check=True)",
    "search_for_pip": "import subprocess\nsubprocess.run(['grep', 'pip install', '/dev/null'], check=True)",
    "list_of_pip": "import subprocess\nsubprocess.run('false pip install', shell=True, check=True)",
    "own_psutil": "class NoSuchProcess(Exception): __module__ = 'psutil'\nraise NoSuchProcess('x')",
    "own_class_of_joblibs_name": "class TerminatedWorkerError(Exception): pass\ndef f(): yield\nf().throw(TerminatedWorkerError)",
    "own_urllib2": "raise ModuleNotFoundError(\"No module named 'urllib2'\", name='urllib2')",
    "assertion": "assert 0, 'programs here have no network'",
}


@pytest.mark.parametrize("name", HINTS)
def test_the_right_hint(server, name):
    code, words = HINTS[name]
    reply = server.run(code)
    assert reply.status == 400, reply
    assert words in reply.json.get("hint", ""), reply
    assert reply["message"].endswith(f" (hint: {reply['hint']})") and "\n" not in reply["message"]
    assert words not in reply["error"] and words not in reply["stderr"], "they are Python's own"


@pytest.mark.parametrize("name", NO_HINTS)
def test_no_hint_where_none_is_right(server, name):
    reply = server.run(NO_HINTS[name])
    assert reply.status == 400 and "hint" not in reply.json, reply


def test_a_hint_names_the_package(server):
    """Modules of the table that this host happens not to have."""
    for module, package in (("fitz", "python3-fitz"), ("pptx", "python3-pptx"), ("skimage", "scikit-image")):
        reply = server.run(f"import {module}")
        if reply.status == 400:
            assert package in reply["hint"]


def test_a_timeout_tells_how_long_it_may_be(server):
    reply = server.run("while True: pass", timeout=1)
    assert reply.status == 408 and reply["message"] == "Execution timed out after 1 seconds"
    assert reply["hint"].startswith("a request may ask for a timeout of up to "), reply


# Stand-ins for what may not be installed: the names are the same.
PYPLOT = "import sys, types\nsys.modules['matplotlib.pyplot'] = plt = types.ModuleType('plt')\nplt.show = print\n"
SUCCESSES = {
    "quoted": (r'"import json\nprint(\"a\")"', "put into quotes twice"),
    "quoted_line": ('"print(1)"\n', "put into quotes twice"),
    "shown": (PYPLOT + "if 1: plt.show()", "plt.show() shows nothing here"),
}
SILENT = {
    "docstring": '"A sentence."',
    "quoted_and_run": '"print(1)"; x = 1',
    "two_strings": '"print(1)" "x"',
    "single_quotes": "'print(1)'",
    "long_string": '"""print(1)\nreturn 1"""',
    "returned": PYPLOT + "plt.show()\nreturn 1",
    "saved": PYPLOT + "plt.savefig = print\nplt.savefig('a.png')\nplt.show()",
    "in_a_comment": PYPLOT + "x = 1  # plt.show()",
    "without_pyplot": "import types\nplt = types.ModuleType('plt')\nplt.show = print\nplt.show()",
    "empty": "",
    "quote": '""',
}


@pytest.mark.parametrize("name", SUCCESSES)
def test_a_program_that_did_nothing_is_told(server, name):
    code, words = SUCCESSES[name]
    reply = server.run(code).response
    assert reply["stderr"].startswith("hatchery: hint: ") and words in reply["stderr"] and reply["stderr"].count("\n") == 1


@pytest.mark.parametrize("name", SILENT)
def test_no_word_to_a_program_that_did_what_it_says(server, name):
    assert server.run(SILENT[name]).response["stderr"] == ""


def test_a_limit_names_its_key(server):
    reply = server.run("x = bytearray(1 << 30)")
    if reply["reason"] == "memory":  # without a cgroup it is Python's MemoryError
        assert reply["message"] == "Memory limit exceeded (512 MiB)" and "limits.memory" in reply["hint"], reply
    reply = server.run("return 'x' * (9 << 20)")
    assert reply["reason"] == "result" and "limits.result" in reply["hint"] and "larger than 8388608" in reply["error"], reply


def test_threads_count_as_processes(server):
    reply = server.run("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(5,), daemon=True).start()")
    assert reply["message"] == "Too many processes (64)" and "threads count too" in reply["hint"], reply


RESULTS = {
    "date": ("import datetime\nreturn {'rows': [0, 1, 2, {'date': datetime.date(2026, 1, 1)}]}",
             "Object of type {} is not JSON serializable (at rows[3].date)", "str(x)"),
    "datetime_alone": ("import datetime\nreturn datetime.datetime(2026, 1, 1)",
                       "Object of type {} is not JSON serializable", "x.isoformat()"),
    "decimal": ("from decimal import Decimal\nreturn {'total': Decimal('10.50')}",
                "Object of type {} is not JSON serializable (at total)", "float(x)"),
    "set": ("return [[], [{1}]]", "Object of type set is not JSON serializable (at [1][0])", "sorted(x)"),
    "bytes": ("return {'a b': b''}", 'Object of type bytes is not JSON serializable (at ["a b"])', "base64.b64encode(x).decode() in its place (import base64)"),
    "nan": ("return {5: [1.0, float('nan')]}", "Out of range float values are not JSON compliant: nan (at [5][1])", "None"),
    "generator": ("return (x for x in [])", "Object of type generator is not JSON serializable", "list(x)"),
    "keys": ("return {'a': {(1, 2): 3}}", "keys must be str, int, float, bool or None, not tuple (at a)", "str(key)"),
    "enum": ("import enum\nclass C(enum.Enum):\n    A = 1\nreturn [C.A]", "Object of type C is not JSON serializable (at [0])",
             "x.value"),
    "own": ("class C: pass\nreturn {'c': C()}", "Object of type C is not JSON serializable (at c)", "dict of what you need"),
    "inherited": ("from collections import deque\nclass Q(deque): pass\nreturn Q()",
                  "Object of type Q is not JSON serializable", "list(x)"),
    "deep": ("x = set()\nfor i in range(20): x = [0, x]\nreturn x",
             "Object of type set is not JSON serializable (at ...[1][1][1][1][1][1])", "list(x)"),
    "fake_frame": ("class DataFrame: pass\nDataFrame.__module__ = 'pandas.core.frame'\nreturn DataFrame()",
                   "Object of type DataFrame is not JSON serializable",
                   'json.loads(x.reset_index().to_json(orient="records", date_format="iso")) in its place (import json)'),
    "own_frame": ("class DataFrame: pass\nDataFrame.__module__ = 'pandas_like'\nreturn DataFrame()",
                  "Object of type DataFrame is not JSON serializable", "dict of what you need"),
    "fake_series": ("class Series: pass\nSeries.__module__ = 'pandas'\nreturn Series()",
                    "Object of type Series is not JSON serializable", 'json.loads(x.to_json(date_format="iso"))'),
    "fake_figure": ("class Figure: pass\nFigure.__module__ = 'matplotlib.figure'\nreturn Figure()",
                    "Object of type Figure is not JSON serializable", 'b = io.BytesIO(); x.savefig(b, format="png")'),
    "own_figure": ("class Figure: pass\nreturn Figure()", "Object of type Figure is not JSON serializable", "dict of what"),
    "fake_index": ("class Index: pass\nIndex.__module__ = 'pandas.core.indexes.base'\nclass R(Index): pass\nreturn R()",
                   "Object of type R is not JSON serializable", "x.tolist()"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nreturn [P(1)]",
                  "Object of type P is not JSON serializable (at [0])", "dataclasses.asdict(x)"),
    "function": ("def f(): return 1\nreturn f", "Object of type function is not JSON serializable", "a call, x(...)"),
    "items": ("return {1: 2}.items()", "Object of type dict_items is not JSON serializable", "list(x), or dict(x) where"),
    "coroutine": ("async def f(): pass\nreturn f()", "Object of type coroutine is not JSON serializable",
                  "asyncio.run(x) in its place (import asyncio)"),
    "path": ("import pathlib\nreturn pathlib.Path('x')", "Object of type PosixPath is not JSON serializable", "str(x)"),
    "numpy": ("import numpy\nreturn {'m': [numpy.int64(3)]}", "Object of type {} is not JSON serializable (at m[0])", "x.item()"),
    "frame": ("import pandas\nreturn pandas.DataFrame()", "Object of type {} is not JSON serializable", "x.to_json("),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_is_no_json_says_where_and_what_instead(server, name):
    code, reason, instead = RESULTS[name]
    reply = server.run(code)
    if reply.json.get("reason") == "exception":
        pytest.skip(reply["message"])
    assert reply.status == 500 and reply["reason"] == "result", reply
    before, _, after = reason.partition("{}")
    assert reply["error"].startswith("Failed to parse execution result: " + before) and reply["error"].endswith(after)
    assert instead in reply["hint"] and reply["message"] == f"{reply['error']} (hint: {reply['hint']})"
