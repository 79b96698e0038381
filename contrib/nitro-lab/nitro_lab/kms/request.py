# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What a client asks for: members of a JSON object, none of them trusted."""

import base64
import binascii
import json

from .errors import Refusal, constraint, invalid


def _serialization(message):
    return Refusal('SerializationException', message)


def _member(name):
    """As AWS's messages spell it."""
    return name[0].lower() + name[1:]


def decode_base64(text):
    """Bytes of base64; ValueError when it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


class Request:
    """The members of a request, or of an object in it."""

    def __init__(self, members):
        if not isinstance(members, dict):
            raise _serialization('an object was expected')
        self.members = members

    @classmethod
    def parse(cls, body):
        """Of the bytes of a body."""
        try:
            return cls(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise _serialization('the body is not JSON: %s'
                                 % error) from error

    def _get(self, name, kind, required):
        value = self.members.get(name)
        if value is None:
            if required:
                raise constraint('null', _member(name),
                                 'not be null')
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _serialization('%s has a value of the wrong type' % name)
        return value

    def text(self, name, default=None, maximum=2048, minimum=1):
        """A text; it has to be there when @default is None."""
        value = self._get(name, str, default is None)
        if value is None:
            return default
        if not minimum <= len(value) <= maximum:
            raise constraint(value[:64], _member(name),
                             'have length between %d and %d'
                             % (minimum, maximum))
        return value

    def optional_text(self, name):
        """A text, or None."""
        return self.text(name, '') or None

    def choice(self, name, choices, default=None):
        """One of some texts."""
        value = self.text(name, default)
        if value not in choices:
            raise constraint(value[:64], _member(name),
                             'satisfy enum value set: [%s]'
                             % ', '.join(choices))
        return value

    def integer(self, name, minimum, maximum):
        """A number, or None."""
        value = self._get(name, int, False)
        if value is not None and not minimum <= value <= maximum:
            raise constraint(str(value)[:64], _member(name),
                             'have value between %d and %d'
                             % (minimum, maximum))
        return value

    def blob(self, name, maximum):
        """Bytes, which are sent as base64."""
        value = self._get(name, str, True)
        try:
            data = decode_base64(value)
        except ValueError as error:
            raise _serialization('%s is not base64: %s'
                                 % (name, error)) from error
        if not 1 <= len(data) <= maximum:
            raise constraint('%d bytes' % len(data),
                             _member(name),
                             'have length between 1 and %d' % maximum)
        return data

    def object(self, name):
        """A Request of an object in it, or None."""
        value = self._get(name, dict, False)
        return None if value is None else Request(value)

    def context(self):
        """The encryption context as bytes: the same for the same pairs."""
        context = self._get('EncryptionContext', dict, False) or {}
        if not all(isinstance(value, str) for value in context.values()):
            raise _serialization('EncryptionContext has a value that is not a'
                                 ' text')
        return json.dumps(context, sort_keys=True).encode() if context else b''

    def number_of_bytes(self, required):
        """Of random bytes."""
        number = self.integer('NumberOfBytes', 1, 1024)
        if number is None and required:
            raise invalid('NumberOfBytes is missing')
        return number
