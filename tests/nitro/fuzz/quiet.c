/*
 * Fuzz targets: messages of the code under test are not printed
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "tests/nitro/error-text.h"

static void __attribute__((constructor)) quiet(void)
{
    error_text_quiet = true;
}
