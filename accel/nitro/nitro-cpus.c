/*
 * Nitro Enclaves accelerator: vCPU threads that have nothing to run
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The hypervisor runs an enclave's vCPUs outside of this process.  QEMU's CPU
 * objects stand for them in the monitor; their threads wait for work items.
 * A reset of the system leaves them alone: the next enclave has as many.
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "system/accel-ops.h"
#include "system/cpus.h"

static bool nitro_supports_guest_debug(void)
{
    return false;
}

static void nitro_accel_ops_class_init(ObjectClass *oc, void *data)
{
    AccelOpsClass *ops = ACCEL_OPS_CLASS(oc);

    ops->create_vcpu_thread = dummy_start_vcpu_thread;
    ops->supports_guest_debug = nitro_supports_guest_debug;
}

static const TypeInfo nitro_accel_ops_type = {
    .name = ACCEL_OPS_NAME("nitro"),
    .parent = TYPE_ACCEL_OPS,
    .class_init = nitro_accel_ops_class_init,
    .abstract = true,
};
module_obj(ACCEL_OPS_NAME("nitro"));

static void nitro_accel_ops_register_type(void)
{
    type_register_static(&nitro_accel_ops_type);
}

type_init(nitro_accel_ops_register_type);
