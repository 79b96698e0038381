/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Kernel modules that the ramdisk brings, such as the NSM's driver.
 */

#ifndef NITRO_INIT_MODULE_H
#define NITRO_INIT_MODULE_H

/*
 * module_load: load the module in file @path; may be .ko or compressed as the
 * kernel takes it
 *
 * Returns: 0, also for one that is loaded or built in; -1 with errno set
 */
int module_load(const char *path);

#endif
