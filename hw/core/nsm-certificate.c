/*
 * Certificates of a Nitro Secure Module: keys and their certificates
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "hw/core/nsm-certificate.h"
#include "hw/core/nsm-document.h"

#ifdef CONFIG_GNUTLS
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#if GNUTLS_VERSION_NUMBER >= 0x030600
#define CAN_SIGN
#endif
#endif

void nsm_wipe(GString *text)
{
    if (text) {
        /* A plain memset() of what is freed next is left out by compilers */
        for (volatile char *at = text->str; at < text->str + text->len; at++) {
            *at = 0;
        }
        g_string_free(text, true);
    }
}

#ifdef CAN_SIGN

#define OID_COMMON_NAME "2.5.4.3"
#define OID_COUNTRY "2.5.4.6"
#define OID_LOCALITY "2.5.4.7"
#define OID_STATE "2.5.4.8"
#define OID_ORGANIZATION "2.5.4.10"
#define OID_UNIT "2.5.4.11"
#define OID_BASIC_CONSTRAINTS "2.5.29.19"
#define OID_KEY_USAGE "2.5.29.15"

#define DER_UTF8 0x0c
#define DER_PRINTABLE 0x13
#define DER_STRING_MAX 64 /* ub-common-name of RFC 5280 */

#define SERIAL_RANDOM 16
#define SERIAL_INSTANCE 20
#define COORDINATE_LEN (NSM_DOC_SIGNATURE_LEN / 2)

struct NSMIdentity {
    gnutls_x509_privkey_t key;
    gnutls_privkey_t signer;    /* the same key */
    gnutls_x509_crt_t crt;
    GByteArray *der;
};

/* An extension whose bytes are given */
typedef struct Extension {
    const char *bytes;
    unsigned len;
} Extension;

typedef enum Step {
    STEP_END,
    STEP_CONSTRAINTS,
    STEP_USAGE,
    STEP_SUBJECT_ID,
    STEP_AUTHORITY_ID,
    STEP_CRL,
} Step;

#define CA_SIGNS_ALL { "\x03\x02\x01\x86", 4 }
#define CA_SIGNS { "\x03\x02\x02\x04", 4 }
#define LEAF_SIGNS { "\x03\x02\x06\xc0", 4 }

typedef struct Profile {
    int64_t life;
    int64_t before;
    Extension constraints;
    Extension usage;
    bool usage_critical;
    Step steps[6];              /* extensions in this order */
    const char *subject;        /* attributes in this order */
} Profile;

static const Profile profiles[NSM_LEVELS] = {
    [NSM_LEVEL_ROOT] = {
        NSM_ROOT_LIFE, 0, { "\x30\x03\x01\x01\xff", 5 }, CA_SIGNS_ALL, true,
        { STEP_CONSTRAINTS, STEP_SUBJECT_ID, STEP_USAGE }, "COUN",
    },
    [NSM_LEVEL_REGIONAL] = {
        NSM_REGIONAL_LIFE, 0, { "\x30\x06\x01\x01\xff\x02\x01\x02", 8 },
        CA_SIGNS_ALL, true,
        { STEP_CONSTRAINTS, STEP_AUTHORITY_ID, STEP_SUBJECT_ID, STEP_USAGE,
          STEP_CRL }, "COUN",
    },
    [NSM_LEVEL_ZONAL] = {
        NSM_ZONAL_LIFE, 0, { "\x30\x06\x01\x01\xff\x02\x01\x01", 8 },
        CA_SIGNS_ALL, true,
        { STEP_CONSTRAINTS, STEP_AUTHORITY_ID, STEP_SUBJECT_ID, STEP_USAGE,
          STEP_CRL }, "NUOCSL",
    },
    [NSM_LEVEL_INSTANCE] = {
        NSM_INSTANCE_LIFE, 0, { "\x30\x06\x01\x01\xff\x02\x01\x00", 8 },
        CA_SIGNS, true,
        { STEP_CONSTRAINTS, STEP_USAGE, STEP_SUBJECT_ID, STEP_AUTHORITY_ID },
        "CSLOUN",
    },
    [NSM_LEVEL_LEAF] = {
        NSM_LEAF_LIFE, NSM_LEAF_BEFORE, { "\x30\x00", 2 }, LEAF_SIGNS, false,
        { STEP_CONSTRAINTS, STEP_USAGE }, "CSLOUN",
    },
};

