/*
 * Keys and certificates with which enclaves of this parent attest
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/memfd.h"
#include "hw/core/nsm-certificate.h"
#include "pki-internal.h"
#include "pki-dir.h"

#define ROOT_NAME "root.pem"
#define ROOT_KEY_NAME "root-key.pem"
#define REGIONAL_KEY_NAME "regional-key.pem"

/* A certificate lasts for that long beyond all that it signs, in s */
#define RESERVE (24LL * 3600)
/* Time between looks at the clock, which may have been set meanwhile */
#define RENEWAL_SECONDS 600

struct NhvPki {
    NhvPkiDir dir;
    char *root_file;
    NSMIdentity *root;
    NSMIdentity *regional;
    NSMIdentity *zonal;         /* NULL until it is needed */
    GSList *instances;          /* each is a NhvPkiInstance */
    guint timer;
};

struct NhvPkiInstance {
    NhvPki *pki;
    char *id;
    int fd;                     /* to write */
    int reader;                 /* the same file, to be handed over */
    int64_t until;              /* Unix time in s */
};

static int64_t time_now(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

static bool lasts(const NSMIdentity *identity, int64_t now, int64_t seconds)
{
    return now >= nsm_identity_from(identity) &&
           now + seconds + RESERVE / 2 <= nsm_identity_until(identity);
}

/* The identity in a file; NULL without an error when there is no such file */
static NSMIdentity *read_identity(NhvPki *pki, const char *name,
                                  Error **errp)
{
    ERRP_GUARD();
    NSMIdentity *identity;
    GString *text;

    if (!nhv_pki_dir_read(&pki->dir, name, &text, errp) || !text) {
        return NULL;
    }
    identity = nsm_identity_load(text->str, NULL, errp);
    nsm_wipe(text);
    if (!identity) {
        error_prepend(errp, "%s/%s: ", pki->dir.path, name);
        error_append_hint(errp, "Restore the file from a copy, or remove the "
                          "%s\n", g_str_equal(name, ROOT_KEY_NAME)
                          ? "directory, for another root"
                          : "file, for another region of this root");
    }
    return identity;
}

static bool write_identity(NhvPki *pki, const char *name,
                           const NSMIdentity *identity, Error **errp)
{
    GString *text = g_string_sized_new(4096);
    bool ok;

    ok = nsm_identity_append_key(identity, text, errp);
    if (ok) {
        nsm_identity_append_certificate(identity, text);
        ok = nhv_pki_dir_write(&pki->dir, name, text, errp);
    }
    nsm_wipe(text);
    return ok;
}

static bool pki_make(NhvPki *pki, NSMLevel level, const NSMIdentity *issuer,
                     const char *file, NSMIdentity **identity, Error **errp)
{
    g_autoptr(NSMIdentity) made = nsm_identity_new(level, issuer, NULL,
                                                   time_now(), errp);

    if (!made || (file && !write_identity(pki, file, made, errp))) {
        return false;
    }
    nsm_identity_free(*identity);
    *identity = g_steal_pointer(&made);
    return true;
}

static bool check_root(NhvPki *pki, Error **errp)
{
    g_autofree char *name = nsm_identity_name(pki->root);

    if (!g_str_equal(name, NSM_LAB_ROOT_NAME)) {
        error_setg(errp, "%s/" ROOT_KEY_NAME " is for '%s', not for "
                   NSM_LAB_ROOT_NAME, pki->dir.path, name);
        return false;
    }
    if (!lasts(pki->root, time_now(), NSM_REGIONAL_LIFE)) {
        error_setg(errp, "%s/" ROOT_KEY_NAME " is not valid now, or ends soon",
                   pki->dir.path);
        error_append_hint(errp, "Set the clock of this machine, or remove the "
                          "directory, for another root\n");
        return false;
    }
    return true;
}

static bool open_root(NhvPki *pki, Error **errp)
{
    ERRP_GUARD();

    pki->root = read_identity(pki, ROOT_KEY_NAME, errp);
    if (*errp) {
        return false;
    }
    if (pki->root) {
        return check_root(pki, errp);
    }
    if (!nhv_pki_dir_is_empty(&pki->dir)) {
        error_setg(errp, "%s has files, but no " ROOT_KEY_NAME,
                   pki->dir.path);
        error_append_hint(errp, "Give a path that does not exist yet\n");
        return false;
    }
    return pki_make(pki, NSM_LEVEL_ROOT, NULL, ROOT_KEY_NAME, &pki->root, errp);
}

/* The root's certificate alone, for those who must not have its key */
static bool publish_root(NhvPki *pki, Error **errp)
{
    g_autoptr(GString) text = g_string_new("");
    GString *found;
    bool ok;

    nsm_identity_append_certificate(pki->root, text);
    if (!nhv_pki_dir_read(&pki->dir, ROOT_NAME, &found, errp)) {
        return false;
    }
    ok = (found && g_string_equal(found, text)) ||
         nhv_pki_dir_write(&pki->dir, ROOT_NAME, text, errp);
    nsm_wipe(found);
    return ok;
}

static bool renew_regional(NhvPki *pki, Error **errp)
{
    return pki_make(pki, NSM_LEVEL_REGIONAL, pki->root, REGIONAL_KEY_NAME,
                    &pki->regional, errp);
}

static bool open_regional(NhvPki *pki, Error **errp)
{
    ERRP_GUARD();

    nsm_identity_free(pki->regional);
    pki->regional = read_identity(pki, REGIONAL_KEY_NAME, errp);
    if (*errp) {
        return false;
    }
    if (pki->regional && !nsm_identity_issued_by(pki->regional, pki->root)) {
        error_setg(errp, "%s/" REGIONAL_KEY_NAME " was not issued by the root "
                   "there", pki->dir.path);
        error_append_hint(errp, "Restore the file from a copy, or remove it\n");
        return false;
    }
    return (pki->regional &&
            lasts(pki->regional, time_now(), NSM_ZONAL_LIFE)) ||
           renew_regional(pki, errp);
}

NhvPki *nhv_pki_open(const char *dir, Error **errp)
{
    NhvPki *pki = g_new0(NhvPki, 1);

    if (!nhv_pki_dir_open(&pki->dir, dir, errp) || !open_root(pki, errp) ||
        !publish_root(pki, errp) || !open_regional(pki, errp)) {
        nhv_pki_free(pki);
        return NULL;
    }
    nhv_pki_dir_unlock(&pki->dir);
    pki->root_file = g_build_filename(dir, ROOT_NAME, NULL);
    return pki;
}

void nhv_pki_free(NhvPki *pki)
{
    if (!pki) {
        return;
    }
    assert(!pki->instances);
    nsm_identity_free(pki->root);
    nsm_identity_free(pki->regional);
    nsm_identity_free(pki->zonal);
    nhv_pki_dir_close(&pki->dir);
    g_free(pki->root_file);
    g_free(pki);
}

const char *nhv_pki_root(const NhvPki *pki)
{
    return pki->root_file;
}

static char *fingerprint(const NSMIdentity *identity)
{
    const GByteArray *der = nsm_identity_der(identity);

    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, der->data,
                                       der->len);
}

