// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright (c) 2026 The QEMU Nitro contributors
//
// Verify an attestation document with @0xsequence/tee-verifier, unmodified:
//
//   node verify.mjs DOCUMENT
//
// Prints what it found as JSON.  The root is for the caller to compare.

import { readFileSync } from 'node:fs'
import { webcrypto } from 'node:crypto'

// It was written for browsers
globalThis.window = globalThis.self = globalThis
globalThis.crypto ??= webcrypto

const { SignedAttestation } = await import('@0xsequence/tee-verifier')
const document = readFileSync(process.argv[2]).toString('base64')
const attestation = SignedAttestation.fromDocument(document)

console.log(JSON.stringify({
  signature: await attestation.verifySignature(),
  chain: await attestation.verifyRootOfTrust(new Date()),
  root: await attestation.rootCertFingerprint(),
  nonce: attestation.nonce,
  userData: attestation.userData,
  pcrs: Object.fromEntries(attestation.pcrs),
}))
