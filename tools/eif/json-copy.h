/*
 * qemu-eif: copy JSON that was read into JSON that is written
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_JSON_COPY_H
#define TOOLS_EIF_JSON_COPY_H

#include "qobject/json-writer.h"
#include "qobject/qdict.h"

/**
 * json_copy: write a value and all it contains
 * @w: where to
 * @name: name of the member, NULL within an array
 * @value: from qobject_from_json(), which limits how deep it goes; NULL
 *         writes nothing
 *
 * Members of objects come out sorted by name.
 */
void json_copy(JSONWriter *w, const char *name, const QObject *value);

/**
 * json_copy_members: write the members of an object into the one being written
 * @w: where to
 * @object: the object
 *
 * Sorted by name.
 */
void json_copy_members(JSONWriter *w, const QDict *object);

#endif
