/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A table of keys, and one function per kind of value.
 */

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "address.h"
#include "settings.h"
#include "signals.h"

#define GROUP_BIT 1         /* in the first octet of a MAC address */
#define MAC_EXAMPLE "02:00:00:00:00:01"
#define MAX_KEY_SHOWN 40    /* the cause behind it has to fit */

/* One line's value, without escapes, and where it goes */
struct setting {
    void *target;
    const struct key *key;
    const char *value;
    char why[200];              /* the cause, unless key->expected says it */
};

struct key {
    const char *name;
    size_t offset;
    bool (*set)(struct setting *setting);
    enum { ONE, MANY, ONE_PER_FAMILY } count;
    const char *expected;       /* for the message; choices end the list */
    const char *const *choices; /* set_choice() only */
    unsigned long min, max;     /* set_number() only */
};

static bool __attribute__((format(printf, 2, 3)))
refuse(struct setting *setting, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(setting->why, sizeof(setting->why), format, args);
    va_end(args);
    return false;
}

static bool set_text(struct setting *setting)
{
    char **text = setting->target;

    if (!*setting->value) {
        return false;
    }
    *text = strdup(setting->value);
    return *text;
}

static bool set_path(struct setting *setting)
{
    return *setting->value == '/' && set_text(setting);
}

/* "/" itself in any spelling, such as "/./" */
static bool is_top(const char *path)
{
    while (*path == '/') {
        path += strspn(path, "/");
        path += !strncmp(path, "..", 2) && strchr("/", path[2]) ? 2
                : *path == '.' && strchr("/", path[1]);
    }
    return !*path;
}

static bool set_root(struct setting *setting)
{
    if (*setting->value && is_top(setting->value)) {
        return refuse(setting, "%.40s is the root already: leave the line "
                      "out, or name a directory in it", setting->value);
    }
    return set_path(setting);
}

static bool add_text(struct setting *setting)
{
    const struct strings *list = setting->target;

    if (list->count >= STRINGS_MAX) {
        return refuse(setting, "a value more than the limit of %d: remove "
                      "lines", STRINGS_MAX);
    }
    return !strings_add(setting->target, setting->value,
                        strlen(setting->value)) ||
           refuse(setting, "memory is short");
}

/* Whether an interface or a router can have it */
static bool check_unicast(struct setting *setting,
                          const struct address *address)
{
    static const uint8_t none[sizeof(address->bytes)];
    bool four = address->family == AF_INET;
    uint8_t first = address->bytes[0];

    if (four ? (first & 0xf0) == 0xe0 : first == 0xff) {
        return refuse(setting, "%s is a multicast address (%s): give one of "
                      "a single host", setting->value,
                      four ? "224.0.0.0/4" : "ff00::/8");
    }
    if (!memcmp(address->bytes, none, address_bits(address) / 8)) {
        return refuse(setting, "%s stands for no address: give one of a "
                      "single host", setting->value);
    }
    return true;
}

static bool add_unicast(struct setting *setting, bool prefixed)
{
    struct address address;

    return address_parse(&address, setting->value, prefixed) &&
           check_unicast(setting, &address) && add_text(setting);
}

static bool add_network(struct setting *setting)
{
    return add_unicast(setting, true);
}

static bool add_host(struct setting *setting)
{
    struct address address;

    return address_parse(&address, setting->value, false) && add_text(setting);
}

static bool add_router(struct setting *setting)
{
    return add_unicast(setting, false);
}

static bool set_mac(struct setting *setting)
{
    static const uint8_t none[MAC_LEN];
    uint8_t mac[MAC_LEN];

    if (!mac_parse(mac, setting->value)) {
        return false;
    }
    if (mac[0] & GROUP_BIT) {
        return refuse(setting, "%s is a multicast address, its first octet "
                      "is odd: give one such as " MAC_EXAMPLE, setting->value);
    }
    if (!memcmp(mac, none, sizeof(mac))) {
        return refuse(setting, "%s cannot be used, all octets are 0: give one "
                      "such as " MAC_EXAMPLE, setting->value);
    }
    return set_text(setting);
}

static bool set_hostname(struct setting *setting)
{
    size_t len = strlen(setting->value);

    if (len > HOST_NAME_MAX) {
        return refuse(setting, "%zu bytes, Linux takes %d at most: shorten it",
                      len, HOST_NAME_MAX);
    }
    return set_text(setting);
}

