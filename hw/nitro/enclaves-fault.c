/*
 * Fault injection of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Parses a fault list and says which faults meet in a call.  What a fault
 * does is up to the device; the syntax is in the header.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "hw/nitro/enclaves-fault.h"

/* A list is typed by a person; this only bounds the memory */
#define MAX_RULES 256

typedef struct FaultRule {
    unsigned point;
    uint32_t first;
    uint32_t last;
    NitroFault fault;
} FaultRule;

static const char *const point_names[NITRO_FAULT_POINT__MAX] = {
    [NITRO_PCI_CMD_START] = "START",
    [NITRO_PCI_CMD_GET_SLOT] = "GET_SLOT",
    [NITRO_PCI_CMD_STOP] = "STOP",
    [NITRO_PCI_CMD_ALLOC] = "ALLOC",
    [NITRO_PCI_CMD_FREE] = "FREE",
    [NITRO_PCI_CMD_ADD_MEM] = "ADD_MEM",
    [NITRO_PCI_CMD_ADD_VCPU] = "ADD_VCPU",
    [NITRO_PCI_CMD_COUNT] = "COUNT",
    [NITRO_PCI_CMD_NEXT] = "NEXT",
    [NITRO_PCI_CMD_INFO] = "INFO",
    [NITRO_PCI_CMD_ADD_BULK] = "ADD_BULK",
    [NITRO_FAULT_ENABLE] = "ENABLE",
    [NITRO_FAULT_DISABLE] = "DISABLE",
    [NITRO_FAULT_VERSION] = "VERSION",
    [NITRO_FAULT_EVENT] = "EVENT",
};

static const char *const field_names[NITRO_FAULT_FIELD__MAX] = {
    [NITRO_FAULT_UID] = "uid",
    [NITRO_FAULT_CID] = "cid",
    [NITRO_FAULT_REGIONS] = "regions",
    [NITRO_FAULT_STATE] = "state",
};

const char *nitro_fault_point_name(unsigned point)
{
    if (point >= NITRO_FAULT_POINT__MAX || !point_names[point]) {
        return "unknown";
    }
    return point_names[point];
}

static bool parse_point(const char *text, unsigned *point)
{
    for (unsigned i = 0; i < NITRO_FAULT_POINT__MAX; i++) {
        if (point_names[i] && !strcmp(text, point_names[i])) {
            *point = i;
            return true;
        }
    }
    return false;
}

static bool parse_calls(const char *text, FaultRule *rule)
{
    const char *end;
    unsigned int n;

    if (!strcmp(text, "*")) {
        rule->first = 1;
        rule->last = UINT32_MAX;
        return true;
    }
    if (!g_ascii_isdigit(text[0]) || qemu_strtoui(text, &end, 10, &n) || !n) {
        return false;
    }
    rule->first = n;
    rule->last = *end == '+' ? UINT32_MAX : n;
    return *end == '\0' || !strcmp(end, "+");
}

static bool parse_ms(const char *text, uint32_t *ms)
{
    unsigned int n;

    if (!g_ascii_isdigit(text[0]) || qemu_strtoui(text, NULL, 10, &n) || !n) {
        return false;
    }
    *ms = n;
    return true;
}

static bool parse_field(const char *text, NitroFault *fault)
{
    for (int i = 0; i < NITRO_FAULT_FIELD__MAX; i++) {
        const char *value;

        if (strstart(text, field_names[i], &value) && *value == '=') {
            fault->fields |= 1u << i;
            return g_ascii_isdigit(value[1]) &&
                   !qemu_strtou64(value + 1, NULL, 0, &fault->field[i]) &&
                   (i != NITRO_FAULT_STATE || fault->field[i] <= UINT16_MAX);
        }
    }
    return false;
}

static bool parse_value(const char *text, long min, long max,
                        NitroFault *fault)
{
    long n;

    if (qemu_strtol(text, NULL, 0, &n) || n < min || n > max) {
        return false;
    }
    fault->has_value = true;
    fault->value = n;
    return true;
}

static bool parse_command_action(const char *text, NitroFault *fault)
{
    const char *value;

    if (!strcmp(text, "silence")) {
        fault->silence = true;
    } else if (!strcmp(text, "noreply")) {
        fault->noreply = true;
    } else if (!strcmp(text, "stale")) {
        fault->stale = true;
    } else if (!strcmp(text, "event")) {
        fault->wrong_vector = true;
    } else if (strstart(text, "late=", &value)) {
        return parse_ms(value, &fault->late_ms);
    } else if (strstart(text, "again=", &value)) {
        return parse_ms(value, &fault->again_ms);
    } else if (strchr(text, '=')) {
        return parse_field(text, fault);
    } else {
        return parse_value(text, -4095, INT32_MAX, fault) && fault->value;
    }
    return true;
}

