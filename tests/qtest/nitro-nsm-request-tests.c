/*
 * The Nitro Secure Module: each request, in the ways clients write it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All rows ask one device, in this order: a register that one row locks is
 * locked for those after it.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "nitro-nsm-util.h"

#define REQUEST_MAX 0x1000

/* CBOR: the request with its map still open, and a field of it */
#define ASK_PCR(fields) "\xa1\x6b" "DescribePCR" fields
#define EXTEND(fields) "\xa1\x69" "ExtendPCR" fields
#define LOCK(fields) "\xa1\x67" "LockPCR" fields
#define LOCK_ALL(fields) "\xa1\x68" "LockPCRs" fields
#define ATTEST(fields) "\xa1\x6b" "Attestation" fields
#define INDEX(value) "\x65" "index" value
#define RANGE(value) "\x65" "range" value
#define DATA(value) "\x64" "data" value
#define NONCE(value) "\x65" "nonce" value
#define USER_DATA(value) "\x69" "user_data" value
#define PUBLIC_KEY(value) "\x6a" "public_key" value

#define FAILED(text) "\xa1\x65" "Error" text
#define BAD_REQUEST FAILED("\x70" "InvalidOperation")
#define BAD_INDEX FAILED("\x6c" "InvalidIndex")
#define READ_ONLY FAILED("\x6d" "ReadOnlyIndex")
#define TOO_LARGE FAILED("\x6d" "InputTooLarge")
#define UNLOCKED_PCR "\x64" "lock\xf4"
#define LOCKED_PCR "\x64" "lock\xf5"

/* Register of zeros, extended with "abc" */
#define EXTENDED "\x64" "data\x58\x30" \
    "\xb1\xc1\x6e\xb7\x63\x41\x12\xb7\xc9\xd5\xeb\xd2\x7e\x62\xa2\xd4" \
    "\x52\x8b\xbf\xcf\xd6\x8b\x62\xd3\xaf\xd9\xec\xf9\x8e\x0f\x41\x3a" \
    "\x84\x31\x4a\xcc\xe7\x83\x17\xfb\x69\xfd\x89\x51\x55\x34\x3e\x09"

/* What a response has inside, or begins with when @from_start */
typedef struct Row {
    const char *name;
    const char *request;
    size_t request_len;
    const char *answer;
    size_t answer_len;
    bool from_start;
} Row;

#define ROW(name, request, answer) \
    { name, request, sizeof(request) - 1, answer, sizeof(answer) - 1 }
#define EXACT(name, request, answer) \
    { name, request, sizeof(request) - 1, answer, sizeof(answer) - 1, true }

