/*
 * Nitro Secure Module: object that signs attestation documents
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "crypto/secret.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qom/object_interfaces.h"
#include "hw/core/eif-cbor.h"
#include "hw/core/nsm-certificate.h"
#include "hw/core/nsm-sign.h"
#include "hw/virtio/virtio-nsm-signer.h"

/* A key and a chain have less than 8 KiB */
#define FILE_MAX (64 * 1024)
/* Time between attempts to renew, in s */
#define RETRY_AFTER 60

#define ANSWER "\xa1\x6b" "Attestation\xa1\x68" "document"
/* The answer's bytes before the document: the above, and a length of two */
#define ANSWER_HEAD (sizeof(ANSWER) - 1 + 3)
#define TOO_LARGE "\xa1\x65" "Error\x6d" "InputTooLarge"
#define FAILED "\xa1\x65" "Error\x6d" "InternalError"

struct NitroNSMSigner {
    Object parent_obj;

    char *file;
    char *password_id;
    bool definite_map;

    NSMSigner *signer;          /* NULL: no device has it */
    int64_t tried;              /* Unix time in s of the last renewal */
    bool failing;               /* it was reported that nothing is signed */
};

static bool check_file(int fd, const char *file, size_t *size, Error **errp)
{
    struct stat st;

    if (fstat(fd, &st)) {
        error_setg_errno(errp, errno, "cannot read %s", file);
        return false;
    }
    /* Anything else could block */
    if (!S_ISREG(st.st_mode)) {
        error_setg(errp, "%s is not a regular file", file);
        return false;
    }
    if (st.st_size > FILE_MAX) {
        error_setg(errp, "%s has %" PRId64 " bytes, a key and its chain at "
                   "most %d", file, (int64_t)st.st_size, FILE_MAX);
        return false;
    }
    *size = st.st_size;
    return true;
}

/* From the start, because descriptors may be read more than once */
static GString *read_fd(int fd, const char *file, Error **errp)
{
    GString *text;
    size_t size;
    ssize_t n;

    if (!check_file(fd, file, &size, errp)) {
        return NULL;
    }
    text = g_string_sized_new(size);
    n = RETRY_ON_EINTR(pread(fd, text->str, size, 0));
    if (n < 0) {
        error_setg_errno(errp, errno, "cannot read %s", file);
        g_string_free(text, true);
        return NULL;
    }
    g_string_set_size(text, n);
    return text;
}

static GString *read_file(const char *file, Error **errp)
{
    int fd = qemu_open(file, O_RDONLY | O_NONBLOCK, errp);
    GString *text;

    if (fd < 0) {
        return NULL;
    }
    text = read_fd(fd, file, errp);
    qemu_close(fd);
    return text;
}

static bool read_password(const NitroNSMSigner *s, char **password,
                          Error **errp)
{
    *password = NULL;
    if (s->password_id) {
        *password = qcrypto_secret_lookup_as_utf8(s->password_id, errp);
        return *password;
    }
    return true;
}

/* Read the file and let @signer, or nobody, have what is in it */
static bool load(NitroNSMSigner *s, NSMSigner *signer, int64_t now,
                 Error **errp)
{
    ERRP_GUARD();
    g_autofree char *password = NULL;
    g_autoptr(NSMIdentity) tried = NULL;
    GString *pem;
    bool ok;

    if (!read_password(s, &password, errp)) {
        return false;
    }
    pem = read_file(s->file, errp);
    if (!pem) {
        return false;
    }
    if (signer) {
        ok = nsm_signer_load(signer, pem->str, password, now, errp);
    } else {
        tried = nsm_identity_load(pem->str, password, errp);
        ok = tried;
    }
    if (!ok) {
        error_prepend(errp, "%s: ", s->file);
    }
    nsm_wipe(pem);
    return ok;
}

/* A guest that keeps asking must neither fill a log nor wear out the file */
static bool may_try(const NitroNSMSigner *s, int64_t now)
{
    return now < s->tried || now >= s->tried + RETRY_AFTER;
}

static void renew(NitroNSMSigner *s, int64_t now)
{
    Error *err = NULL;

    if (!nsm_signer_is_due(s->signer, now) || !may_try(s, now)) {
        return;
    }
    s->tried = now;
    if (!load(s, s->signer, now, &err)) {
        error_reportf_err(err, "attestation: ");
    }
}

