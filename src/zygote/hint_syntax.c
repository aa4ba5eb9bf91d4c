/* SPDX-License-Identifier: Apache-2.0 */
/* Hints about a text that is not Python: Markdown, a shell, a notebook, escaped or unfilled code.
 *
 * ending.c calls this file if main.py does not compile.  hint.def has the marks and
 * their sentences.  The marks are looked for in order: the place of the error, a fence anywhere,
 * the error's line, the character, Python's message.  What must never happen here: a sentence for
 * a mark that stands in a string of the program. */
#include "zygote/hint.h"

#include "zygote/hint_parts.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *start, *sentence;
} starts[] = {
#define SYNTAX_START(start, sentence) { start, sentence },
#include "zygote/hint.def"
#undef SYNTAX_START
};

static const struct {
    const char *start, *sentence;
} lines[] = {
#define SYNTAX_LINE(start, sentence) { start, sentence },
#include "zygote/hint.def"
#undef SYNTAX_LINE
};

static const struct {
    const char *part, *sentence;
} parts[] = {
#define SYNTAX_PART(part, sentence) { part, sentence },
#include "zygote/hint.def"
#undef SYNTAX_PART
};

static const struct {
    Py_UCS4 first, last;
    const char *sentence;
} chars[] = {
#define SYNTAX_CHAR(first, last, sentence) { first, last, sentence },
#include "zygote/hint.def"
#undef SYNTAX_CHAR
};

static const struct {
    const char *message, *sentence;
} messages[] = {
#define SYNTAX_MESSAGE(message, sentence) { message, sentence },
#include "zygote/hint.def"
#undef SYNTAX_MESSAGE
};

/* What @start begins, where @next stands behind it, is no Python of another meaning. */
static bool is_mark(const char *start, char next)
{
    switch (*start) {
    case '!': return next != '=';
    case '%': return next == '%' || (is_of_word(next) && (next < '0' || next > '9'));
    case '>': return next != '>';
    default: return true;
    }
}

/* The error is at the first character of @line that is none of its indentation, or in such a line's fence. */
static const char *sentence_for_start(const char *line, long offset)
{
    long indent = (long) strspn(line, " \t");

    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        bool there = offset == indent + 1 || starts[i].start[0] == '`';
        size_t n = strlen(starts[i].start);
        if (there && strncmp(line + indent, starts[i].start, n) == 0
            && is_mark(starts[i].start, line[indent + (long) n]))
            return starts[i].sentence;
    }
    return NULL;
}

/* Can a string of several lines begin in the @n bytes at @line? */
static bool begins_string(const char *line, size_t n)
{
    return memmem(line, n, "\"\"\"", 3) || memmem(line, n, "'''", 3) || (n && line[n - 1] == '\\');
}

/* A line that begins as a Markdown fence does, outside of any string, before or behind the error: prose may stand around it. */
static const char *sentence_for_fence(PyObject *source)
{
    for (const char *p = bytes_of(source); *p; p += strspn(p, "\n")) {
        size_t n = strcspn(p, "\n");
        if (strncmp(p + strspn(p, " \t"), "```", 3) == 0)
            return starts[0].sentence;
        if (begins_string(p, n))
            return NULL;
        p += n;
    }
    return NULL;
}

static bool is_outside_strings(PyObject *source, long number)
{
    for (const char *p = bytes_of(source); *p && --number > 0; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        if (begins_string(p, n))
            return false;
        p += n;
    }
    return true;
}

/* What the line of the error, number @number, is or has. */
static const char *sentence_for_line(const char *line, PyObject *source, long number)
{
    const char *start = line + strspn(line, " \t");
    size_t n = strcspn(start, "'\"#");

    if (!is_outside_strings(source, number))
        return NULL;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (strncmp(start, lines[i].start, strlen(lines[i].start)) == 0)
            return lines[i].sentence;
    n += strncmp(start + n, "#39;", 4) == 0 ? 4 : 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (memmem(start, n, parts[i].part, strlen(parts[i].part)))
            return parts[i].sentence;
    return NULL;
}

static const char *sentence_for_char(const char *message)
{
    const char *code = strstr(message, "U+");
    unsigned found = 0;

    if (strncmp(message, "invalid ", 8) != 0 || !code || sscanf(code + 2, "%x", &found) != 1)
        return NULL;
    for (size_t i = 0; i < sizeof(chars) / sizeof(*chars); i++)
        if (found >= chars[i].first && found <= chars[i].last)
            return chars[i].sentence;
    return NULL;
}

