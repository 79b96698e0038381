/*
 * Unit tests of the init's configuration file
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "contrib/nitro-init/config.h"
#include "contrib/nitro-init/signals.h"

typedef struct Case {
    const char *name, *text, *why;      /* no reason: must be accepted */
} Case;

#define HOST16 "0123456789abcdef"
#define HOST64 HOST16 HOST16 HOST16 HOST16

static const Case cases[] = {
    { "minimal", "exec /app\n", NULL },
    { "no-newline", "exec /app", NULL },
    { "comment", "# exec /x\n\nexec /app\n", NULL },
    { "empty", "", "no program" },
    { "no-program", "cwd /srv\n", "'exec PROGRAM' is needed" },
    { "unknown", "exec /app\nexce /app\n", "line 2, 'exce': unknown key" },
    { "program-twice", "exec /a\nexec /b\n", "a second value" },
    { "argument-first", "arg x\nexec /a\n", "line 1, 'arg': wants" },
    { "empty-argument", "exec /a\narg\narg " "\n", NULL },
    { "env-no-value", "env A\nexec /a\n", "wants NAME=VALUE" },
    { "env-no-name", "env =A\nexec /a\n", "wants NAME=VALUE" },
    { "relative-cwd", "cwd srv\nexec /a\n", "wants one absolute name" },
    { "cwd-twice", "cwd /a\ncwd /b\nexec /a\n", "line 2" },
    { "umask", "umask 777\nexec /a\n", NULL },
    { "umask-large", "umask 1000\nexec /a\n", "octal number up to 777" },
    { "umask-decimal", "umask 8\nexec /a\n", "octal" },
    { "grace", "stop-grace 3600\nexec /a\n", NULL },
    { "grace-large", "stop-grace 3601\nexec /a\n", "0 to 3600 seconds" },
    { "grace-negative", "stop-grace -1\nexec /a\n", "0 to 3600 seconds" },
    { "grace-unit", "stop-grace 5s\nexec /a\n", "0 to 3600 seconds" },
    { "signal", "stop-signal SIGQUIT\nexec /a\n", NULL },
    { "signal-unknown", "stop-signal NONE\nexec /a\n", "a signal such as" },
    { "port", "agent 4294967294\nexec /a\n", NULL },
    { "port-any", "agent 4294967295\nexec /a\n", "a port from 1" },
    { "port-zero", "agent 0\nexec /a\n", "a port from 1" },
    { "no-agent", "agent off\nexec /a\n", NULL },
    { "choice", "output block\nexec /a\n", NULL },
    { "choice-unknown", "output lose\nexec /a\n", "drop or block" },
    { "flag", "allow-args yes\nexec /a\n", NULL },
    { "flag-unknown", "allow-args 1\nexec /a\n", "yes or no" },
    { "allow-env-value", "allow-env A=1\nexec /a\n", "name of a variable" },
    { "allow-file", "allow-file etc/x\nexec /a\n", "an absolute name" },
    { "net", "net dhcp\nexec /a\n", NULL },
    { "net-off", "net off\nexec /a\n", NULL },
    { "net-unknown", "net on\nexec /a\n", "wants dhcp, static or off" },
    { "net-static", "net static\nnet-address 10.0.2.15/24\n"
      "net-address fec0::15/64\nnet-gateway 10.0.2.2\nnet-dns 10.0.2.3\n"
      "net-mac 02:00:00:00:00:0a\nnet-mtu 9000\nnet-port 9003\n"
      "net-wait 0\nexec /a\n", NULL },
    { "net-static-nothing", "net static\nexec /a\n",
      "net static without a net-address" },
    { "net-alone", "net-address 10.0.2.15/24\nexec /a\n",
      "without a line 'net dhcp'" },
    { "net-off-mtu", "net off\nnet-mtu 1500\nexec /a\n",
      "without a line 'net dhcp'" },
    { "net-no-prefix", "net static\nnet-address 10.0.2.15\nexec /a\n",
      "line 2, 'net-address': wants ADDRESS/PREFIX" },
    { "net-prefix-large", "net static\nnet-address 10.0.2.15/33\n",
      "wants ADDRESS/PREFIX" },
    { "net-prefix-empty", "net static\nnet-address 10.0.2.15/\n",
      "wants ADDRESS/PREFIX" },
    { "net-multicast", "net static\nnet-address 224.0.0.1/24\nexec /a\n",
      "'net-address': 224.0.0.1/24 is a multicast address (224.0.0.0/4)" },
    { "net-multicast-last", "net static\nnet-address 239.255.0.1/24\n"
      "exec /a\n", "multicast" },
    { "net-not-multicast", "net static\nnet-address 223.255.0.1/24\n"
      "net-address fe80::1/64\nexec /a\n", NULL },
    { "net-multicast6", "net static\nnet-address ff02::1/64\nexec /a\n",
      "'net-address': ff02::1/64 is a multicast address (ff00::/8)" },
    { "net-unspecified", "net static\nnet-address 0.0.0.0/24\nexec /a\n",
      "'net-address': 0.0.0.0/24 stands for no address" },
    { "net-unspecified6", "net static\nnet-address ::/64\nexec /a\n",
      "'net-address': ::/64 stands for no address" },
    { "net-gateway-multicast", "net dhcp\nnet-gateway 224.0.0.1\n",
      "'net-gateway': 224.0.0.1 is a multicast address" },
    { "net-gateway-unspecified", "net dhcp\nnet-gateway ::\n",
      "'net-gateway': :: stands for no address" },
    { "net-mtu6", "net static\nnet-address fec0::15/64\nnet-mtu 1280\n"
      "exec /a\n", NULL },
    { "net-mtu6-small", "net static\nnet-mtu 1279\nnet-address 10.0.2.15/24\n"
      "net-address fec0::15/64\nexec /a\n",
      "net-mtu 1279 is too small for IPv6 (fec0::15/64), which needs 1280 "
      "bytes: raise it" },
    { "net-mtu6-gateway", "net dhcp\nnet-mtu 1000\nnet-gateway fec0::2\n"
      "exec /a\n", "net-mtu 1000 is too small for IPv6 (fec0::2)" },
    { "net-mtu4", "net static\nnet-address 10.0.2.15/24\nnet-mtu 576\n"
      "exec /a\n", NULL },
    { "hostname", "hostname " HOST64 "\nexec /a\n", NULL },
    { "hostname-long", "hostname " HOST64 "x\nexec /a\n",
      "'hostname': 65 bytes, Linux takes 64 at most: shorten it" },
    { "agent-off-args", "agent off\nallow-args yes\nexec /a\n",
      "allow-args with 'agent off': only the agent" },
    { "agent-off-env", "agent off\nallow-env A\nexec /a\n",
      "allow-env with 'agent off': only the agent" },
    { "agent-off-file", "agent off\nallow-file /a\nexec /a\n",
      "allow-file with 'agent off': only the agent" },
    { "agent-off-no-args", "agent off\nallow-args no\nexec /a\n", NULL },
    { "net-prefix6", "net static\nnet-address ::1/128\nexec /a\n", NULL },
    { "net-prefix6-large", "net static\nnet-address ::1/129\n",
      "wants ADDRESS/PREFIX" },
    { "net-not-an-address", "net static\nnet-address 10.0.2/24\n",
      "wants ADDRESS/PREFIX" },
    { "net-long-address", "net static\nnet-address 1000000000000000000000000"
      "0000000000000000000000000000000000000000000/24\n",
      "wants ADDRESS/PREFIX" },
    { "net-gateway-prefix", "net dhcp\nnet-gateway 10.0.2.2/24\n",
      "'net-gateway': wants an address" },
    { "net-dns-name", "net dhcp\nnet-dns example.org\n",
      "'net-dns': wants an address" },
    { "net-mac-multicast", "net dhcp\nnet-mac 01:00:00:00:00:01\n",
      "'net-mac': 01:00:00:00:00:01 is a multicast address, its first "
      "octet is odd" },
    { "net-mac-zero", "net dhcp\nnet-mac 00:00:00:00:00:00\nexec /a\n",
      "'net-mac': 00:00:00:00:00:00 cannot be used, all octets are 0" },
    { "net-mac-short", "net dhcp\nnet-mac 02:00:00:00:01\n",
      "wants one address of an interface" },
    { "net-mac-twice", "net dhcp\nnet-mac 02:00:00:00:00:01\n"
      "net-mac 02:00:00:00:00:02\n", "line 3" },
    { "net-gateways", "net dhcp\nnet-gateway 10.0.2.2\n"
      "net-gateway fec0::2\nnet-dns 10.0.2.3\nnet-dns 10.0.2.4\nexec /a\n",
      NULL },
    { "net-gateway-family", "net dhcp\nnet-gateway 10.0.2.2\n"
      "net-gateway 10.0.2.3\nexec /a\n",
      "one is allowed per family" },
    { "net-mtu-small", "net dhcp\nnet-mtu 575\n", "576 to 65520 bytes" },
    { "net-mtu-large", "net dhcp\nnet-mtu 65521\n", "576 to 65520 bytes" },
    { "net-port-zero", "net dhcp\nnet-port 0\n", "a port from 1" },
    { "net-wait-long", "net dhcp\nnet-wait 601\n", "0 to 600 seconds" },
    { "root-top", "root /\nexec /a\n", "'root': / is the root already: "
      "leave the line out" },
    { "root-top-dots", "root //./..\nexec /a\n", "is the root already" },
    { "root-dots", "root /...\nexec /a\n", NULL },
    { "root-empty", "root " "\nexec /a\n", "wants one absolute name" },
    { "root-relative", "root .\nexec /a\n", "wants one absolute name" },
    { "root-image", "root /r\nroot-image /i\nexec /a\n", NULL },
    { "root-image-alone", "root-image /i\nexec /a\n", "without a root" },
    { "root-image-relative", "root /r\nroot-image i\nexec /a\n",
      "one absolute name" },
    { "escape", "exec /a\narg a\\nb\\\\\n", NULL },
    { "escape-unknown", "exec /a\narg \\t\n", "neither n nor" },
    { "escape-end", "exec /a\narg x\\\n", "neither n nor" },
    { "carriage-return", "exec /a\numask 22\r\n", "octal" },
};

