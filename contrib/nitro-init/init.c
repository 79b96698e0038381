/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * nitro-init: process 1 of an enclave, for programs that know nothing of
 * enclaves.
 *
 * main() is the order of a boot.  Once the application runs, one loop
 * collects its output, talks to the parent, keeps the clock and buries what
 * has died, until the application's end is the enclave's.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "account.h"
#include "additions.h"
#include "agent.h"
#include "app.h"
#include "bytes.h"
#include "card.h"
#include "clock.h"
#include "config.h"
#include "log.h"
#include "module.h"
#include "mount.h"
#include "network.h"
#include "nsm.h"
#include "output.h"
#include "root.h"
#include "vsock.h"

#define CONFIG_FILE "/nitro/config"

#define HEARTBEAT_ATTEMPTS  50
#define ADDITIONS_MS        5000
#define RECONNECT_MS        1000
#define DRAIN_MS            1000    /* for output of what outlives the app */

static struct config config;
static struct output output;
static struct agent agent;
static struct app app;
static int signals = -1, card = -1;
static bool console;            /* output goes to the console as well */

static int64_t kill_at, reconnect_at, clock_at;     /* 0: not set */

/*
 * Without ACPI or PSCI a power-off halts for ever, and the parent would not
 * see an end; a reset always ends an enclave.
 */
static void end_enclave(void)
{
    bool can_power_off = !access("/sys/firmware/acpi", F_OK) ||
                         !access("/sys/firmware/devicetree/base/psci", F_OK);

    sync();
    reboot(can_power_off ? RB_POWER_OFF : RB_AUTOBOOT);
    reboot(RB_AUTOBOOT);
    for (;;) {
        pause();
    }
}

/* Serve the agent until it has taken the end, but for @ms at most */
static void linger(int ms)
{
    int64_t now = clock_ms(), deadline = now + ms;
    struct agent_frame frame;

    for (; agent.port && now < deadline; now = clock_ms()) {
        agent_serve(&agent, &output, deadline - now);
        while (agent_next(&agent, &frame)) {
            if (frame.type == AGENT_END) {
                return;
            }
        }
    }
}

static void init_fail(const char *why)
{
    say("%s", why);
    agent_set_state(&agent, STATE_FATAL, 0, why);
    linger(config.linger_s * 1000);
    end_enclave();
}

static void load_modules(void)
{
    for (size_t i = 0; i < config.modules.count; i++) {
        if (module_load(config.modules.item[i])) {
            warn("cannot load %s", config.modules.item[i]);
        }
    }
}

static void enter_root(void)
{
    char why[512];

    if (root_enter(&config, why, sizeof(why))) {
        init_fail(why);
    }
}

static void do_heartbeat(void)
{
    if (config.heartbeat == HEARTBEAT_OFF ||
        !vsock_heartbeat(HEARTBEAT_ATTEMPTS)) {
        return;
    }
    warn("no heartbeat at port 9000 of the parent");
    if (config.heartbeat == HEARTBEAT_REQUIRE) {
        init_fail("no heartbeat, and the configuration says "
                  "'heartbeat require'");
    }
}

/* In debug mode PCR0 is zero, and the console leads somewhere */
static bool is_debug(void)
{
    static const uint8_t zero[NSM_REGISTER_SIZE];
    uint8_t value[NSM_REGISTER_SIZE];

    return nsm_register(0, value) || !memcmp(value, zero, sizeof(zero));
}

/* Signals come as data; the application unblocks them for itself */
static void open_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void init_start(void)
{
    struct account account;
    char why[512];

    if (account_find(&account, config.user, "/etc/passwd", "/etc/group", why,
                     sizeof(why)) ||
        app_start(&app, &config, &account, why, sizeof(why))) {
        init_fail(why);
    }
    agent_set_state(&agent, STATE_RUNNING, 0, NULL);
}

static void init_stop(void)
{
    if (!kill_at) {
        app_signal(&app, config.stop_signal);
        kill_at = clock_ms() + config.stop_grace_s * 1000LL;
    }
}

static void write_console(const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);

        if (n <= 0) {
            return;
        }
        data += n;
        len -= n;
    }
}

static void take_output(int *fd, enum output_stream stream)
{
    uint8_t data[OUTPUT_PIECE];
    ssize_t n = read(*fd, data, sizeof(data));

    if (n > 0) {
        if (console) {
            write_console(data, n);
        }
        output_add(&output, stream, data, n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(*fd);
        *fd = -1;
    }
}

static void handle_frame(const struct agent_frame *frame)
{
    if (frame->type == AGENT_STOP) {
        init_stop();
    } else if (frame->type == AGENT_SIGNAL && frame->len == 4) {
        app_signal(&app, get32(frame->payload));
    } else if (frame->type == AGENT_TAKEN && frame->len == 8) {
        output_taken(&output, (uint64_t)get32(frame->payload) << 32 |
                              get32(frame->payload + 4));
    }
}

/* A signal to process 1 is meant for the application; TERM stops it */
static void handle_signals(void)
{
    struct signalfd_siginfo info;

    while (read(signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            app_reap(&app);
        } else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGPWR) {
            init_stop();
        } else {
            app_signal(&app, info.ssi_signo);
        }
    }
}

