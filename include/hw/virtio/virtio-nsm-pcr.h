/*
 * Nitro Secure Module: registers that are measured before the guest runs
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Machine nitro-enclave measures the image it boots.  Any other machine boots
 * a kernel and an initrd and knows nothing of an image; who started it does,
 * and gives the device the registers as properties pcr0 to pcr4 and pcr8, which
 * are written as 96 hexadecimal digits.  The registers below 16 are the
 * hypervisor's: as soon as one is given all of them are locked, and those that
 * are not given read zero.  Without any, the guest may extend them all.
 */

#ifndef HW_VIRTIO_NSM_PCR_H
#define HW_VIRTIO_NSM_PCR_H

#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-nsm.h"

/* As many as a hypervisor owns */
#define NSM_LOCKED_PCRS 16

extern const PropertyInfo virtio_nsm_prop_pcr;

/* An entry for the device's list of properties */
#define DEFINE_PROP_NSM_PCR(index) \
    DEFINE_PROP("pcr" #index, VirtIONSM, pcrs[index], virtio_nsm_prop_pcr, \
                struct PCRInfo)

#endif