static void test_case(gconstpointer opaque)
{
    const Case *c = opaque;
    struct config config;
    char why[512] = "";
    int result;

    config_init(&config);
    result = config_parse(&config, c->text, why, sizeof(why));
    g_assert_cmpint(result, ==, c->why ? -1 : 0);
    if (c->why) {
        g_assert_nonnull(strstr(why, c->why));
    }
    config_free(&config);
}

static void test_values(void)
{
    struct config config;
    char why[512];

    config_init(&config);
    g_assert_cmpint(config.stop_signal, ==, SIGTERM);
    g_assert_cmpuint(config.umask, ==, 022);
    g_assert_cmpint(config_parse(&config,
        "exec python3\narg -c\narg print(1)\\nprint(2)\nenv A=b c\n"
        "cwd /srv\nuser 1000:daemon\numask 077\nstop-signal 3\n"
        "stop-grace 7\nheartbeat require\nconsole off\noutput block\n"
        "clock nsm\nagent 77\nallow-env X\nallow-file /etc/x\n"
        "allow-args yes\nmodule /m/a.ko\nmodule /m/b.ko\nroot /rootfs\n",
        why, sizeof(why)), ==, 0);
    g_assert_cmpuint(config.command.count, ==, 3);
    g_assert_cmpstr(config.command.item[2], ==, "print(1)\nprint(2)");
    g_assert_null(config.command.item[3]);
    g_assert_cmpstr(config.environment.item[0], ==, "A=b c");
    g_assert_cmpstr(config.user, ==, "1000:daemon");
    g_assert_cmpuint(config.umask, ==, 077);
    g_assert_cmpint(config.stop_signal, ==, SIGQUIT);
    g_assert_cmpuint(config.stop_grace_s, ==, 7);
    g_assert_cmpint(config.heartbeat, ==, HEARTBEAT_REQUIRE);
    g_assert_cmpint(config.console, ==, CONSOLE_OFF);
    g_assert_cmpint(config.overflow, ==, OVERFLOW_BLOCK);
    g_assert_cmpint(config.clock, ==, CLOCK_NSM);
    g_assert_cmpuint(config.agent_port, ==, 77);
    g_assert_true(strings_has(&config.allow_env, "X=1", 1));
    g_assert_false(strings_has(&config.allow_env, "XY", 2));
    g_assert_cmpstr(config.modules.item[1], ==, "/m/b.ko");
    config_free(&config);
}

