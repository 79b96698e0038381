# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Refusals, as clients of the key service get them."""


class Refusal(Exception):
    """What a client gets: the name of AWS's exception, and a message.

    @reason is for the log alone; AWS keeps it to itself.
    """

    def __init__(self, code, message=None, reason=None, status=400):
        super().__init__(message or code)
        self.code, self.message = code, message
        self.reason, self.status = reason or message or code, status

    def body(self):
        """The members of the JSON that is sent."""
        name = 'Message' if self.code == 'AccessDeniedException' else 'message'
        return {'__type': self.code, **(
            {name: self.message} if self.message is not None else {})}


def internal(reason):
    """A failure that is no fault of the client."""
    return Refusal('KMSInternalException', None, str(reason), 500)


def invalid(message):
    """A request with a value that makes no sense."""
    return Refusal('ValidationException', message)


def constraint(value, member, rule):
    """The same, in the words that AWS has for values out of bounds."""
    return invalid("1 validation error detected: Value '%s' at '%s' failed to"
                   ' satisfy constraint: Member must %s'
                   % (value, member, rule))
