/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The QEMU Nitro contributors */
#include "trace/trace-hw_nitro.h"