static const Row rows[] = {
    /* Strings */
    ROW("random", "\x69" "GetRandom", "\x66" "random\x59\x01\x00"),
    ROW("random in pieces", "\x7f\x63" "Get\x66" "Random\xff",
        "\xa1\x69" "GetRandom\xa1\x66" "random\x59\x01\x00"),
    ROW("describe", "\x6b" "DescribeNSM", "\x6b" "locked_pcrs\x80"),
    EXACT("random as a map", "\xa1\x69" "GetRandom\xa0", BAD_REQUEST),
    EXACT("register as a string", "\x67" "LockPCR", BAD_REQUEST),
    EXACT("unknown", "\x64" "What", BAD_REQUEST),
    EXACT("nothing but a number", "\x00", BAD_REQUEST),

    /* An index in each width, and too large ones */
    ROW("index", ASK_PCR("\xa1" INDEX("\x05")), UNLOCKED_PCR),
    ROW("index, 1 byte", ASK_PCR("\xa1" INDEX("\x18\x05")), UNLOCKED_PCR),
    ROW("index, 2 bytes", ASK_PCR("\xa1" INDEX("\x19\0\x05")), UNLOCKED_PCR),
    ROW("index, 4 bytes", ASK_PCR("\xa1" INDEX("\x1a\0\0\0\x05")),
        UNLOCKED_PCR),
    ROW("index, 8 bytes", ASK_PCR("\xa1" INDEX("\x1b\0\0\0\0\0\0\0\x05")),
        UNLOCKED_PCR),
    ROW("index 31", ASK_PCR("\xa1" INDEX("\x18\x1f")), UNLOCKED_PCR),
    EXACT("index 32", ASK_PCR("\xa1" INDEX("\x18\x20")), BAD_INDEX),
    EXACT("index 255", ASK_PCR("\xa1" INDEX("\x18\xff")), BAD_INDEX),
    EXACT("index 256", ASK_PCR("\xa1" INDEX("\x19\x01\x00")), BAD_INDEX),
    EXACT("index 65536", ASK_PCR("\xa1" INDEX("\x1a\0\1\0\0")), BAD_INDEX),
    EXACT("largest index", ASK_PCR("\xa1" INDEX("\x1b\xff\xff\xff\xff"
                                                "\xff\xff\xff\xff")),
          BAD_INDEX),
    EXACT("negative index", ASK_PCR("\xa1" INDEX("\x20")), BAD_REQUEST),
    EXACT("index as a text", ASK_PCR("\xa1" INDEX("\x61" "5")), BAD_REQUEST),
    EXACT("no index", ASK_PCR("\xa0"), BAD_REQUEST),
    EXACT("two of them", ASK_PCR("\xa2" INDEX("\x05") INDEX("\x06")),
          BAD_REQUEST),

    /* Maps in both forms, keys in any order, unknown keys, tags */
    ROW("maps without lengths", "\xbf\x6b" "DescribePCR\xbf" INDEX("\x05")
        "\xff\xff", UNLOCKED_PCR),
    ROW("key in pieces", ASK_PCR("\xa1\x7f\x62in\x63" "dex\xff\x05"),
        UNLOCKED_PCR),
    ROW("unknown keys", ASK_PCR("\xa4\x00\x81\xf6\x61x\xbf\x61y\x5f\x41z\xff"
                                "\xff" INDEX("\x05") "\x61z\xfb"
                                "12345678"), UNLOCKED_PCR),
    ROW("tags", "\xd9\xd9\xf7" ASK_PCR("\xc1\xa1" INDEX("\xc1\x05")),
        UNLOCKED_PCR),
    EXACT("two requests in one", "\xa2\x67LockPCR\xa1" INDEX("\x05")
          "\x67LockPCR\xa1" INDEX("\x06"), BAD_REQUEST),

    /* Bytes in each form */
    ROW("bytes", EXTEND("\xa2" INDEX("\x10") DATA("\x43" "abc")), EXTENDED),
    ROW("bytes in pieces",
        EXTEND("\xa2" INDEX("\x11") DATA("\x5f\x41" "a\x40\x42" "bc\xff")),
        EXTENDED),
    ROW("bytes as integers",
        EXTEND("\xa2" INDEX("\x12") DATA("\x83\x18\x61\x18\x62\x18\x63")),
        EXTENDED),
    ROW("bytes as wide integers, array without length",
        EXTEND("\xa2" INDEX("\x13") DATA("\x9f\x18\x61\x19\0\x62"
                                         "\x1a\0\0\0\x63\xff")),
        EXTENDED),
    ROW("text", EXTEND("\xa2" INDEX("\x14") DATA("\x63" "abc")), EXTENDED),
    ROW("text in pieces, data first",
        EXTEND("\xa2" DATA("\x7f\x61" "a\x62" "bc\xff") INDEX("\x15")),
        EXTENDED),
    ROW("wide length", EXTEND("\xa2" INDEX("\x16")
                              DATA("\x5b\0\0\0\0\0\0\0\x03" "abc")),
        EXTENDED),
    EXACT("integer that is no byte",
          EXTEND("\xa2" INDEX("\x17") DATA("\x81\x19\1\0")), BAD_REQUEST),
    EXACT("pieces of another kind",
          EXTEND("\xa2" INDEX("\x17") DATA("\x5f\x61" "a\xff")), BAD_REQUEST),
    EXACT("pieces in pieces",
          EXTEND("\xa2" INDEX("\x17") DATA("\x5f\x5f\x41" "a\xff\xff")),
          BAD_REQUEST),
    EXACT("no data", EXTEND("\xa1" INDEX("\x17")), BAD_REQUEST),
    EXACT("null for data", EXTEND("\xa2" INDEX("\x17") DATA("\xf6")),
          BAD_REQUEST),
    EXACT("extend 256", EXTEND("\xa2" INDEX("\x19\1\0") DATA("\x41x")),
          BAD_INDEX),

    /* Lengths that are not there */
    EXACT("long string", EXTEND("\xa2" INDEX("\x17")
                                DATA("\x5b\xff\xff\xff\xff\xff\xff\xff\xff")),
          BAD_REQUEST),
    EXACT("long array", EXTEND("\xa2" INDEX("\x17")
                               DATA("\x9b\0\0\0\1\0\0\0\0\1")), BAD_REQUEST),
    EXACT("long map", ASK_PCR("\xbb\0\0\0\1\0\0\0\0" INDEX("\x05")),
          BAD_REQUEST),

    /* Locks */
    EXACT("lock", LOCK("\xa1" INDEX("\x19\0\x10")), "\x67" "LockPCR"),
    EXACT("lock again", LOCK("\xa1" INDEX("\x10")), READ_ONLY),
    EXACT("extend a locked one",
          EXTEND("\xa2" INDEX("\x10") DATA("\x41x")), READ_ONLY),
    ROW("locked", ASK_PCR("\xa1" INDEX("\x10")), LOCKED_PCR),
    EXACT("lock 32", LOCK("\xa1" INDEX("\x18\x20")), BAD_INDEX),
    EXACT("lock 256", LOCK("\xa1" INDEX("\x19\1\0")), BAD_INDEX),
    EXACT("lock 0 registers", LOCK_ALL("\xa1" RANGE("\x00")),
          "\x68" "LockPCRs"),
    EXACT("lock 2 registers", LOCK_ALL("\xa1" RANGE("\x1a\0\0\0\2")),
          "\x68" "LockPCRs"),
    EXACT("lock 33 registers", LOCK_ALL("\xa1" RANGE("\x18\x21")), BAD_INDEX),
    EXACT("lock 256 registers", LOCK_ALL("\xa1" RANGE("\x19\1\0")),
          BAD_INDEX),
    ROW("list of locks", "\x6b" "DescribeNSM",
        "\x6b" "locked_pcrs\x83\x00\x01\x10"),

    /* Documents */
    ROW("document", ATTEST("\xa0"),
        PUBLIC_KEY("\xf6") USER_DATA("\xf6") NONCE("\xf6")),
    ROW("values", ATTEST("\xa3" NONCE("\x41" "1") USER_DATA("\x42" "22")
                         PUBLIC_KEY("\x43" "333")),
        PUBLIC_KEY("\x43" "333") USER_DATA("\x42" "22") NONCE("\x41" "1")),
    ROW("values in pieces, or empty",
        ATTEST("\xbf" NONCE("\x5f\x42" "ab\x41" "c\xff") USER_DATA("\x5f\xff")
               PUBLIC_KEY("\x40") "\xff"),
        PUBLIC_KEY("\x40") USER_DATA("\x40") NONCE("\x43" "abc")),
    ROW("values as integers, null, undefined",
        ATTEST("\xa3" NONCE("\x82\x01\x18\xff") USER_DATA("\xf7")
               PUBLIC_KEY("\xf6")),
        PUBLIC_KEY("\xf6") USER_DATA("\xf6") NONCE("\x42\x01\xff")),
    EXACT("number as a nonce", ATTEST("\xa1" NONCE("\x05")), BAD_REQUEST),
    EXACT("no map", ATTEST("\xf6"), BAD_REQUEST),
};

