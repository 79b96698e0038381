/*
 * Nitro Enclaves accelerator: object, properties, methods
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * init_machine opens the device and creates the enclave while QEMU still has
 * the privileges it was started with.  Manual: docs/system/nitro.rst
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "hw/boards.h"
#include "migration/blocker.h"
#include "system/runstate.h"
#include "ne.h"
#include "nitro-int.h"

bool nitro_allowed;

/* Answers to machine and devices: contracts in system/nitro-launch.h */

static bool nitro_get_load_offset(NitroLauncher *launcher, uint64_t *offset,
                                  Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(launcher);

    return nitro_enclave_load_offset(s->next ?: s->enclave, offset, errp);
}

static uint64_t nitro_launcher_cid(NitroLauncher *launcher)
{
    return nitro_current_cid(NITRO_ACCEL(launcher));
}

static bool nitro_launcher_debug_mode(NitroLauncher *launcher)
{
    return NITRO_ACCEL(launcher)->config.debug_mode;
}

static void nitro_launcher_boot(NitroLauncher *launcher, NitroBoot boot)
{
    NitroAccelState *s = NITRO_ACCEL(launcher);

    switch (boot) {
    case NITRO_BOOT_EXPECTED:
        nitro_enclave_expect_boot(s->enclave);
        break;
    case NITRO_BOOT_DONE:
        nitro_enclave_booted(s->enclave);
        break;
    case NITRO_BOOT_FAILED:
        nitro_policy_deadline(s);
        break;
    }
}

static bool is_starting(const NitroEnclaveFacts *facts)
{
    return facts->life == NITRO_LIFE_PREPARED && facts->busy;
}

/* Methods */

static bool block_migration(NitroAccelState *s, Error **errp)
{
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "a Nitro enclave cannot be migrated: "
                   "-incoming cannot be used with -accel nitro");
        return false;
    }
    error_setg(&s->migration_blocker,
               "a Nitro enclave can be neither saved nor migrated");
    return migrate_add_blocker(&s->migration_blocker, errp) == 0;
}

static bool nitro_may_stop(AccelState *accel, Error **errp)
{
    ERRP_GUARD();
    NitroAccelState *s = NITRO_ACCEL(accel);

    if (is_starting(nitro_enclave_facts(s->enclave))) {
        error_setg(errp, "the enclave is being started and cannot be paused");
    } else if (nitro_enclave_runs(s->enclave)) {
        error_setg(errp, "the enclave with CID %" PRIu64 " cannot be paused",
                   nitro_current_cid(s));
    } else {
        return true;
    }
    error_append_hint(errp, "The hypervisor runs it; system_powerdown or quit "
                      "ends it.\n");
    return false;
}

static bool nitro_may_cont(AccelState *accel, Error **errp)
{
    ERRP_GUARD();
    NitroAccelState *s = NITRO_ACCEL(accel);

    if (nitro_enclave_facts(s->enclave)->life < NITRO_LIFE_ENDED ||
        nitro_launch_due(s)) {
        return true;
    }
    error_setg(errp, "the enclave has ended and cannot continue");
    error_append_hint(errp, "Launch it again with system_reset, or end this "
                      "QEMU with quit.\n");
    return false;
}

/* Other machines need more than a driver that runs an image */
static bool check_machine(MachineState *ms, Error **errp)
{
    ERRP_GUARD();

    if (object_dynamic_cast(OBJECT(ms), TYPE_NITRO_GUEST)) {
        return true;
    }
    error_setg(errp, "accelerator '%s' cannot run machine '%s', skipping it",
               "nitro", MACHINE_GET_CLASS(ms)->name);
    error_append_hint(errp, "Use -M nitro with -accel nitro.\n");
    return false;
}

static int nitro_init_machine(MachineState *ms)
{
    NitroAccelState *s = NITRO_ACCEL(ms->accelerator);
    Error *err = NULL;

    if (!check_machine(ms, &err) || !block_migration(s, &err)) {
        error_report_err(err);
        return -ENOTSUP;
    }
    s->pool = nitro_pool_read(NITRO_SYSFS);
    if (!nitro_pool_check(s->pool, s->wanted_cpus, ms->smp.cpus, &err)) {
        error_report_err(err);
        return -EINVAL;
    }
    s->config.pool = s->pool ? s->pool->cpus : NULL;
    s->config.nr_vcpus = ms->smp.cpus;
    if (!nitro_launch_init(s, nitro_policy_changed, &err)) {
        error_report_err(err);
        exit(NITRO_STATUS_DRIVER);
    }
    object_property_add_child(OBJECT(ms), "nitro", OBJECT(s));
    nitro_policy_init(s);
    return 0;
}