char *nhv_pki_fingerprint(const NhvPki *pki)
{
    return fingerprint(pki->root);
}

/* Do something that may change the directory */
static bool with_lock(NhvPki *pki, bool (*work)(NhvPki *pki, Error **errp),
                      Error **errp)
{
    NhvPkiDir dir;
    bool ok = nhv_pki_dir_open(&dir, pki->dir.path, errp) &&
              work(pki, errp);

    nhv_pki_dir_close(&dir);
    return ok;
}

/* What an instance that is made now needs above it */
static bool pki_prepare(NhvPki *pki, Error **errp)
{
    int64_t now = time_now();

    if (pki->zonal && lasts(pki->zonal, now, NSM_INSTANCE_LIFE)) {
        return true;
    }
    /* Another process may have renewed the region meanwhile */
    if ((!pki->regional || !lasts(pki->regional, now, NSM_ZONAL_LIFE)) &&
        !with_lock(pki, open_regional, errp)) {
        return false;
    }
    return pki_make(pki, NSM_LEVEL_ZONAL, pki->regional, NULL, &pki->zonal,
                    errp);
}

/* Key of a new instance, and its chain from the root on */
static GString *make_instance(NhvPki *pki, const char *id, int64_t *until,
                              Error **errp)
{
    g_autoptr(NSMIdentity) instance = NULL;
    GString *text;

    if (!pki_prepare(pki, errp)) {
        return NULL;
    }
    instance = nsm_identity_new(NSM_LEVEL_INSTANCE, pki->zonal, id,
                                time_now(), errp);
    if (!instance) {
        return NULL;
    }
    text = g_string_sized_new(8192);
    if (!nsm_identity_append_key(instance, text, errp)) {
        nsm_wipe(text);
        return NULL;
    }
    nsm_identity_append_certificate(pki->root, text);
    nsm_identity_append_certificate(pki->regional, text);
    nsm_identity_append_certificate(pki->zonal, text);
    nsm_identity_append_certificate(instance, text);
    *until = nsm_identity_until(instance);
    return text;
}

#define CANNOT_HAND_OVER "cannot hand over an instance's key"

/* Who only has the reader cannot write, also not by opening it again */
static bool open_reader(NhvPkiInstance *instance, Error **errp)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", instance->fd);

    if (!fchmod(instance->fd, 0400)) {
        instance->reader = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (instance->reader < 0) {
        error_setg_errno(errp, errno, CANNOT_HAND_OVER);
    }
    return instance->reader >= 0;
}

/*
 * A reader may see half of it: key and certificate do not fit together then,
 * and it keeps what it has.
 */
