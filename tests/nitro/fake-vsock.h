/*
 * vsock by unix sockets, part of the library to preload
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_NITRO_FAKE_VSOCK_H
#define TESTS_NITRO_FAKE_VSOCK_H

/* The enclave started: connections that are accepted come from it */
void fake_vsock_set_cid(uint32_t cid);

/* The descriptor's number may be used for something else from now on */
void fake_vsock_forget(int fd);

#endif /* TESTS_NITRO_FAKE_VSOCK_H */
