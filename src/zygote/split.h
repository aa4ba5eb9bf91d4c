/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a program's text its top-level statements with a `return` are. */
#ifndef HATCHERY_ZYGOTE_SPLIT_H
#define HATCHERY_ZYGOTE_SPLIT_H

#include <stddef.h>

enum piece_kind {
    PIECE_PLAIN,  /* statements of a module without a return */
    PIECE_RETURN, /* one `return EXPRESSION`, alone on its lines */
    PIECE_MIXED,  /* statements, with a return among or inside them */
};

/* Whole lines of the text, from byte @begin up to @end; @line counts from 1. */
struct piece {
    size_t begin, end;
    enum piece_kind kind;
    int line;
};

enum { PIECES_MAX = 64 };

/* Cut the @n bytes at @text into @pieces. The text is UTF-8 whose lines end in \n. The pieces cover
 * all of it but comments before the first statement. Returns the number of pieces. Returns 0 if no
 * top-level statement has a return, or if the text can't be cut: it is wrong, or something in it
 * applies to the whole module. The cut is a guess. A piece that compiles by itself was cut rightly,
 * because statements next to each other mean the same in one text as in two. A piece that does not
 * compile may have been cut wrongly. */
int split_text(const char *text, size_t n, struct piece pieces[static PIECES_MAX]);

#endif
