# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A key service that verifies attestation documents, with AWS's protocol."""