/* The request is in the one form there is, so all of this is there */
static void read_request(const struct iovec *request, NSMClaims *claims)
{
    EifCbor c = { .data = request->iov_base, .len = request->iov_len };
    const struct {
        const char *key;
        NSMDocumentField *field;
    } fields[] = {
        { NSM_DOC_PUBLIC_KEY, &claims->public_key },
        { NSM_DOC_USER_DATA, &claims->user_data },
        { NSM_DOC_NONCE, &claims->nonce },
    };
    uint64_t n = 0;

    eif_cbor_head(&c, EIF_CBOR_MAP, &n);
    eif_cbor_key(&c, "Attestation");
    eif_cbor_head(&c, EIF_CBOR_MAP, &n);
    while (n--) {
        NSMDocumentField *field = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(fields) && !field; i++) {
            field = eif_cbor_key(&c, fields[i].key) ? fields[i].field : NULL;
        }
        assert(field);
        field->data = eif_cbor_string(&c, EIF_CBOR_BYTES, &field->len);
        c.pos += !field->data;  /* null */
    }
}

static void answer(struct iovec *response, const char *text, size_t len)
{
    memcpy(response->iov_base, text, len);
    response->iov_len = len;
}

/* Put what encloses the document in front of it */
static void enclose(struct iovec *response, size_t len)
{
    uint8_t *head = response->iov_base;

    assert(len > UINT8_MAX && len <= UINT16_MAX);
    memcpy(head, ANSWER, sizeof(ANSWER) - 1);
    head[sizeof(ANSWER) - 1] = EIF_CBOR_BYTES << 5 | 25;
    stw_be_p(head + sizeof(ANSWER), len);
    response->iov_len = ANSWER_HEAD + len;
}

static void report_failure(NitroNSMSigner *s, Error *err)
{
    if (s->failing) {
        error_free(err);
    } else {
        error_reportf_err(err, "attestation: ");
        s->failing = true;
    }
}

static void attest(VirtIONSM *vnsm, NSMClaims *claims, struct iovec *response)
{
    NitroNSMSigner *s = vnsm->signer;
    int64_t now = claims->time_ms / 1000;
    Error *err = NULL;
    size_t len;

    renew(s, now);
    if (!nsm_signer_document(s->signer, claims,
                             (uint8_t *)response->iov_base + ANSWER_HEAD,
                             response->iov_len - ANSWER_HEAD, &len, &err)) {
        report_failure(s, err);
        answer(response, FAILED, sizeof(FAILED) - 1);
        return;
    }
    s->failing = false;
    if (len) {
        enclose(response, len);
    } else {
        answer(response, TOO_LARGE, sizeof(TOO_LARGE) - 1);
    }
}

static bool is_attestation(const struct iovec *request)
{
    EifCbor c = { .data = request->iov_base, .len = request->iov_len };
    uint64_t n;

    return eif_cbor_head(&c, EIF_CBOR_MAP, &n) &&
           eif_cbor_key(&c, "Attestation");
}

bool nsm_signer_attest(VirtIONSM *vnsm, const struct iovec *request,
                       struct iovec *response)
{
    NSMClaims claims = {
        .module_id = vnsm->module_id,
        .time_ms = g_get_real_time() / 1000,
    };

    if (!is_attestation(request)) {
        return false;
    }
    if (!vnsm->signer) {
        warn_report_once("virtio-nsm: attestation documents are not signed; "
                         "-object " TYPE_NITRO_NSM_SIGNER ",id=ID,file=PATH "
                         "signs them");
        return false;
    }
    claims.definite = vnsm->signer->definite_map;
    for (unsigned i = 0; i < NSM_MAX_PCRS; i++) {
        claims.pcrs[i] = vnsm->pcrs[i].locked ? vnsm->pcrs[i].data : NULL;
    }
    read_request(request, &claims);
    attest(vnsm, &claims, response);
    return true;
}

static int find_signer(Object *child, void *opaque)
{
    Object **found = opaque;

    if (!object_dynamic_cast(child, TYPE_NITRO_NSM_SIGNER)) {
        return 0;
    }
    /* The second one ends the search */
    if (*found) {
        return 1;
    }
    *found = child;
    return 0;
}

