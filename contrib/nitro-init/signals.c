/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 */

#include <signal.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "signals.h"

#define MAX_SIGNAL 64
#define FIRST_REAL_TIME 34  /* below it the C library has its own */

static const struct { const char *name; int number; } signal_names[] = {
    { "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT },
    { "ILL", SIGILL }, { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },
    { "IOT", SIGIOT }, { "BUS", SIGBUS }, { "FPE", SIGFPE },
    { "KILL", SIGKILL }, { "USR1", SIGUSR1 }, { "SEGV", SIGSEGV },
    { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
    { "TERM", SIGTERM }, { "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD },
    { "CLD", SIGCHLD }, { "CONT", SIGCONT }, { "STOP", SIGSTOP },
    { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },
    { "URG", SIGURG }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
    { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH },
    { "IO", SIGIO }, { "POLL", SIGIO }, { "PWR", SIGPWR }, { "SYS", SIGSYS },
};

/* Container images name real-time signals too: RTMIN+3 is systemd's */
static int real_time_signal(const char *name)
{
    bool low = !strncasecmp(name, "RTMIN", 5);
    unsigned long distance = 0;

    if ((!low && strncasecmp(name, "RTMAX", 5)) ||
        (name[5] && (name[5] != (low ? '+' : '-') ||
                     !parse_number(name + 6, 10, MAX_SIGNAL - FIRST_REAL_TIME,
                                   &distance)))) {
        return 0;
    }
    return low ? FIRST_REAL_TIME + (int)distance : MAX_SIGNAL - (int)distance;
}

int signal_number(const char *name)
{
    unsigned long number;

    if (parse_number(name, 10, MAX_SIGNAL, &number)) {
        return number;
    }
    if (!strncasecmp(name, "SIG", 3)) {
        name += 3;
    }
    for (size_t i = 0; i < sizeof(signal_names) / sizeof(*signal_names); i++) {
        if (!strcasecmp(name, signal_names[i].name)) {
            return signal_names[i].number;
        }
    }
    return real_time_signal(name);
}
