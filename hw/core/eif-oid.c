/*
 * Enclave Image Format: names of object identifiers in certificates
 *
 * The names are those that the official tools print, so OpenSSL's long ones.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-verify.h"

typedef struct OidName {
    const char *oid;
    const char *name;
} OidName;

#define RSA "1.2.840.113549.1.1."
#define ECDSA "1.2.840.10045.4."
#define NIST "2.16.840.1.101.3.4.3."
#define X500 "2.5.4."

static const OidName table[] = {
    /* signature algorithms */
    { RSA "2", "md2WithRSAEncryption" },
    { RSA "4", "md5WithRSAEncryption" },
    { RSA "5", "sha1WithRSAEncryption" },
    { RSA "10", "rsassaPss" },
    { RSA "11", "sha256WithRSAEncryption" },
    { RSA "12", "sha384WithRSAEncryption" },
    { RSA "13", "sha512WithRSAEncryption" },
    { RSA "14", "sha224WithRSAEncryption" },
    { RSA "15", "sha512-224WithRSAEncryption" },
    { RSA "16", "sha512-256WithRSAEncryption" },
    { "1.3.14.3.2.29", "sha1WithRSA" },
    { "1.3.36.3.3.1.2", "ripemd160WithRSA" },
    { NIST "13", "RSA-SHA3-224" },
    { NIST "14", "RSA-SHA3-256" },
    { NIST "15", "RSA-SHA3-384" },
    { NIST "16", "RSA-SHA3-512" },
    { ECDSA "1", "ecdsa-with-SHA1" },
    { ECDSA "3.1", "ecdsa-with-SHA224" },
    { ECDSA "3.2", "ecdsa-with-SHA256" },
    { ECDSA "3.3", "ecdsa-with-SHA384" },
    { ECDSA "3.4", "ecdsa-with-SHA512" },
    { NIST "9", "ecdsa_with_SHA3-224" },
    { NIST "10", "ecdsa_with_SHA3-256" },
    { NIST "11", "ecdsa_with_SHA3-384" },
    { NIST "12", "ecdsa_with_SHA3-512" },
    { "1.2.840.10040.4.3", "dsaWithSHA1" },
    { "1.3.14.3.2.27", "dsaWithSHA1-old" },
    { NIST "1", "dsa_with_SHA224" },
    { NIST "2", "dsa_with_SHA256" },
    { NIST "3", "dsa_with_SHA384" },
    { NIST "4", "dsa_with_SHA512" },
    { "1.3.101.112", "ED25519" },
    { "1.3.101.113", "ED448" },
    { NIST "17", "ML-DSA-44" },
    { NIST "18", "ML-DSA-65" },
    { NIST "19", "ML-DSA-87" },
    { "1.2.156.10197.1.501", "SM2-with-SM3" },
    { "1.2.643.2.2.3", "GOST R 34.11-94 with GOST R 34.10-2001" },
    { "1.2.643.7.1.1.3.2",
      "GOST R 34.10-2012 with GOST R 34.11-2012 (256 bit)" },
    { "1.2.643.7.1.1.3.3",
      "GOST R 34.10-2012 with GOST R 34.11-2012 (512 bit)" },
    /* parts of names */
    { X500 "3", "commonName" },
    { X500 "4", "surname" },
    { X500 "5", "serialNumber" },
    { X500 "6", "countryName" },
    { X500 "7", "localityName" },
    { X500 "8", "stateOrProvinceName" },
    { X500 "9", "streetAddress" },
    { X500 "10", "organizationName" },
    { X500 "11", "organizationalUnitName" },
    { X500 "12", "title" },
    { X500 "13", "description" },
    { X500 "15", "businessCategory" },
    { X500 "16", "postalAddress" },
    { X500 "17", "postalCode" },
    { X500 "18", "postOfficeBox" },
    { X500 "20", "telephoneNumber" },
    { X500 "41", "name" },
    { X500 "42", "givenName" },
    { X500 "43", "initials" },
    { X500 "44", "generationQualifier" },
    { X500 "45", "x500UniqueIdentifier" },
    { X500 "46", "dnQualifier" },
    { X500 "65", "pseudonym" },
    { X500 "72", "role" },
    { X500 "97", "organizationIdentifier" },
    { "1.2.840.113549.1.9.1", "emailAddress" },
    { "1.2.840.113549.1.9.2", "unstructuredName" },
    { "1.2.840.113549.1.9.8", "unstructuredAddress" },
    { "0.9.2342.19200300.100.1.1", "userId" },
    { "0.9.2342.19200300.100.1.25", "domainComponent" },
    { "1.3.6.1.4.1.311.60.2.1.1", "jurisdictionLocalityName" },
    { "1.3.6.1.4.1.311.60.2.1.2", "jurisdictionStateOrProvinceName" },
    { "1.3.6.1.4.1.311.60.2.1.3", "jurisdictionCountryName" },
};

const char *eif_oid_str(const char *oid)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (g_str_equal(table[i].oid, oid)) {
            return table[i].name;
        }
    }
    return oid;
}
