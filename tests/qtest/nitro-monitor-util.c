/*
 * Nitro Enclaves: what the tests of the monitor share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "nitro-launch-util.h"
#include "nitro-monitor-util.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/patience.h"

QDict *query(QTestState *qts, QDict **info)
{
    QDict *reply = qtest_qmp(qts, "{'execute': 'query-nitro-enclave'}");

    *info = qdict_get_qdict(reply, "return");
    g_assert_nonnull(*info);
    return reply;
}

/* NULL while the image is being measured */
static QDict *try_query_measured(QTestState *qts, QDict **info, QDict **image)
{
    QDict *reply = query(qts, info);

    *image = qdict_get_qdict(*info, "image");
    if (g_str_equal(qdict_get_str(*image, "measurement"), "running")) {
        g_assert_null(qdict_get(*image, "pcrs"));
        qobject_unref(reply);
        return NULL;
    }
    return reply;
}

QDict *query_measured(QTestState *qts, QDict **info, QDict **image)
{
    QDict *reply;

    poll_until((reply = try_query_measured(qts, info, image)));
    return reply;
}

void assert_str(QDict *dict, const char *key, const char *expected)
{
    g_assert_cmpstr(qdict_get_try_str(dict, key), ==, expected);
}

void assert_device_state(QDict *info, const char *device,
                         const char *expected)
{
    assert_str(qdict_get_qdict(info, device), "state", expected);
}

QDict *wait_event(Run *run, const char *name, QDict **data)
{
    QDict *event = qtest_qmp_eventwait_ref(run->qts, name);

    *data = qdict_get_qdict(event, "data");
    return event;
}

char *write_eif(Run *run, const char *sections)
{
    char *path = g_build_filename(run->dir, "image", NULL);
    GByteArray *eif = eif_maker_image(4, arch_is_arm(), sections);

    g_assert(g_file_set_contents(path, (char *)eif->data, eif->len, NULL));
    g_byte_array_unref(eif);
    return path;
}

void start_eif(Run *run, const char *accel, const char *path)
{
    g_autofree char *more =
        g_strdup_printf("-S -M nitro,measure=on -kernel %s", path);

    run_start(run, accel, more);
}