static const char *sentence_for_message(const char *message, PyObject *line, long offset)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
        if (strcmp(message, messages[i].message) == 0)
            return messages[i].sentence;
    bool continued = strcmp(message, "unexpected character after line continuation character") == 0;
    if (!continued || !line || !PyUnicode_Check(line) || offset < 2 || offset > PyUnicode_GET_LENGTH(line))
        return NULL;
    Py_UCS4 c = PyUnicode_READ_CHAR(line, offset - 1);
    return PyUnicode_READ_CHAR(line, offset - 2) == '\\' && (c == 'n' || c == 'r' || c == 't' || c == '"' || c == '\'')
               ? "the code has \\n or \\\" where an end of line or a quote should be: it was escaped twice on its way "
                 "into "
                 "JSON"
               : NULL;
}

/* The character of @line whose place is @offset, counted from 1. */
static const char *at_char(const char *line, long offset)
{
    for (; *line && offset > 1; offset--)
        do
            line++;
        while ((*line & 0xc0) == 0x80);
    return line;
}

/* f"{x["a"]}": the quote at @close, which ends the string, was meant to be one within { }. */
static bool is_quote_within(const char *close)
{
    const char *brace = *close == '"' || *close == '\'' ? strchr(close, '}') : NULL;

    return brace && strchr(brace, *close);
}

/* `type X = int`, `def f[T](x)`, `class A[T]` */
static bool has_type_parameters(const char *line, const char *at)
{
    const char *start = line + strspn(line, " \t");

    if (strncmp(start, "type ", 5) == 0 && at == start + 5 && is_of_word(*at)) {
        while (is_of_word(*at))
            at++;
        at += strspn(at, " ");
        return *at == '=' || *at == '[';
    }
    return *at == '[' && at > line && is_of_word(at[-1]) && strchr(at, ']')
           && (strncmp(start, "def ", 4) == 0 || strncmp(start, "async def ", 10) == 0
               || strncmp(start, "class ", 6) == 0);
}

/* What a later Python understands. */
static const char *sentence_for_later(const char *message, const char *line, long offset)
{
    static const char f_string[] =
        "before Python 3.12, and here is an older one, the part of an f-string in { } can have "
        "neither a backslash nor the quotes that are around the string: write the other quotes, or "
        "give the value a name in a line before";
    const char *at = at_char(line, offset);

    if (PY_VERSION_HEX >= 0x030c0000 || !*line || offset < 1)
        return NULL;
    if (strncmp(message, "f-string expression part cannot include", 39) == 0)
        return f_string;
    if (strncmp(message, "f-string: ", 10) == 0)
        return at > line && is_quote_within(at - 1) ? f_string : NULL;
    return has_type_parameters(line, at)
               ? "type parameters and `type X = ...` came with Python 3.12, and programs here run "
                 "under an older one: use typing.TypeVar and typing.TypeAlias"
               : NULL;
}

void hint_syntax(struct buf *out, PyObject *value, PyObject *source)
{
    const PySyntaxErrorObject *e = (const PySyntaxErrorObject *) value;
    const char *line = bytes_of(e->text), *message = bytes_of(e->msg);
    long offset = e->offset && PyLong_Check(e->offset) ? PyLong_AsLong(e->offset) : 0;
    long number = e->lineno && PyLong_Check(e->lineno) ? PyLong_AsLong(e->lineno) : 0;

    PyErr_Clear();
    const char *sentence = sentence_for_start(line, offset);
    if (!sentence)
        sentence = sentence_for_fence(source);
    if (!sentence)
        sentence = sentence_for_line(line, source, number);
    if (!sentence)
        sentence = sentence_for_char(message);
    if (!sentence)
        sentence = sentence_for_message(message, e->text, offset);
    if (!sentence)
        sentence = sentence_for_later(message, line, offset);
    if (!sentence && number == 1 && strcmp(message, "unexpected indent") == 0)
        sentence = "the first line is indented: send the code without the blanks that stand before all of its lines";
    if (!sentence && number == 1 && offset == 1 && *line == '=')
        sentence = "the code begins with =, as n8n marks an expression: take it out, or switch the field to Expression";
    buf_adds(out, sentence ? sentence : "");
}
