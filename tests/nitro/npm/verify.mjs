// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright (c) 2026 The QEMU Nitro contributors
//
// Verify an attestation document with @0xsequence/tee-verifier, unmodified:
//
//   node verify.mjs DOCUMENT [TIME]
//
// TIME is in s since 1970, the default is now.  Prints what was found as JSON.
// The caller compares the fingerprint of the root with that of the one it trusts.

import { readFileSync } from 'node:fs'
import { webcrypto } from 'node:crypto'

// The package was written for browsers
globalThis.window = globalThis.self = globalThis
globalThis.crypto ??= webcrypto

const { SignedAttestation } = await import('@0xsequence/tee-verifier')
// null for what the enclave did not give
const hex = (bytes) => bytes && Buffer.from(bytes).toString('hex')

const [file, time] = process.argv.slice(2)
const attestation = SignedAttestation.fromDocument(
  readFileSync(file).toString('base64'))

console.log(JSON.stringify({
  signature: await attestation.verifySignature(),
  chain: await attestation.verifyRootOfTrust(
    time ? new Date(time * 1000) : new Date()),
  root: await attestation.rootCertFingerprint(),
  nonce: hex(attestation.raw.nonce),
  user_data: hex(attestation.raw.user_data),
  public_key: hex(attestation.raw.public_key),
  pcrs: Object.fromEntries(attestation.pcrs),
}))
