/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A client of the key service in a demo enclave, which has it as its tool:
 * makes an RSA key, has it attested by the security module, and asks for a
 * secret that this key alone opens, at the vsock port of AWS's vsock-proxy.
 *
 *   generate KEY     a data key; prints its ciphertext, too
 *   decrypt BASE64   what is in a ciphertext
 *
 * Takes several of these, and prints the SHA-256 of each secret, or the answer
 * when it is refused.  Exit status 1 when that happened.
 */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "../enclave/nsm.h"

#define PARENT_CID  3
#define CONNECT_S   60
#define PROXY_PORT  8000
#define SERVICE     "kms.us-east-1.amazonaws.com"
#define CA_FILE     "/ca.pem"
#define KEY_BITS    2048
#define ANSWER_MAX  65536
#define SECRET_MAX  4096

static void fail(const char *what)
{
    unsigned long code = ERR_get_error();

    printf("kms: %s: %s\n", what,
           code ? ERR_error_string(code, NULL) : strerror(errno));
    exit(1);
}

static char *encode(const uint8_t *data, size_t len)
{
    char *text = malloc(4 * ((len + 2) / 3) + 1);

    EVP_EncodeBlock((uint8_t *)text, data, len);
    return text;
}

/* Returns: number of bytes, which take no more room than @text */
static size_t decode(const char *text, uint8_t *data)
{
    size_t len = strlen(text);
    int n = EVP_DecodeBlock(data, (const uint8_t *)text, len);

    if (n < 3) {
        fail("base64");
    }
    return n - (text[len - 1] == '=') - (text[len - 2] == '=');
}

/* The document that attests @key, in base64 */
static char *attest(EVP_PKEY *key)
{
    static uint8_t document[NSM_REPLY_SIZE];
    uint8_t *spki = NULL;
    int len = i2d_PUBKEY(key, &spki);
    ssize_t n = nsm_attest(spki, len, document);

    if (n < 0) {
        fail("no attestation document");
    }
    OPENSSL_free(spki);
    return encode(document, n);
}

static int dial_proxy(void)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = PARENT_CID,
        .svm_port = PROXY_PORT,
    };
    /* The kernel gives up after 2 s, which is short for a busy host */
    struct timeval patience = { .tv_sec = CONNECT_S };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
                   sizeof(patience)) ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
        fail("connect");
    }
    return fd;
}

static SSL *open_tls(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *tls;

    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (!SSL_CTX_load_verify_locations(context, CA_FILE, NULL)) {
        fail(CA_FILE);
    }
    tls = SSL_new(context);
    SSL_set_tlsext_host_name(tls, SERVICE);
    SSL_set1_host(tls, SERVICE);
    SSL_set_fd(tls, dial_proxy());
    SSL_CTX_free(context);
    if (SSL_connect(tls) != 1) {
        fail("TLS");
    }
    return tls;
}

static void send_request(SSL *tls, const char *operation, const char *body)
{
    char *text;
    int len = asprintf(
        &text, "POST / HTTP/1.1\r\nHost: " SERVICE "\r\n"
        "Content-Type: application/x-amz-json-1.1\r\n"
        "X-Amz-Target: TrentService.%s\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=DEMO/20260101/us-east-1/"
        "kms/aws4_request, SignedHeaders=host, Signature=0\r\n"
        "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
        operation, strlen(body), body);

    if (SSL_write(tls, text, len) != len) {
        fail("write");
    }
    free(text);
}

/* The body of the answer; NULL when it is a refusal, which is shown */
static char *receive_answer(SSL *tls)
{
    static char answer[ANSWER_MAX];
    size_t have = 0;
    char *body;
    int n;

    while (have < sizeof(answer) - 1 &&
           (n = SSL_read(tls, answer + have, sizeof(answer) - 1 - have)) > 0) {
        have += n;
    }
    answer[have] = 0;
    body = strstr(answer, "\r\n\r\n");
    if (!body) {
        fail("answer");
    }
    if (strncmp(answer, "HTTP/1.1 200 ", 13)) {
        printf("kms: refused: %s\n", body + 4);
        return NULL;
    }
    return body + 4;
}

/* Text of a member, to be freed */
static char *member(const char *json, const char *name)
{
    const char *at = strstr(json, name);

    at = at ? strchr(at + strlen(name) + 1, '"') : NULL;
    if (!at) {
        fail(name);
    }
    return strndup(at + 1, strcspn(at + 1, "\""));
}

/* Open an envelope; returns the length of the secret */
static int open_envelope(const char *text, EVP_PKEY *key, uint8_t *secret)
{
    uint8_t *data = malloc(strlen(text) + 1);
    BIO *in = BIO_new_mem_buf(data, decode(text, data));
    BIO *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms = d2i_CMS_bio(in, NULL);
    int len;

    if (!cms || !CMS_decrypt(cms, key, NULL, NULL, out, 0)) {
        fail("envelope");
    }
    len = BIO_read(out, secret, SECRET_MAX);
    CMS_ContentInfo_free(cms);
    BIO_free(out);
    BIO_free(in);
    free(data);
    return len;
}

static void print_digest(const uint8_t *secret, int len)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    SHA256(secret, len, digest);
    printf("kms: secret of %d bytes, SHA-256 ", len);
    for (size_t i = 0; i < sizeof(digest); i++) {
        printf("%02x", digest[i]);
    }
    printf("\n");
}

/* Returns: the answer, or NULL when it is a refusal */
static char *request(const char *operation, const char *form,
                     const char *value, EVP_PKEY *key)
{
    SSL *tls = open_tls();
    char *document = attest(key), *members, *body, *answer;

    if (asprintf(&members, form, value) < 0 ||
        asprintf(&body, "{%s, \"Recipient\": {\"KeyEncryptionAlgorithm\":"
                 " \"RSAES_OAEP_SHA_256\", \"AttestationDocument\": \"%s\"}}",
                 members, document) < 0) {
        fail("request");
    }
    send_request(tls, operation, body);
    answer = receive_answer(tls);
    SSL_free(tls);
    free(body);
    free(members);
    free(document);
    return answer;
}

static bool show_secret(const char *answer, EVP_PKEY *key)
{
    uint8_t secret[SECRET_MAX];

    if (!answer) {
        return false;
    }
    print_digest(secret, open_envelope(
        member(answer, "\"CiphertextForRecipient\""), key, secret));
    return true;
}

static bool generate(const char *name, EVP_PKEY *key)
{
    char *answer = request("GenerateDataKey",
                           "\"KeyId\": \"%s\", \"KeySpec\": \"AES_256\"",
                           name, key);

    if (answer) {
        printf("kms: ciphertext %s\n", member(answer, "\"CiphertextBlob\""));
    }
    return show_secret(answer, key);
}

static bool decrypt(const char *blob, EVP_PKEY *key)
{
    return show_secret(request("Decrypt", "\"CiphertextBlob\": \"%s\"", blob,
                               key), key);
}

int main(int argc, char **argv)
{
    EVP_PKEY *key = EVP_RSA_gen(KEY_BITS);
    bool all = true;

    signal(SIGPIPE, SIG_IGN);
    if (!key) {
        fail("key");
    }
    for (int i = 1; i < argc; i += 2) {
        bool new = !strcmp(argv[i], "generate");

        if (i + 1 == argc || (!new && strcmp(argv[i], "decrypt"))) {
            fprintf(stderr, "usage: [generate KEY] [decrypt BASE64] ...\n");
            return 2;
        }
        all &= (new ? generate : decrypt)(argv[i + 1], key);
    }
    return !all;
}
