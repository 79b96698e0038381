/*
 * Nitro Enclaves: queue in front of real character devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test puts bytes in, and is the reader behind the character device.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "hw/nitro/chardev-output.h"
#include "nitro-stream-util.h"

#define SIZE 8192

typedef struct Fixture {
    char *dir;
    char *out_path;
    char *log_path;
    Chardev *chr;
    CharBackend be;
    NitroOutput *out;
    size_t put;
    bool mux;
    unsigned nr_changed;
    unsigned nr_told;
    char *why;
} Fixture;

static void changed(void *opaque)
{
    Fixture *f = opaque;

    f->nr_changed++;
}

static void dropped(void *opaque, const char *why)
{
    Fixture *f = opaque;

    g_free(f->why);
    f->why = g_strdup(why);
    f->nr_told++;
}

static const NitroOutputOps ops = { .changed = changed, .dropped = dropped };

static int can_receive(void *opaque)
{
    return 1;
}

static void receive(void *opaque, const uint8_t *buf, int size)
{
}

static void event(void *opaque, QEMUChrEvent event)
{
    Fixture *f = opaque;

    if (event == CHR_EVENT_OPENED || event == CHR_EVENT_CLOSED) {
        nitro_output_kick(f->out);
    }
}

static void open_chardev(Fixture *f, const char *options)
{
    g_autofree char *all = g_strdup_printf("%s,id=out,logfile=%s", options,
                                           f->log_path);

    f->chr = stream_chardev(&f->be, all);
    f->out = nitro_output_new(&f->be, SIZE, &ops, f);
    qemu_chr_fe_set_handlers(&f->be, can_receive, receive, event, NULL, f,
                             NULL, true);
}

static void open_socket(Fixture *f)
{
    g_autofree char *options =
        g_strdup_printf("socket,path=%s,server=on,wait=off,mux=%s",
                        f->out_path, f->mux ? "on" : "off");

    open_chardev(f, options);
}

static int open_reader(Fixture *f)
{
    int fd = stream_connect(f->out_path);

    wait_until(nitro_output_attended(f->out));
    return fd;
}

static void set_up(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-output-XXXXXX", NULL);
    f->out_path = g_build_filename(f->dir, "out", NULL);
    f->log_path = g_build_filename(f->dir, "log", NULL);
    f->mux = data != NULL;
}

static void tear_down(Fixture *f, gconstpointer data)
{
    Chardev *base = qemu_chr_find("out-base");

    qemu_chr_fe_deinit(&f->be, true);
    nitro_output_free(f->out);
    if (base) {
        object_unparent(OBJECT(base));
    }
    settle();
    unlink(f->out_path);
    unlink(f->log_path);
    g_rmdir(f->dir);
    g_free(f->out_path);
    g_free(f->log_path);
    g_free(f->dir);
    g_free(f->why);
}

static void put(Fixture *f, size_t len)
{
    g_autofree uint8_t *data = g_malloc(len);

    fill_pattern(data, len, f->put);
    nitro_output_put(f->out, data, len);
    f->put += len;
}

/* Put until it takes no more, or until as much as that was put */
static void put_all(Fixture *f, size_t end)
{
    uint32_t room;

    while (f->put < end && (room = nitro_output_room(f->out))) {
        put(f, MIN(MIN(room, 5003), end - f->put));
        settle();
    }
}

