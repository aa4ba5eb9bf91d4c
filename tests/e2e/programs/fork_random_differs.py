import os
import random
import tempfile

os.register_at_fork(before=lambda: print("before", flush=True), after_in_child=lambda: print("child", flush=True),
                    after_in_parent=lambda: after.append("parent"))
after = []
random.seed(1)
random.gauss(0, 1)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.write(writer, repr((random.random(), random.gauss(0, 1), tempfile.mktemp())).encode())
    os._exit(0)
os.waitpid(child, 0)
ours = random.random(), random.gauss(0, 1), tempfile.mktemp()
theirs = eval(os.read(reader, 1000))
print(after, ours[:2], [a != b for a, b in zip(ours, theirs)])
