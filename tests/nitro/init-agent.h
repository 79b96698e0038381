/*
 * End of an agent of nitro-init, which lives as long as the enclave elsewhere
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_NITRO_INIT_AGENT_H
#define TESTS_NITRO_INIT_AGENT_H

#include "contrib/nitro-init/agent.h"

static inline void init_agent_free(struct agent *agent)
{
    if (agent->fd >= 0) {
        close(agent->fd);
    }
    free(agent->in);
    free(agent->out);
}

#endif
