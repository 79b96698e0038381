/*
 * Accelerator of enclaves: whether KVM runs guests on this host
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NHV_ACCEL_H
#define NHV_ACCEL_H

#include "options.h"

#define NHV_KVM_DEVICE "/dev/kvm"

/**
 * nhv_accel_check_kvm: run a small guest with KVM and look at what it does
 * @device: NHV_KVM_DEVICE; another path in tests
 * @opts: its QEMU for the architecture of this host runs the guest; firmware
 *        directories are passed on
 * @errp: filled in when the answer is no; names the reason
 *
 * That the device can be opened proves nothing: a KVM without virtualization
 * in hardware may refuse each guest, or emulate it a thousand times slower.
 * Blocks until the guest has ended, 3 s at most, or as many seconds as
 * environment variable NITRO_KVM_SECONDS says (1 to 600); then QEMU is killed.
 * It leaves no core file when it aborts.
 *
 * Returns: true when the guest has run and ended as it should.
 */
bool nhv_accel_check_kvm(const char *device, const NhvOptions *opts,
                         Error **errp);

/**
 * nhv_accel_resolve: replace accelerator "auto" by the one to use
 * @device: NHV_KVM_DEVICE; another path in tests
 * @opts: updated; any other accelerator stays
 *
 * KVM is used where it runs guests.  The only reason against it that is
 * reported is missing permission, which the user can change.  May block as
 * nhv_accel_check_kvm() does.
 */
void nhv_accel_resolve(const char *device, NhvOptions *opts);

#endif
