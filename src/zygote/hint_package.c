/* SPDX-License-Identifier: Apache-2.0 */
/* Hints about packages that are there and do not work: a shared library is missing, compiled parts are for
 * another Python, or the name came with a later Python.
 *
 * hint.c calls this file for an ImportError, an AttributeError and an OSError without a number.
 * Packages word their own ImportError around the one that tells why, so this file looks along the
 * chain of exceptions.  What must never happen here: a sentence about a package that the program
 * wrote into its working directory. */
#include "zygote/hint_parts.h"

#include "box/box.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *library, *debian;
} libraries[] = {
#define LIBRARY(library, debian) { library, debian },
#include "zygote/hint.def"
#undef LIBRARY
};

static const struct {
    const char *module, *name;
    int minor;
} later[] = {
#define LATER(module, name, minor) { module, name, minor },
#include "zygote/hint.def"
#undef LATER
};

#define STRING(x) #x
#define VERSION_OF(major, minor) STRING(major) "." STRING(minor)
static const char version[] = VERSION_OF(PY_MAJOR_VERSION, PY_MINOR_VERSION);

/* --- shared libraries --- */

/* What the dynamic linker says of the library whose name is the @n bytes at @name. */
static void hint_missing_library(struct buf *out, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++)
        if (strncmp(libraries[i].library, name, n) == 0 && !libraries[i].library[n]) {
            buf_addf(
                out,
                "the shared library %s is not installed for programs here; the server's operator can add it: apt-get "
                "install %s",
                libraries[i].library, libraries[i].debian);
            return;
        }
    buf_addf(
        out,
        "the shared library %.*s is not installed for programs here; the server's operator can add it: apt-file search "
        "%.*s tells Debian's package",
        (int) n, name, (int) n, name);
}

/* One exception's words. */
static void hint_linker(struct buf *out, const char *text)
{
    const char *missing = strstr(text, ": cannot open shared object file: No such file or directory");
    size_t n = missing ? (size_t) (missing - text) : 0;

    if (n && strncmp(text, "lib", 3) == 0 && strcspn(text, "/ \n") > n)
        hint_missing_library(out, text, n);
    else if (strstr(text, ": failed to map segment from shared object"))
        buf_adds(out, "programs here can load no machine code that they wrote: the server's operator can install the "
                      "package (hatchery env add)");
    else if (strstr(text, ": version `GLIBC"))
        buf_addf(
            out,
            "the package was built for a newer system than the server's: the server's operator can install it there, "
            "with Python %s (hatchery env add NAME --requirements FILE)",
            version);
}

void hint_library(struct buf *out, PyObject *value)
{
    for (int i = 0; value && i < CHAIN_MAX && !out->len; i++, value = before(value))
        if (PyObject_TypeCheck(value, (PyTypeObject *) PyExc_ImportError)
            || PyObject_TypeCheck(value, (PyTypeObject *) PyExc_OSError))
            hint_linker(out, bytes_of(only_text(value)));
}

/* --- compiled parts --- */

/* Would this Python import the file @name as the module @stem, an ASCII name? Then it is not for another. */
static bool is_ours(const char *name, const char *stem)
{
    PyObject *python = PySys_GetObject("implementation");
    PyObject *tag = python ? PyObject_GetAttrString(python, "cache_tag") : NULL;
    PyObject *arch = python ? PyObject_GetAttrString(python, "_multiarch") : NULL;
    char ours[256];

    snprintf(ours, sizeof(ours), ".%s-%s.so", bytes_of(tag), bytes_of(arch));
    Py_XDECREF(tag);
    Py_XDECREF(arch);
    PyErr_Clear();
    name += strlen(stem);
    return strcmp(name, ours) == 0 || strcmp(name, ".abi3.so") == 0 || strcmp(name, ".so") == 0;
}

static bool is_compiled(const char *name, const char *stem)
{
    size_t n = strlen(name), len = strlen(stem);
    bool named = strncmp(name, stem, len) == 0 && name[len] == '.';

    return named && ((n > 3 && strcmp(name + n - 3, ".so") == 0) || (n > 4 && strcmp(name + n - 4, ".pyd") == 0));
}

/* A file of @directory that is the module @stem for another Python than this, in @ret; false if there is none. */
static bool find_foreign(const char *directory, const char *stem, char ret[static 256])
{
    DIR *d = opendir(directory);
    bool found = false, ours = false;

    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (!is_compiled(entry->d_name, stem))
            continue;
        ours |= is_ours(entry->d_name, stem);
        found = true;
        snprintf(ret, 256, "%s", entry->d_name);
    }
    if (d)
        closedir(d);
    return found && !ours;
}

