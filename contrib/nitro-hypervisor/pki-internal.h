/*
 * Keys of the emulated Nitro Secure Modules: for tests, which choose the time
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NHV_PKI_INTERNAL_H
#define NHV_PKI_INTERNAL_H

#include "pki.h"

/**
 * nhv_pki_renew: renew instances that end within half a day
 * @now: Unix time in s
 *
 * What fails is reported, and tried again the next time.
 */
void nhv_pki_renew(NhvPki *pki, int64_t now);

#endif
