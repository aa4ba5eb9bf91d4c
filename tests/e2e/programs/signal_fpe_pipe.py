import os
import signal
print(signal.strsignal(signal.SIGFPE), flush=True)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
r, w = os.pipe()
os.close(r)
os.write(w, b"x")
