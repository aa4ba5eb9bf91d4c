import os
import signal
import sys

read, write = os.pipe()
print("before", flush=True)
pid = os.fork()
if pid == 0:
    os.close(read)
    os.write(write, b"hello from the child")
    sys.exit(7)
os.close(write)
print(os.read(read, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
pid = os.fork()
if pid == 0:
    signal.pause()
os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
pid = os.fork()
if pid == 0:
    raise RuntimeError("in the child")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
