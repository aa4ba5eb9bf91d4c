# SPDX-License-Identifier: Apache-2.0
"""One module of CPython's test suite, run as a user's program: sent to the server as the source of a run, and given to
`python3 main.py` outside.  What it hands back is an object from a test's id to [outcome, last line of its error]."""
import socket
import sys
import unittest

from test import support
from test.support import socket_helper

support.use_resources = []  # as regrtest without -u: no network, no audio, no gigabytes, no minutes of cpu

try:
    socket.socket(socket.AF_UNIX).close()
except OSError as error:
    socket_helper._bind_nix_socket_error = error  # its own probe, at import, expects socket() never to fail


class Outcomes(unittest.TestResult):
    """The worst that each id met: a doctest's id may come twice, a test's sub-tests come one by one."""
    RANK = ["pass", "expected failure", "skip", "fail", "error"]

    def __init__(self):
        super().__init__()
        self.seen = {}

    def note(self, test, outcome, why=""):
        name = test.id()
        before = self.seen.get(name, ["pass", ""])
        if name not in self.seen or self.RANK.index(outcome) > self.RANK.index(before[0]):
            self.seen[name] = [outcome, why[:300]]

    def note_error(self, test, error, outcome):
        lines = self._exc_info_to_string(error, test).strip().splitlines()
        self.note(test, outcome, lines[-1] if lines else "")

    def addSuccess(self, test):
        self.note(test, "pass")

    def addError(self, test, err):
        self.note_error(test, err, "error")

    def addFailure(self, test, err):
        self.note_error(test, err, "fail")

    def addSkip(self, test, reason):
        self.note(test, "skip", reason)

    def addExpectedFailure(self, test, err):
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.note(test, "fail", "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note_error(test, err, "fail" if issubclass(err[0], test.failureException) else "error")


def tests_in(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


def chosen(test, only, without):
    """Is the test among @only, if there are any, and has no word of @without in its name?"""
    name = test.id()
    # What goes wrong around a class or a module is told under a name like "setUpClass (test.m.Class)".
    among = not only or name in only or any("(" in o and o.partition("(")[2].rstrip(")") in name for o in only)
    return among and not any(word in name for word in without)


def run_module(name, only, without):
    """Run those tests of the module that are chosen()."""
    outcomes = Outcomes()
    try:
        __import__(name)
        suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[name])
    except unittest.SkipTest as reason:
        return {name: ["skip", str(reason)]}
    if only or without:
        suite = unittest.TestSuite(test for test in tests_in(suite) if chosen(test, only, without))
    suite.run(outcomes)
    return outcomes.seen