static bool done(int rc, const char *what, Error **errp)
{
    if (rc < 0) {
        error_setg(errp, "cannot %s: %s", what, gnutls_strerror(rc));
    }
    return rc >= 0;
}

void nsm_identity_free(NSMIdentity *identity)
{
    if (!identity) {
        return;
    }
    if (identity->signer) {
        gnutls_privkey_deinit(identity->signer);
    }
    if (identity->key) {
        gnutls_x509_privkey_deinit(identity->key);
    }
    if (identity->crt) {
        gnutls_x509_crt_deinit(identity->crt);
    }
    g_clear_pointer(&identity->der, g_byte_array_unref);
    g_free(identity);
}

static NSMIdentity *identity_alloc(Error **errp)
{
    g_autoptr(NSMIdentity) identity = g_new0(NSMIdentity, 1);

    if (!done(gnutls_x509_privkey_init(&identity->key), "have a key", errp) ||
        !done(gnutls_privkey_init(&identity->signer), "have a key", errp) ||
        !done(gnutls_x509_crt_init(&identity->crt), "have a certificate",
              errp)) {
        return NULL;
    }
    return g_steal_pointer(&identity);
}

static GByteArray *export_der(gnutls_x509_crt_t crt, Error **errp)
{
    gnutls_datum_t der;
    GByteArray *bytes;

    if (!done(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der),
              "write a certificate", errp)) {
        return NULL;
    }
    bytes = g_byte_array_sized_new(der.size);
    g_byte_array_append(bytes, der.data, der.size);
    gnutls_free(der.data);
    return bytes;
}

/* What both ways to an identity end with */
static bool identity_complete(NSMIdentity *identity, Error **errp)
{
    identity->der = export_der(identity->crt, errp);
    return identity->der &&
           done(gnutls_privkey_import_x509(identity->signer, identity->key, 0),
                "use a key", errp);
}

/* GnuTLS would take a shorter type of string than AWS's certificates have */
static int set_attribute(gnutls_x509_crt_t crt, const char *oid,
                         const char *value)
{
    size_t len = strlen(value);
    uint8_t der[2 + DER_STRING_MAX];

    if (len > DER_STRING_MAX) {
        return GNUTLS_E_SHORT_MEMORY_BUFFER;
    }
    der[0] = g_str_equal(oid, OID_COUNTRY) ? DER_PRINTABLE : DER_UTF8;
    der[1] = len;
    memcpy(der + 2, value, len);
    return gnutls_x509_crt_set_dn_by_oid(crt, oid, 1, der, 2 + len);
}

static char *common_name(NSMLevel level, const char *name)
{
    uint64_t number;

    if (level == NSM_LEVEL_ROOT) {
        return g_strdup(NSM_LAB_ROOT_NAME);
    }
    if (level == NSM_LEVEL_INSTANCE) {
        return g_strconcat(name, "." NSM_LAB_REGION "." NSM_LAB_ROOT_NAME,
                           NULL);
    }
    if (level == NSM_LEVEL_LEAF) {
        return g_strconcat(name, "." NSM_LAB_REGION ".lab", NULL);
    }
    gnutls_rnd(GNUTLS_RND_NONCE, &number, sizeof(number));
    return g_strdup_printf("%016" PRIx64 ".%s" NSM_LAB_REGION "."
                           NSM_LAB_ROOT_NAME, number,
                           level == NSM_LEVEL_ZONAL ? "zonal." : "");
}

static bool set_subject(gnutls_x509_crt_t crt, NSMLevel level,
                        const char *name, Error **errp)
{
    g_autofree char *common = common_name(level, name);
    const struct {
        char letter;
        const char *oid;
        const char *value;
    } attributes[] = {
        { 'C', OID_COUNTRY, "ZZ" },     /* user-assigned in ISO 3166 */
        { 'S', OID_STATE, "Lab" },
        { 'L', OID_LOCALITY, "Lab" },
        { 'O', OID_ORGANIZATION, "QEMU" },
        { 'U', OID_UNIT, "not AWS" },
        { 'N', OID_COMMON_NAME, common },
    };

    if (strlen(common) > DER_STRING_MAX) {
        error_setg(errp, "'%s' has %zu characters, the name of a certificate "
                   "at most %d", common, strlen(common), DER_STRING_MAX);
        return false;
    }
    for (const char *at = profiles[level].subject; *at; at++) {
        for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
            if (attributes[i].letter == *at &&
                !done(set_attribute(crt, attributes[i].oid,
                                    attributes[i].value), "set a name",
                      errp)) {
                return false;
            }
        }
    }
    return true;
}

