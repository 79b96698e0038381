/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 */

#include <stdlib.h>
#include <string.h>

#include "string-list.h"

int strings_add(struct strings *list, const char *text, size_t len)
{
    char **item, *copy;

    if (list->count >= STRINGS_MAX) {
        return -1;
    }
    item = realloc(list->item, (list->count + 2) * sizeof(*item));
    if (!item) {
        return -1;
    }
    list->item = item;
    copy = strndup(text, len);
    if (!copy) {
        return -1;
    }
    item[list->count++] = copy;
    item[list->count] = NULL;
    return 0;
}

bool strings_has(const struct strings *list, const char *text, size_t len)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strlen(list->item[i]) == len && !memcmp(list->item[i], text, len)) {
            return true;
        }
    }
    return false;
}

char **strings_variable(const struct strings *list, const char *name,
                        size_t len)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!strncmp(list->item[i], name, len) && list->item[i][len] == '=') {
            return &list->item[i];
        }
    }
    return NULL;
}

void strings_free(struct strings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->item[i]);
    }
    free(list->item);
    *list = (struct strings) { 0 };
}
