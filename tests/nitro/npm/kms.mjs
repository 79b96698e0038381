// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright (c) 2026 The QEMU Nitro contributors
//
// Ask a key service with AWS's SDK, unmodified:
//
//   node kms.mjs ENDPOINT REGION
//
// Standard input is a JSON list of [operation, input], standard output one of
// {output} or {error: {name, message, status}}.  Bytes are {base64: TEXT} in
// both.

import { readFileSync } from 'node:fs'
import * as sdk from '@aws-sdk/client-kms'

const [endpoint, region] = process.argv.slice(2)
const client = new sdk.KMSClient({
  endpoint, region, maxAttempts: 1,
  credentials: { accessKeyId: 'SDK', secretAccessKey: 'secret' },
})

const take = (_name, value) => value?.base64 === undefined ? value
  : new Uint8Array(Buffer.from(value.base64, 'base64'))
const give = (_name, value) => value instanceof Uint8Array
  ? { base64: Buffer.from(value).toString('base64') } : value

async function ask([operation, input]) {
  try {
    const { $metadata, ...output } =
      await client.send(new sdk[operation + 'Command'](input))
    return { output }
  } catch (error) {
    const { name, message, $metadata } = error
    return { error: { name, message, status: $metadata?.httpStatusCode } }
  }
}

const answers = []
for (const request of JSON.parse(readFileSync(0), take)) {
  answers.push(await ask(request))
}
console.log(JSON.stringify(answers, give))
