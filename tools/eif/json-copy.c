/*
 * qemu-eif: copy JSON that was read into JSON that is written
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "qobject/qbool.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "json-copy.h"

static void copy_number(JSONWriter *w, const char *name, const QNum *number)
{
    double value = qnum_get_double((QNum *)number);
    uint64_t u;
    int64_t i;

    if (qnum_get_try_int(number, &i)) {
        json_writer_int64(w, name, i);
    } else if (qnum_get_try_uint(number, &u)) {
        json_writer_uint64(w, name, u);
    } else if (isfinite(value)) {
        json_writer_double(w, name, value);
    } else {
        json_writer_null(w, name); /* 1e999 and the like */
    }
}

static int compare_keys(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void json_copy_members(JSONWriter *w, const QDict *object)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new();

    for (const QDictEntry *e = qdict_first(object); e;
         e = qdict_next(object, e)) {
        g_ptr_array_add(keys, (char *)qdict_entry_key(e));
    }
    g_ptr_array_sort(keys, compare_keys);
    for (guint i = 0; i < keys->len; i++) {
        const char *key = g_ptr_array_index(keys, i);

        json_copy(w, key, qdict_get(object, key));
    }
}

static void copy_object(JSONWriter *w, const char *name, const QDict *object)
{
    json_writer_start_object(w, name);
    json_copy_members(w, object);
    json_writer_end_object(w);
}

static void copy_array(JSONWriter *w, const char *name, const QList *array)
{
    const QListEntry *entry;

    json_writer_start_array(w, name);
    QLIST_FOREACH_ENTRY(array, entry) {
        json_copy(w, NULL, qlist_entry_obj(entry));
    }
    json_writer_end_array(w);
}

void json_copy(JSONWriter *w, const char *name, const QObject *value)
{
    switch (value ? qobject_type(value) : QTYPE_NONE) {
    case QTYPE_QNULL:
        json_writer_null(w, name);
        break;
    case QTYPE_QNUM:
        copy_number(w, name, qobject_to(QNum, value));
        break;
    case QTYPE_QSTRING:
        json_writer_str(w, name, qstring_get_str(qobject_to(QString, value)));
        break;
    case QTYPE_QDICT:
        copy_object(w, name, qobject_to(QDict, value));
        break;
    case QTYPE_QLIST:
        copy_array(w, name, qobject_to(QList, value));
        break;
    case QTYPE_QBOOL:
        json_writer_bool(w, name, qbool_get_bool(qobject_to(QBool, value)));
        break;
    default:
        break;
    }
}
