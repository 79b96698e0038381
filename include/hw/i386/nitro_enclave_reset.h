/*
 * AWS nitro-enclave machine: a guest that resets itself
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An enclave ends when its guest resets itself.  Linux has these ways to do
 * it, in an order that its reboot= parameter changes; what does not work is
 * followed by the next:
 *
 *   a  the reset register of the ACPI tables (with ACPI)
 *   k  command 0xfe of the i8042 keyboard controller
 *   p  port 0xcf9 of a PCI host bridge: an enclave has none, t follows
 *   t  triple fault
 *   b  real mode, jump to the firmware's entry f000:fff0
 *
 * On a machine without an i8042, k ends up at b, where the firmware would boot
 * the image again, in a machine that has not been reset.
 */

#ifndef HW_I386_NITRO_ENCLAVE_RESET_H
#define HW_I386_NITRO_ENCLAVE_RESET_H

/**
 * nitro_enclave_reset_init: have k and b reset the machine
 *
 * Adds the i8042's port 0x64, which knows the resets and nothing else: no
 * driver takes it for a keyboard controller.  Adds code that uses it at the
 * firmware's entry below 1 MiB; the firmware itself, which is loaded by then,
 * is entered below 4 GiB.
 */
void nitro_enclave_reset_init(void);

#endif
