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

enum { CHAIN_MAX = 16 }; /* so far a chain of exceptions is looked at */

/* What @value was raised from or while, or NULL. */
PyObject *before(PyObject *value);

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

/* Does the program's text contain @word, in small letters or capitals? */
bool text_has(PyObject *source, const char *word);

/* --- hint_file.c; @value is an OSError that the program has not raised by its own hand --- */

extern const char no_pip[]; /* the sentence for a program that wants to install a package */

/* Append to @out what helps with @value, for which a file is missing (ENOENT), or nothing. */
void hint_no_file(struct buf *out, PyObject *value, PyObject *source);

/* Append to @out what helps with @value, where a file may not be used (EACCES), or nothing. */
void hint_no_access(struct buf *out, PyObject *value, PyObject *source);

/* Append to @out a sentence if the first of @words, a shell's, is a file on a file system where nothing can be
 * executed.  One system call, or two. */
void hint_no_exec(struct buf *out, const char *words);

/* Append to @out what helps with @value, an error of sqlite3, or nothing. */
void hint_sqlite(struct buf *out, PyObject *value, PyObject *source);

/* --- hint_package.c --- */

/* Append to @out what helps with @value, an ImportError or a ModuleNotFoundError, or nothing.  May look into a
 * directory of the package. */
void hint_package(struct buf *out, PyObject *value, PyObject *source);

/* Append to @out what helps with @value, an ImportError or OSError of the dynamic linker, or nothing. */
void hint_library(struct buf *out, PyObject *value);

/* Append to @out which Python brought the name that @value, an ImportError or an AttributeError, has not found. */
void hint_later(struct buf *out, PyObject *value, PyObject *source);

/* --- hint_import.c --- */

/* Append to @out how the module that @value, a ModuleNotFoundError, has not found comes to where programs run, or
 * nothing. */
void hint_missing(struct buf *out, PyObject *value);

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
