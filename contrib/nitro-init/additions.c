/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Measure first, then apply: what cannot be measured has no effect.
 */

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "additions.h"
#include "clock.h"
#include "log.h"
#include "nsm.h"

/* The register is extended by pieces of this size, the last one shorter */
#define PIECE 1024

/* STRINGS_MAX as text */
#define TEXT(number) #number
#define LIMIT(number) TEXT(number)
#define ITEMS LIMIT(STRINGS_MAX)

bool additions_allowed(const struct config *config)
{
    return config->allow_env.count || config->allow_files.count ||
           config->allow_args;
}

/* Type, three zeros, length and payload: the frame's bytes */
static int measure(const struct agent_frame *frame)
{
    const uint8_t *data = frame->payload - AGENT_HEAD;
    size_t len = AGENT_HEAD + frame->len;

    for (size_t done = 0; done < len; done += PIECE) {
        size_t n = len - done < PIECE ? len - done : PIECE;

        if (nsm_extend(ADDITIONS_REGISTER, data + done, n)) {
            return -1;
        }
    }
    return 0;
}

static const char *set_variable(struct strings *environment, const char *text,
                                size_t name)
{
    char **old = strings_variable(environment, text, name), *copy;

    if (!old) {
        return strings_add(environment, text, strlen(text))
               ? "there are too many variables, the limit is " ITEMS : NULL;
    }
    copy = strdup(text);
    if (!copy) {
        return "memory is short";
    }
    free(*old);
    *old = copy;
    return NULL;
}

static const char *write_file(const char *path, const uint8_t *data,
                              size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                  0644);
    ssize_t n = fd < 0 ? -1 : write(fd, data, len);

    if (fd >= 0) {
        close(fd);
    }
    return n == (ssize_t)len ? NULL : "the file cannot be written";
}

/* One addition, as text and split where it has parts */
struct addition {
    char *text;             /* NAME=VALUE, argument, or name of a file */
    size_t name;            /* bytes of NAME */
    const uint8_t *data;    /* content of a file */
    size_t len;
};

/* Returns: NULL, or what is wrong with the frame */
static const char *parse(struct addition *addition,
                         const struct agent_frame *frame)
{
    const char *text = (const char *)frame->payload;
    size_t len = frame->len;

    if (frame->type == AGENT_FILE) {
        uint16_t name;

        if (len < sizeof(name)) {
            return "a file without a name";
        }
        memcpy(&name, text, sizeof(name));
        name = be16toh(name);
        text += sizeof(name);
        len -= sizeof(name);
        if (name > len) {
            return "a file whose name is cut off";
        }
        addition->data = (const uint8_t *)text + name;
        addition->len = len - name;
        len = name;
    }
    if (memchr(text, 0, len)) {
        return "text with a NUL byte";
    }
    addition->text = strndup(text, len);
    if (!addition->text) {
        return "memory is short";
    }
    addition->name = strcspn(addition->text, "=");
    return NULL;
}

static const char *check_allowed(const struct config *config,
                                 enum agent_type type,
                                 const struct addition *addition)
{
    const char *text = addition->text;

    switch (type) {
    case AGENT_ENV:
        if (!text[addition->name]) {
            return "a variable is NAME=VALUE";
        }
        return strings_has(&config->allow_env, text, addition->name) ? NULL
               : "no allow-env line names this variable";
    case AGENT_FILE:
        return strings_has(&config->allow_files, text, strlen(text)) ? NULL
               : "no allow-file line names this file";
    default:
        return config->allow_args ? NULL : "allow-args is not yes";
    }
}

static const char *apply(struct config *config, enum agent_type type,
                         const struct addition *addition)
{
    switch (type) {
    case AGENT_ENV:
        return set_variable(&config->environment, addition->text,
                            addition->name);
    case AGENT_FILE:
        return write_file(addition->text, addition->data, addition->len);
    default:
        return strings_add(&config->command, addition->text,
                           strlen(addition->text))
               ? "there are too many arguments, the limit is " ITEMS : NULL;
    }
}

static void add(struct agent *agent, struct config *config,
                const struct agent_frame *frame)
{
    struct addition addition = { 0 };
    const char *wrong = parse(&addition, frame);
    char text[256];

    if (!wrong) {
        wrong = check_allowed(config, frame->type, &addition);
    }
    if (!wrong && measure(frame)) {
        wrong = "the security module cannot measure it";
    }
    if (!wrong) {
        wrong = apply(config, frame->type, &addition);
    }
    if (wrong) {
        snprintf(text, sizeof(text), "'%.*s': %s", (int)addition.name,
                 addition.text ? addition.text : "", wrong);
        agent_refuse(agent, text);
    }
    free(addition.text);
}

/* Returns: whether a frame had come; @done: the parent says that was all */
static bool take_frames(struct agent *agent, struct config *config,
                        bool *done)
{
    struct agent_frame frame;
    bool any = false;

    while (!*done && agent_next(agent, &frame)) {
        any = true;
        if (frame.type == AGENT_GO) {
            *done = true;
        } else if (frame.type >= AGENT_ENV && frame.type <= AGENT_FILE) {
            add(agent, config, &frame);
        }
    }
    return any;
}

void additions_collect(struct agent *agent, struct config *config,
                       int wait_ms)
{
    struct output nothing = { 0 };
    int64_t now = clock_ms(), deadline = now + wait_ms;
    bool done = false;

    for (; !done && now < deadline; now = clock_ms()) {
        agent_serve(agent, &nothing, deadline - now);
        if (take_frames(agent, config, &done)) {
            deadline = clock_ms() + wait_ms;
        }
    }
    if (!done) {
        say("no word of the agent's peer within %d ms: starting", wait_ms);
    }
    if (nsm_lock(ADDITIONS_REGISTER)) {
        warn("cannot lock PCR%d", ADDITIONS_REGISTER);
    }
    agent->waits_for_go = false;
}
