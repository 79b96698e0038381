/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The user an application runs as, out of the image's own passwd and group.
 */

#ifndef NITRO_INIT_ACCOUNT_H
#define NITRO_INIT_ACCOUNT_H

#include <sys/types.h>

#define ACCOUNT_MAX_GROUPS 256

struct account {
    uid_t uid;
    gid_t gid;
    gid_t groups[ACCOUNT_MAX_GROUPS];   /* supplementary, without @gid */
    int group_count;
    char home[256];
};

/*
 * account_find: look up USER or USER:GROUP, names or numbers, as container
 * runtimes do
 * @spec: NULL means root
 * @passwd, @group: files such as /etc/passwd; may be missing
 * @why: filled in on failure
 *
 * A number needs no entry; its group is then 0 and its home "/".  Without
 * :GROUP the user is also in the groups that name it.
 *
 * Returns: 0, or -1 when a name is unknown
 */
int account_find(struct account *account, const char *spec,
                 const char *passwd, const char *group, char *why,
                 size_t why_size);

#endif
