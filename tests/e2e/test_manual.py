# SPDX-License-Identifier: Apache-2.0
"""The manual pages, the configuration file and the completion say what the code's tables say: all of it, nothing else."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import tables
from service import HATCHERY, ROOT, VERSION, environment, hatchery

MAN = ROOT / "build" / "man"
PAGES = ["hatchery.1", "hatchery.conf.5", "hatchery-api.7"]
COMPLETION = ROOT / "packaging" / "hatchery.bash-completion"
ESCAPES = {r"\-": "-", r"\e": "\\", r"\(aq": "'", r"\(ga": "`", r"\(dq": '"', r"\(ti": "~", r"\(ha": "^", r"\&": ""}


def plain(text):
    """What a reader sees of a line of roff."""
    text = re.sub(r"\\f[BIR]", "", text)
    return re.sub(r"\\(?:\(..|.)", lambda match: ESCAPES[match[0]], text)


def section(page, heading):
    """The lines below .SH @heading."""
    text = (MAN / page).read_text()
    match = re.search(rf'^\.SH "?{heading}"?\n(.*?)(?=^\.SH |\Z)', text, re.M | re.S)
    assert match, f"{page} has no section {heading}"
    return match[1].splitlines()


def paragraphs(lines):
    """[(the .SS above it, tag, text)] of all tagged paragraphs."""
    found, above = [], ""
    for i, line in enumerate(lines):
        if line.startswith(".SS "):
            above = line[4:]
        elif line == ".TP":
            tag = lines[i + 1]
            if tag.startswith("."):
                words = re.findall(r'"[^"]*"|\S+', tag)[1:]
                tag = "".join(word.strip('"') for word in words)
            rest = []
            for line in lines[i + 2:]:
                if line.startswith((".TP", ".S", ".PP")):
                    break
                rest.append(line)
            found.append((above, plain(tag), plain(" ".join(rest))))
    return found


# --- hatchery(1) ---


def verbs():
    return [(word, text, sentences) for word, _, text, sentences, _ in tables.entries("command/verbs.def", "VERB")]


def test_every_verb_and_option():
    table = tables.entries("command/verbs.def", "VERB")
    assert len(table) >= 7
    found = [(tag, text) for _, tag, text in paragraphs(section("hatchery.1", "VERBS"))]
    assert found[:len(table)] == [(f"hatchery {verb} {text}", f"{sentences} For example {example}")
                                  for verb, _, text, sentences, example in table]
    options = {(word, argument): sentence for word, _, argument, sentence in tables.entries("command/verbs.def", "OPTION")}
    options.update({(word, ""): sentence for word, _, sentence in tables.entries("command/verbs.def", "FLAG")})
    found = [(tag, text) for _, tag, text in paragraphs(section("hatchery.1", "OPTIONS"))]
    assert sorted(found) == sorted((f"--{word} {argument}".strip(), text) for (word, argument), text in options.items())
    # and each of them is an option of some verb, each option of a verb is one of them
    assert {option for _, text, _ in verbs() for option in re.findall(r"--([a-z-]+)", text)} == {word for word, _ in options}


def test_options_take_what_they_say():
    for word, _, argument, _ in tables.entries("command/verbs.def", "OPTION"):
        verb = next(verb for verb, text, _ in verbs() if f"--{word}" in text)
        result = hatchery(verb, f"--{word}")
        assert result.returncode == 2 and "needs a value" in result.stderr
    for word, _, _ in tables.entries("command/verbs.def", "FLAG"):
        verb = next(verb for verb, text, _ in verbs() if f"--{word}" in text)
        result = hatchery(verb, f"--{word}=x")
        assert result.returncode == 2 and "takes no value" in result.stderr


# --- hatchery.conf(5) ---


def test_every_key():
    expected = []
    for name, key, kind, default, *_, when, doc in tables.entries("conf/conf.def", "CONF"):
        bounds = {"COUNT": "A number from ", "BYTES": "A size from ", "TIME": "A time from ", "BOOL": "It is yes or no."}.get(kind, "")
        ending = "Read again at SIGHUP." if when == "LIVE" else "A change needs a restart."
        expected.append((f"[{name}]", f"{key} = {default}", doc, bounds, ending))
    for key, kind, default, *_, doc in tables.entries("conf/conf.def", "RUNTIME"):
        bounds = {"COUNT": "A number from ", "BYTES": "A size from ", "TIME": "A time from ", "BOOL": "It is yes or no."}.get(kind, "")
        expected.append(("[runtime.NAME]", f"{key} = {default}", doc, bounds, "A change needs a restart."))
    assert len(expected) > 45
    found = paragraphs(section("hatchery.conf.5", "KEYS"))
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    for (_, _, text), (_, key, doc, bounds, ending) in zip(found, expected):
        assert text.startswith(f"{doc} {bounds}") and text.endswith(ending), key


@pytest.mark.parametrize("key, bounds", [("max_connections", "from 1 to 65536"), ("head_timeout", "from 100ms to 1h"),
                                         ("max_body", "from 1K to 1G"), ("drain_delay", "from 0 to 10min")])
def test_bounds_are_those_that_are_checked(key, bounds):
    text = next(text for _, tag, text in paragraphs(section("hatchery.conf.5", "KEYS")) if tag.startswith(f"{key} ="))
    assert bounds in text
    least, most = bounds.split()[1::2]
    above = {"65536": "65537", "1h": "61min", "1G": "1025M", "10min": "601s"}[most]
    for value, is_refused in ((least, False), (most, False), (above, True)):
        errors = hatchery("check-config", env={f"HATCHERY_SERVER_{key.upper()}": value}).stderr
        assert ("is out of bounds" in errors) == is_refused, (value, errors)


def test_every_layer():
    expected = [("", word + (" (always)" if kind == "ALWAYS" else ""), what)
                for _, word, kind, what, _ in tables.entries("box/layers.def", "LAYER")]
    assert paragraphs(section("hatchery.conf.5", "LAYERS OF THE JAIL")) == expected and len(expected) > 10


# --- hatchery-api(7) ---


def test_every_route():
    paths = dict(tables.entries("server/api/routes.def", "PATH"))
    found = {tag: text for _, tag, text in paragraphs(section("hatchery-api.7", "ROUTES"))}
    expected = tables.entries("server/api/routes.def", "ROUTE")
    assert list(found) == [f"{method} {paths[path]}" for method, path, *_ in expected] and len(expected) > 15
    for method, path, flags, _, operation, summary, _, _, replies in expected:
        text = found[f"{method} {paths[path]}"]
        assert text.startswith(summary) and f"operation {operation};" in text
        assert ("Needs a key" in text) == ("ROUTE_KEY" in flags)
        assert text.endswith("answers " + ", ".join(word.partition(":")[0] for word in replies.split()) + ".")


def test_every_status():
    found = [(tag, text) for _, tag, text in paragraphs(section("hatchery-api.7", "STATUSES"))]
    expected = [(code, f"{reason}." + ("" if sentence == "NULL" else f" Refused before anything is run: {sentence}."))
                for code, reason, sentence in tables.entries("server/http/status.def", "STATUS")]
    assert found == expected and len(found) > 15


def test_every_outcome():
    words = {entry[0]: dict(re.findall(r'WORD\((\w+), "(\w+)"\)', entry[2]))
             for entry in tables.entries("server/metrics/metrics.def", "LABEL")}["OUTCOME"]
    expected = {}
    for _, status, reason, word in tables.entries("base/outcome.def", "OUTCOME"):
        expected.setdefault(reason or "none (exit code 0)", f"Status {status}; in the metrics {words[f'ENDED_{word}']}.")
    found = {tag: text for _, tag, text in paragraphs(section("hatchery-api.7", "REASONS"))}
    assert found == expected and len(found) > 8


def test_every_metric():
    found = paragraphs(section("hatchery-api.7", "METRICS"))
    expected = tables.metrics()
    assert [tag for _, tag, _ in found] == [name + (f"{{{', '.join(labels)}}}" if labels else "")
                                            for name, (_, _, labels, _) in expected.items()]
    kinds = {"COUNTER": "Counter.", "GAUGE": "Gauge.", "HISTOGRAM": "Histogram.", "INFO": "Always 1;"}
    for (_, _, text), (name, (kind, _, _, sentence)) in zip(found, expected.items()):
        assert text.startswith(f"{sentence} {kinds[kind]}"), name
    for _, label, words in tables.entries("server/metrics/metrics.def", "LABEL"):
        line = f"{label} is one of " + ", ".join(re.findall(r'"(\w+)"', words)) + "."
        assert any(line in text for _, _, text in found), line


def test_every_member_of_a_request():
    text = (ROOT / "src/server/api/docs/components.json").read_text()
    program = re.search(r'"Program": \{.*?"properties": \{(.*?)\n      \}', text, re.S)[1]
    members = re.findall(r'^        "(\w+)": \{', program, re.M)
    assert [tag for _, tag, _ in paragraphs(section("hatchery-api.7", "RUNNING A PROGRAM"))] == members


def test_every_parameter():
    text = (ROOT / "src/server/api/docs/components.json").read_text()
    block = text.partition('"parameters": {\n')[2].partition("\n  },")[0]
    expected = [tuple(json.loads('"%s"' % word) for word in found)
                for found in re.findall(r'\{"name": "([^"]+)", "in": "\w+".*?"description": "((?:[^"\\]|\\.)*)"', block)]
    found = [(tag, text) for _, tag, text in paragraphs(section("hatchery-api.7", "PARAMETERS"))]
    assert found == expected and len(found) >= 6 and len(expected) == block.count('"in": ')


# --- all pages ---


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wrong_with_a_page(page):
    text = (MAN / page).read_text()
    assert not re.search(r"@[A-Z]+@", text)
    assert f'"Hatchery {VERSION}"' in text.split("\n")[1]
    if shutil.which("mandoc"):
        result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", MAN / page], capture_output=True, text=True)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    if shutil.which("man") and shutil.which("groff"):
        result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", MAN / page], capture_output=True, text=True,
                                env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "100"})
        assert result.returncode == 0 and result.stderr == ""
        assert len(result.stdout) > 2000


# --- hatchery.conf ---


def test_the_file_is_the_defaults(tmp_path):
    """As it is installed it changes nothing; with each line in force neither."""
    text = (MAN / "hatchery.conf").read_text()
    assert not [line for line in text.splitlines() if line and not line.startswith(("#", "["))]
    every = tmp_path / "every.conf"
    every.write_text(re.sub(r"^#(\w+ =)", r"\1", text, flags=re.M))
    keys = tables.entries("conf/conf.def", "CONF")
    assert len(re.findall(r"^\w+ =", every.read_text(), re.M)) == len(keys)
    values = {}
    for name, arguments in {"none": (), "plain": ("--config", MAN / "hatchery.conf"), "every": ("--config", every)}.items():
        result = hatchery("print-config", *map(str, arguments), env={"HATCHERY_CONFIG": os.devnull} if not arguments else None)
        assert result.returncode == 0, result.stderr
        values[name] = re.findall(r"^(\[\w+\]|\w+ = ?.*?)(?: *[;#] .*)?$", result.stdout, re.M)
    assert values["none"] == values["plain"] == values["every"]
    assert len(values["none"]) >= len(keys)


@pytest.mark.skipif(os.geteuid() != 0, reason="the installed file is root's")
def test_root_reads_the_installed_file():
    confdir = re.search(r"^\.I (\S+)/hatchery\.conf$", (MAN / "hatchery.conf.5").read_text(), re.M)[1]
    top = next(str(path) for path in pathlib.Path(confdir).parents if path.is_dir())

    def ask(script, *arguments, env=None):
        """In a mount namespace of its own, where nothing is in the directory of configurations but what we put there."""
        prepare = f"mount -t tmpfs none {top} && mkdir -p {confdir} && chmod 755 {top} && {script} && exec \"$@\""
        return hatchery(*arguments, env=env, prefix=("unshare", "-m", "sh", "-c", prepare, "sh"))

    write = f"printf '[limits]\\nmemory = 77M\\n' > {confdir}/hatchery.conf"
    # without a file there is nothing to say
    assert "memory = 512M" in ask("true", "print-config").stdout
    found = ask(write, "print-config").stdout
    assert re.search(rf"; {confdir}/hatchery.conf:2\nmemory = 77M\n", found), found
    # another is named: that one alone
    assert "memory = 512M" in ask(write, "print-config", "--config", os.devnull).stdout
    assert "memory = 512M" in ask(write, "print-config", env={"HATCHERY_CONFIG": os.devnull}).stdout
    # a wrong one is an error, one that can't be read is an error
    wrong = ask(f"echo nonsense > {confdir}/hatchery.conf", "check-config")
    assert wrong.returncode == 1 and f"{confdir}/hatchery.conf:1: " in wrong.stderr
    unreadable = ask(f"mkdir {confdir}/hatchery.conf", "check-config")
    assert unreadable.returncode == 1 and f"{confdir}/hatchery.conf: " in unreadable.stderr
    # an ordinary user's command has none
    user = ask(f"{write} && chmod 0 {confdir}/hatchery.conf && echo 'exec setpriv --reuid 65534 --regid 65534 --clear-groups "
               f"\"{HATCHERY}\" print-config' > {confdir}/ask && exec sh {confdir}/ask; exit", "print-config")
    assert "memory = 512M" in user.stdout, user.stderr


# --- completion ---


def complete(*words, directory=None):
    """What bash would offer for the last of these words."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hatchery; printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "--norc", "-u", "-c", script, "bash", COMPLETION, HATCHERY, *words], capture_output=True,
                            text=True, env=environment(), cwd=directory, timeout=20)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return sorted(result.stdout.split())


