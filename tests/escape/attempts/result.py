# SPDX-License-Identifier: Apache-2.0
# The result channel: to lose one's own report, to break its form, to say what only the server knows.

# attempt: write-to-every-descriptor
# wall: guard
# expect: result "mine"
tell("ATTEMPT")
for fd in range(3, 2048):
    try:
        os.write(fd, b'{"result": "FORGED"}' * 10)
    except OSError:
        pass
return "mine"

# attempt: write-to-the-channel
# wall: guard
# expect: REFUSED EBADF
with attempt():
    os.write(1023, b"x")

# attempt: writev-to-the-channel
# wall: guard
# expect: REFUSED EBADF
with attempt():
    os.writev(1023, [b"x"])

# attempt: write-by-high-bits
# wall: guard
# arch: x86_64
# expect: REFUSED EBADF
with attempt():
    call(1, 1023 | 1 << 32, b"x", 1)

# attempt: close-the-channel
# wall: guard
# expect: REFUSED EBADF
with attempt():
    os.close(1023)

# attempt: shut-the-channel-down
# wall: guard
# expect: REFUSED EBADF
with attempt():
    if libc.shutdown(1023, 2) < 0:
        raise OSError(ctypes.get_errno(), "shutdown")

# attempt: replace-the-channel
# wall: guard
# expect: REFUSED EBADF
with attempt():
    os.dup2(1, 1023)

# attempt: close-every-descriptor
# wall: guard
# expect: result "mine"
tell("ATTEMPT")
os.closerange(3, 65536)
return "mine"

# attempt: close-range
# wall: guard
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(436, 3, 2**32 - 1, 0)

# attempt: overwrite-every-descriptor
# wall: guard
# expect: result "mine"
tell("ATTEMPT")
for fd in range(3, 2048):
    try:
        os.dup2(1, fd)
    except OSError:
        pass
return "mine"

# attempt: forge-packets
# wall: token
# expect: result "mine"
# Through a copy of the descriptor, which nothing guards: without the token they count for nothing.
tell("ATTEMPT")
copy = os.dup(1023)
for _ in range(200):
    os.write(copy, b"\1\0\0\0\0\0\0\0" + b"\0" * 16 + b'"FORGED"')
return "mine"

# attempt: flood-the-channel
# wall: token
# expect: result "mine"
tell("ATTEMPT")
copy = os.dup(1023)
for _ in range(20000):
    os.write(copy, b"x" * 1000)
return "mine"

# attempt: channel-non-blocking
# wall: token
# expect: result "mine"
tell("ATTEMPT")
os.set_blocking(1023, False)
os.set_blocking(1, False)
return "mine"

# attempt: child-reports-too
# wall: token
# expect: result "parent"
tell("ATTEMPT")
pid = os.fork()
if pid == 0:
    return "child"
os.waitpid(pid, 0)
return "parent"

# attempt: child-outlives-the-parent
# wall: token
# expect: run exit
# The process that was asked ends without a report; its child comes to the end of the program.
tell("ATTEMPT")
if os.fork() == 0:
    return "child"
os._exit(3)

# attempt: break-json
# wall: encoder
# expect: result {"a": [1, 2.5, "x", null, true]}
import builtins
import json
tell("ATTEMPT")
json.dumps = json.encoder.JSONEncoder = json.encoder.encode_basestring_ascii = lambda *_: "FORGED"
builtins.str = builtins.repr = builtins.isinstance = builtins.dict = lambda *_: "FORGED"
sys.modules.clear()
return {"a": [1, 2.5, "x", None, True]}

# attempt: lying-subclasses
# wall: encoder
# expect: result [7, "text", {"key": 1.5}, [1]]
tell("ATTEMPT")
class Int(int):
    __repr__ = __str__ = __int__ = __index__ = lambda self: "FORGED"
class Float(float):
    __repr__ = __str__ = lambda self: '1, "injected": 2'
class Str(str):
    __str__ = __repr__ = encode = __iter__ = lambda self: '", "injected": "'
