#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CPython's own test suite (Debian's libpython3.11-testsuite), in the jail and outside of it: the same tests pass.

Each module is run through the server and by `python3 main.py` as an ordinary user.  A test that does better outside
must be a line of differences.txt, with its reason; a line that is no longer true fails the run as an unlisted
difference does.
A test that differs unexpectedly, on either side, is run again by itself first: some depend on the machine's mood.

run.py [MODULE]...   e.g. run.py test_json test_asyncio.test_tasks; without modules all of MODULES
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from service import Service  # noqa: E402  the path above is where it is

TIMEOUT = 300
CONFIG = """
[limits]
memory = 2G
processes = 256
scratch = 512M
[pool]
size = 2
max_runs = 2
[log]
format = json
"""

MODULES = """
test_concurrent_futures test_signal test_subprocess test_io test_abc test_argparse test_array test_ast test_asyncgen
test_atexit test_base64 test_baseexception test_binascii test_bisect test_bool test_bufio test_builtin test_bytes
test_bz2 test_calendar test_call test_class test_cmath test_code test_codeccallbacks test_codecs test_codeop
test_collections test_compile test_complex test_configparser test_contains test_context test_contextlib
test_contextlib_async test_copy test_copyreg test_coroutines test_cprofile test_csv test_ctypes test_dataclasses
test_datetime test_dbm_dumb test_decimal test_decorators test_defaultdict test_deque test_descr test_dict
test_dictcomps test_dictviews test_difflib test_dis test_doctest test_email test_enum test_enumerate test_epoll
test_errno test_except_star test_exception_group test_exceptions test_extcall test_faulthandler test_fcntl test_file
test_filecmp test_fileinput test_fileio test_float test_fnmatch test_fork1 test_format test_fractions test_frame
test_fstring test_functools test_future test_gc test_generators test_genericalias test_genexps test_getopt
test_gettext test_glob test_global test_grammar test_graphlib test_gzip test_hash test_hashlib test_heapq test_hmac
test_html test_htmlparser test_http_cookies test_import test_index test_inspect test_int test_ipaddress
test_isinstance test_iter test_itertools test_json test_keyword test_linecache test_list test_listcomps test_locale
test_logging test_long test_lzma test_mailbox test_marshal test_math test_memoryio test_memoryview test_metaclass
test_mimetypes test_minidom test_mmap test_multiprocessing_main_handling test_named_expressions test_numeric_tower
test_opcodes test_operator test_ordered_dict test_os test_patma test_pathlib test_peepholer test_pickle
test_pickletools test_pkgutil test_platform test_plistlib test_poll test_posix test_posixpath test_pow test_pprint
test_print test_property test_pulldom test_pyexpat test_queue test_quopri test_raise test_random test_range test_re
test_reprlib test_resource test_richcmp test_runpy test_sax test_sched test_scope test_secrets test_select
test_selectors test_set test_shelve test_shlex test_shutil test_slice test_sort test_stat test_statistics
test_strftime test_string test_strptime test_struct test_structseq test_subclassinit test_super test_symtable
test_syntax test_sys test_tarfile test_tempfile test_textwrap test_thread test_threading test_threading_local
test_threadsignals test_time test_timeit test_tokenize test_trace test_traceback test_tracemalloc test_tuple
test_type_annotations test_types test_typing test_unicode test_unicodedata test_unittest test_unpack test_unparse
test_urllib test_urlparse test_userdict test_userlist test_userstring test_uuid test_warnings test_wave test_weakref
test_weakset test_with test_xml_etree test_xml_etree_c test_yield_from test_zipapp test_zipfile test_zipimport
test_zlib test_zoneinfo test_asyncio.test_base_events test_asyncio.test_context test_asyncio.test_events
test_asyncio.test_futures test_asyncio.test_futures2 test_asyncio.test_locks test_asyncio.test_pep492
test_asyncio.test_protocols test_asyncio.test_queues test_asyncio.test_runners test_asyncio.test_selector_events
test_asyncio.test_streams test_asyncio.test_subprocess test_asyncio.test_taskgroups test_asyncio.test_tasks
test_asyncio.test_threads test_asyncio.test_timeouts test_asyncio.test_transports test_asyncio.test_unix_events
test_asyncio.test_waitfor
""".split()

# Parts of a module that are left out, by what is in their names.
# Spawn and forkserver begin a Python anew, which costs minutes, and run main.py again, which is no file in a box.
LEFT_OUT = {"test_concurrent_futures": ["Spawn", "ForkServer", "Forkserver"],
            "test_multiprocessing_main_handling": ["Spawn", "ForkServer"],
            # These wait for ever for a server that can have no socket.
            "test_logging": ["test_listen"], "test_asyncio.test_streams": ["test_drain_raises"]}

WELL = ("pass", "expected failure")


TABLE = HERE / "differences.txt"


def program(module, only, last):
    call = f"run_module({'test.' + module!r}, {sorted(only)!r}, {LEFT_OUT.get(module, [])!r})"
    return f"{(HERE / 'inside.py').read_text()}\n\n{last.format(call)}\n"