static bool pki_fill(NhvPkiInstance *instance, Error **errp)
{
    int64_t until;
    GString *text = make_instance(instance->pki, instance->id, &until, errp);
    ssize_t n;

    if (!text) {
        return false;
    }
    n = RETRY_ON_EINTR(pwrite(instance->fd, text->str, text->len, 0));
    if (n != text->len || ftruncate(instance->fd, n)) {
        error_setg_errno(errp, errno, CANNOT_HAND_OVER);
        nsm_wipe(text);
        return false;
    }
    nsm_wipe(text);
    instance->until = until;
    return true;
}

void nhv_pki_renew(NhvPki *pki, int64_t now)
{
    for (GSList *at = pki->instances; at; at = at->next) {
        NhvPkiInstance *instance = at->data;
        Error *err = NULL;

        if (now + NSM_INSTANCE_LIFE / 2 > instance->until &&
            !pki_fill(instance, &err)) {
            error_reportf_err(err, "attestation: ");
        }
    }
}

static gboolean renew_instances(gpointer opaque)
{
    nhv_pki_renew(opaque, time_now());
    return G_SOURCE_CONTINUE;
}

NhvPkiInstance *nhv_pki_issue(NhvPki *pki, const char *id, Error **errp)
{
    NhvPkiInstance *instance = g_new0(NhvPkiInstance, 1);

    instance->pki = pki;
    instance->fd = instance->reader = -1;
    instance->id = g_strdup(id);
    pki->instances = g_slist_prepend(pki->instances, instance);
    if (!pki->timer) {
        pki->timer = g_timeout_add_seconds(RENEWAL_SECONDS, renew_instances,
                                           pki);
    }
    instance->fd = qemu_memfd_create("nitro-instance", 0, false, 0, 0, errp);
    if (instance->fd < 0 || !open_reader(instance, errp) ||
        !pki_fill(instance, errp)) {
        nhv_pki_instance_free(instance);
        return NULL;
    }
    return instance;
}

int nhv_pki_instance_fd(const NhvPkiInstance *instance)
{
    return instance->reader;
}

void nhv_pki_instance_free(NhvPkiInstance *instance)
{
    NhvPki *pki;

    if (!instance) {
        return;
    }
    pki = instance->pki;
    pki->instances = g_slist_remove(pki->instances, instance);
    if (!pki->instances) {
        g_clear_handle_id(&pki->timer, g_source_remove);
    }
    if (instance->fd >= 0) {
        close(instance->fd);
    }
    if (instance->reader >= 0) {
        close(instance->reader);
    }
    g_free(instance->id);
    g_free(instance);
}

static void show_one(const char *level, const NSMIdentity *identity)
{
    g_autoptr(GDateTime) from = g_date_time_new_from_unix_utc(
        nsm_identity_from(identity));
    g_autoptr(GDateTime) until = g_date_time_new_from_unix_utc(
        nsm_identity_until(identity));
    g_autofree char *from_text = g_date_time_format(from, "%F %T");
    g_autofree char *until_text = g_date_time_format(until, "%F %T");
    g_autofree char *name = nsm_identity_name(identity);
    g_autofree char *digest = fingerprint(identity);

    printf("%-10s %s\n%10s valid %s to %s UTC\n%10s SHA-256 %s\n", level,
           name, "", from_text, until_text, "", digest);
}

static bool command_show(NhvPki *pki, const char *id, Error **errp)
{
    printf("%-10s %s (not AWS)\n", "file", pki->root_file);
    show_one("root", pki->root);
    show_one("regional", pki->regional);
    return true;
}

static bool command_export(NhvPki *pki, const char *id, Error **errp)
{
    g_autoptr(GString) text = g_string_new("");

    nsm_identity_append_certificate(pki->root, text);
    fputs(text->str, stdout);
    return true;
}

static bool command_renew(NhvPki *pki, const char *id, Error **errp)
{
    return with_lock(pki, renew_regional, errp) &&
           command_show(pki, id, errp);
}

static bool command_issue(NhvPki *pki, const char *id, Error **errp)
{
    int64_t until;
    GString *text = make_instance(pki, id, &until, errp);

    if (text) {
        fputs(text->str, stdout);
        nsm_wipe(text);
    }
    return text;
}

/* Half a key that looks like a whole one must not end with success */
static bool all_printed(Error **errp)
{
    if (fflush(stdout) || ferror(stdout)) {
        error_setg_errno(errp, errno, "--pki: cannot write to stdout");
        return false;
    }
    return true;
}

bool nhv_pki_command(const char *dir, const char *command, const char *id,
                     Error **errp)
{
    static const struct {
        const char *name;
        bool (*run)(NhvPki *pki, const char *id, Error **errp);
    } commands[] = {
        { "show", command_show },
        { "export", command_export },
        { "renew", command_renew },
        { "issue", command_issue },
    };
    NhvPki *pki;
    bool ok;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (g_str_equal(commands[i].name, command)) {
            pki = nhv_pki_open(dir, errp);
            ok = pki && commands[i].run(pki, id, errp) && all_printed(errp);
            nhv_pki_free(pki);
            return ok;
        }
    }
    error_setg(errp, "--pki: there is no '%s'", command);
    error_append_hint(errp, "Use show, export, renew or issue\n");
    return false;
}