/* Each key that takes one value, and one that is right for it */
static const char *const single[] = {
    "root /r", "root-image /i", "hostname h", "exec /b", "cwd /c", "user 1",
    "umask 0", "stop-signal INT", "stop-grace 1", "linger 1",
    "heartbeat off", "console on", "output block", "clock off", "agent 9",
    "net dhcp", "net-gateway 10.0.2.2", "net-gateway fec0::2",
    "net-mac 02:00:00:00:00:01", "net-mtu 1500", "net-port 9", "net-wait 1",
    "allow-args yes",
};

static void test_twice(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(single); i++) {
        g_autofree char *text = g_strdup_printf("%s\n%s\n", single[i],
                                                single[i]);
        g_autofree char *key = g_strndup(single[i],
                                         strcspn(single[i], " "));
        g_autofree char *wanted = g_strdup_printf("line 2, '%s': a second "
                                                  "value, and one is allowed",
                                                  key);
        struct config config;
        char why[512] = "";

        config_init(&config);
        g_assert_cmpint(config_parse(&config, text, why, sizeof(why)), ==,
                        -1);
        g_assert_true(g_str_has_prefix(why, wanted));
        config_free(&config);
    }
}

/* Names as of "kill -l": number 1 first */
static const char *const signal_names[] = {
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP",
    "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH",
    "IO", "PWR", "SYS",
};