static void keep_oldest(Fixture *f)
{
    nitro_output_set_overflow(f->out, NITRO_CONSOLE_OVERFLOW_BLOCK,
                              NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
}

static void drop_oldest(Fixture *f)
{
    nitro_output_set_overflow(f->out, NITRO_CONSOLE_OVERFLOW_DROP_OLDEST,
                              NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
}

/* Tests */

static void test_file(Fixture *f, gconstpointer data)
{
    g_autofree char *options = g_strdup_printf("file,path=%s", f->out_path);

    open_chardev(f, options);
    g_assert(nitro_output_attended(f->out));
    put_all(f, 100000);
    wait_until(nitro_output_is_empty(f->out));
    assert_file(f->out_path, 100000);
    assert_file(f->log_path, 100000);
    g_assert_cmpint(nitro_output_dropped(f->out), ==, 0);
    g_assert_cmpint(f->nr_changed, >, 0);
}

/* A reader that does not read: no room, nothing lost, nothing twice */
static void test_block(Fixture *f, gconstpointer data)
{
    size_t pos = 0, total = 3 * MiB;
    int reader;

    open_socket(f);
    reader = open_reader(f);
    put_all(f, total);
    g_assert_cmpint(f->put, <, total);
    g_assert_cmpint(nitro_output_room(f->out), ==, 0);
    g_assert(nitro_output_pending(f->out));
    wait_until((put_all(f, total), pos = stream_read(reader, pos),
                pos == total));
    g_assert_cmpint(f->nr_told, ==, 0);
    assert_file(f->log_path, total);
    close(reader);
}

/* The same, dropping: the reader gets the beginning and the end */
static void test_drop(Fixture *f, gconstpointer data)
{
    size_t total = 3 * MiB, got = 0;
    g_autofree uint8_t *all = g_malloc(total);
    ssize_t len = 0;
    int reader;

    open_socket(f);
    drop_oldest(f);
    reader = open_reader(f);
    put_all(f, total);
    g_assert_cmpint(f->put, ==, total);
    g_assert_cmpint(f->nr_told, ==, 1);
    g_assert_cmpstr(f->why, ==, "its reader is too slow");

    while (got < total - nitro_output_dropped(f->out)) {
        wait_until((len = read(reader, all + got, total - got)) > 0);
        got += len;
    }
    g_assert_cmpint(got, >, SIZE);
    assert_pattern(all, got - SIZE, 0);
    assert_pattern(all + got - SIZE, SIZE, total - SIZE);
    assert_file(f->log_path, total);

    nitro_output_restart(f->out);
    g_assert_cmpint(nitro_output_dropped(f->out), ==, 0);
    put_all(f, 2 * total);
    g_assert_cmpint(f->nr_told, ==, 2);
    close(reader);
}

/* The last bytes are there for who comes late; the log does not wait */
static void test_late_reader(Fixture *f, gconstpointer data)
{
    size_t total = 10 * SIZE + 77, pos;
    int reader;

    open_socket(f);
    keep_oldest(f);
    g_assert(!nitro_output_attended(f->out));
    put_all(f, 100);
    assert_file(f->log_path, 100);
    put_all(f, total);
    assert_file(f->log_path, total);
    g_assert_cmpint(nitro_output_dropped(f->out), ==, total - SIZE);
    g_assert_cmpint(f->nr_told, ==, 1);
    g_assert_cmpstr(f->why, ==, "nobody has it open");
    g_assert(!nitro_output_pending(f->out));

    reader = open_reader(f);
    pos = total - SIZE;
    wait_until((pos = stream_read(reader, pos), pos == total));
    wait_until((put_all(f, 2 * total), pos = stream_read(reader, pos),
                pos == 2 * total));
    assert_file(f->log_path, 2 * total);
    g_assert_cmpint(nitro_output_dropped(f->out), ==, total - SIZE);
    close(reader);
}

/* A reader that leaves in the middle: the next one gets the rest */
static void test_next_reader(Fixture *f, gconstpointer data)
{
    size_t total, pos;
    int reader;

    open_socket(f);
    keep_oldest(f);
    reader = open_reader(f);
    put_all(f, 3 * MiB);
    total = f->put;
    close(reader);
    wait_until(!nitro_output_attended(f->out));
    settle();
    assert_file(f->log_path, total);

    reader = open_reader(f);
    pos = total - SIZE;
    wait_until((pos = stream_read(reader, pos), pos == total));
    assert_file(f->log_path, total);
    close(reader);
}

/* Nobody there, and it has to wait all the same */
static void test_block_unattended(Fixture *f, gconstpointer data)
{
    size_t pos = 0;
    int reader;

    open_socket(f);
    put_all(f, 2 * SIZE);
    g_assert_cmpint(f->put, ==, SIZE);
    g_assert_cmpint(nitro_output_room(f->out), ==, 0);
    reader = open_reader(f);
    wait_until((pos = stream_read(reader, pos), pos == SIZE));
    wait_until(nitro_output_room(f->out) == SIZE);
    close(reader);
}

/* At the end of its input stdio is closed, but its output works */
static void test_closed_input(Fixture *f, gconstpointer data)
{
    g_autofree char *options = NULL;
    size_t pos = 0;
    int reader, writer;

    options = stream_stdio(f->out_path, &writer, &reader);
    open_chardev(f, options);
    g_assert(nitro_output_attended(f->out));
    /* More than a pipe holds */
    put_all(f, 200000);
    g_assert_cmpint(f->put, <, 200000);
    close(writer);
    wait_until(!qemu_chr_fe_backend_open(&f->be));
    g_assert(nitro_output_attended(f->out));
    wait_until((put_all(f, 200000), pos = stream_read(reader, pos),
                pos == 200000));
    assert_file(f->log_path, 200000);
    close(reader);
    stream_stdio_remove(f->out_path);
}

static void test_clear(Fixture *f, gconstpointer data)
{
    int reader;

    open_socket(f);
    put(f, 100);
    nitro_output_clear(f->out);
    g_assert(nitro_output_is_empty(f->out));
    g_assert_cmpint(nitro_output_dropped(f->out), ==, 0);
    reader = open_reader(f);
    put(f, 50);
    settle();
    g_assert_cmpint(stream_read(reader, 100), ==, 150);
    close(reader);
}

/* A character device that fails for good gets no second chance */
static void test_write_error(Fixture *f, gconstpointer data)
{
    open_chardev(f, "file,path=/dev/full");
    put(f, 100);
    wait_until(nitro_output_is_empty(f->out));
    g_assert_cmpint(nitro_output_dropped(f->out), ==, 100);
    g_assert_cmpstr(f->why, ==, "it accepts no data");
    assert_file(f->log_path, 100);
}

/* Any front end: what was refused is logged when it is written at last */
static void test_refused(Fixture *f, gconstpointer data)
{
    uint8_t bytes[5003];
    size_t total = 0, pos = 0;
    int reader, done;

    open_socket(f);
    reader = open_reader(f);
    for (int refused = 0; refused < 3; ) {
        fill_pattern(bytes, sizeof(bytes), total);
        done = qemu_chr_fe_write(&f->be, bytes, sizeof(bytes));
        refused += done < 0;
        total += MAX(done, 0);
    }
    assert_file(f->log_path, total);
    wait_until((pos = stream_read(reader, pos), pos == total));
    close(reader);
}

/* It is never open, and yet there for whatever comes */
static void test_null(Fixture *f, gconstpointer data)
{
    open_chardev(f, f->mux ? "null,mux=on" : "null");
    g_assert(nitro_output_attended(f->out));
    put_all(f, 2 * SIZE);
    g_assert(nitro_output_is_empty(f->out));
    g_assert_cmpint(nitro_output_dropped(f->out), ==, 0);
    assert_file(f->log_path, 2 * SIZE);
}

#define ADD(name, func)                                                     \
    g_test_add("/nitro/output/" name, Fixture, NULL, set_up, func, tear_down)

/* Behind a multiplexer, which has neither the logfile nor the socket */
#define ADD_MUX(name, func)                                                 \
    g_test_add("/nitro/output/mux/" name, Fixture, "mux", set_up, func,     \
               tear_down)

int main(int argc, char **argv)
{
    stream_test_init(&argc, &argv);
    ADD("file", test_file);
    ADD("block", test_block);
    ADD("drop", test_drop);
    ADD("late-reader", test_late_reader);
    ADD("next-reader", test_next_reader);
    ADD("block-unattended", test_block_unattended);
    ADD("closed-input", test_closed_input);
    ADD("clear", test_clear);
    ADD("write-error", test_write_error);
    ADD("null", test_null);
    ADD("refused", test_refused);
    ADD_MUX("block", test_block);
    ADD_MUX("drop", test_drop);
    ADD_MUX("late-reader", test_late_reader);
    ADD_MUX("next-reader", test_next_reader);
    ADD_MUX("null", test_null);
    ADD_MUX("refused", test_refused);
    return g_test_run();
}
