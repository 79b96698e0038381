# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Refusals, as clients of the key service get them."""


class Refusal(Exception):
    """What a client is told: the name of AWS's exception, and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def invalid(message):
    """A request that makes no sense."""
    return Refusal('ValidationException', message)
