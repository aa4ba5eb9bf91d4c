import codecs
import difflib
import locale
import sys
import unicodedata

print(locale.setlocale(locale.LC_ALL, ""), locale.localeconv()["decimal_point"], locale.getpreferredencoding())
print(sys.stdout.encoding, sys.stderr.encoding, sys.stdin.encoding, sys.getdefaultencoding(), sys.getfilesystemencoding())
print(sys.stdout.errors, sys.stderr.errors, sys.stdin.errors, sys.stdout.isatty())
print(unicodedata.normalize("NFD", "é") == "e\u0301", unicodedata.name("☃"), "ß".upper(), "İ".lower().encode())
print("\N{GREEK SMALL LETTER ALPHA} 日本語 🐍 \u200b|", "🐍".encode("utf-16-be").hex(), len("👩‍👩‍👧"))
print(b"\xff".decode("latin-1"), b"caf\xe9".decode("utf-8", "replace"), "x\udcff".encode("utf-8", "surrogateescape"))
print(codecs.encode("uryyb", "rot13"), "%s %r %a" % ("ü", "ü", "ü"), "äöü".translate({228: "ae", 246: None}))
print(*difflib.unified_diff("a\nb\nc".split(), "a\nx\nc".split(), "old", "new", lineterm=""), sep="\n")
print(difflib.get_close_matches("aple", ["apple", "ape", "peach"]), round(difflib.SequenceMatcher(None, "abcd", "bcde").ratio(), 2))
print(open("f.txt", "w").encoding, "a\u2028b\x0bc".splitlines(), "1\u0663".isdigit(), int("١٢"))
