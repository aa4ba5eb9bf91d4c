# SPDX-License-Identifier: Apache-2.0
"""For tests that have to do something within a time that the server or a program sets: on a machine that stands still
for a second or more, as a busy host's virtual ones do, it passes before they could."""
import functools
import threading
import time

import pytest


def another_turn(ask, has_begun):
    """What @ask returns, the first that @has_begun is true of or the last of five: while the machine stands still, the time
    that a program or an attempt has may pass before it has done anything."""
    for _ in range(5):
        answer = ask()
        if has_begun(answer):
            break
    return answer


class StandStill:
    """The longest time in which nothing of this process went on: @seconds."""

    def __init__(self):
        self.seconds = 0
        self.last = time.monotonic()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def look(self):
        now = time.monotonic()
        self.seconds = max(self.seconds, now - self.last)
        self.last = now

    def watch(self):
        while not self.over.wait(0.01):
            self.look()
        self.look()

    def __enter__(self):
        self.last = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()


def steady(seconds, times=5):
    """Where the test fails and the machine has stood still for @seconds meanwhile, it says nothing: once more.  The
    names that it gives things must be new each time."""
    def decorate(test):
        @functools.wraps(test)
        def run(*arguments, **keywords):
            for left in reversed(range(times)):
                with StandStill() as still:
                    try:
                        return test(*arguments, **keywords)
                    except (Exception, pytest.fail.Exception) as error:
                        failure = error
                if left == 0 or still.seconds < seconds:
                    raise failure
                print(f"once more, as the machine stood still for {still.seconds:.1f} s: {failure!r}")
        return run
    return decorate
