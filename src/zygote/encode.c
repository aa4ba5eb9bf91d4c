/* SPDX-License-Identifier: Apache-2.0 */
/* A Python value as JSON, through the C API only.
 *
 * Called by ending.c in the box after the program has returned.  The program shares
 * this address space and may have subclassed or replaced anything, so only exact
 * base-type storage is read and no method of the value is called. */
#include "zygote/encode.h"

#include "zygote/hint.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct encoder {
    struct buf *out;
    char *reason;
    size_t reason_size;
    struct buf *hint;
    unsigned depth;
    unsigned failed_depth;          /* depth of the value that was refused */
    PyObject *open[ENCODE_DEPTH];   /* the containers around the current value */
    PyObject *key[ENCODE_DEPTH];    /* where we are in each container: the key in a dict, */
    Py_ssize_t index[ENCODE_DEPTH]; /* the index in a sequence (its key is NULL) */
};

static int encode(struct encoder *e, PyObject *value);

__attribute__((format(printf, 2, 3))) static int refuse(struct encoder *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->reason, e->reason_size, fmt, ap);
    va_end(ap);
    e->failed_depth = e->depth;
    return -EINVAL;
}

static bool is_identifier(const char *text)
{
    return *text && (*text < '0' || *text > '9')
           && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

static void add_key(struct buf *place, PyObject *key)
{
    const char *text = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;

    PyErr_Clear();
    if (text && is_identifier(text) && strlen(text) <= 40)
        buf_addf(place, "%s%s", place->len ? "." : "", text);
    else if (text)
        buf_addf(place, "[\"%.40s\"]", text);
    else if (PyLong_CheckExact(key))
        buf_addf(place, "[%ld]", PyLong_AsLong(key));
    else
        buf_adds(place, "[...]");
    PyErr_Clear();
}

/* The place as Python would write it: rows[3].date. Nothing for the whole value, and only the end
 * of a deep place. */
static void add_place(struct encoder *e)
{
    struct buf place;
    size_t len = strlen(e->reason);

    buf_init(&place, 240);
    for (unsigned i = e->failed_depth > 6 ? e->failed_depth - 6 : 0; i < e->failed_depth; i++)
        if (e->key[i])
            add_key(&place, e->key[i]);
        else
            buf_addf(&place, "[%zd]", e->index[i]);
    if (place.len)
        snprintf(e->reason + len, e->reason_size - len, " (at %s%.*s)", e->failed_depth > 6 ? "..." : "",
                 (int) place.len, place.data);
    buf_free(&place);
}

/* The pending Python exception's text as the reason. */
static int refuse_pending(struct encoder *e)
{
    PyObject *type, *error, *tb;
    PyErr_Fetch(&type, &error, &tb);
    PyObject *text = error ? PyObject_Str(error) : NULL;
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    int err = refuse(e, "%s", utf8 ? utf8 : "the value can't be read");
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(tb);
    PyErr_Clear();
    return err;
}

static int encode_char(struct buf *out, Py_UCS4 c)
{
    switch (c) {
    case '"': return buf_adds(out, "\\\"");
    case '\\': return buf_adds(out, "\\\\");
    case '\n': return buf_adds(out, "\\n");
    case '\r': return buf_adds(out, "\\r");
    case '\t': return buf_adds(out, "\\t");
    }
    /* lone surrogates stay as they are */
    if (c < 0x20 || c == 0x7f || (c >= 0xd800 && c <= 0xdfff))
        return buf_addf(out, "\\u%04x", (unsigned) c);
    /* UTF-8: characters below[i] have i bytes after the first, which begins with mark[i] */
    static const Py_UCS4 below[] = { 0x80, 0x800, 0x10000, 0x110000 };
    static const unsigned char mark[] = { 0, 0xc0, 0xe0, 0xf0 };
    char utf8[4];
    size_t n = 0;
    unsigned rest = 0;
    while (c >= below[rest])
        rest++;
    utf8[n++] = (char) (mark[rest] | c >> 6 * rest);
    while (rest-- > 0)
        utf8[n++] = (char) (0x80 | ((c >> 6 * rest) & 0x3f));
    return buf_add(out, utf8, n);
}

static int encode_str(struct encoder *e, PyObject *value)
{
    if (PyUnicode_READY(value) < 0)
        return refuse_pending(e);
    int kind = PyUnicode_KIND(value);
    const void *data = PyUnicode_DATA(value);
    Py_ssize_t n = PyUnicode_GET_LENGTH(value);

    buf_addc(e->out, '"');
    for (Py_ssize_t i = 0; i < n && !e->out->full; i++)
        encode_char(e->out, PyUnicode_READ(kind, data, i));
    buf_addc(e->out, '"');
    return 0;
}

static int encode_int(struct encoder *e, PyObject *value)
{
    PyObject *text = PyLong_Type.tp_repr(value);
    const char *digits = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!digits) {
        Py_XDECREF(text);
        return refuse_pending(e);
    }
    buf_adds(e->out, digits);
    Py_DECREF(text);
    return 0;
}

