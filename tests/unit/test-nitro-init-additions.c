/*
 * Unit tests of what the parent may add to an enclave's configuration
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "contrib/nitro-init/additions.h"
#include "contrib/nitro-init/nsm.h"
#include "contrib/nitro-init/vsock.h"
#include "tests/nitro/init-agent.h"

#define WAIT_MS 60000   /* never over: all frames are there */

/* A security module that keeps what it is asked to measure */
static GByteArray *measured;
static int extensions, locks;
static bool broken;

int nsm_extend(unsigned int index, const void *data, size_t len)
{
    g_assert_cmpuint(index, ==, ADDITIONS_REGISTER);
    g_assert_cmpuint(len, <=, 1024);
    g_assert_cmpint(locks, ==, 0);
    if (broken) {
        errno = EPROTO;
        return -1;
    }
    extensions++;
    g_byte_array_append(measured, data, len);
    return 0;
}

int nsm_lock(unsigned int index)
{
    g_assert_cmpuint(index, ==, ADDITIONS_REGISTER);
    locks++;
    return 0;
}

int nsm_time(uint64_t *ms)
{
    g_assert_not_reached();     /* no clock is set here */
}

static int next_fd = -1;
static bool nobody_listens;
static int attempts;

/* A connection whose failure shows later, as that of a vsock socket */
static int begin_in_vain(void)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
                    ==, 0);
    close(pair[1]);
    return pair[0];
}

int vsock_begin(unsigned int port, bool own, bool *connecting)
{
    int fd = next_fd;

    attempts++;
    if (nobody_listens) {
        *connecting = true;
        return begin_in_vain();
    }
    *connecting = false;
    next_fd = -1;
    return fd;
}

typedef struct Fixture {
    struct config config;
    struct agent agent;
    int peer;
    char *dir, *path;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;
    char why[512];
    int pair[2];

    measured = g_byte_array_new();
    extensions = locks = 0;
    broken = nobody_listens = false;
    attempts = 0;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
                    ==, 0);
    next_fd = pair[0];
    f->peer = pair[1];
    f->dir = g_dir_make_tmp("nitro-init-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "file", NULL);
    text = g_strdup_printf("exec /app\nenv A=1\nenv C=3\nallow-env A\n"
                           "allow-env B\nallow-file %s\n"
                           "allow-file /dev/null/none\nallow-args yes\n",
                           f->path);
    config_init(&f->config);
    g_assert_cmpint(config_parse(&f->config, text, why, sizeof(why)), ==, 0);
    g_assert_true(additions_allowed(&f->config));
    g_assert_cmpint(agent_init(&f->agent, 9001, true), ==, 0);
}

static void teardown(Fixture *f, gconstpointer data)
{
    init_agent_free(&f->agent);
    config_free(&f->config);
    close(f->peer);
    unlink(f->path);
    rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
    g_byte_array_unref(measured);
}

static void put(Fixture *f, int type, const void *payload, size_t len)
{
    uint8_t head[AGENT_HEAD] = { type };

    stl_be_p(head + 4, len);
    g_assert_cmpint(write(f->peer, head, sizeof(head)), ==, sizeof(head));
    g_assert_cmpint(write(f->peer, payload, len), ==, len);
}

static void put_text(Fixture *f, int type, const char *text)
{
    put(f, type, text, strlen(text));
}

static void put_file(Fixture *f, const char *path, const char *content)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    uint8_t len[2];

    stw_be_p(len, strlen(path));
    g_byte_array_append(payload, len, sizeof(len));
    g_byte_array_append(payload, (const uint8_t *)path, strlen(path));
    g_byte_array_append(payload, (const uint8_t *)content, strlen(content));
    put(f, AGENT_FILE, payload->data, payload->len);
}

static void collect(Fixture *f)
{
    put(f, AGENT_GO, "", 0);
    additions_collect(&f->agent, &f->config, WAIT_MS);
    g_assert_cmpint(locks, ==, 1);
}

/* All that the init has sent, where texts of refusals are found */
static void assert_refused(Fixture *f, const char *words)
{
    char data[4096] = { 0 };
    struct output nothing = { 0 };
    ssize_t n;

    agent_work(&f->agent, 0, &nothing);
    n = read(f->peer, data, sizeof(data) - 1);
    g_assert_cmpint(n, >, 0);
    for (ssize_t i = 0; i < n; i++) {
        data[i] = data[i] ?: ' ';
    }
    g_assert_nonnull(strstr(data, words));
}