static bool choose_signer(VirtIONSM *vnsm, Error **errp)
{
    ERRP_GUARD();
    Object *found = NULL;

    if (vnsm->signer) {
        return true;
    }
    if (object_child_foreach(object_get_objects_root(), find_signer, &found)) {
        error_setg(errp, "there are several objects " TYPE_NITRO_NSM_SIGNER);
        error_append_hint(errp, "Choose one: -global " TYPE_VIRTIO_NSM
                          ".signer=ID\n");
        return false;
    }
    if (found) {
        vnsm->signer = NITRO_NSM_SIGNER(object_ref(found));
    }
    return true;
}

bool nsm_signer_bind(VirtIONSM *vnsm, Error **errp)
{
    g_autoptr(NSMSigner) signer = NULL;

    if (!choose_signer(vnsm, errp)) {
        return false;
    }
    if (!vnsm->signer) {
        return true;
    }
    if (vnsm->signer->signer) {
        error_setg(errp, "another device has this " TYPE_NITRO_NSM_SIGNER);
        return false;
    }
    signer = nsm_signer_new(vnsm->module_id);
    if (!load(vnsm->signer, signer, g_get_real_time() / G_USEC_PER_SEC,
              errp)) {
        return false;
    }
    vnsm->signer->signer = g_steal_pointer(&signer);
    return true;
}

void nsm_signer_unbind(VirtIONSM *vnsm)
{
    if (vnsm->signer) {
        g_clear_pointer(&vnsm->signer->signer, nsm_signer_free);
    }
}

static void signer_complete(UserCreatable *uc, Error **errp)
{
    NitroNSMSigner *s = NITRO_NSM_SIGNER(uc);

    if (!s->file) {
        error_setg(errp, TYPE_NITRO_NSM_SIGNER " needs 'file'");
        return;
    }
    load(s, NULL, 0, errp);
}

static bool signer_can_be_deleted(UserCreatable *uc)
{
    return !NITRO_NSM_SIGNER(uc)->signer;
}

static char *get_file(Object *obj, Error **errp)
{
    return g_strdup(NITRO_NSM_SIGNER(obj)->file);
}

static void set_file(Object *obj, const char *value, Error **errp)
{
    NitroNSMSigner *s = NITRO_NSM_SIGNER(obj);

    g_free(s->file);
    s->file = g_strdup(value);
}

static char *get_password_id(Object *obj, Error **errp)
{
    return g_strdup(NITRO_NSM_SIGNER(obj)->password_id);
}

static void set_password_id(Object *obj, const char *value, Error **errp)
{
    NitroNSMSigner *s = NITRO_NSM_SIGNER(obj);

    g_free(s->password_id);
    s->password_id = g_strdup(value);
}

static bool get_definite_map(Object *obj, Error **errp)
{
    return NITRO_NSM_SIGNER(obj)->definite_map;
}

static void set_definite_map(Object *obj, bool value, Error **errp)
{
    NITRO_NSM_SIGNER(obj)->definite_map = value;
}

static void signer_finalize(Object *obj)
{
    NitroNSMSigner *s = NITRO_NSM_SIGNER(obj);

    nsm_signer_free(s->signer);
    g_free(s->file);
    g_free(s->password_id);
}

static void signer_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = signer_complete;
    ucc->can_be_deleted = signer_can_be_deleted;
    object_class_property_add_str(oc, "file", get_file, set_file);
    object_class_property_set_description(oc, "file",
        "Private key of an instance and its certificates, root first (PEM)");
    object_class_property_add_str(oc, "passwordid", get_password_id,
                                  set_password_id);
    object_class_property_set_description(oc, "passwordid",
        "ID of a secret object with the password of the key");
    object_class_property_add_bool(oc, "definite-map", get_definite_map,
                                   set_definite_map);
    object_class_property_set_description(oc, "definite-map",
        "Write the length of the document's map, as documents of before "
        "2026 have it");
}

static const TypeInfo signer_info = {
    .name = TYPE_NITRO_NSM_SIGNER,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(NitroNSMSigner),
    .instance_finalize = signer_finalize,
    .class_init = signer_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

static void signer_register_types(void)
{
    type_register_static(&signer_info);
}

type_init(signer_register_types);
