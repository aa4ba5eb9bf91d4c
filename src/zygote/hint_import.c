/* SPDX-License-Identifier: Apache-2.0 */
/* Hints about imports: a module that is not installed, and an import that the program forgot.
 *
 * hint.c calls this file for a NameError, hint_package.c for a ModuleNotFoundError.  hint.def knows the
 * packages that have a module and the imports that have a name.  What must never happen here: an
 * import, or advice to import a name to which the program itself gives a value. */
#include "zygote/hint_parts.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *debian, *pypi;
} modules[] = {
#define MODULE(name, debian, pypi) { name, debian, pypi },
#include "zygote/hint.def"
#undef MODULE
};

static const struct {
    const char *name, *sentence;
} module_names[] = {
#define MODULE_NAME(name, sentence) { name, sentence },
#include "zygote/hint.def"
#undef MODULE_NAME
};

static bool is_imported(PyObject *name)
{
    return PyDict_Contains(PyImport_GetModuleDict(), name) > 0;
}

static bool is_of_python(PyObject *name)
{
    PyObject *known = PySys_GetObject("stdlib_module_names");

    return known && PySet_Contains(known, name) > 0;
}

/* The module @top, which is not there. */
static void hint_top(struct buf *out, PyObject *top)
{
    for (size_t i = 0; i < sizeof(module_names) / sizeof(*module_names); i++)
        if (is_text(top, module_names[i].name)) {
            buf_adds(out, module_names[i].sentence);
            return;
        }
    if (is_of_python(top)) /* what its absence means is not known here */
        return;
    for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
        if (is_text(top, modules[i].name)) {
            buf_addf(out,
                     "it is not installed for programs here; the server's operator can add it: apt-get install %s, or "
                     "hatchery env add with %s",
                     modules[i].debian, modules[i].pypi);
            return;
        }
    buf_adds(
        out,
        "no package installed for programs here has it (GET /v1/packages lists them); the server's operator can add "
        "packages: apt-get install, or hatchery env add");
}

void hint_missing(struct buf *out, PyObject *value)
{
    PyObject *text = only_text(value);
    const char *name = bytes_of(((PyImportErrorObject *) value)->name);
    size_t n = strcspn(name, ".");
    char expected[200], directory[200];

    snprintf(expected, sizeof(expected), "No module named '%s'", name);
    snprintf(directory, sizeof(directory), "/%.*s/", (int) n, name);
    if (!n || !text || strcmp(bytes_of(text), expected) != 0 || passes(value, directory))
        return; /* a part of a package that is there: hint_package.c */
    PyObject *top = PyUnicode_FromStringAndSize(name, (Py_ssize_t) n);
    if (top && !is_imported(top))
        hint_top(out, top);
    Py_XDECREF(top);
    PyErr_Clear();
}

static const struct {
    const char *name, *import;
    bool is_module;
} names[] = {
#define NAME_MODULE(name, import) { name, import, true },
#define NAME_MEMBER(name, import) { name, import, false },
#include "zygote/hint.def"
#undef NAME_MODULE
#undef NAME_MEMBER
};

/* Is the word that ends before @p, with blanks between them, one that gives a name its value? */
static bool follows_binding(const char *text, const char *p)
{
    while (p > text && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    const char *end = p;
    while (p > text && is_of_word(p[-1]))
        p--;
    return is_among(p, (size_t) (end - p), "import from as def class for del global nonlocal ");
}

/* The name at @p is an attribute's, or a part of a longer one, or in a comment. */
static bool is_no_use(const char *text, const char *p, size_t n)
{
    const char *line = p;

    while (line > text && line[-1] != '\n')
        line--;
    return (p > text && (is_of_word(p[-1]) || p[-1] == '.')) || is_of_word(p[n])
           || memchr(line, '#', (size_t) (p - line));
}

/* May a missing import be why @name is not defined? Only where @source uses it and nowhere gives it a value. */
static bool is_only_used(PyObject *source, const char *name, const char *followed_by)
{
    const char *text = bytes_of(source);
    size_t n = strlen(name);

    for (const char *p = text; (p = strstr(p, name)); p += n) {
        if (is_no_use(text, p, n))
            continue;
        char next = p[n + strspn(p + n, " \t")];
        if (!next || !strchr(followed_by, next) || follows_binding(text, p))
            return false;
    }
    return true;
}

void hint_import(struct buf *out, PyObject *name, PyObject *source)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (is_text(name, names[i].name) && is_only_used(source, names[i].name, names[i].is_module ? ".'\"" : ".(['\""))
            buf_addf(out, "an import is missing: %s", names[i].import);
}
