/*
 * A guest that shows whether KVM runs guests at native speed
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * kvm-guest.S is assembled for the architecture of the host.
 */

#ifndef NHV_KVM_GUEST_H
#define NHV_KVM_GUEST_H

/* x86: the end of the firmware of machine q35; arm64: a kernel of virt */
extern const uint8_t nhv_kvm_guest[];

/* Bytes; 0 on hosts of another architecture */
extern const uint64_t nhv_kvm_guest_size;

#endif
