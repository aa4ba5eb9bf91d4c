import configparser
import io
import string
import textwrap
import tomllib
import pprint

config = configparser.ConfigParser()
config.read_string("""
[DEFAULT]
root = /srv
[web]
path = %(root)s/www
debug = yes
ports = 80, 443
""")
print(config["web"]["path"], config.getboolean("web", "debug"), config.sections())
config["db"] = {"host": "h", "port": 5}
out = io.StringIO()
config.write(out)
print(out.getvalue())
print(tomllib.loads('title = "x"\n[a.b]\nwhen = 2020-01-01T00:00:00Z\nlist = [1, 2]\n'))
print(string.Template("$who owes ${what}, $$5, $missing").safe_substitute(who="Bo", what="tea"))
TEXT = """
    A paragraph that is long enough to be wrapped
    at a narrow width, with	a tab.

      - kept
    """
print(textwrap.fill(textwrap.dedent(TEXT), 30))
print(textwrap.indent(textwrap.dedent(TEXT), "> ", lambda line: True))
print(textwrap.shorten("one two three four", 12, placeholder="..."))
pprint.pprint({"key%d" % n: list(range(n * 3)) for n in range(6)}, width=40, compact=True)
