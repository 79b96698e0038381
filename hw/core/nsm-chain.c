/*
 * Attestation document of a Nitro Secure Module: its chain of certificates
 *
 * What each certificate may vouch for is checked here, one by one, so that a
 * message can name it; signatures and the rest of X.509 are GnuTLS's.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-verify.h"

#ifdef CONFIG_GNUTLS
#include <gnutls/x509.h>

typedef struct Chain {
    const NSMDocument *claims;
    gnutls_x509_crt_t crts[NSM_CABUNDLE_MAX + 1]; /* root to leaf */
    unsigned n; /* how many are there */
} Chain;

static void chain_clear(Chain *chain)
{
    while (chain->n) {
        gnutls_x509_crt_deinit(chain->crts[--chain->n]);
    }
}

static bool chain_refuse(const Chain *chain, unsigned index, const char *why,
                         Error **errp)
{
    g_autofree char *name = nsm_certificate_name(chain->claims, index);

    error_setg(errp, "%s: %s", name, why);
    return false;
}

static bool chain_add(Chain *chain, Error **errp)
{
    NSMBytes der = nsm_document_certificate(chain->claims, chain->n);
    gnutls_datum_t data = { (uint8_t *)der.data, der.len };
    gnutls_x509_crt_t *crt = &chain->crts[chain->n];
    int rc = gnutls_x509_crt_init(crt);

    if (rc < 0) {
        return chain_refuse(chain, chain->n, gnutls_strerror(rc), errp);
    }
    rc = gnutls_x509_crt_import(*crt, &data, GNUTLS_X509_FMT_DER);
    if (rc < 0) {
        gnutls_x509_crt_deinit(*crt);
        return chain_refuse(chain, chain->n, gnutls_strerror(rc), errp);
    }
    chain->n++;
    return true;
}

static bool chain_import(Chain *chain, Error **errp)
{
    while (chain->n <= chain->claims->nr_cabundle) {
        if (!chain_add(chain, errp)) {
            return false;
        }
    }
    return true;
}

static bool has_usage(gnutls_x509_crt_t crt, unsigned wanted)
{
    unsigned usage, critical;

    return gnutls_x509_crt_get_key_usage(crt, &usage, &critical) >= 0 &&
           (usage & wanted);
}

/* Every CA below this one takes one from its path length */
static bool check_ca(const Chain *chain, unsigned index, Error **errp)
{
    gnutls_x509_crt_t crt = chain->crts[index];
    int below = chain->claims->nr_cabundle - 1 - index;
    unsigned critical, ca = 0;
    int most = -1;

    if (gnutls_x509_crt_get_basic_constraints(crt, &critical, &ca,
                                              &most) < 0 || !ca) {
        return chain_refuse(chain, index, "it is not a CA", errp);
    }
    if (most >= 0 && most < below) {
        g_autofree char *why =
            g_strdup_printf("%d CAs are below it, its path length allows %d",
                            below, most);

        return chain_refuse(chain, index, why, errp);
    }
    return has_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN) ||
           chain_refuse(chain, index, "its key usage does not allow it to "
                        "sign certificates", errp);
}

static bool check_leaf(const Chain *chain, Error **errp)
{
    unsigned index = chain->claims->nr_cabundle;
    gnutls_x509_crt_t crt = chain->crts[index];

    if (gnutls_x509_crt_get_ca_status(crt, NULL) > 0) {
        return chain_refuse(chain, index, "it is a CA", errp);
    }
    return has_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE) ||
           chain_refuse(chain, index, "its key usage does not allow it to "
                        "sign documents", errp);
}

static bool check_issuer(const Chain *chain, unsigned index, Error **errp)
{
    g_autofree char *issuer = NULL;
    g_autofree char *why = NULL;

    if (gnutls_x509_crt_check_issuer(chain->crts[index],
                                     chain->crts[index - 1])) {
        return true;
    }
    issuer = nsm_certificate_name(chain->claims, index - 1);
    why = g_strdup_printf("its issuer is not the %s", issuer);
    return chain_refuse(chain, index, why, errp);
}

/* Each on its own, without what connects them */
static bool check_roles(const Chain *chain, Error **errp)
{
    for (unsigned i = 0; i < chain->claims->nr_cabundle; i++) {
        if (!check_ca(chain, i, errp)) {
            return false;
        }
    }
    return check_leaf(chain, errp);
}

static bool check_issuers(const Chain *chain, Error **errp)
{
    for (unsigned i = 1; i < chain->n; i++) {
        if (!check_issuer(chain, i, errp)) {
            return false;
        }
    }
    return true;
}

static bool refuse_status(unsigned status, Error **errp)
{
    gnutls_datum_t text;

    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509,
                                                     &text, 0) < 0) {
        error_setg(errp, "the chain of certificates does not verify: status "
                   "0x%x", status);
        return false;
    }
    g_strchomp((char *)text.data);
    error_setg(errp, "the chain of certificates does not verify: %s",
               text.data);
    gnutls_free(text.data);
    return false;
}

/* GnuTLS wants the leaf first, and the root apart */
static bool check_signatures(const Chain *chain, Error **errp)
{
    gnutls_x509_crt_t list[NSM_CABUNDLE_MAX];
    unsigned status = 0;
    int rc;

    for (unsigned i = 1; i < chain->n; i++) {
        list[chain->n - 1 - i] = chain->crts[i];
    }
    rc = gnutls_x509_crt_list_verify(list, chain->n - 1, chain->crts, 1, NULL,
                                     0, GNUTLS_VERIFY_DISABLE_TIME_CHECKS,
                                     &status);
    if (rc < 0) {
        error_setg(errp, "cannot verify the chain of certificates: %s",
                   gnutls_strerror(rc));
        return false;
    }
    return !status || refuse_status(status, errp);
}

bool nsm_chain_check(const NSMDocument *claims, Error **errp)
{
    Chain chain = { .claims = claims };
    bool ok = chain_import(&chain, errp) && check_roles(&chain, errp) &&
              check_issuers(&chain, errp) && check_signatures(&chain, errp);

    chain_clear(&chain);
    return ok;
}

#else

bool nsm_chain_check(const NSMDocument *claims, Error **errp)
{
    error_setg(errp, "cannot verify: built without gnutls");
    return false;
}

#endif
