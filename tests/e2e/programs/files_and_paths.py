import fnmatch
import glob
import os
import shutil
import stat
import tempfile
from pathlib import Path, PurePosixPath

with tempfile.TemporaryDirectory(prefix="files-") as name:
    top = Path(name)
    for part in ("b/x.txt", "b/y.log", "a/z.txt", "top.txt"):
        path = top / part
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"content of {part}\n" * 2)
    print(sorted(p.relative_to(top).as_posix() for p in top.glob("**/*.txt")))
    print(sorted(os.path.basename(p) for p in glob.glob(f"{name}/*/*")), fnmatch.filter(["a.py", "b.c"], "*.py"))
    shutil.copytree(top / "b", top / "c")
    shutil.move(top / "c" / "x.txt", top / "a" / "moved.txt")
    (top / "link").symlink_to("top.txt")
    os.chmod(top / "top.txt", 0o640)
    print(oct(stat.S_IMODE(os.stat(top / "top.txt").st_mode)), os.readlink(top / "link"), (top / "link").is_symlink())
    for directory, directories, files in os.walk(top):
        directories.sort()
        print(os.path.relpath(directory, top), sorted(files))
    with open(top / "top.txt", "r+", newline="") as f:
        f.seek(3)
        f.write("***")
        f.seek(0)
        print(f.readline(), f.tell())
    with tempfile.NamedTemporaryFile("w+", dir=top) as f:
        f.write("temporary")
        f.flush()
        print(os.path.getsize(f.name))
    try:
        open(top / "none" / "x")
    except FileNotFoundError as error:
        print(error.errno, error.strerror)
print(PurePosixPath("/a/./b/../c.tar.gz").suffixes, Path("a/b").with_suffix(".x"), os.path.exists(name))
print(Path(__file__).name, os.path.dirname(os.path.abspath(__file__)) == os.getcwd())
