/*
 * Nitro Enclaves driver: why a host has no device node of it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * "No such file or directory" has several causes with different remedies.
 * Which one it is follows from the list of PCI functions and from sysfs,
 * both of which anybody may read.
 */
#ifndef ACCEL_NITRO_NE_HOST_H
#define ACCEL_NITRO_NE_HOST_H

/**
 * ne_host_explain: say why there is no device node
 * @root: "", or a directory that has proc/ and sys/ like those of a host
 * @errp: filled in with the cause and, as a hint, the remedy
 *
 * Returns: false when the host does not say, and @errp is untouched.
 */
bool ne_host_explain(const char *root, Error **errp);

#endif /* ACCEL_NITRO_NE_HOST_H */