/* Number at the end of a module ID; a random one if the ID has no number */
static uint64_t enclave_number(const char *module_id)
{
    const char *text = strstr(module_id, "-enc");
    char *end;
    uint64_t number = 0;

    if (text) {
        number = g_ascii_strtoull(text + strlen("-enc"), &end, 16);
    }
    if (!number) {
        gnutls_rnd(GNUTLS_RND_NONCE, &number, sizeof(number));
    }
    return number;
}

static bool set_serial(gnutls_x509_crt_t crt, NSMLevel level, const char *name,
                       int64_t now, Error **errp)
{
    /* A zero in front keeps the number positive; DER has it if needed only */
    uint8_t serial[1 + SERIAL_INSTANCE] = { 0 };
    size_t len = level == NSM_LEVEL_INSTANCE ? SERIAL_INSTANCE : SERIAL_RANDOM;
    uint8_t *number = serial + 1;

    if (level == NSM_LEVEL_LEAF) {
        stq_be_p(number, enclave_number(name));
        stq_be_p(number + 8, now);
    } else {
        gnutls_rnd(GNUTLS_RND_NONCE, number, len);
        /* All have their full length */
        number[0] |= 0x40;
    }
    if (!(number[0] & 0x80)) {
        return done(gnutls_x509_crt_set_serial(crt, number, len),
                    "set a serial number", errp);
    }
    return done(gnutls_x509_crt_set_serial(crt, serial, 1 + len),
                "set a serial number", errp);
}

static int set_subject_id(gnutls_x509_crt_t crt)
{
    uint8_t id[64];
    size_t len = sizeof(id);
    int rc = gnutls_x509_crt_get_key_id(crt, 0, id, &len);

    return rc < 0 ? rc : gnutls_x509_crt_set_subject_key_id(crt, id, len);
}

static int set_authority_id(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
    uint8_t id[64];
    size_t len = sizeof(id);
    int rc = gnutls_x509_crt_get_subject_key_id(issuer, id, &len, NULL);

    return rc < 0 ? rc : gnutls_x509_crt_set_authority_key_id(crt, id, len);
}

/* A list of revocations is named, as in AWS's certificates; nobody has it */
static int set_crl(gnutls_x509_crt_t crt)
{
    static const char url[] = "http://crl." NSM_LAB_ROOT_NAME ".invalid/";

    return gnutls_x509_crt_set_crl_dist_points2(crt, GNUTLS_SAN_URI, url,
                                                strlen(url), 0);
}

static int set_extension(gnutls_x509_crt_t crt, const Profile *profile,
                         Step step, gnutls_x509_crt_t issuer)
{
    switch (step) {
    case STEP_CONSTRAINTS:
        return gnutls_x509_crt_set_extension_by_oid(
            crt, OID_BASIC_CONSTRAINTS, profile->constraints.bytes,
            profile->constraints.len, 1);
    case STEP_USAGE:
        return gnutls_x509_crt_set_extension_by_oid(
            crt, OID_KEY_USAGE, profile->usage.bytes, profile->usage.len,
            profile->usage_critical);
    case STEP_SUBJECT_ID:
        return set_subject_id(crt);
    case STEP_AUTHORITY_ID:
        return set_authority_id(crt, issuer);
    case STEP_CRL:
        return set_crl(crt);
    default:
        return 0;
    }
}

static bool set_extensions(gnutls_x509_crt_t crt, const Profile *profile,
                           gnutls_x509_crt_t issuer, Error **errp)
{
    for (const Step *step = profile->steps; *step != STEP_END; step++) {
        if (!done(set_extension(crt, profile, *step, issuer),
                  "set an extension", errp)) {
            return false;
        }
    }
    return true;
}