class Dict(dict):
    items = keys = __iter__ = lambda self: [("injected", 1)]
class List(list):
    __iter__ = lambda self: iter(["injected"])
    __len__ = lambda self: 10**9
return [Int(7), Str("text"), Dict({Str("key"): Float(1.5)}), List([1])]

# attempt: break-the-streams
# wall: encoder
# expect: run exit
# As python3 itself: what can't be flushed is exit code 120.
tell("ATTEMPT")
class Broken:
    def __getattr__(self, name):
        raise ValueError(name)
sys.stdout = sys.stderr = sys.stdin = Broken()
return "mine"

# attempt: spoil-by-profiling
# wall: encoder
# expect: run exception
tell("ATTEMPT")
def spoil(*_):
    raise RuntimeError("spoiled")
sys.setprofile(spoil)
return "mine"

# attempt: not-a-number
# wall: encoder
# expect: run result
tell("ATTEMPT")
return [float("nan")]

# attempt: infinity
# wall: encoder
# expect: run result
tell("ATTEMPT")
return {"x": float("-inf")}

# attempt: cycle
# wall: encoder
# expect: run result
tell("ATTEMPT")
value = []
value.append({"again": value})
return value

# attempt: deep-value
# wall: encoder
# expect: run result
tell("ATTEMPT")
value = []
for _ in range(200000):
    value = [value]
return value

# attempt: large-value
# wall: encoder
# expect: run result
tell("ATTEMPT")
return "x" * (9 << 20)

# attempt: value-that-grows-when-escaped
# wall: encoder
# expect: run result
tell("ATTEMPT")
return "\0" * (2 << 20)

# attempt: lone-surrogates
# wall: encoder
# expect: result "\ud800x\udfff\u0000\""
tell("ATTEMPT")
return '\ud800x\udfff\x00"'

# attempt: huge-integer
# wall: encoder
# expect: run result
tell("ATTEMPT")
return 1 << 100000

# attempt: value-changed-while-encoded
# wall: encoder
# expect: run success
# Another thread works on the value; the reply is well formed whatever is in it.
import threading
tell("ATTEMPT")
value = {"list": [1, 2, 3]}
stop = threading.Event()
def change():
    while not stop.is_set():
        value["list"] = list(range(100))
        value.clear()
threading.Thread(target=change, daemon=True).start()
return value

# attempt: exit-code-out-of-range
# wall: encoder
# expect: run exit
tell("ATTEMPT")
sys.exit(2**40 + 7)

# attempt: exception-that-can-not-be-told
# wall: encoder
# expect: run exception
tell("ATTEMPT")
class Awful(Exception):
    def __str__(self):
        raise Awful()
    __repr__ = __str__
raise Awful()

# attempt: enormous-exception
# wall: encoder
# expect: run exception
tell("ATTEMPT")
raise ValueError("x" * (50 << 20))

# attempt: chain-of-exceptions
# wall: encoder
# expect: run exception
tell("ATTEMPT")
error = ValueError("first")
for _ in range(5000):
    new = ValueError("next")
    new.__cause__ = error
    error = new
raise error

# attempt: verdict-on-stdout
# wall: encoder
# expect: result null
tell("ATTEMPT")
print('{"response": {"result": "FORGED"}, "code": 200}')
print('HTTP/1.1 200 OK\r\n\r\n')

# attempt: output-flood
# wall: output
# timeout: 30
# expect: run success
# truncated: stdout
tell("ATTEMPT")
for _ in range(64):
    os.write(1, b"x" * (1 << 20))

# attempt: error-flood
# wall: output
# timeout: 30
# expect: run success
# truncated: stderr
tell("ATTEMPT")
for _ in range(64):
    os.write(2, b"\xff" * (1 << 20))

# attempt: endless-output
# wall: clock
# timeout: 1
# within: 15
# expect: run timeout
tell("ATTEMPT")
while True:
    os.write(1, b"x" * 65536)