/* `No module named 'a.b.c'`, raised by a file of the package a that is not the program's own: where a/b is, and c. */
static bool part_of_module(PyObject *value, const char *name, char directory[static 1024], char stem[static 256])
{
    const char *file, *last = strrchr(name, '.');
    char top[300];
    int line;

    snprintf(top, sizeof(top), "/%.*s/", (int) strcspn(name, "."), name);
    if (!last || !innermost(value, &file, &line))
        return false;
    const char *at = strstr(file, top);
    if (!at || strncmp(file, HOME_DIR, strlen(HOME_DIR)) == 0)
        return false;
    int n = snprintf(directory, 1024, "%.*s/%.*s", (int) (at - file), file, (int) (last - name), name);
    for (char *p = directory + (at - file); n < 1024 && *p; p++)
        *p = *p == '.' ? '/' : *p;
    snprintf(stem, 256, "%s", last + 1);
    return n < 1024;
}

/* `cannot import name 'c' from 'a.b' (.../a/b/__init__.py)`: the same. */
static bool part_of_name(const PyImportErrorObject *e, char directory[static 1024], char stem[static 256])
{
    static const char begin[] = "cannot import name '";
    const char *text = bytes_of(e->msg), *path = bytes_of(e->path), *slash = strrchr(path, '/');

    if (strncmp(text, begin, sizeof(begin) - 1) != 0 || !slash || strcmp(slash, "/__init__.py") != 0
        || strncmp(path, HOME_DIR, strlen(HOME_DIR)) == 0)
        return false;
    text += sizeof(begin) - 1;
    snprintf(directory, 1024, "%.*s", (int) (slash - path), path);
    snprintf(stem, 256, "%.*s", (int) strcspn(text, "'"), text);
    return true;
}

/* @value says that a part of a package is missing; @whole: that ended the import. */
static void hint_part(struct buf *out, PyObject *value, bool whole)
{
    const PyImportErrorObject *e = (const PyImportErrorObject *) value;
    bool module = (PyObject *) Py_TYPE(value) == PyExc_ModuleNotFoundError;
    const char *name = module ? bytes_of(e->name) : "";
    char directory[1024], stem[256], foreign[256];

    if (!(module ? part_of_module(value, name, directory, stem) : part_of_name(e, directory, stem)))
        return;
    if (find_foreign(directory, stem, foreign))
        buf_addf(
            out,
            "the package is installed for another Python (%.100s): the server's operator can install it with Python %s "
            "(hatchery env add NAME --requirements FILE)",
            foreign, version);
    else if (module && whole)
        buf_addf(
            out,
            "the package is installed, but its part %.100s is missing: the server's operator can install it again, "
            "with Python %s (hatchery env add NAME --requirements FILE)",
            name, version);
}

/* A package that catches an ImportError and raises one in its own words: the first tells why. */
static bool has_own_words(PyObject *value)
{
    const char *file;
    int line;

    return innermost(value, &file, &line) && strcmp(file, "main.py") != 0;
}

void hint_package(struct buf *out, PyObject *value, PyObject *source)
{
    int n = has_own_words(value) ? CHAIN_MAX : 1;

    if (by_hand(value, source))
        return;
    hint_library(out, value);
    for (int i = 0; value && i < n && !out->len; i++, value = before(value)) {
        if (!PyObject_TypeCheck(value, (PyTypeObject *) PyExc_ImportError))
            continue;
        hint_part(out, value, i == 0);
        if (!out->len && (PyObject *) Py_TYPE(value) == PyExc_ModuleNotFoundError)
            hint_missing(out, value);
    }
}

/* --- names of later Pythons --- */

/* Has @value, an ImportError or an AttributeError, not found @name in @module? */
static bool lacks_name(PyObject *value, const char *module, const char *name)
{
    char words[300];

    if ((PyObject *) Py_TYPE(value) == PyExc_ImportError) {
        const PyImportErrorObject *e = (const PyImportErrorObject *) value;
        int n = snprintf(words, sizeof(words), "cannot import name '%s' from '%s'", name, module);
        return strncmp(bytes_of(e->msg), words, (size_t) n) == 0;
    }
    const PyAttributeErrorObject *e = (const PyAttributeErrorObject *) value;
    return e->obj && e->obj == PyDict_GetItemString(PyImport_GetModuleDict(), module) && is_text(e->name, name);
}

void hint_later(struct buf *out, PyObject *value, PyObject *source)
{
    for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
        if (later[i].minor > PY_MINOR_VERSION && lacks_name(value, later[i].module, later[i].name)
            && !by_hand(value, source))
            buf_addf(out, "%s.%s came with Python 3.%d, and programs here run under Python %s: write it without",
                     later[i].module, later[i].name, later[i].minor, version);
}