static bool parse_action(const char *text, unsigned point, NitroFault *fault)
{
    switch (point) {
    case NITRO_FAULT_ENABLE:
    case NITRO_FAULT_DISABLE:
        return parse_value(text, 0, UINT8_MAX, fault);
    case NITRO_FAULT_VERSION:
        return parse_value(text, 0, UINT16_MAX, fault);
    case NITRO_FAULT_EVENT:
        fault->silence = true;
        return !strcmp(text, "silence");
    default:
        return parse_command_action(text, fault);
    }
}

static const char *action_hint(unsigned point)
{
    switch (point) {
    case NITRO_FAULT_ENABLE:
    case NITRO_FAULT_DISABLE:
        return "0 to 255";
    case NITRO_FAULT_VERSION:
        return "0 to 65535";
    case NITRO_FAULT_EVENT:
        return "silence";
    default:
        return "-1 to -4095, a positive rc, silence, noreply, stale, event, "
               "late=MS, again=MS, uid=N, cid=N, regions=N or state=N";
    }
}

static void hint_points(Error **errp)
{
    error_append_hint(errp, "Points are");
    for (unsigned i = 0; i < NITRO_FAULT_POINT__MAX; i++) {
        if (point_names[i]) {
            error_append_hint(errp, " %s", point_names[i]);
        }
    }
    error_append_hint(errp, ".\n");
}

static bool parse_rule(const char *text, FaultRule *rule, Error **errp)
{
    ERRP_GUARD();
    g_auto(GStrv) part = g_strsplit(text, ":", 3);

    if (g_strv_length(part) != 3) {
        error_setg(errp, "fault rule '%s' is not POINT:CALLS:ACTION", text);
        error_append_hint(errp, "For example x-fault=START:1:-22 fails the "
                          "first START with EINVAL.\n");
        return false;
    }
    if (!parse_point(part[0], &rule->point)) {
        error_setg(errp, "fault rule '%s': unknown point '%s'", text, part[0]);
        hint_points(errp);
        return false;
    }
    if (!parse_calls(part[1], rule)) {
        error_setg(errp, "fault rule '%s': bad calls '%s'", text, part[1]);
        error_append_hint(errp, "Use N for the N-th call, N+ for it and all "
                          "later ones, * for all.\n");
        return false;
    }
    if (!parse_action(part[2], rule->point, &rule->fault)) {
        error_setg(errp, "fault rule '%s': bad action '%s'", text, part[2]);
        error_append_hint(errp, "%s takes %s.\n", part[0],
                          action_hint(rule->point));
        return false;
    }
    return true;
}

bool nitro_faults_set(NitroFaults *faults, const char *text, Error **errp)
{
    g_autoptr(GArray) rules = g_array_new(false, false, sizeof(FaultRule));
    g_auto(GStrv) list = g_strsplit(text, ";", -1);

    for (int i = 0; list[i]; i++) {
        FaultRule rule = { 0 };
        const char *item = g_strstrip(list[i]);

        if (!*item) {
            continue;
        }
        if (rules->len >= MAX_RULES) {
            error_setg(errp, "more than %d fault rules", MAX_RULES);
            return false;
        }
        if (!parse_rule(item, &rule, errp)) {
            return false;
        }
        g_array_append_val(rules, rule);
    }
    nitro_faults_clear(faults);
    faults->text = g_strdup(text);
    faults->rules = g_steal_pointer(&rules);
    return true;
}

static void fault_merge(NitroFault *into, const NitroFault *from)
{
    into->silence |= from->silence;
    into->noreply |= from->noreply;
    into->stale |= from->stale;
    into->wrong_vector |= from->wrong_vector;
    if (from->has_value) {
        into->has_value = true;
        into->value = from->value;
    }
    into->late_ms = MAX(into->late_ms, from->late_ms);
    into->again_ms = MAX(into->again_ms, from->again_ms);
    into->fields |= from->fields;
    for (int i = 0; i < NITRO_FAULT_FIELD__MAX; i++) {
        if (from->fields & (1u << i)) {
            into->field[i] = from->field[i];
        }
    }
}

NitroFault nitro_faults_take(NitroFaults *faults, unsigned point)
{
    NitroFault fault = { 0 };
    uint32_t call;

    assert(point < NITRO_FAULT_POINT__MAX);
    call = ++faults->calls[point];
    for (guint i = 0; faults->rules && i < faults->rules->len; i++) {
        const FaultRule *rule = &g_array_index(faults->rules, FaultRule, i);

        if (rule->point == point && call >= rule->first &&
            call <= rule->last) {
            fault_merge(&fault, &rule->fault);
        }
    }
    return fault;
}

void nitro_faults_clear(NitroFaults *faults)
{
    g_free(faults->text);
    if (faults->rules) {
        g_array_free(faults->rules, true);
    }
    memset(faults, 0, sizeof(*faults));
}