static bool certificate_make(NSMIdentity *identity, NSMLevel level,
                             const NSMIdentity *issuer, const char *name,
                             int64_t now, Error **errp)
{
    const Profile *profile = &profiles[level];
    gnutls_x509_crt_t crt = identity->crt;

    return done(gnutls_x509_crt_set_version(crt, 3), "set a version", errp) &&
           done(gnutls_x509_crt_set_key(crt, identity->key), "set a key",
                errp) &&
           set_serial(crt, level, name, now, errp) &&
           set_subject(crt, level, name, errp) &&
           done(gnutls_x509_crt_set_activation_time(
                    crt, now - profile->before), "set a date", errp) &&
           done(gnutls_x509_crt_set_expiration_time(
                    crt, now + profile->life), "set a date", errp) &&
           set_extensions(crt, profile, issuer->crt, errp) &&
           done(gnutls_x509_crt_sign2(crt, issuer->crt, issuer->key,
                                      GNUTLS_DIG_SHA384, 0),
                "sign a certificate", errp);
}

/* Does the number that the key is begin with a zero byte? */
static bool is_short(gnutls_x509_privkey_t key)
{
    gnutls_datum_t k = { };
    size_t zeros = 0;
    bool result;

    if (gnutls_x509_privkey_export_ecc_raw(key, NULL, NULL, NULL, &k) < 0) {
        return false;
    }
    while (zeros < k.size && !k.data[zeros]) {
        zeros++;
    }
    result = k.size - zeros < COORDINATE_LEN;
    gnutls_memset(k.data, 0, k.size);
    gnutls_free(k.data);
    return result;
}

/*
 * GnuTLS writes a key that begins with zeros in fewer bytes than RFC 5915 asks
 * for, and OpenSSL refuses to read it.  So such a key is not used.
 */
static bool make_key(gnutls_x509_privkey_t *key, Error **errp)
{
    unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1);

    do {
        gnutls_x509_privkey_deinit(*key);
        *key = NULL;
        if (!done(gnutls_x509_privkey_init(key), "have a key", errp) ||
            !done(gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA, bits, 0),
                  "make a key", errp)) {
            return false;
        }
    } while (is_short(*key));
    return true;
}

NSMIdentity *nsm_identity_new(NSMLevel level, const NSMIdentity *issuer,
                              const char *name, int64_t now, Error **errp)
{
    g_autoptr(NSMIdentity) identity = identity_alloc(errp);

    if (!identity || !make_key(&identity->key, errp) ||
        !certificate_make(identity, level, issuer ?: identity, name, now,
                          errp) ||
        !identity_complete(identity, errp)) {
        return NULL;
    }
    return g_steal_pointer(&identity);
}

static bool is_pair(const NSMIdentity *identity, Error **errp)
{
    uint8_t of_key[64], of_crt[64];
    size_t key_len = sizeof(of_key), crt_len = sizeof(of_crt);

    if (!done(gnutls_x509_privkey_get_key_id(identity->key, 0, of_key,
                                             &key_len), "use a key", errp) ||
        !done(gnutls_x509_crt_get_key_id(identity->crt, 0, of_crt, &crt_len),
              "use a certificate", errp)) {
        return false;
    }
    if (key_len != crt_len || memcmp(of_key, of_crt, key_len)) {
        error_setg(errp, "the last certificate does not belong to the key");
        error_append_hint(errp, "Order the certificates from root to "
                          "instance\n");
        return false;
    }
    return true;
}

static bool is_p384(const NSMIdentity *identity, Error **errp)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;

    if (gnutls_x509_privkey_get_pk_algorithm(identity->key) !=
            GNUTLS_PK_ECDSA ||
        gnutls_x509_privkey_export_ecc_raw(identity->key, &curve, NULL, NULL,
                                           NULL) < 0 ||
        curve != GNUTLS_ECC_CURVE_SECP384R1) {
        error_setg(errp, "the key is not on curve P-384");
        return false;
    }
    return true;
}

