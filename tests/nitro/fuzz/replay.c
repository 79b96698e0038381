/*
 * Fuzz targets as unit tests, and the writer of their seeds
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   PROGRAM [glib options] CORPUS     test with seeds, the files in CORPUS
 *                                     (which may be absent), and mutations
 *   PROGRAM --seeds DIR               write the seeds as files
 *   PROGRAM --input FILE...           take these inputs only
 */

#include "qemu/osdep.h"
#include "fuzz.h"

/* Blind mutations of each seed; the fuzzers proper do millions */
#define MUTATIONS 250
#define ROOM 4096

typedef struct Input {
    char *name;
    uint8_t *data;
    size_t size;
} Input;

static GPtrArray *inputs;
static const char *seed_dir;
static GRand *dice;

#pragma weak LLVMFuzzerCustomMutator

static void run(const uint8_t *data, size_t size)
{
    /* Without room behind the end, so that reading there is seen */
    void *copy = size ? g_memdup2(data, size) : g_strdup("");

    g_assert_cmpint(LLVMFuzzerTestOneInput(copy, size), ==, 0);
    g_free(copy);
}

static size_t insert_or_remove(uint8_t *data, size_t size, size_t max_size)
{
    size_t at = g_rand_int_range(dice, 0, size + 1);
    size_t n = g_rand_int_range(dice, 1, 9);

    if (g_rand_boolean(dice)) {
        n = MIN(n, max_size - size);
        memmove(data + at + n, data + at, size - at);
        for (size_t i = 0; i < n; i++) {
            data[at + i] = g_rand_int(dice);
        }
        return size + n;
    }
    n = MIN(n, size - at);
    memmove(data + at, data + at + n, size - at - n);
    return size - n;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xfe, 0xff };
    size_t at = g_rand_int_range(dice, 0, MAX(size, 1));

    if (!size) {
        return insert_or_remove(data, size, max_size);
    }
    switch (g_rand_int_range(dice, 0, 5)) {
    case 0:
        data[at] ^= 1 << g_rand_int_range(dice, 0, 8);
        return size;
    case 1:
        data[at] = values[g_rand_int_range(dice, 0, sizeof(values))];
        return size;
    case 2:
        data[at] = g_rand_int(dice);
        return size;
    case 3:
        return at;
    default:
        return insert_or_remove(data, size, max_size);
    }
}

static size_t mutate(uint8_t *data, size_t size, size_t max_size)
{
    if (LLVMFuzzerCustomMutator) {
        return LLVMFuzzerCustomMutator(data, size, max_size,
                                       g_rand_int(dice));
    }
    return LLVMFuzzerMutate(data, size, max_size);
}

static void test_input(gconstpointer opaque)
{
    const Input *input = opaque;

    run(input->data, input->size);
}

static void test_mutations(gconstpointer opaque)
{
    const Input *input = opaque;
    size_t room = input->size + ROOM;
    g_autofree uint8_t *data = g_malloc(room);

    g_rand_set_seed(dice, g_str_hash(input->name));
    for (unsigned i = 0; i < MUTATIONS; i++) {
        size_t size = input->size;

        memcpy(data, input->data, size);
        for (unsigned n = 0; n <= i % 4; n++) {
            size = mutate(data, size, room);
        }
        run(data, size);
    }
}

static void add_input(const char *name, const void *data, size_t size)
{
    Input *input = g_new(Input, 1);

    *input = (Input) {
        .name = g_strdup(name), .data = g_memdup2(data, size), .size = size,
    };
    g_ptr_array_add(inputs, input);
}

static void free_input(void *opaque)
{
    Input *input = opaque;

    g_free(input->name);
    g_free(input->data);
    g_free(input);
}

static void add_file(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *data = NULL;
    g_autoptr(GError) err = NULL;
    size_t size;

    if (!g_file_get_contents(path, &data, &size, &err)) {
        g_error("%s", err->message);
    }
    add_input(name, data, size);
}

/* The directory is absent as long as there is no finding */
static void add_findings(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        add_file(file);
    }
}

static void write_seed(const char *name, const void *data, size_t size)
{
    g_autofree char *path = g_build_filename(seed_dir, name, NULL);
    g_autoptr(GError) err = NULL;

    if (!g_file_set_contents(path, data, size, &err)) {
        g_error("%s", err->message);
    }
}

static void add_tests(void)
{
    for (guint i = 0; i < inputs->len; i++) {
        Input *input = g_ptr_array_index(inputs, i);
        g_autofree char *path = g_strdup_printf("/fuzz/input/%s", input->name);
        g_autofree char *more = g_strdup_printf("/fuzz/mutations/%s",
                                                input->name);

        g_test_add_data_func(path, input, test_input);
        g_test_add_data_func(more, input, test_mutations);
    }
}

static int replay(char **files)
{
    for (; *files; files++) {
        add_file(*files);
    }
    for (guint i = 0; i < inputs->len; i++) {
        test_input(g_ptr_array_index(inputs, i));
    }
    return 0;
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(free_input);
    g_autoptr(GRand) rand = g_rand_new_with_seed(0);
    int rc;

    inputs = all;
    dice = rand;
    if (argc == 3 && g_str_equal(argv[1], "--seeds")) {
        seed_dir = argv[2];
        fuzz_seeds(write_seed);
        return 0;
    }
    if (argc > 1 && g_str_equal(argv[1], "--input")) {
        return replay(argv + 2);
    }
    g_test_init(&argc, &argv, NULL);
    fuzz_seeds(add_input);
    if (argc > 1) {
        add_findings(argv[1]);
    }
    add_tests();
    rc = g_test_run();
    return rc;
}
