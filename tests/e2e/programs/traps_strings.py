def query():
    return """
SELECT *
    FROM t
  WHERE a = 'x'
"""


if True:
    text = '''first
second
        third \
joined
	tab'''
    print(repr(text))
    for _ in range(1):
        print(f"""{
            1 + 1
        } and {text!r:.10}
at column 0 {{literal}}""")
print(repr(query()))
print(r"raw \n \d", b"bytes \x00", "con" "cat", rb"\x", u"u", f"{'nested'}" f"{1:>{5}}", f"{3.14159=:.2f}")
print("""a
    """ + """b"""    )
x = ("one"
     "two"
  # a comment in between
     "three")
print(x, """\
no newline first""", '"""', "'''", "\"\\", "\N{BULLET}\u00e9\x41\101")
doc = '''
    return "this is text, not code"
'''
print(doc)
return_value = "return"
print(return_value, end="")
print()
# return at the end of a comment: return 5
print("""if True:
    return {"done": 1}""")