static void nitro_setup_post(MachineState *ms, AccelState *as)
{
    Error *err = NULL;

    if (!nitro_launch_setup(NITRO_ACCEL(as), &err)) {
        error_report_err(err);
        exit(NITRO_LAUNCHER_GET_CLASS(as)->failure_status(
                 NITRO_LAUNCHER(as)));
    }
}

/* Properties */

static NitroEnclaveState current_state(const NitroAccelState *s)
{
    return s->enclave ? nitro_life_state[nitro_enclave_facts(s->enclave)->life]
                      : NITRO_ENCLAVE_STATE_CREATED;
}

/* May a property that an enclave in state @limit has taken over be set? */
static bool still_open(NitroAccelState *s, const char *name,
                       NitroEnclaveState limit, Error **errp)
{
    NitroEnclaveState state = current_state(s);

    if (!s->enclave || (state < limit &&
                        !is_starting(nitro_enclave_facts(s->enclave)))) {
        return true;
    }
    error_setg(errp, "%s cannot change any more: the enclave is %s", name,
               NitroEnclaveState_str(state));
    return false;
}

static bool nitro_get_debug_mode(Object *obj, Error **errp)
{
    return NITRO_ACCEL(obj)->config.debug_mode;
}

static void nitro_set_debug_mode(Object *obj, bool value, Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(obj);

    if (still_open(s, "debug-mode", NITRO_ENCLAVE_STATE_CREATED, errp)) {
        s->config.debug_mode = value;
    }
}

static void nitro_get_enclave_cid(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    uint64_t cid = nitro_current_cid(NITRO_ACCEL(obj));

    visit_type_uint64(v, name, &cid, errp);
}

static void nitro_set_enclave_cid(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(obj);
    uint64_t cid;

    if (visit_type_uint64(v, name, &cid, errp) &&
        still_open(s, name, NITRO_ENCLAVE_STATE_STARTED, errp) &&
        nitro_cid_valid(cid, errp)) {
        s->config.cid = cid;
    }
}

static char *nitro_get_cpus(Object *obj, Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(obj);
    GArray *cpus = s->enclave ? nitro_enclave_facts(s->enclave)->cpus : NULL;

    cpus = cpus && cpus->len ? cpus : s->wanted_cpus;
    return cpus ? nitro_cpus_str(cpus, ':') : g_strdup("");
}

static void nitro_set_cpus(Object *obj, const char *value, Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(obj);
    GArray *cpus;

    if (!still_open(s, "cpus", NITRO_ENCLAVE_STATE_CREATED, errp)) {
        return;
    }
    cpus = nitro_cpus_parse(value, errp);
    if (cpus) {
        g_clear_pointer(&s->wanted_cpus, g_array_unref);
        s->config.cpus = s->wanted_cpus = cpus;
    }
}

static void nitro_get_boot_time(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(obj);
    uint64_t ms = s->enclave ? nitro_enclave_facts(s->enclave)->boot_ms : 0;

    visit_type_uint64(v, name, &ms, errp);
}

static void nitro_get_grace(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &NITRO_ACCEL(obj)->powerdown_grace, errp);
}

static void nitro_set_grace(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &NITRO_ACCEL(obj)->powerdown_grace, errp);
}

static int nitro_get_on_exit(Object *obj, Error **errp)
{
    return NITRO_ACCEL(obj)->on_exit;
}

static void nitro_set_on_exit(Object *obj, int value, Error **errp)
{
    NITRO_ACCEL(obj)->on_exit = value;
}

static char *nitro_get_device(Object *obj, Error **errp)
{
    return g_strdup(NITRO_ACCEL(obj)->device);
}

static void nitro_set_device(Object *obj, const char *value, Error **errp)
{
    NitroAccelState *s = NITRO_ACCEL(obj);

    if (still_open(s, "device", NITRO_ENCLAVE_STATE_CREATED, errp)) {
        g_free(s->device);
        s->device = g_strdup(value);
    }
}

static char *nitro_get_state(Object *obj, Error **errp)
{
    return g_strdup(NitroEnclaveState_str(current_state(NITRO_ACCEL(obj))));
}