static void test_taken(Fixture *f, gconstpointer data)
{
    g_autofree char *content = NULL;

    put_text(f, AGENT_ENV, "A=one=two");
    put_text(f, AGENT_ENV, "B=");
    put_text(f, AGENT_ARG, "arg");
    put_text(f, AGENT_ARG, "");
    put_file(f, f->path, "content");
    collect(f);
    g_assert_cmpuint(f->config.environment.count, ==, 3);
    g_assert_cmpstr(f->config.environment.item[0], ==, "A=one=two");
    g_assert_cmpstr(f->config.environment.item[2], ==, "B=");
    g_assert_cmpuint(f->config.command.count, ==, 3);
    g_assert_cmpstr(f->config.command.item[1], ==, "arg");
    g_assert_cmpstr(f->config.command.item[2], ==, "");
    g_assert_true(g_file_get_contents(f->path, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "content");
    g_assert_cmpint(extensions, ==, 5);
    g_assert_cmpmem(measured->data, 17, "\x10\0\0\0\0\0\0\x09" "A=one=two",
                    17);
    g_assert_false(f->agent.waits_for_go);
}

/* A register's value does not depend on how the bytes came */
static void test_pieces(Fixture *f, gconstpointer data)
{
    g_autofree char *text = g_strnfill(2100, 'x');

    put_text(f, AGENT_ARG, text);
    collect(f);
    g_assert_cmpint(extensions, ==, 3);
    g_assert_cmpuint(measured->len, ==, AGENT_HEAD + 2100);
}

typedef struct Case {
    const char *name;
    int type;
    const char *payload;
    size_t len;
    const char *words;
    int extensions;
} Case;

static const Case cases[] = {
    { "variable", AGENT_ENV, "D=4", 3, "no allow-env line", 0 },
    { "prefix", AGENT_ENV, "AB=4", 4, "no allow-env line", 0 },
    { "no-value", AGENT_ENV, "A", 1, "NAME=VALUE", 0 },
    { "nothing", AGENT_ENV, "", 0, "NAME=VALUE", 0 },
    { "nul", AGENT_ENV, "A=\0x", 4, "a NUL byte", 0 },
    { "file", AGENT_FILE, "\0\x04/etcx", 7, "no allow-file line", 0 },
    { "file-no-name", AGENT_FILE, "\0", 1, "without a name", 0 },
    { "file-cut", AGENT_FILE, "\0\x05/etc", 6, "cut off", 0 },
    { "file-fails", AGENT_FILE, "\0\x0e/dev/null/none", 16,
      "cannot be written", 1 },
};

static void test_refused(Fixture *f, gconstpointer opaque)
{
    const Case *c = opaque;

    put(f, c->type, c->payload, c->len);
    collect(f);
    assert_refused(f, c->words);
    g_assert_cmpint(extensions, ==, c->extensions);
    g_assert_cmpuint(f->config.environment.count, ==, 2);
    g_assert_cmpuint(f->config.command.count, ==, 1);
}

static void test_no_arguments(Fixture *f, gconstpointer data)
{
    f->config.allow_args = false;
    put_text(f, AGENT_ARG, "x");
    collect(f);
    assert_refused(f, "allow-args is not yes");
    g_assert_cmpuint(f->config.command.count, ==, 1);
}

static void test_no_module(Fixture *f, gconstpointer data)
{
    broken = true;
    put_text(f, AGENT_ENV, "A=2");
    collect(f);
    assert_refused(f, "cannot measure it");
    g_assert_cmpstr(f->config.environment.item[0], ==, "A=1");
}

static void test_nobody(Fixture *f, gconstpointer data)
{
    close(next_fd);
    next_fd = -1;
    additions_collect(&f->agent, &f->config, 1);
    g_assert_cmpint(locks, ==, 1);
    g_assert_cmpint(extensions, ==, 0);
}

/* Failed attempts are not words of the parent, and do not follow at once */
static void test_nobody_listens(Fixture *f, gconstpointer data)
{
    close(next_fd);
    nobody_listens = true;
    additions_collect(&f->agent, &f->config, 50);
    g_assert_cmpint(locks, ==, 1);
    g_assert_cmpint(attempts, ==, 1);
}

static void add(const char *name, gconstpointer data,
                void (*test)(Fixture *f, gconstpointer data))
{
    g_autofree char *path = g_strdup_printf("/nitro/init-additions/%s", name);

    g_test_add(path, Fixture, data, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    add("taken", NULL, test_taken);
    add("pieces", NULL, test_pieces);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        add(cases[i].name, &cases[i], test_refused);
    }
    add("no-arguments", NULL, test_no_arguments);
    add("no-module", NULL, test_no_module);
    add("nobody", NULL, test_nobody);
    add("nobody-listens", NULL, test_nobody_listens);
    return g_test_run();
}
