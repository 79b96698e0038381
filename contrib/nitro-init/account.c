/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The C library's own look-up would load modules into a static program.
 */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "address.h"
#include "config.h"

#define LINE_SIZE 4096
#define FIELDS 7

/* Split @line at colons; returns the number of fields, FIELDS at most */
static int split(char *line, char **field)
{
    int n = 0;

    line[strcspn(line, "\n")] = 0;
    while (n < FIELDS && line) {
        field[n++] = strsep(&line, ":");
    }
    return n;
}

/* -1 means "no change" to the kernel */
static bool is_number(const char *text, unsigned long *number)
{
    return parse_number(text, 10, 0xfffffffe, number);
}

/*
 * First line of @path whose name, or number in the third field, is @wanted;
 * @line takes LINE_SIZE bytes, into which @field points
 */
static bool find_line(const char *path, const char *wanted, int fields,
                      char *line, char **field)
{
    FILE *file = fopen(path, "re");
    unsigned long number, have;
    bool numeric = is_number(wanted, &number), found = false;

    while (file && !found && fgets(line, LINE_SIZE, file)) {
        if (split(line, field) >= fields) {
            found = numeric ? is_number(field[2], &have) && have == number
                            : !strcmp(field[0], wanted);
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

static bool has_member(char *members, const char *name)
{
    char *member;

    while ((member = strsep(&members, ","))) {
        if (!strcmp(member, name)) {
            return true;
        }
    }
    return false;
}

static void add_groups(struct account *account, const char *path,
                       const char *name)
{
    FILE *file = fopen(path, "re");
    char line[LINE_SIZE], *field[FIELDS];
    unsigned long gid;

    while (file && account->group_count < ACCOUNT_MAX_GROUPS &&
           fgets(line, sizeof(line), file)) {
        if (split(line, field) >= 4 && is_number(field[2], &gid) &&
            gid != account->gid && has_member(field[3], name)) {
            account->groups[account->group_count++] = gid;
        }
    }
    if (file) {
        fclose(file);
    }
}

/* Returns: whether the user has an entry, whose name is copied to @name */
static bool find_user(struct account *account, const char *user,
                      const char *passwd, char *name, size_t name_size)
{
    char line[LINE_SIZE], *field[FIELDS];
    unsigned long uid, gid;

    if (!find_line(passwd, user, 6, line, field) ||
        !is_number(field[2], &uid) || !is_number(field[3], &gid)) {
        return false;
    }
    account->uid = uid;
    account->gid = gid;
    snprintf(account->home, sizeof(account->home), "%s",
             *field[5] ? field[5] : "/");
    snprintf(name, name_size, "%s", field[0]);
    return true;
}

static bool find_group(struct account *account, const char *wanted,
                       const char *group)
{
    char line[LINE_SIZE], *field[FIELDS];
    unsigned long gid;

    if (is_number(wanted, &gid) ||
        (find_line(group, wanted, 3, line, field) &&
         is_number(field[2], &gid))) {
        account->gid = gid;
        return true;
    }
    return false;
}

int account_find(struct account *account, const char *spec,
                 const char *passwd, const char *group, char *why,
                 size_t why_size)
{
    char user[256], name[256] = "";
    const char *colon = spec ? strchr(spec, ':') : NULL;
    unsigned long uid;

    *account = (struct account) { .home = "/" };
    snprintf(user, sizeof(user), "%.*s",
             colon ? (int)(colon - spec) : 255, spec ? spec : "0");
    if (!find_user(account, user, passwd, name, sizeof(name))) {
        if (!is_number(user, &uid)) {
            snprintf(why, why_size, "user '%s' is not in the image's %s",
                     user, passwd);
            return -1;
        }
        account->uid = uid;
    }
    if (colon && !find_group(account, colon + 1, group)) {
        snprintf(why, why_size, "group '%s' is not in the image's %s",
                 colon + 1, group);
        return -1;
    }
    if (!colon && *name) {
        add_groups(account, group, name);
    }
    return 0;
}
