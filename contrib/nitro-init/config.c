/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The configuration's lines: a table of keys, one function per kind of value.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "config.h"

#define DEFAULT_AGENT_PORT 9001
#define DEFAULT_NET_PORT 9002
#define DEFAULT_NET_WAIT_S 10
#define MAX_SIGNAL 64
#define FIRST_REAL_TIME 34  /* below it the C library has its own */

/* One line's value, without escapes, and where it goes */
struct setting {
    void *target;
    const struct key *key;
    const char *value;
};

struct key {
    const char *name;
    size_t offset;
    bool (*set)(const struct setting *setting);
    const char *expected;       /* for the message; choices end the list */
    const char *const *choices; /* set_choice() only */
    unsigned long min, max;     /* set_number() only */
};

int strings_add(struct strings *list, const char *text, size_t len)
{
    char **item, *copy;

    if (list->count >= CONFIG_MAX_ITEMS) {
        return -1;
    }
    item = realloc(list->item, (list->count + 2) * sizeof(*item));
    if (!item) {
        return -1;
    }
    list->item = item;
    copy = strndup(text, len);
    if (!copy) {
        return -1;
    }
    item[list->count++] = copy;
    item[list->count] = NULL;
    return 0;
}

bool strings_has(const struct strings *list, const char *text, size_t len)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strlen(list->item[i]) == len && !memcmp(list->item[i], text, len)) {
            return true;
        }
    }
    return false;
}

char **strings_variable(const struct strings *list, const char *name,
                        size_t len)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!strncmp(list->item[i], name, len) && list->item[i][len] == '=') {
            return &list->item[i];
        }
    }
    return NULL;
}

static void strings_free(struct strings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->item[i]);
    }
    free(list->item);
    *list = (struct strings) { 0 };
}

