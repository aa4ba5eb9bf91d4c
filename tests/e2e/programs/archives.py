import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

data = b"the quick brown fox " * 200
for module in (gzip, bz2, lzma, zlib):
    packed = module.compress(data)
    print(module.__name__, module.decompress(packed) == data, len(packed) < 200)
with tempfile.TemporaryDirectory() as directory:
    os.chdir(directory)
    Path("tree/sub").mkdir(parents=True)
    Path("tree/a.txt").write_text("alpha\n")
    Path("tree/sub/b.bin").write_bytes(bytes(range(256)))
    with zipfile.ZipFile("t.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for path in sorted(Path("tree").rglob("*")):
            z.write(path)
        z.writestr("note.txt", "höher")
    with zipfile.ZipFile("t.zip") as z:
        print(z.namelist(), z.testzip(), z.read("note.txt").decode())
    with tarfile.open("t.tar.gz", "w:gz") as t:
        t.add("tree", arcname="root")
    with tarfile.open("t.tar.gz") as t:
        print(sorted((m.name, m.size) for m in t if m.isfile()))
        t.extractall("out")
    print(Path("out/root/sub/b.bin").read_bytes() == bytes(range(256)))
    with gzip.open("g.gz", "wt", encoding="utf-8") as f:
        f.write("zeile 1\nzeile 2\n")
    with gzip.open("g.gz", "rt", encoding="utf-8") as f:
        print([line.strip() for line in f])
    try:
        zipfile.ZipFile(io.BytesIO(b"not a zip"))
    except zipfile.BadZipFile as error:
        print(error)
    os.chdir("/")