static void nitro_accel_add_life_properties(ObjectClass *oc)
{
    object_class_property_add_str(oc, "state", nitro_get_state, NULL);
    object_class_property_set_description(oc, "state",
        "Read only: created, prepared, started, booted or exited");
    object_class_property_add(oc, "boot-time", "uint64", nitro_get_boot_time,
                              NULL, NULL, NULL);
    object_class_property_set_description(oc, "boot-time",
        "Read only: milliseconds from the start to the heartbeat, 0 before");
    object_class_property_add(oc, "powerdown-grace", "uint32",
                              nitro_get_grace, nitro_set_grace, NULL, NULL);
    object_class_property_set_description(oc, "powerdown-grace",
        "Seconds that the enclave may take to end by itself after "
        "system_powerdown (default 0)");
    object_class_property_add_enum(oc, "on-exit", "NitroOnExit",
                                   &NitroOnExit_lookup, nitro_get_on_exit,
                                   nitro_set_on_exit);
    object_class_property_set_description(oc, "on-exit",
        "When the enclave ends by itself or does not boot in time: end QEMU "
        "(shutdown, the default), or launch it again (reset)");
}

static void nitro_accel_add_properties(ObjectClass *oc)
{
    object_class_property_add_bool(oc, "debug-mode", nitro_get_debug_mode,
                                   nitro_set_debug_mode);
    object_class_property_set_description(oc, "debug-mode",
        "Start the enclave in debug mode: it has a console, its attestation "
        "documents carry zeros");
    object_class_property_add(oc, "enclave-cid", "uint64",
                              nitro_get_enclave_cid, nitro_set_enclave_cid,
                              NULL, NULL);
    object_class_property_set_description(oc, "enclave-cid",
        "vsock CID of the enclave: 4 to 4294967294, or 0 to let the "
        "hypervisor choose; shows the actual CID once started");
    object_class_property_add_str(oc, "cpus", nitro_get_cpus, nitro_set_cpus);
    object_class_property_set_description(oc, "cpus",
        "CPUs of the enclave, of the parent's pool: 2:6 or 2-3:6-7 (default: "
        "the driver chooses); shows those in use once prepared");
    object_class_property_add_str(oc, "device", nitro_get_device,
                                  nitro_set_device);
    object_class_property_set_description(oc, "device",
        "Device node of the driver (default: " NE_DEVICE_PATH ")");
}

/* The type */

static void nitro_accel_instance_init(Object *obj)
{
    NitroAccelState *s = NITRO_ACCEL(obj);

    s->device = g_strdup(NE_DEVICE_PATH);
    s->config.device_fd = -1;
}

/* Only an object whose init_machine failed gets here */
static void nitro_accel_instance_finalize(Object *obj)
{
    NitroAccelState *s = NITRO_ACCEL(obj);

    nitro_enclave_free(s->enclave);
    if (s->config.device_fd >= 0) {
        qemu_close(s->config.device_fd);
    }
    migrate_del_blocker(&s->migration_blocker);
    g_clear_pointer(&s->pool, nitro_pool_free);
    g_clear_pointer(&s->wanted_cpus, g_array_unref);
    qapi_free_NitroEnclaveApplication(s->application);
    g_free(s->host_cpus);
    g_free(s->device);
}

static void add_launcher_methods(NitroLauncherClass *lc)
{
    lc->load_offset = nitro_get_load_offset;
    lc->cid = nitro_launcher_cid;
    lc->debug_mode = nitro_launcher_debug_mode;
    lc->boot = nitro_launcher_boot;
}

static void nitro_accel_class_init(ObjectClass *oc, void *data)
{
    AccelClass *ac = ACCEL_CLASS(oc);

    ac->name = "Nitro";
    ac->init_machine = nitro_init_machine;
    ac->setup_post = nitro_setup_post;
    ac->may_stop = nitro_may_stop;
    ac->may_cont = nitro_may_cont;
    ac->guest_hidden = "the hypervisor hides the memory, the CPUs and the "
                       "devices of an enclave";
    ac->allowed = &nitro_allowed;
    add_launcher_methods(NITRO_LAUNCHER_CLASS(oc));
    nitro_policy_add_methods(oc);
    nitro_accel_add_properties(oc);
    nitro_accel_add_life_properties(oc);
}

static const TypeInfo nitro_accel_type = {
    .name = TYPE_NITRO_ACCEL,
    .parent = TYPE_ACCEL,
    .instance_size = sizeof(NitroAccelState),
    .instance_init = nitro_accel_instance_init,
    .instance_finalize = nitro_accel_instance_finalize,
    .class_init = nitro_accel_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_NITRO_LAUNCHER },
        { TYPE_RESETTABLE_INTERFACE },
        { }
    },
};
module_obj(TYPE_NITRO_ACCEL);

static void nitro_accel_register_type(void)
{
    type_register_static(&nitro_accel_type);
}

type_init(nitro_accel_register_type);
