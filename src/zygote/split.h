/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a program's text its top-level statements with a `return` are. */
#ifndef HATCHERY_ZYGOTE_SPLIT_H
#define HATCHERY_ZYGOTE_SPLIT_H

#include <stddef.h>

enum piece_kind {
    PIECE_PLAIN,  /* statements of a module without a return */
    PIECE_RETURN, /* one `return EXPRESSION`, alone in its lines */
    PIECE_MIXED,  /* statements, a return among them or inside of them */
};

/* Whole lines of the text: from the byte @begin up to @end; @line counts from 1. */
struct piece {
    size_t begin, end;
    enum piece_kind kind;
    int line;
};

enum { PIECES_MAX = 64 };

/* Cut the @n bytes at @text, UTF-8 whose lines end in \n, into @pieces, all of it but comments before the first. Returns how many; 0 where no
 * top-level statement has a return, or where the text can't be told apart (it is wrong, or something in it counts
 * for the whole module). This is a guess: each piece that compiles by itself is what it seems to be, as statements next
 * to each other mean the same in one text or in two; one that does not compile may have been cut wrongly. */
int split_text(const char *text, size_t n, struct piece pieces[static PIECES_MAX]);

#endif