def test_completion_of_verbs():
    names = [verb for verb, _, _ in verbs()]
    assert complete("") == sorted([*names, "help", "--help", "--version"])
    assert complete("s") == ["selftest", "serve"]
    assert complete("nonsense") == []
    assert complete("help", "") == sorted([*names, "config"]) and complete("help", "key", "") == []


def test_completion_of_options():
    for verb, text, _ in verbs():
        assert complete(verb, "-") == sorted({*re.findall(r"--[a-z-]+", text), "--help"})
    assert complete("serve", "--generate-key", "--l") == ["--listen"]
    assert complete("run", "--timeout", "") == []  # a number is the user's to say
    assert complete("key", "new", "name", "--rate", "") == []
    assert complete("nonsense", "-") == ["--help"]


def test_completion_of_arguments(tmp_path):
    for name in ("one.py", "two.py", "other.conf"):
        (tmp_path / name).touch()
    assert complete("key", "") == ["list", "new", "revoke"]
    assert complete("key", "new", "") == []
    assert complete("run", "o", directory=tmp_path) == ["one.py", "other.conf"]
    assert complete("run", "--timeout", "5", "t", directory=tmp_path) == ["two.py"]
    assert complete("serve", "", directory=tmp_path) == []
    assert complete("serve", "--config", "o", directory=tmp_path) == ["one.py", "other.conf"]
    assert complete("serve", "--state", "no", directory=tmp_path) == ["none"]
    assert complete("check-config", "oth", directory=tmp_path) == ["other.conf"]
    (tmp_path / "tree").mkdir()
    assert complete("env", "add", "name", "--from", "t", directory=tmp_path) == ["tree"]
    assert complete("env", "add", "name", "--requirements", "o", directory=tmp_path) == ["one.py", "other.conf"]
