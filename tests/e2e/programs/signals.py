import os
import signal
import threading
import time

got = []
print(signal.getsignal(signal.SIGINT).__name__, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGPIPE))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
signal.signal(signal.SIGUSR1, lambda number, frame: got.append(signal.Signals(number).name))
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
print(got)


class Late(Exception):
    pass


def alarm(number, frame):
    raise Late(frame.f_code.co_name)


signal.signal(signal.SIGALRM, alarm)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    while True:
        time.sleep(10)
except Late as error:
    print("interrupted in", error)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
signal.signal(signal.SIGUSR2, lambda *a: got.append("usr2"))
signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
print(len(got), signal.sigpending())
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
print(got[-1])
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupt caught")