static bool import_pair(NSMIdentity *identity, const char *pem,
                        const char *password, Error **errp)
{
    gnutls_datum_t text = { (unsigned char *)pem, strlen(pem) };
    g_autoptr(GPtrArray) chain = nsm_certificates_load(pem, errp);
    GByteArray *last;

    if (!chain ||
        !done(gnutls_x509_privkey_import2(identity->key, &text,
                                          GNUTLS_X509_FMT_PEM, password, 0),
              "read the private key", errp)) {
        return false;
    }
    last = g_ptr_array_index(chain, chain->len - 1);
    return done(gnutls_x509_crt_import(
                    identity->crt,
                    &(gnutls_datum_t) { last->data, last->len },
                    GNUTLS_X509_FMT_DER), "read the certificate", errp);
}

NSMIdentity *nsm_identity_load(const char *pem, const char *password,
                               Error **errp)
{
    ERRP_GUARD();
    g_autoptr(NSMIdentity) identity = identity_alloc(errp);

    if (!identity || !import_pair(identity, pem, password, errp) ||
        !is_p384(identity, errp) || !is_pair(identity, errp) ||
        !identity_complete(identity, errp)) {
        return NULL;
    }
    return g_steal_pointer(&identity);
}

const GByteArray *nsm_identity_der(const NSMIdentity *identity)
{
    return identity->der;
}

int64_t nsm_identity_from(const NSMIdentity *identity)
{
    return gnutls_x509_crt_get_activation_time(identity->crt);
}

int64_t nsm_identity_until(const NSMIdentity *identity)
{
    return gnutls_x509_crt_get_expiration_time(identity->crt);
}

char *nsm_identity_name(const NSMIdentity *identity)
{
    char name[DER_STRING_MAX + 1];
    size_t len = sizeof(name);

    if (gnutls_x509_crt_get_dn_by_oid(identity->crt, OID_COMMON_NAME, 0, 0,
                                      name, &len) < 0) {
        return g_strdup("");
    }
    return g_strndup(name, len);
}

bool nsm_identity_issued_by(const NSMIdentity *identity,
                            const NSMIdentity *issuer)
{
    unsigned verdict = GNUTLS_CERT_INVALID;

    return gnutls_x509_crt_check_issuer(identity->crt, issuer->crt) &&
           gnutls_x509_crt_verify(identity->crt, &issuer->crt, 1,
                                  GNUTLS_VERIFY_DISABLE_TIME_CHECKS |
                                  GNUTLS_VERIFY_DO_NOT_ALLOW_SAME,
                                  &verdict) >= 0 && !verdict;
}

void nsm_identity_append_certificate(const NSMIdentity *identity,
                                     GString *text)
{
    gnutls_datum_t pem;

    if (gnutls_x509_crt_export2(identity->crt, GNUTLS_X509_FMT_PEM,
                                &pem) >= 0) {
        g_string_append_len(text, (char *)pem.data, pem.size);
        gnutls_free(pem.data);
    }
}

bool nsm_identity_append_key(const NSMIdentity *identity, GString *text,
                             Error **errp)
{
    gnutls_datum_t pem;

    if (!done(gnutls_x509_privkey_export2_pkcs8(
                  identity->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                  &pem), "write a key", errp)) {
        return false;
    }
    g_string_append_len(text, (char *)pem.data, pem.size);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return true;
}

/* GnuTLS gives a number without leading zeros, or with one too many */
static bool put_coordinate(uint8_t *to, const gnutls_datum_t *number)
{
    const uint8_t *from = number->data;
    size_t len = number->size;

    while (len && !*from) {
        from++;
        len--;
    }
    if (len > COORDINATE_LEN) {
        return false;
    }
    memset(to, 0, COORDINATE_LEN - len);
    memcpy(to + COORDINATE_LEN - len, from, len);
    return true;
}

static bool put_signature(uint8_t *to, const gnutls_datum_t *der)
{
    gnutls_datum_t r = { }, s = { };
    bool ok = gnutls_decode_rs_value(der, &r, &s) >= 0 &&
              put_coordinate(to, &r) && put_coordinate(to + COORDINATE_LEN, &s);

    gnutls_free(r.data);
    gnutls_free(s.data);
    return ok;
}

