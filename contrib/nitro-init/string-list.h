/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A list of strings, as exec() wants it.
 */

#ifndef NITRO_INIT_STRING_LIST_H
#define NITRO_INIT_STRING_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Most strings of a list */
#define STRINGS_MAX 1024

/* All zeros: empty.  @item ends with NULL */
struct strings {
    char **item;
    size_t count;
};

/*
 * strings_add: append a copy of the first @len bytes of @text
 *
 * Returns: 0, or -1 when the list has STRINGS_MAX already or memory is short
 */
int strings_add(struct strings *list, const char *text, size_t len);

/* strings_has: whether one of the strings is the first @len bytes of @text */
bool strings_has(const struct strings *list, const char *text, size_t len);

/*
 * strings_variable: find NAME=VALUE by the name, the first @len bytes of @name
 *
 * Returns: the place of the string in the list; NULL when it has no such one
 */
char **strings_variable(const struct strings *list, const char *name,
                        size_t len);

/* strings_free: free all strings; the list is empty then */
void strings_free(struct strings *list);

#endif
