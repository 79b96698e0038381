/*
 * Keys and certificates with which enclaves of this parent attest
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A directory of the user has the root and the region below it:
 *
 *   root.pem             certificate of the root, for those who verify
 *   root-key.pem         its key and certificate
 *   regional-key.pem     key and certificate of the region
 *   lock                 held while the directory is changed
 *
 * The zone is made when this process needs it, an instance for each enclave;
 * both are in memory only.  An enclave's QEMU gets a descriptor with the key
 * and chain of its instance, and none of the other keys.
 *
 * All files have mode 0600, the directory 0700.  Files are written under
 * another name and renamed.  Several processes may use one directory.
 */

#ifndef NHV_PKI_H
#define NHV_PKI_H

typedef struct NhvPki NhvPki;

/* What an enclave's QEMU signs with */
typedef struct NhvPkiInstance NhvPkiInstance;

/**
 * nhv_pki_open: use a directory, make it and what is to be in it if needed
 * @dir: absolute path; the directory above it has to exist
 * @errp: filled in on failure: a directory of somebody else or with files of
 *        another purpose, broken files, certificates that do not belong
 *        together, a root that has expired
 *
 * May block on another process that makes keys in this directory, for as long
 * as that takes.
 *
 * Returns: the keys, to be freed with nhv_pki_free(), or NULL.
 */
NhvPki *nhv_pki_open(const char *dir, Error **errp);

void nhv_pki_free(NhvPki *pki);

/**
 * nhv_pki_root: file with the certificate of the root; owned by @pki
 */
const char *nhv_pki_root(const NhvPki *pki);

/**
 * nhv_pki_fingerprint: SHA-256 of the root's certificate, in hexadecimal
 *
 * Returns: text to be freed.
 */
char *nhv_pki_fingerprint(const NhvPki *pki);

/**
 * nhv_pki_issue: make an instance
 * @id: instance ID of the parent; copied
 * @errp: filled in on failure
 *
 * The main loop renews it, half a day before its end, until it is freed.
 *
 * Returns: the instance, or NULL.
 */
NhvPkiInstance *nhv_pki_issue(NhvPki *pki, const char *id,
                              Error **errp);

/**
 * nhv_pki_instance_fd: descriptor to read key and chain from, not to write
 *
 * Returns: the descriptor; owned by @instance.
 */
int nhv_pki_instance_fd(const NhvPkiInstance *instance);

/**
 * nhv_pki_instance_free: forget an instance, or NULL
 */
void nhv_pki_instance_free(NhvPkiInstance *instance);

/**
 * nhv_pki_command: do one thing with a directory, print to stdout
 * @dir: as for nhv_pki_open()
 * @command: show, export (certificate of the root), renew (the region), or
 *           issue (key and chain of an instance, for -object nitro-nsm-signer)
 * @id: instance ID of the parent
 * @errp: filled in on failure
 *
 * Returns: true on success.
 */
bool nhv_pki_command(const char *dir, const char *command, const char *id,
                     Error **errp);

#endif