/* Output that does not fit stays in the pipe if it must not be lost */
static bool wants_output(void)
{
    return config.overflow == OVERFLOW_DROP || !agent.port ||
           output_fits(&output);
}

enum { FD_SIGNALS, FD_STDOUT, FD_STDERR, FD_AGENT, FD_COUNT };

static void poll_all(struct pollfd *fds, int ms)
{
    bool wanted = wants_output();

    fds[FD_SIGNALS] = (struct pollfd) { signals, POLLIN, 0 };
    fds[FD_STDOUT] = (struct pollfd) { wanted ? app.output : -1, POLLIN, 0 };
    fds[FD_STDERR] = (struct pollfd) { wanted ? app.error : -1, POLLIN, 0 };
    fds[FD_AGENT] = (struct pollfd) { agent.fd,
                                      agent_events(&agent, &output), 0 };
    if (poll(fds, FD_COUNT, ms) < 0) {
        for (int i = 0; i < FD_COUNT; i++) {
            fds[i].revents = 0;
        }
    }
}

static void handle_all(struct pollfd *fds)
{
    struct agent_frame frame;

    if (fds[FD_STDOUT].revents) {
        take_output(&app.output, OUTPUT_STDOUT);
    }
    if (fds[FD_STDERR].revents) {
        take_output(&app.error, OUTPUT_STDERR);
    }
    agent_work(&agent, fds[FD_AGENT].revents, &output);
    while (agent_next(&agent, &frame)) {
        handle_frame(&frame);
    }
    handle_signals();
}

/* What the clock demands; returns: ms until it may demand more */
static int handle_time(void)
{
    int64_t now = clock_ms(), next;

    if (kill_at && now >= kill_at) {
        app_signal(&app, SIGKILL);
        kill_at = INT64_MAX;
    }
    if (now >= reconnect_at) {
        agent_connect(&agent);
        reconnect_at = now + RECONNECT_MS;
    }
    if (now >= clock_at) {
        clock_follow(config.clock);
        clock_at = now + CLOCK_INTERVAL_S * 1000;
    }
    next = agent.port && agent.fd < 0 ? reconnect_at : clock_at;
    if (kill_at && kill_at < next) {
        next = kill_at;
    }
    return next > now ? next - now : 0;
}

/*
 * Processes that the application leaves behind may hold its pipes open, so
 * an end of file may not come.  Output that must not be lost may have to wait
 * until the parent has taken what is before it.
 */
static void drain(void)
{
    int64_t deadline = clock_ms() + (config.overflow == OVERFLOW_BLOCK
                                   ? config.linger_s * 1000LL : DRAIN_MS);
    struct pollfd fds[FD_COUNT];

    while ((app.output >= 0 || app.error >= 0) && clock_ms() < deadline) {
        poll_all(fds, deadline - clock_ms());
        handle_all(fds);
    }
}

static void report_end(void)
{
    if (WIFSIGNALED(app.status)) {
        say("the application was ended by signal %d", WTERMSIG(app.status));
        agent_set_state(&agent, STATE_SIGNALLED, WTERMSIG(app.status), NULL);
    } else {
        say("the application has exited with status %d",
            WEXITSTATUS(app.status));
        agent_set_state(&agent, STATE_EXITED, WEXITSTATUS(app.status), NULL);
    }
}

static void init_run(void)
{
    struct pollfd fds[FD_COUNT];

    clock_at = clock_ms() + CLOCK_INTERVAL_S * 1000;
    while (!app.ended) {
        poll_all(fds, handle_time());
        handle_all(fds);
    }
    drain();
    report_end();
    linger(config.linger_s * 1000);
}

static void open_agent(void)
{
    if (output_init(&output) ||
        agent_init(&agent, config.agent_port, additions_allowed(&config))) {
        say("memory is short");
        end_enclave();
    }
}

/*
 * In production there is no console, so the parent has to get the mistake as
 * well: with the settings before the faulty line, else with their defaults.
 * The driver of vsock may be among the modules there.
 */
static void read_config(void)
{
    char why[512];
    bool faulty;

    config_init(&config);
    faulty = config_load(&config, CONFIG_FILE, why, sizeof(why));
    open_agent();
    if (faulty) {
        load_modules();
        init_fail(why);
    }
}

int main(void)
{
    umask(022);
    mount_early();
    say("started");
    read_config();
    load_modules();
    enter_root();
    mount_rest();
    do_heartbeat();
    network_init(config.hostname);
    if (config.net != NET_OFF) {
        card = card_start(&config);
    }
    clock_set(config.clock);
    console = config.console == CONSOLE_ON ||
              (config.console == CONSOLE_AUTO && is_debug());
    if (additions_allowed(&config)) {
        additions_collect(&agent, &config, ADDITIONS_MS);
    }
    if (card >= 0) {
        card_wait(card, config.net_wait_s);
    }
    open_signals();
    init_start();
    init_run();
    end_enclave();
    return 0;
}
