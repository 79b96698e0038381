/*
 * Nitro Secure Module: registers that are measured before the guest runs
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/core/eif-image.h"
#include "hw/virtio/virtio-nsm-pcr.h"

QEMU_BUILD_BUG_ON(EIF_PCR_LEN != QCRYPTO_HASH_DIGEST_LEN_SHA384);

static void lock_registers(VirtIONSM *vnsm)
{
    for (unsigned i = 0; i < NSM_LOCKED_PCRS; i++) {
        vnsm->pcrs[i].locked = true;
    }
}

static void get_pcr(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    struct PCRInfo *pcr = object_field_prop_ptr(obj, opaque);
    g_autofree char *text = eif_pcr_str(pcr->data);

    visit_type_str(v, name, &text, errp);
}

static void set_pcr(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    struct PCRInfo *pcr = object_field_prop_ptr(obj, opaque);
    g_autofree char *text = NULL;

    if (visit_type_str(v, name, &text, errp) &&
        eif_pcr_parse(text, pcr->data, errp)) {
        lock_registers(VIRTIO_NSM(obj));
    }
}

const PropertyInfo virtio_nsm_prop_pcr = {
    .type = "str",
    .description = "Measured register: 96 hexadecimal digits; locks 0 to 15",
    .get = get_pcr,
    .set = set_pcr,
};
