/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of hint.h share; nobody else includes this header.
 *
 * None of these functions runs code of the program, and none leaves a Python exception set.  What a
 * function returns is borrowed from its argument. */
#ifndef HATCHERY_ZYGOTE_HINT_PARTS_H
#define HATCHERY_ZYGOTE_HINT_PARTS_H

#include "base/buf.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

/* --- hint_look.c: objects and words --- */

/* Is @text a str with just these @words, which are ASCII? NULL is none. */
bool is_text(PyObject *text, const char *words);

/* The UTF-8 bytes of @text, or "" if it is NULL or no str. */
const char *bytes_of(PyObject *text);

/* The only argument of the exception @value, if it has one and that is a str; else NULL. */
PyObject *only_text(PyObject *value);

/* Is @type the class @name of @module or of a part of @module? A type of C's says so in its tp_name,
 * one of Python's in its __module__. */
bool is_called(PyTypeObject *type, const char *module, const char *name);

/* Is the word at @word, of @n bytes, in the list @words? A blank follows each word of the list. */
bool is_among(const char *word, size_t n, const char *words);

/* Can @c be part of a name? A byte of UTF-8 that is not ASCII can. */
bool is_of_word(char c);

/* --- hint_look.c: where an exception came from; @value is the exception, @source the program's text --- */

/* The file and the line of the innermost frame; false, and both as they were, if there is no frame. */
bool innermost(PyObject *value, const char **ret_file, int *ret_line);

/* Does the name of a file in the traceback contain @file? */
bool passes(PyObject *value, const char *file);

/* Does the line @line of @source, counted from 1, contain @word? */
bool line_has(PyObject *source, int line, const char *word);

/* The innermost frame of main.py itself: does its line contain @word? */
bool came_by(PyObject *value, PyObject *source, const char *word);

/* Has a `raise` of the program's own raised it? Then it may say anything. True too if there is no frame. */
bool by_hand(PyObject *value, PyObject *source);

/* --- hint_import.c --- */

/* Append to @out what helps with @value, a ModuleNotFoundError, or nothing. */
void hint_module(struct buf *out, PyObject *value, PyObject *source);

/* Append to @out the import that would define @name, a str or NULL, or nothing. */
void hint_import(struct buf *out, PyObject *name, PyObject *source);

/* --- hint_epoll.c --- */

extern const char no_epoll[]; /* the sentence for who needs it */

/* Does the kernel give this box an epoll? One system call, or two. */
bool has_epoll(void);

/* Append to @out what helps with @value, an ImportError or an AttributeError, if epoll is what it misses. Knows of
 * packages that use epoll too. */
void hint_epoll(struct buf *out, PyObject *value, PyObject *source);

#endif