static void check_row(NSMDevice *nsm, const Row *row)
{
    g_autofree uint8_t *response = g_malloc(NSM_RESPONSE_SIZE);
    uint8_t *at;
    size_t len;

    g_test_message("%s, %zu bytes", row->name, row->request_len);
    len = nsm_ask(nsm, row->request, row->request_len, response);
    at = memmem(response, len, row->answer, row->answer_len);
    g_assert_nonnull(at);
    if (row->from_start) {
        g_assert_true(at == response);
        g_assert_cmpuint(len, ==, row->answer_len);
    }
}

static void test_rows(void)
{
    NSMDevice nsm;

    nsm_start(&nsm, "", "");
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        check_row(&nsm, &rows[i]);
    }
    nsm_stop(&nsm);
}

/* A request that ends too early at any byte is refused */
static void test_truncated(void)
{
    static const char request[] =
        "\xbf\x69" "ExtendPCR\xa3" INDEX("\x19\0\x10") "\x61x\x9f\xa1\xf6\x41x"
        "\xff" DATA("\x5f\x42" "ab\x41" "c\xff") "\xff";
    Row row = { "truncated", request, 1, BAD_REQUEST, sizeof(BAD_REQUEST) - 1,
                true };
    NSMDevice nsm;

    nsm_start(&nsm, "", "");
    for (; row.request_len < sizeof(request) - 1; row.request_len++) {
        check_row(&nsm, &row);
    }
    row.answer = EXTENDED;
    row.answer_len = sizeof(EXTENDED) - 1;
    row.from_start = false;
    check_row(&nsm, &row);
    nsm_stop(&nsm);
}

