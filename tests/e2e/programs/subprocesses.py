import os
import shlex
import subprocess
import sys

done = subprocess.run(["sort", "-r"], input="b\na\nc\n", capture_output=True, text=True, check=True)
print(done.stdout.split(), done.returncode)
print(subprocess.check_output("echo $((6 * 7)) && echo err >&2", shell=True, stderr=subprocess.STDOUT))
try:
    subprocess.run("exit 3", shell=True, check=True)
except subprocess.CalledProcessError as error:
    print(error)
try:
    subprocess.run(["/no/such/thing"])
except FileNotFoundError as error:
    print(error)
sys.stdout.flush()
os.system("echo straight to stdout; echo straight to stderr >&2")
first = subprocess.Popen(["printf", "x\\ny\\nz\\n"], stdout=subprocess.PIPE)
second = subprocess.Popen(["wc", "-l"], stdin=first.stdout, stdout=subprocess.PIPE, text=True)
first.stdout.close()
print(second.communicate()[0].strip(), first.wait())
code = "import sys; print(sys.argv, sys.stdin.read()); sys.exit(5)"
child = subprocess.run([sys.executable, "-c", code, "a b"], input="in", capture_output=True, text=True)
print(child.stdout, child.returncode, shlex.quote("a b"), shlex.split("a 'b c'"))
try:
    subprocess.run(["sleep", "60"], timeout=0.05)
except subprocess.TimeoutExpired as error:
    print(type(error).__name__, error.cmd)
print(subprocess.run("kill -9 $$", shell=True).returncode)