int signal_number(const char *name)
{
    static const struct { const char *name; int number; } table[] = {
        { "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT },
        { "KILL", SIGKILL }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
        { "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "CONT", SIGCONT },
        { "STOP", SIGSTOP }, { "TSTP", SIGTSTP }, { "WINCH", SIGWINCH },
        { "PWR", SIGPWR }, { "ABRT", SIGABRT }, { "PIPE", SIGPIPE },
    };
    unsigned long number;

    if (parse_number(name, 10, MAX_SIGNAL, &number)) {
        return number;
    }
    if (!strncmp(name, "SIG", 3)) {
        name += 3;
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (!strcmp(name, table[i].name)) {
            return table[i].number;
        }
    }
    /* Container images also name real-time signals: RTMIN+3 is systemd's */
    return !strncmp(name, "RTMIN+", 6) &&
           parse_number(name + 6, 10, MAX_SIGNAL - FIRST_REAL_TIME, &number)
           ? FIRST_REAL_TIME + (int)number : 0;
}

static bool set_text(const struct setting *setting)
{
    char **text = setting->target;

    if (!*setting->value || *text) {
        return false;
    }
    *text = strdup(setting->value);
    return *text;
}

static bool set_path(const struct setting *setting)
{
    return *setting->value == '/' && set_text(setting);
}

static bool add_text(const struct setting *setting)
{
    return !strings_add(setting->target, setting->value,
                        strlen(setting->value));
}

static bool add_network(const struct setting *setting)
{
    struct address address;

    return address_parse(&address, setting->value, true) && add_text(setting);
}

static bool add_host(const struct setting *setting)
{
    struct address address;

    return address_parse(&address, setting->value, false) && add_text(setting);
}

static bool set_mac(const struct setting *setting)
{
    uint8_t mac[MAC_LEN];

    return mac_parse(mac, setting->value) && set_text(setting);
}

static bool add_path(const struct setting *setting)
{
    return *setting->value == '/' && add_text(setting);
}

static bool add_variable(const struct setting *setting)
{
    const char *equals = strchr(setting->value, '=');

    return equals && equals != setting->value && add_text(setting);
}

static bool add_name(const struct setting *setting)
{
    return *setting->value && !strchr(setting->value, '=') &&
           add_text(setting);
}

/* The program comes before its arguments */
static bool set_program(const struct setting *setting)
{
    struct strings *command = setting->target;

    return *setting->value && !command->count && add_text(setting);
}

static bool add_argument(const struct setting *setting)
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

static bool set_number(const struct setting *setting)
{
    unsigned long number;

    if (!read_number(setting, 10, &number)) {
        return false;
    }
    *(unsigned *)setting->target = number;
    return true;
}

static bool set_umask(const struct setting *setting)
{
    unsigned long number;

    if (!read_number(setting, 8, &number)) {
        return false;
    }
    *(mode_t *)setting->target = number;
    return true;
}

static bool set_signal(const struct setting *setting)
{
    int number = signal_number(setting->value);

    *(int *)setting->target = number;
    return number;
}

static bool set_flag(const struct setting *setting)
{
    *(bool *)setting->target = !strcmp(setting->value, "yes");
    return !strcmp(setting->value, "yes") || !strcmp(setting->value, "no");
}

static bool set_choice(const struct setting *setting)
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

static bool set_port(const struct setting *setting)
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
    KEY("root", root, set_path, "one absolute name"),
    KEY("root-image", root_image, set_path, "one absolute name"),
    KEY("module", modules, add_path, "an absolute name"),
    KEY("hostname", hostname, set_text, "one name"),
    KEY("exec", command, set_program, "one program, before its arguments"),
    KEY("arg", command, add_argument, "an argument, after exec"),
    KEY("env", environment, add_variable, "NAME=VALUE"),
    KEY("cwd", cwd, set_path, "one absolute name"),
    KEY("user", user, set_text, "one USER or USER:GROUP"),
    KEY("umask", umask, set_umask, "an octal number up to 777", .max = 0777),
    KEY("stop-signal", stop_signal, set_signal, "a signal such as TERM"),
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
        "ADDRESS/PREFIX, as 10.0.2.15/24 or fec0::15/64"),
    KEY("net-gateway", net_gateways, add_host, "an address"),
    KEY("net-dns", net_dns, add_host, "an address"),
    KEY("net-mac", net_mac, set_mac,
        "one address of an interface, as 02:00:00:00:00:01"),
    KEY("net-mtu", net_mtu, set_number, "576 to 65520 bytes", .min = 576,
        .max = 65520),
    KEY("net-port", net_port, set_number, "a port from 1 to 4294967294",
        .min = 1, .max = 0xfffffffe),
    KEY("net-wait", net_wait_s, set_number, "0 to 600 seconds", .max = 600),
    KEY("allow-env", allow_env, add_name, "the name of a variable"),
    KEY("allow-file", allow_files, add_path, "an absolute name"),
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

/* Returns: NULL, or what is wrong with the line */
static const char *parse_line(struct config *config, const char *line,
                              size_t len, const struct key **key)
{
    size_t name = strcspn(line, "\n ");
    struct setting setting;
    char *value;
    bool fits;

    *key = NULL;
    if (name > len) {
        name = len;
    }
    setting.key = find_key(line, name);
    if (!setting.key) {
        return "unknown key";
    }
    if (name < len) {
        name++;
    }
    value = unescape(line + name, len - name);
    if (!value) {
        return "a backslash is followed by neither n nor \\";
    }
    setting.value = value;
    setting.target = (char *)config + setting.key->offset;
    fits = setting.key->set(&setting);
    free(value);
    *key = setting.key;
    return fits ? NULL : "wants";
}

/* Returns: NULL, or what the lines lack together */
static const char *check_network(const struct config *config)
{
    bool described = config->net_addresses.count ||
                     config->net_gateways.count || config->net_dns.count ||
                     config->net_mac || config->net_mtu;

    if (config->net == NET_OFF && described) {
        return "a network without a line 'net dhcp' or 'net static'";
    }
    if (config->net == NET_STATIC && !config->net_addresses.count) {
        return "net static without a net-address";
    }
    return NULL;
}

/* Returns: NULL, or what is wrong with the lines together */
static const char *check_whole(const struct config *config)
{
    if (!config->command.count) {
        return "no program; a line 'exec PROGRAM' is needed";
    }
    if (config->root_image && !config->root) {
        return "a root-image without a root";
    }
    return check_network(config);
}

int config_parse(struct config *config, const char *text, char *why,
                 size_t why_size)
{
    const char *wrong_whole;
    int number = 0;

    for (const char *line = text; *line; ) {
        size_t len = strcspn(line, "\n");
        const struct key *key = NULL;
        const char *wrong = NULL;

        number++;
        if (len && *line != '#') {
            wrong = parse_line(config, line, len, &key);
        }
        if (wrong) {
            snprintf(why, why_size, "line %d, '%.*s': %s%s%s", number,
                     (int)strcspn(line, "\n "), line, wrong, key ? " " : "",
                     key ? key->expected : "");
            return -1;
        }
        line += len + (line[len] == '\n');
    }
    wrong_whole = check_whole(config);
    if (wrong_whole) {
        snprintf(why, why_size, "%s", wrong_whole);
        return -1;
    }
    return 0;
}

int config_load(struct config *config, const char *path, char *why,
                size_t why_size)
{
    char *text = calloc(1, CONFIG_MAX_BYTES + 2);
    int fd = open(path, O_RDONLY | O_CLOEXEC), result = -1;
    ssize_t n = 0, len = 0;

    while (fd >= 0 && text && len <= CONFIG_MAX_BYTES &&
           (n = read(fd, text + len, CONFIG_MAX_BYTES + 1 - len)) > 0) {
        len += n;
    }
    if (fd < 0 || !text || n < 0) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
    } else if (len > CONFIG_MAX_BYTES || memchr(text, 0, len)) {
        snprintf(why, why_size, "%s: more than %d bytes, or a NUL byte", path,
                 CONFIG_MAX_BYTES);
    } else {
        size_t used = snprintf(why, why_size, "%s: ", path);

        result = config_parse(config, text, why + used, why_size - used);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(text);
    return result;
}

void config_init(struct config *config)
{
    *config = (struct config) {
        .umask = 022,
        .stop_signal = SIGTERM,
        .stop_grace_s = 10,
        .linger_s = 5,
        .agent_port = DEFAULT_AGENT_PORT,
        .net_port = DEFAULT_NET_PORT,
        .net_wait_s = DEFAULT_NET_WAIT_S,
    };
}

void config_free(struct config *config)
{
    strings_free(&config->modules);
    strings_free(&config->command);
    strings_free(&config->environment);
    strings_free(&config->net_addresses);
    strings_free(&config->net_gateways);
    strings_free(&config->net_dns);
    strings_free(&config->allow_env);
    strings_free(&config->allow_files);
    free(config->root);
    free(config->root_image);
    free(config->hostname);
    free(config->cwd);
    free(config->user);
    free(config->net_mac);
    config_init(config);
}