static void test_signal_names(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(signal_names); i++) {
        g_autofree char *full = g_strconcat("SIG", signal_names[i], NULL);

        g_assert_cmpint(signal_number(signal_names[i]), ==, i + 1);
        g_assert_cmpint(signal_number(full), ==, i + 1);
    }
    g_assert_cmpint(signal_number("IOT"), ==, SIGABRT);
    g_assert_cmpint(signal_number("CLD"), ==, SIGCHLD);
    g_assert_cmpint(signal_number("POLL"), ==, SIGIO);
}

static void test_signals(void)
{
    g_assert_cmpint(signal_number("TERM"), ==, SIGTERM);
    g_assert_cmpint(signal_number("SIGRTMIN+3"), ==, 37);
    g_assert_cmpint(signal_number("SIGRTMIN"), ==, 34);
    g_assert_cmpint(signal_number("RTMIN+0"), ==, 34);
    g_assert_cmpint(signal_number("RTMIN+30"), ==, 64);
    g_assert_cmpint(signal_number("RTMIN+31"), ==, 0);
    g_assert_cmpint(signal_number("RTMIN-1"), ==, 0);
    g_assert_cmpint(signal_number("RTMIN+"), ==, 0);
    g_assert_cmpint(signal_number("RTMAX"), ==, 64);
    g_assert_cmpint(signal_number("SIGRTMAX-2"), ==, 62);
    g_assert_cmpint(signal_number("RTMAX-30"), ==, 34);
    g_assert_cmpint(signal_number("RTMAX-31"), ==, 0);
    g_assert_cmpint(signal_number("RTMAX+1"), ==, 0);
    g_assert_cmpint(signal_number("sigterm"), ==, SIGTERM);
    g_assert_cmpint(signal_number("SIG"), ==, 0);
    g_assert_cmpint(signal_number("SIGSIGTERM"), ==, 0);
    g_assert_cmpint(signal_number("64"), ==, 64);
    g_assert_cmpint(signal_number("65"), ==, 0);
    g_assert_cmpint(signal_number("0"), ==, 0);
    g_assert_cmpint(signal_number(""), ==, 0);
}

/* The cause has to be left of the 255 bytes that the agent takes */
static void test_long_key(void)
{
    g_autofree char *name = g_strnfill(4000, 'x');
    struct config config;
    char why[256];

    config_init(&config);
    g_assert_cmpint(config_parse(&config, name, why, sizeof(why)), ==, -1);
    g_assert_true(g_str_has_suffix(why, "': unknown key"));
    config_free(&config);
}

static void test_bounds(void)
{
    g_autoptr(GString) text = g_string_new("exec /a\n");
    struct config config;
    char why[512];

    while (text->len < CONFIG_MAX_BYTES) {
        g_string_append(text, "arg x\n");
    }
    config_init(&config);
    g_assert_cmpint(config_parse(&config, text->str, why, sizeof(why)), ==,
                    -1);
    g_assert_cmpstr(why, ==, "line 1025, 'arg': a value more than the limit "
                    "of 1024: remove lines");
    g_assert_cmpuint(config.command.count, ==, STRINGS_MAX);
    config_free(&config);
}

static void assert_not_loaded(const char *path, const char *words)
{
    struct config config;
    char why[512];

    config_init(&config);
    g_assert_cmpint(config_load(&config, path, why, sizeof(why)), ==, -1);
    g_assert_nonnull(strstr(why, words));
    config_free(&config);
}

static void test_file(void)
{
    g_autofree char *path = NULL, *large = g_malloc0(CONFIG_MAX_BYTES + 1);
    int fd = g_file_open_tmp("nitro-init-XXXXXX", &path, NULL);

    close(fd);
    memset(large, '#', CONFIG_MAX_BYTES + 1);
    assert_not_loaded("/nonexistent", "No such file");
    g_file_set_contents(path, "exec /a\0", 8, NULL);
    assert_not_loaded(path, "a NUL byte");
    g_file_set_contents(path, large, CONFIG_MAX_BYTES + 1, NULL);
    assert_not_loaded(path, "more than 262144 bytes");
    g_file_set_contents(path, "nothing\n", -1, NULL);
    assert_not_loaded(path, "line 1, 'nothing': unknown key");
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/init-config/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/nitro/init-config/values", test_values);
    g_test_add_func("/nitro/init-config/twice", test_twice);
    g_test_add_func("/nitro/init-config/signal-names", test_signal_names);
    g_test_add_func("/nitro/init-config/signals", test_signals);
    g_test_add_func("/nitro/init-config/long-key", test_long_key);
    g_test_add_func("/nitro/init-config/bounds", test_bounds);
    g_test_add_func("/nitro/init-config/file", test_file);
    return g_test_run();
}