static const char *word_of_infinite(double d)
{
    if (Py_IS_NAN(d))
        return "nan";
    return d > 0 ? "inf" : "-inf";
}

static int encode_float(struct encoder *e, PyObject *value)
{
    double d = PyFloat_AS_DOUBLE(value);
    if (!Py_IS_FINITE(d)) {
        buf_adds(e->hint, "return None in its place: JSON has no such number (in a list: [v if math.isfinite(v) else "
                          "None for v in x], with "
                          "import math; a DataFrame's to_json() writes null for it)");
        return refuse(e, "Out of range float values are not JSON compliant: %s", word_of_infinite(d));
    }
    char *digits = PyOS_double_to_string(d, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!digits)
        return refuse_pending(e);
    buf_adds(e->out, digits);
    PyMem_Free(digits);
    return 0;
}

static int encode_key(struct encoder *e, PyObject *key)
{
    if (PyUnicode_Check(key))
        return encode_str(e, key);
    if (key != Py_None && !PyLong_Check(key) && !PyFloat_Check(key)) {
        buf_adds(e->hint, "return str(key) in its place");
        refuse(e, "keys must be str, int, float, bool or None, not %.100s", Py_TYPE(key)->tp_name);
        e->failed_depth--; /* the place is the dict, not the key */
        return -EINVAL;
    }
    buf_addc(e->out, '"');
    int err = encode(e, key);
    buf_addc(e->out, '"');
    return err;
}

static int encode_dict(struct encoder *e, PyObject *value)
{
    PyObject *key, *item;
    Py_ssize_t pos = 0;
    int err = 0;

    buf_addc(e->out, '{');
    for (int first = 1; !err && PyDict_Next(value, &pos, &key, &item); first = 0) {
        if (!first)
            buf_adds(e->out, ", ");
        e->key[e->depth - 1] = key;
        err = encode_key(e, key);
        if (err)
            break;
        buf_adds(e->out, ": ");
        err = encode(e, item);
    }
    buf_addc(e->out, '}');
    return err;
}

static int encode_sequence(struct encoder *e, PyObject *value)
{
    int err = 0;

    buf_addc(e->out, '[');
    for (Py_ssize_t i = 0; !err && i < PySequence_Fast_GET_SIZE(value); i++) {
        if (i)
            buf_adds(e->out, ", ");
        e->index[e->depth - 1] = i;
        err = encode(e, PySequence_Fast_GET_ITEM(value, i));
    }
    buf_addc(e->out, ']');
    return err;
}

static int encode_container(struct encoder *e, PyObject *value)
{
    for (unsigned i = 0; i < e->depth; i++)
        if (e->open[i] == value)
            return refuse(e, "Circular reference detected");
    if (e->depth == ENCODE_DEPTH)
        return refuse(e, "the value is nested more than %d levels deep", ENCODE_DEPTH);
    e->key[e->depth] = NULL;
    e->open[e->depth++] = value;
    int err = PyDict_Check(value) ? encode_dict(e, value) : encode_sequence(e, value);
    e->depth--;
    return err;
}

static int encode_word(struct encoder *e, const char *word)
{
    buf_adds(e->out, word);
    return 0;
}

static int encode(struct encoder *e, PyObject *value)
{
    if (e->out->full)
        return refuse(e, "the value is larger than %zu bytes as JSON", e->out->max);
    if (value == Py_None)
        return encode_word(e, "null");
    if (value == Py_True || value == Py_False)
        return encode_word(e, value == Py_True ? "true" : "false");
    if (PyUnicode_Check(value))
        return encode_str(e, value);
    if (PyLong_Check(value))
        return encode_int(e, value);
    if (PyFloat_Check(value))
        return encode_float(e, value);
    if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value))
        return encode_container(e, value);
    hint_result(e->hint, Py_TYPE(value));
    return refuse(e, "Object of type %.100s is not JSON serializable", Py_TYPE(value)->tp_name);
}

int encode_value(struct buf *out, PyObject *value, char *reason, size_t size, struct buf *hint)
{
    struct encoder e; /* not cleared: most of its arrays would be pages that this box has not copied
                       * yet */

    e.out = out;
    e.reason = reason;
    e.reason_size = size;
    e.hint = hint;
    e.depth = 0;
    int err = encode(&e, value);
    if (out->full) {
        buf_reset(hint);
        buf_adds(hint, "return less, or have the server's operator raise limits.result");
        return refuse(&e, "the value is larger than %zu bytes as JSON", out->max);
    }
    if (err < 0)
        add_place(&e);
    return err;
}
