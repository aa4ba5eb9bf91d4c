# SPDX-License-Identifier: Apache-2.0
"""main.py is a file for whoever asks for it, and for nobody else."""
import pytest

ASK = {
    "open": "print(open(__file__).read())",
    "os_open": "import os\nfd = os.open('main.py', os.O_RDONLY)\nprint(os.read(fd, 10**6).decode())",
    "absolute": "import os\nprint(open(os.path.abspath(__file__)).read())",
    "path": "import pathlib\nprint(pathlib.Path(__file__).resolve().read_text())",
    "dir_fd": "import os\nfd = os.open('main.py', os.O_RDONLY, dir_fd=os.open('.', 0))\nprint(os.read(fd, 10**6).decode())",
    "exists": "import os\nassert os.path.exists(__file__) and os.path.isfile('./main.py') and os.path.islink(__file__) == 0\n"
              "print(open('../work/main.py').read())",
    "size": "import os\nsize = os.path.getsize(__file__)\ntext = open(__file__).read()\nassert len(text.encode()) == size\nprint(text)",
    "copy": "import shutil\nshutil.copy(__file__, '/tmp/x')\nprint(open('/tmp/x').read())",
    "elsewhere": "import os\nos.chdir('/tmp')\nprint(open('/run/box/work/main.py').read())",
    "cat": "import subprocess\nprint(subprocess.run(['cat', __file__], capture_output=True, text=True).stdout)",
    "shell": "import os\nassert os.system('test -s main.py') == 0\nprint(os.popen('cat main.py').read())",
    "posix_spawn": "import os\npid = os.posix_spawn('/bin/cat', ['cat', 'main.py'], {})\nos.waitpid(pid, 0)\nprint()",
    "inspect": "import inspect, sys\n\ndef f():\n    return 1\n\n\nassert inspect.getsource(f) == 'def f():\\n    return 1\\n'\n"
               "print(inspect.getsource(sys.modules['__main__']))",
    "umlauts": "# é “x” 🐍\nprint(open(__file__, encoding='utf-8').read())",
}


@pytest.mark.parametrize("name", ASK)
def test_who_asks_for_main_py_finds_it(server, name):
    reply = server.run(ASK[name])
    assert reply.status == 200 and reply.stdout == ASK[name] + "\n" or reply.stdout == ASK[name].rstrip() + "\n\n", reply


def test_nobody_else_does(server):
    reply = server.run("""
import os
print(os.listdir(), os.listdir('.'), os.path.exists('other.py'))
os.mkdir('app')
open('app/main.py', 'w').write('x')
print(os.listdir(), open('app/main.py').read())
os.system('true')
import warnings, traceback, logging
warnings.warn('a line of the source')
try: 1 / 0
except ZeroDivisionError: traceback.print_exc()
print(os.listdir())
""")
    assert reply.stdout.splitlines() == ["[] [] False", "['app'] x", "['app']"]
    assert "a line of the source" in reply.response["stderr"] and "try: 1 / 0" in reply.response["stderr"]


def test_a_program_may_have_a_main_py_of_its_own(server):
    reply = server.run("open('main.py', 'w').write('mine')\nprint(open('main.py').read(), open('main.py', 'a').write('x'))")
    assert reply.stdout == "mine 1\n"
    assert server.run("open('main.py', 'x').write('mine')\nreturn open('main.py').read()").response["result"] == "mine"


def test_a_failed_ask_keeps_its_errno(server):
    reply = server.run("import os, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nimport signal\n"
                       "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nprint(os.path.getsize(__file__))\nopen('missing')")
    assert reply.stdout == "0\n" and "FileNotFoundError" in reply["message"]


def test_it_runs_again(server):
    reply = server.run("""
import runpy, subprocess, sys
if len(sys.argv) > 1:
    print("child", __name__)
elif __name__ == "__main__":
    print(runpy.run_path(__file__)["__name__"])
    print(subprocess.run([sys.executable, __file__, "x"], capture_output=True, text=True).stdout)
""")
    assert reply.stdout == "<run_path>\nchild __main__\n\n", reply


POOLS = {
    "pool": "import multiprocessing as mp\ndef sq(n): return n * n\nif __name__ == '__main__':\n    mp.set_start_method('spawn')\n"
            "    with mp.Pool(2) as p:\n        print(p.map(sq, range(4)))",
    "executor": "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing as mp\ndef sq(n): return n * n\n"
                "if __name__ == '__main__':\n    with ProcessPoolExecutor(2, mp_context=mp.get_context('spawn')) as e:\n"
                "        print(list(e.map(sq, range(4))))",
}


@pytest.mark.parametrize("name", POOLS)
def test_children_of_spawn_import_it(server, name):
    reply = server.run(POOLS[name], timeout=120)
    assert reply.status == 200 and reply.stdout == "[0, 1, 4, 9]\n", reply


@pytest.mark.parametrize("name", POOLS)
def test_spawn_with_a_return_at_top_level_is_refused_and_says_why(server, name):
    """The children would fail one after another, and be replaced for ever."""
    reply = server.run(POOLS[name] + "\nreturn 1", timeout=120)
    assert reply.status == 400 and reply["reason"] == "exception", reply
    assert reply["message"].startswith("RuntimeError: multiprocessing's spawn has each child import main.py"), reply
    assert "KeyboardInterrupt" not in reply["error"] and 'File "main.py", line' in reply["error"], "no key was pressed"
