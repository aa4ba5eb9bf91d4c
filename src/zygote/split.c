/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a program's text its top-level statements with a `return` are.
 *
 * compile.c calls this file.  CPython does not compile a program that returns at top level, but it
 * compiles most of its statements.  A large program is large by its data, so only the statements
 * with a return should be handled as trees.  This file cuts the text where top-level statements
 * begin.  It knows as much of Python's lexis as that takes: strings, comments, brackets, continued
 * lines, indentation.  What must never happen here: more than one look at a byte. */
#include "zygote/split.h"

#include <stdbool.h>
#include <string.h>

/* Each piece has a cost of its own. So fewer plain bytes than this between two returns join their
 * piece. */
enum { GAP = 4096 };

struct scan {
    const char *text;
    size_t n, at;
    int line;
};

/* One logical line of the tokenizer, which may be several lines of text. */
struct logical {
    int indent;
    bool blank;              /* empty or only a comment */
    bool scope;              /* it begins a function or a class */
    bool decorates;          /* the statement goes on in the next one */
    bool continues;          /* it continues the statement before: else, except, ... */
    bool returns, is_return; /* it contains a return; it begins with one */
    bool odd;                /* in parentheses it could mean something else, or it has more than one
                              * statement */
    bool declares;           /* global or nonlocal, which apply to the whole module */
};

static int indentation(struct scan *s)
{
    int indent = 0;

    for (; s->at < s->n; s->at++)
        switch (s->text[s->at]) {
        case ' ': indent++; break;
        case '\t': indent = (indent / 8 + 1) * 8; break;
        case '\f': indent = 0; break;
        default: return indent;
        }
    return indent;
}

static void skip_comment(struct scan *s)
{
    const char *end = memchr(s->text + s->at, '\n', s->n - s->at);
    s->at = end ? (size_t) (end - s->text) : s->n;
}

static bool is_triple(const struct scan *s, size_t at, char quote)
{
    return s->n - at >= 3 && s->text[at + 1] == quote && s->text[at + 2] == quote;
}

/* False if the string has no end. A backslash keeps the next quote from ending the string, even a
 * raw one. */
