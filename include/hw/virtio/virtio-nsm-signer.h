/*
 * Nitro Secure Module: object that signs attestation documents
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * -object nitro-nsm-signer,id=ID,file=PATH[,passwordid=SECRET]
 *         [,definite-map=on]
 *
 * PATH has the private key of an instance and the certificates of its chain,
 * from root to instance, as PEM.  It is read at the start and each time a leaf
 * is due, so that its maker can renew the instance.  PATH may be a descriptor,
 * /proc/self/fd/N or /dev/fdset/N.
 *
 * A device uses the signer that its property "signer" names; without that the
 * only one there is, so that machines that create the device need no option.
 */

#ifndef HW_VIRTIO_NSM_SIGNER_H
#define HW_VIRTIO_NSM_SIGNER_H

#include "hw/virtio/virtio-nsm.h"

#define TYPE_NITRO_NSM_SIGNER "nitro-nsm-signer"
OBJECT_DECLARE_SIMPLE_TYPE(NitroNSMSigner, NITRO_NSM_SIGNER)

/* An entry for the device's list of properties */
#define DEFINE_PROP_NSM_SIGNER \
    DEFINE_PROP_LINK("signer", VirtIONSM, signer, TYPE_NITRO_NSM_SIGNER, \
                     NitroNSMSigner *)

/**
 * nsm_signer_bind: find the signer of a device, and make its first leaf
 * @vnsm: device whose module ID is known
 * @errp: filled in on failure: several signers and no choice, a signer that
 *        another device has, a file that cannot be used
 *
 * Returns: true on success, also without a signer.
 */
bool nsm_signer_bind(VirtIONSM *vnsm, Error **errp);

/**
 * nsm_signer_unbind: let another device have the signer
 */
void nsm_signer_unbind(VirtIONSM *vnsm);

/**
 * nsm_signer_attest: answer a request with a signed document
 * @vnsm: the device
 * @request: from nsm_request_normalize()
 * @response: filled in when this answers; its length is room before, and the
 *            length of the answer afterwards
 *
 * Takes about a millisecond, and some more every three hours.
 *
 * Returns: false when this is another request, or there is no signer: the
 *          device answers then.
 */
bool nsm_signer_attest(VirtIONSM *vnsm, const struct iovec *request,
                       struct iovec *response);

#endif