static bool add_path(struct setting *setting)
{
    return *setting->value == '/' && add_text(setting);
}

static bool add_variable(struct setting *setting)
{
    const char *equals = strchr(setting->value, '=');

    return equals && equals != setting->value && add_text(setting);
}

static bool add_name(struct setting *setting)
{
    return *setting->value && !strchr(setting->value, '=') &&
           add_text(setting);
}

/* The program comes before its arguments, as add_argument() sees to */
static bool set_program(struct setting *setting)
{
    return *setting->value && add_text(setting);
}

static bool add_argument(struct setting *setting)
{
    struct strings *command = setting->target;

    return command->count && add_text(setting);
}

static bool read_number(const struct setting *setting, unsigned base,
                        unsigned long *number)
{
    return parse_number(setting->value, base, setting->key->max, number) &&
           *number >= setting->key->min;
}

static bool set_number(struct setting *setting)
{
    unsigned long number;

    if (!read_number(setting, 10, &number)) {
        return false;
    }
    *(unsigned *)setting->target = number;
    return true;
}

static bool set_umask(struct setting *setting)
{
    unsigned long number;

    if (!read_number(setting, 8, &number)) {
        return false;
    }
    *(mode_t *)setting->target = number;
    return true;
}

static bool set_signal(struct setting *setting)
{
    int number = signal_number(setting->value);

    *(int *)setting->target = number;
    return number;
}

static bool set_flag(struct setting *setting)
{
    *(bool *)setting->target = !strcmp(setting->value, "yes");
    return !strcmp(setting->value, "yes") || !strcmp(setting->value, "no");
}

static bool set_choice(struct setting *setting)
{
    const char *const *choice = setting->key->choices;

    for (int i = 0; choice[i]; i++) {
        if (!strcmp(setting->value, choice[i])) {
            *(int *)setting->target = i;
            return true;
        }
    }
    return false;
}

static bool set_port(struct setting *setting)
{
    if (!strcmp(setting->value, "off")) {
        *(unsigned *)setting->target = 0;
        return true;
    }
    return set_number(setting);
}

/* In the order of the enums */
static const char *const heartbeats[] = { "try", "require", "off", NULL };
static const char *const consoles[] = { "auto", "on", "off", NULL };
static const char *const overflows[] = { "drop", "block", NULL };
static const char *const nets[] = { "off", "dhcp", "static", NULL };
static const char *const clocks[] = { "auto", "ptp", "nsm", "off", NULL };

#define KEY(key, field, how, wanted, ...) \
    { .name = key, .offset = offsetof(struct config, field), .set = how, \
      .expected = wanted, ##__VA_ARGS__ }

static const struct key keys[] = {
    KEY("root", root, set_root, "one absolute name"),
    KEY("root-image", root_image, set_path, "one absolute name"),
    KEY("module", modules, add_path, "an absolute name", .count = MANY),
    KEY("hostname", hostname, set_hostname, "one name"),
    KEY("exec", command, set_program, "one program, before its arguments"),
    KEY("arg", command, add_argument, "an argument, after exec", .count = MANY),
    KEY("env", environment, add_variable, "NAME=VALUE", .count = MANY),
    KEY("cwd", cwd, set_path, "one absolute name"),
    KEY("user", user, set_text, "one USER or USER:GROUP"),
    KEY("umask", umask, set_umask, "an octal number up to 777", .max = 0777),
    KEY("stop-signal", stop_signal, set_signal, "a signal such as TERM, "
        "RTMIN+3 or a number from 1 to 64"),
    KEY("stop-grace", stop_grace_s, set_number, "0 to 3600 seconds",
        .max = 3600),
    KEY("linger", linger_s, set_number, "0 to 60 seconds", .max = 60),
    KEY("heartbeat", heartbeat, set_choice, "try, require or off",
        .choices = heartbeats),
    KEY("console", console, set_choice, "auto, on or off",
        .choices = consoles),
    KEY("output", overflow, set_choice, "drop or block",
        .choices = overflows),
    KEY("clock", clock, set_choice, "auto, ptp, nsm or off",
        .choices = clocks),
    KEY("agent", agent_port, set_port, "off, or a port from 1 to 4294967294",
        .min = 1, .max = 0xfffffffe),
    KEY("net", net, set_choice, "dhcp, static or off", .choices = nets),
    KEY("net-address", net_addresses, add_network,
        "ADDRESS/PREFIX, as 10.0.2.15/24 or fec0::15/64", .count = MANY),
    KEY("net-gateway", net_gateways, add_router, "an address",
        .count = ONE_PER_FAMILY),
    KEY("net-dns", net_dns, add_host, "an address", .count = MANY),
    KEY("net-mac", net_mac, set_mac,
        "one address of an interface, as " MAC_EXAMPLE),
    KEY("net-mtu", net_mtu, set_number, "576 to 65520 bytes", .min = 576,
        .max = 65520),
    KEY("net-port", net_port, set_number, "a port from 1 to 4294967294",
        .min = 1, .max = 0xfffffffe),
    KEY("net-wait", net_wait_s, set_number, "0 to 600 seconds", .max = 600),
    KEY("allow-env", allow_env, add_name, "the name of a variable",
        .count = MANY),
    KEY("allow-file", allow_files, add_path, "an absolute name", .count = MANY),
    KEY("allow-args", allow_args, set_flag, "yes or no"),
};

static const struct key *find_key(const char *line, size_t len)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strlen(keys[i].name) == len && !memcmp(keys[i].name, line, len)) {
            return &keys[i];
        }
    }
    return NULL;
}

