/*
 * qemu-eif: custom metadata from a file
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qjson.h"
#include "json-copy.h"
#include "tool.h"

#define CUSTOM_METADATA_MAX 4096 /* as nitro-cli has it */

/*
 * QEMU's parser also takes strings in single quotes, and text that ends at a
 * NUL byte.
 */
static bool check_strict(const GByteArray *text, Error **errp)
{
    bool quoted = false;

    for (guint i = 0; i < text->len; i++) {
        uint8_t c = text->data[i];

        if (!c || (c == '\'' && !quoted)) {
            error_setg(errp, "JSON parse error, byte 0x%02x at offset %u", c,
                       i);
            return false;
        }
        if (c == '\\' && quoted) {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        }
    }
    return true;
}

static char *normalise(const GByteArray *text, Error **errp)
{
    g_autofree char *copy = g_strndup((const char *)text->data, text->len);
    g_autoptr(JSONWriter) w = json_writer_new(false);
    QObject *value;

    if (!check_strict(text, errp)) {
        return NULL;
    }
    value = qobject_from_json(copy, errp);
    if (!value) {
        return NULL;
    }
    json_copy(w, NULL, value);
    qobject_unref(value);
    return g_strdup(json_writer_get(w));
}

char *tool_custom_metadata(const char *path, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GByteArray) text = tool_read_file(path, CUSTOM_METADATA_MAX,
                                                errp);
    char *json = text ? normalise(text, errp) : NULL;

    if (text && !json) {
        error_prepend(errp, "%s is not JSON: ", path);
    }
    return json;
}
