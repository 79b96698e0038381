/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Configuration of an enclave's init: what the measured ramdisk says about
 * the application and about what the parent may add to it.
 */

#ifndef NITRO_INIT_CONFIG_H
#define NITRO_INIT_CONFIG_H

#include <stddef.h>

#include "settings.h"

/* Largest configuration, in bytes */
#define CONFIG_MAX_BYTES  (256 * 1024)

/*
 * config_init: set the defaults, as an empty configuration does
 */
void config_init(struct config *config);

/*
 * config_parse: read settings from @text into @config
 * @config: initialised by config_init()
 * @text: NUL-terminated; is left as found
 * @why: filled in on failure with one line that names the line number
 * @why_size: bytes there
 *
 * Returns: 0, or -1 with @why filled in; @config then holds what came before
 * the faulty line.  config_free() is needed in both cases.
 */
int config_parse(struct config *config, const char *text, char *why,
                 size_t why_size);

/* config_lines: as config_parse(), for a part of the lines */
int config_lines(struct config *config, const char *text, char *why,
                 size_t why_size);

/* config_check: see whether all lines together make a configuration */
int config_check(const struct config *config, char *why, size_t why_size);

/* config_load: as config_parse(), from file @path */
int config_load(struct config *config, const char *path, char *why,
                size_t why_size);

void config_free(struct config *config);

#endif