/*
 * A value with its escapes resolved: \n is a line feed, \\ a backslash, so
 * that arguments and variables of several lines fit.  NULL: another escape.
 */
static char *unescape(const char *from, size_t len)
{
    char *value = malloc(len + 1), *to = value;

    for (const char *end = from + len; value && from < end; from++) {
        if (*from == '\\') {
            if (++from == end || (*from != 'n' && *from != '\\')) {
                free(value);
                return NULL;
            }
            *to++ = *from == 'n' ? '\n' : '\\';
        } else {
            *to++ = *from;
        }
    }
    if (value) {
        *to = 0;
    }
    return value;
}

/* Which set of seen keys is for this value; -1: the key may come again */
static int seen_set(const struct setting *setting)
{
    switch (setting->key->count) {
    case MANY:
        return -1;
    case ONE_PER_FAMILY:
        return strchr(setting->value, ':') != NULL;
    default:
        return 0;
    }
}

static bool see(struct config *config, struct setting *setting)
{
    uint64_t key = UINT64_C(1) << (setting->key - keys);
    int set = seen_set(setting);

    _Static_assert(sizeof(keys) / sizeof(keys[0]) <= 64, "bits of a set");
    if (set < 0) {
        return true;
    }
    if (config->seen[set] & key) {
        return refuse(setting, "a second value, and one is allowed%s: remove "
                      "one of the lines",
                      setting->key->count == ONE ? "" : " per family");
    }
    config->seen[set] |= key;
    return true;
}

static bool apply(struct config *config, struct setting *setting)
{
    setting->target = (char *)config + setting->key->offset;
    return see(config, setting) && setting->key->set(setting);
}

/* Returns: the bytes of the key */
static size_t key_len(const char *line, size_t len)
{
    size_t name = strcspn(line, "\n ");

    return name < len ? name : len;
}

/* Returns: whether @line is right; else @setting says why */
static bool read_line(struct config *config, const char *line, size_t len,
                      struct setting *setting)
{
    size_t name = key_len(line, len), from = name < len ? name + 1 : name;
    char *value;
    bool fits;

    setting->key = find_key(line, name);
    if (!setting->key) {
        return refuse(setting, "unknown key");
    }
    value = unescape(line + from, len - from);
    if (!value) {
        return refuse(setting, "a backslash is followed by neither n nor \\");
    }
    setting->value = value;
    fits = apply(config, setting);
    free(value);
    if (!fits && !*setting->why) {
        refuse(setting, "wants %s", setting->key->expected);
    }
    return fits;
}

int settings_line(struct config *config, const char *line, size_t len,
                  char *why, size_t why_size)
{
    struct setting setting = { 0 };
    size_t shown;

    if (!len || *line == '#' || read_line(config, line, len, &setting)) {
        return 0;
    }
    shown = key_len(line, len);
    if (shown > MAX_KEY_SHOWN) {
        shown = MAX_KEY_SHOWN;
    }
    snprintf(why, why_size, "'%.*s': %s", (int)shown, line, setting.why);
    return -1;
}