/* As many bytes as the driver passes on, and a form that costs readers most */
static void test_large(void)
{
    g_autofree char *request = g_malloc0(REQUEST_MAX + 1);
    static const char head[] = ATTEST("\xa1" NONCE("\x59\x0f\xe9"));
    static const char deep[] = ATTEST("\xa1\x61x");
    Row row = { "bytes", request, REQUEST_MAX, NONCE("\x59\x0f\xe9"), 9 };
    NSMDevice nsm;

    nsm_start(&nsm, "", "");
    memcpy(request, head, sizeof(head) - 1);
    g_assert_cmpuint(sizeof(head) - 1 + 0x0fe9, ==, REQUEST_MAX);
    check_row(&nsm, &row);
    row = (Row) { "one more", request, REQUEST_MAX + 1, TOO_LARGE,
                  sizeof(TOO_LARGE) - 1, true };
    check_row(&nsm, &row);
    memset(request, 0x81, REQUEST_MAX);
    memcpy(request, deep, sizeof(deep) - 1);
    row = (Row) { "nested arrays", request, REQUEST_MAX, BAD_REQUEST,
                  sizeof(BAD_REQUEST) - 1, true };
    check_row(&nsm, &row);
    nsm_stop(&nsm);
}

static void test_timestamp(void)
{
    static const char request[] = ATTEST("\xa0");
    static const char key[] = "\x69" "timestamp\x1b";
    g_autofree uint8_t *response = g_malloc(NSM_RESPONSE_SIZE);
    uint64_t before, time;
    uint8_t *at;
    NSMDevice nsm;

    nsm_start(&nsm, "", "");
    before = g_get_real_time() / 1000;
    nsm_ask(&nsm, request, sizeof(request) - 1, response);
    at = memmem(response, NSM_RESPONSE_SIZE, key, sizeof(key) - 1);
    g_assert_nonnull(at);
    time = ldq_be_p(at + sizeof(key) - 1);
    g_assert_cmpuint(time, >=, before);
    g_assert_cmpuint(time, <=, g_get_real_time() / 1000);
    nsm_stop(&nsm);
}

void nsm_add_request_tests(void)
{
    qtest_add_func("/nitro/nsm/request/rows", test_rows);
    qtest_add_func("/nitro/nsm/request/truncated", test_truncated);
    qtest_add_func("/nitro/nsm/request/large", test_large);
    qtest_add_func("/nitro/nsm/request/timestamp", test_timestamp);
}
