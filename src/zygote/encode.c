/* SPDX-License-Identifier: Apache-2.0 */
/* A Python value as JSON, through the C API only.
 *
 * Called by run.c in the box after the program has returned.  The program shares
 * this address space and may have subclassed or replaced anything, so only exact
 * base-type storage is read and no method of the value is called. */
#include "encode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct encoder {
    struct buf *out;
    char *reason;
    size_t reason_size;
    unsigned depth;
    PyObject *open[ENCODE_DEPTH]; /* the containers around the current value */
};

static int encode(struct encoder *e, PyObject *value);

__attribute__((format(printf, 2, 3))) static int refuse(struct encoder *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->reason, e->reason_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
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
    if (c < 0x20 || c == 0x7f || (c >= 0xd800 && c <= 0xdfff)) /* lone surrogates stay what they are */
        return buf_addf(out, "\\u%04x", (unsigned) c);
    char utf8[4];
    size_t n = 0;
    if (c < 0x80)
        utf8[n++] = (char) c;
    else if (c < 0x800)
        utf8[n++] = (char) (0xc0 | c >> 6);
    else if (c < 0x10000)
        utf8[n++] = (char) (0xe0 | c >> 12);
    else
        utf8[n++] = (char) (0xf0 | c >> 18);
    for (int shift = c < 0x80 ? -6 : c < 0x800 ? 0 : c < 0x10000 ? 6 : 12; shift >= 0; shift -= 6)
        utf8[n++] = (char) (0x80 | ((c >> shift) & 0x3f));
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
    return buf_addc(e->out, '"');
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

static int encode_float(struct encoder *e, PyObject *value)
{
    double d = PyFloat_AS_DOUBLE(value);
    if (!Py_IS_FINITE(d))
        return refuse(e, "Out of range float values are not JSON compliant: %s",
                      Py_IS_NAN(d) ? "nan"
                      : d > 0      ? "inf"
                                   : "-inf");
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
    if (key != Py_None && !PyLong_Check(key) && !PyFloat_Check(key))
        return refuse(e, "keys must be str, int, float, bool or None, not %.100s", Py_TYPE(key)->tp_name);
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
        err = encode_key(e, key);
        if (!err) {
            buf_adds(e->out, ": ");
            err = encode(e, item);
        }
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
    e->open[e->depth++] = value;
    int err = PyDict_Check(value) ? encode_dict(e, value) : encode_sequence(e, value);
    e->depth--;
    return err;
}

static int encode(struct encoder *e, PyObject *value)
{
    if (e->out->full)
        return refuse(e, "the value is larger than %zu bytes as JSON", e->out->max);
    if (value == Py_None || value == Py_True || value == Py_False)
        return buf_adds(e->out, value == Py_None ? "null" : value == Py_True ? "true" : "false"), 0;
    if (PyUnicode_Check(value))
        return encode_str(e, value), 0;
    if (PyLong_Check(value))
        return encode_int(e, value);
    if (PyFloat_Check(value))
        return encode_float(e, value);
    if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value))
        return encode_container(e, value);
    return refuse(e, "Object of type %.100s is not JSON serializable", Py_TYPE(value)->tp_name);
}

int encode_value(struct buf *out, PyObject *value, char *reason, size_t size)
{
    struct encoder e = { .out = out, .reason = reason, .reason_size = size };
    int err = encode(&e, value);
    if (out->full)
        err = refuse(&e, "the value is larger than %zu bytes as JSON", out->max);
    return err;
}