static bool skip_string(struct scan *s)
{
    char quote = s->text[s->at];
    bool triple = is_triple(s, s->at, quote);

    for (s->at += triple ? 3 : 1; s->at < s->n; s->at++) {
        char c = s->text[s->at];
        if (c == '\\' && ++s->at < s->n)
            c = s->text[s->at] == '\n' ? '\n' : '\\';
        else if (c == '\n' && !triple)
            return false;
        if (c == quote && (!triple || is_triple(s, s->at, quote))) {
            s->at += triple ? 3 : 1;
            return true;
        }
        s->line += c == '\n';
    }
    return false;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

static bool is(const char *word, size_t n, const char *keyword)
{
    return strlen(keyword) == n && memcmp(word, keyword, n) == 0;
}

static void take_first_word(const struct scan *s, const char *word, size_t n, struct logical *l)
{
    const char *next = word + n, *end = s->text + s->n;

    while (next < end && (*next == ' ' || *next == '\t'))
        next++;
    bool async_def = is(word, n, "async") && end - next > 3 && memcmp(next, "def", 3) == 0 && !is_word(next[3]);
    l->scope = async_def || is(word, n, "def") || is(word, n, "class");
    l->continues = is(word, n, "else") || is(word, n, "elif") || is(word, n, "except") || is(word, n, "finally");
    l->is_return = is(word, n, "return");
}

static void take_word(struct scan *s, struct logical *l, bool first, int depth)
{
    const char *word = s->text + s->at;
    size_t n = 0;

    while (s->at + n < s->n && is_word(word[n]))
        n++;
    s->at += n;
    if (first)
        take_first_word(s, word, n, l);
    l->returns |= is(word, n, "return");
    l->odd |= depth == 0 && is(word, n, "for");
    l->declares |= is(word, n, "global") || is(word, n, "nonlocal");
}

/* Take anything that is no word, string or comment. False if the text is wrong. */
static bool take_other(struct scan *s, struct logical *l, int *depth)
{
    char c = s->text[s->at++], next = s->at < s->n ? s->text[s->at] : '\0';

    switch (c) {
    case '(':
    case '[':
    case '{': ++*depth; break;
    case ')':
    case ']':
    case '}': return --*depth >= 0;
    case ';': l->odd |= *depth == 0; break;
    case ':': l->odd |= *depth == 0 && next == '='; break;
    case '\\':
        s->at++;
        s->line++;
        return next == '\n';
    }
    return true;
}

/* False if the text is wrong. */
static bool read_line(struct scan *s, struct logical *l)
{
    int depth = 0;

    *l = (struct logical){ .indent = indentation(s) };
    size_t begin = s->at;
    l->blank = s->at == s->n || s->text[s->at] == '\n' || s->text[s->at] == '#';
    l->decorates = s->at < s->n && s->text[s->at] == '@';
    while (s->at < s->n) {
        char c = s->text[s->at];
        bool good = true;
        if (c == '\n') {
            s->at++;
            s->line++;
            if (depth == 0)
                return true;
        } else if (is_word(c))
            take_word(s, l, s->at == begin, depth);
        else if (c == '#')
            skip_comment(s);
        else if (c == '"' || c == '\'')
            good = skip_string(s);
        else
            good = take_other(s, l, &depth);
        if (!good)
            return false;
    }
    return depth == 0;
}

struct statement {
    size_t begin;
    int line;
    int lines; /* logical lines */
    bool returns, lone;
};

static void extend(struct piece *piece, size_t end, enum piece_kind kind)
{
    piece->end = end;
    piece->kind = kind;
}

static enum piece_kind kind_of(const struct statement *statement)
{
    if (!statement->returns)
        return PIECE_PLAIN;
    return statement->lone && statement->lines == 1 ? PIECE_RETURN : PIECE_MIXED;
}

/* Returns the new number of pieces. */
static int add_statement(struct piece *pieces, int n, const struct statement *statement, size_t end)
{
    enum piece_kind kind = kind_of(statement);
    struct piece *last = &pieces[n > 0 ? n - 1 : 0];

    if (n > 0 && kind == PIECE_PLAIN && last->kind == PIECE_PLAIN)
        last->end = end;
    else if (n > 0 && ((kind != PIECE_PLAIN && last->kind != PIECE_PLAIN) || n == PIECES_MAX))
        extend(last, end, PIECE_MIXED);
    else if (n >= 2 && kind != PIECE_PLAIN && last->end - last->begin < GAP) {
        extend(&pieces[n - 2], end, PIECE_MIXED);
        n--;
    } else
        pieces[n++] = (struct piece){ statement->begin, end, kind, statement->line };
    return n;
}

/* `from __future__ import` applies to all that follows, and is an error anywhere but at the
 * beginning. */
static bool has_late_future(const char *text, size_t n, const struct piece *first)
{
    size_t from = first->kind == PIECE_PLAIN ? first->end : 0;
    return memmem(text + from, n - from, "__future__", 10) != NULL;
}

/* A program that traces would see each piece begin, but a module begins only once. */
static bool may_trace(const char *text, size_t n)
{
    return memmem(text, n, "settrace", 8) || memmem(text, n, "setprofile", 10);
}

int split_text(const char *text, size_t n, struct piece pieces[static PIECES_MAX])
{
    struct scan s = { text, n, 0, 1 };
    struct statement statement = { 0 };
    int count = 0, scope = -1; /* the indentation of the function or class that we are in */
    bool decorated = false, returns = false;
    struct logical l;

    while (s.at < n) {
        size_t begin = s.at;
        int line = s.line;
        if (!read_line(&s, &l))
            return 0;
        if (l.blank)
            continue;
        if (l.indent <= scope)
            scope = -1;
        if (l.indent == 0 && !decorated && !l.continues) {
            if (statement.lines)
                count = add_statement(pieces, count, &statement, begin);
            statement = (struct statement){ .begin = begin, .line = line, .lone = l.is_return && !l.odd };
        }
        statement.lines++;
        decorated = l.indent == 0 && l.decorates;
        if (scope < 0 && l.scope)
            scope = l.indent;
        if (scope < 0 && l.declares)
            return 0;
        statement.returns |= scope < 0 && l.returns;
        returns |= statement.returns;
    }
    if (!returns)
        return 0;
    count = add_statement(pieces, count, &statement, n);
    return has_late_future(text, n, &pieces[0]) || may_trace(text, n) ? 0 : count;
}
