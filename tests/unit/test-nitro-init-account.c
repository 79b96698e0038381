/*
 * Unit tests of the init's users and groups
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "contrib/nitro-init/account.h"

static const char passwd[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "web:x:1000:1001::/srv:/bin/sh\n"
    "broken:x:seven:1::/:/\n"
    "short:x:1\n"
    "homeless:x:1002:1002:::/bin/sh\n";
static const char group[] =
    "root:x:0:\n"
    "web:x:1001:\n"
    "data:x:1005:other,web\n"
    "weblog:x:1006:webster\n"
    "again:x:1001:web\n";

typedef struct Case {
    const char *spec, *why;
    uid_t uid;
    gid_t gid;
    int groups;
    const char *home;
} Case;

static const Case cases[] = {
    { NULL, NULL, 0, 0, 0, "/root" },
    { "root", NULL, 0, 0, 0, "/root" },
    { "web", NULL, 1000, 1001, 1, "/srv" },
    { "1000", NULL, 1000, 1001, 1, "/srv" },
    { "web:root", NULL, 1000, 0, 0, "/srv" },
    { "web:7", NULL, 1000, 7, 0, "/srv" },
    { "4711", NULL, 4711, 0, 0, "/" },
    { "4711:data", NULL, 4711, 1005, 0, "/" },
    { "homeless", NULL, 1002, 1002, 0, "/" },
    { "nobody", "user 'nobody' is not in the image's" },
    { "broken", "user 'broken'" },
    { "short", "user 'short'" },
    { "web:nogroup", "group 'nogroup' is not in the image's" },
    { "web:", "group ''" },
    { "", "user ''" },
    { "4294967295", "user '4294967295'" },
};

static char *passwd_path, *group_path;

static void test_case(gconstpointer opaque)
{
    const Case *c = opaque;
    struct account account;
    char why[512] = "";
    int result = account_find(&account, c->spec, passwd_path, group_path,
                              why, sizeof(why));

    g_assert_cmpint(result, ==, c->why ? -1 : 0);
    if (c->why) {
        g_assert_nonnull(strstr(why, c->why));
        return;
    }
    g_assert_cmpuint(account.uid, ==, c->uid);
    g_assert_cmpuint(account.gid, ==, c->gid);
    g_assert_cmpint(account.group_count, ==, c->groups);
    if (c->groups) {
        g_assert_cmpuint(account.groups[0], ==, 1005);
    }
    g_assert_cmpstr(account.home, ==, c->home);
}

/* An image without these files runs as root, or as a number */
static void test_no_files(void)
{
    struct account account;
    char why[512];

    g_assert_cmpint(account_find(&account, NULL, "/nonexistent",
                                 "/nonexistent", why, sizeof(why)), ==, 0);
    g_assert_cmpuint(account.uid, ==, 0);
    g_assert_cmpint(account_find(&account, "5:6", "/nonexistent",
                                 "/nonexistent", why, sizeof(why)), ==, 0);
    g_assert_cmpuint(account.gid, ==, 6);
}

static char *write_file(const char *text)
{
    char *path;

    close(g_file_open_tmp("nitro-init-XXXXXX", &path, NULL));
    g_file_set_contents(path, text, -1, NULL);
    return path;
}

int main(int argc, char **argv)
{
    int result;

    g_test_init(&argc, &argv, NULL);
    passwd_path = write_file(passwd);
    group_path = write_file(group);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/init-account/%zu-%s",
            i, cases[i].spec ?: "default");

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/nitro/init-account/no-files", test_no_files);
    result = g_test_run();
    unlink(passwd_path);
    unlink(group_path);
    g_free(passwd_path);
    g_free(group_path);
    return result;
}