def inside(server, module, only=()):
    """What each test came to in the jail; a module that did not come to its end is one entry under its own name."""
    reply = server.request("POST", "/v1/code/execute/python",
                           {"code": program(module, only, "return {}"), "timeout": TIMEOUT}, timeout=TIMEOUT + 60)
    if reply.status == 200:
        return reply["response"]["result"]
    return {module: ["crash", f"{reply.status} {reply['message']}"]}


def outside(module, only=()):
    """The same as `python3 main.py`, by a user who is not root, with the environment of a box."""
    with tempfile.TemporaryDirectory(prefix="hatchery-cpython-") as directory:
        work, temporary, result = (pathlib.Path(directory, name) for name in ("work", "tmp", "result"))
        work.mkdir()
        temporary.mkdir()
        last = f"import json\njson.dump({{}}, open({str(result)!r}, 'w'))"
        (work / "main.py").write_text(program(module, only, last))
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        if user:
            for path in (directory, work, temporary, work / "main.py"):
                os.chown(path, 65534, 65534)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(work), "LANG": "C.UTF-8", "TMPDIR": str(temporary),
               "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(["/usr/bin/python3", "-B", "-s", "-u", "main.py"], cwd=work, env=env, **user,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        clock = threading.Timer(TIMEOUT, process.kill)
        clock.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        clock.cancel()
        os.killpg(process.pid, 9)  # what it left behind; it is not reaped yet, so the group is still ours
        process.wait()
        try:
            return json.loads(result.read_text())
        except (OSError, ValueError):
            return {module: ["crash", f"exit status {process.returncode}"]}


def differences(within, without):
    """The tests that do well outside and not inside: id -> (outcome inside, its error)."""
    crash = next((v for v in within.values() if v[0] == "crash"), ["not run", ""])
    return {test: tuple(within.get(test, crash)) for test, (outcome, _) in without.items()
            if outcome in WELL and within.get(test, crash)[0] not in WELL}


def read_table():
    """id -> (module, outcome, reason)"""
    lines = [line for line in TABLE.read_text().splitlines() if line and line[0] != "#"] if TABLE.exists() else []
    return {test: (module, outcome, reason) for module, test, outcome, reason in (line.split("\t") for line in lines)}


def write_table(table):
    head = ["# Tests of CPython that do well outside of the jail and not in it: module, id, outcome inside, reason.",
            "# Checked by run.py; `run.py --update` rewrites it, with a '?' where a reason is still to be given."]
    rows = sorted("\t".join((row[0], test, *row[1:])) for test, row in table.items())
    TABLE.write_text("\n".join(head + rows) + "\n")


class Comparison:
    def __init__(self, server, table):
        self.server, self.table = server, table

    def expected(self, module):
        return {test for test, row in self.table.items() if row[0] == module}

    def module(self, module):
        """(module, number of tests that do well outside, differences, seconds)"""
        began = time.monotonic()
        without = outside(module)
        within = inside(self.server, module)
        found = differences(within, without)
        if not any(outcome in WELL for outcome, _ in without.values()):
            return module, 0, {module: ("not comparable", f"outside: {without}")}, time.monotonic() - began
        moody = set(found) ^ self.expected(module)
        if moody:
            whole = any(v[0] == "crash" for v in within.values())
            only = () if whole else moody
            again_without, again_within = outside(module, only), inside(self.server, module, only)
            again = differences(again_within, again_without)
            found = again if whole else {**{t: v for t, v in found.items() if t not in moody}, **again}
        well = sum(outcome in WELL for outcome, _ in without.values())
        return module, well, found, time.monotonic() - began


def report(results, table, update):
    """Print it, and return whether the table is right."""
    found = {test: (module, *why) for module, _, tests, _ in results for test, why in tests.items()}
    ran = {module for module, _, _, _ in results}
    gone = {test for test, row in table.items() if row[0] in ran} - set(found)
    new = set(found) - set(table)
    unexplained = {test for test in found if test in table and table[test][2].startswith("?")}
    for test in sorted(new):
        print(f"NEW   {test}: {found[test][1]}: {found[test][2]}")
    for test in sorted(gone):
        print(f"GONE  {test}: is said to be: {table[test][1]}: {table[test][2]}")
    for test in sorted(unexplained):
        print(f"WHY   {test}: {table[test][2]}")
    print(f"{len(results)} modules, {sum(r[1] for r in results)} tests do well outside, of which {len(found)} do not "
          f"inside: {len(new)} unlisted; {len(gone)} listed and no more; {len(unexplained)} without a reason")
    if update:
        kept = {test: row for test, row in table.items() if test not in gone}
        write_table({**kept, **{test: (*found[test][:2], "? " + " ".join(found[test][2].split())) for test in new}})
    return not new and not gone and not unexplained


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="rewrite the table of differences")
    parser.add_argument("modules", nargs="*")
    arguments = parser.parse_args()
    table = read_table()
    modules = arguments.modules or MODULES
    with Service(config=CONFIG) as server, concurrent.futures.ThreadPoolExecutor(2) as pool:
        comparison = Comparison(server, table)
        print("module, tests that do well outside, of these not inside, seconds")
        results = []
        for result in pool.map(comparison.module, modules):
            print("{:44} {:6} {:5} {:7.1f}".format(*result[:2], len(result[2]), result[3]), flush=True)
            results.append(result)
    sys.exit(0 if report(results, table, arguments.update) else 1)


if __name__ == "__main__":
    main()