bool nsm_identity_sign(const NSMIdentity *identity, const uint8_t *data,
                       size_t len, uint8_t *signature, Error **errp)
{
    gnutls_datum_t text = { (unsigned char *)data, len }, der;
    bool ok;

    if (!done(gnutls_privkey_sign_data(identity->signer, GNUTLS_DIG_SHA384, 0,
                                       &text, &der), "sign", errp)) {
        return false;
    }
    ok = put_signature(signature, &der);
    gnutls_free(der.data);
    if (!ok) {
        error_setg(errp, "cannot take a signature apart");
    }
    return ok;
}

static GPtrArray *copy_certificates(gnutls_x509_crt_t *list, unsigned n,
                                    Error **errp)
{
    g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func(
        (GDestroyNotify)g_byte_array_unref);

    for (unsigned i = 0; i < n; i++) {
        GByteArray *der;

        if (i && !gnutls_x509_crt_check_issuer(list[i], list[i - 1])) {
            error_setg(errp, "certificate %u does not name certificate %u as "
                       "its issuer", i + 1, i);
            return NULL;
        }
        der = export_der(list[i], errp);
        if (!der) {
            return NULL;
        }
        g_ptr_array_add(chain, der);
        if (der->len > NSM_DOC_CERTIFICATE_MAX) {
            error_setg(errp, "certificate %u has %u bytes, a document takes "
                       "%d", i + 1, der->len, NSM_DOC_CERTIFICATE_MAX);
            return NULL;
        }
    }
    return g_steal_pointer(&chain);
}

GPtrArray *nsm_certificates_load(const char *pem, Error **errp)
{
    gnutls_datum_t text = { (unsigned char *)pem, strlen(pem) };
    gnutls_x509_crt_t list[NSM_CHAIN_MAX];
    unsigned n = NSM_CHAIN_MAX;
    int rc = gnutls_x509_crt_list_import(
        list, &n, &text, GNUTLS_X509_FMT_PEM,
        GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    GPtrArray *chain;

    if (rc == GNUTLS_E_SHORT_MEMORY_BUFFER) {
        error_setg(errp, "more than %d certificates", NSM_CHAIN_MAX);
        return NULL;
    }
    if (!done(rc, "read the certificates", errp)) {
        return NULL;
    }
    chain = copy_certificates(list, n, errp);
    for (unsigned i = 0; i < n; i++) {
        gnutls_x509_crt_deinit(list[i]);
    }
    return chain;
}

#else /* CAN_SIGN */

static void certificate_refuse(Error **errp)
{
    error_setg(errp, "this build has no GnuTLS 3.6, which signs attestation "
               "documents");
    error_append_hint(errp, "Configure with --enable-gnutls\n");
}

NSMIdentity *nsm_identity_new(NSMLevel level, const NSMIdentity *issuer,
                              const char *name, int64_t now, Error **errp)
{
    ERRP_GUARD();
    certificate_refuse(errp);
    return NULL;
}

NSMIdentity *nsm_identity_load(const char *pem, const char *password,
                               Error **errp)
{
    ERRP_GUARD();
    certificate_refuse(errp);
    return NULL;
}

GPtrArray *nsm_certificates_load(const char *pem, Error **errp)
{
    ERRP_GUARD();
    certificate_refuse(errp);
    return NULL;
}

void nsm_identity_free(NSMIdentity *identity)
{
    assert(!identity);
}

/* Nobody has an identity to call these with */

const GByteArray *nsm_identity_der(const NSMIdentity *identity)
{
    g_assert_not_reached();
}

int64_t nsm_identity_from(const NSMIdentity *identity)
{
    g_assert_not_reached();
}

int64_t nsm_identity_until(const NSMIdentity *identity)
{
    g_assert_not_reached();
}

char *nsm_identity_name(const NSMIdentity *identity)
{
    g_assert_not_reached();
}

bool nsm_identity_issued_by(const NSMIdentity *identity,
                            const NSMIdentity *issuer)
{
    g_assert_not_reached();
}

void nsm_identity_append_certificate(const NSMIdentity *identity,
                                     GString *text)
{
    g_assert_not_reached();
}

bool nsm_identity_append_key(const NSMIdentity *identity, GString *text,
                             Error **errp)
{
    g_assert_not_reached();
}

bool nsm_identity_sign(const NSMIdentity *identity, const uint8_t *data,
                       size_t len, uint8_t *signature, Error **errp)
{
    g_assert_not_reached();
}

#endif
