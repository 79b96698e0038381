# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Key policies in AWS's form: who may do what with a key.

An identity is not verified here, so a principal is what a client calls itself.
What counts is the condition on the enclave that the answer is for:
kms:RecipientAttestation:ImageSha384 and kms:RecipientAttestation:PCRn, which
are there only when a request has a recipient.
"""

import fnmatch
import json
import re

from ..config import LabError

ACCOUNT = '000000000000'
ROOT = 'arn:aws:iam::%s:root' % ACCOUNT
PREFIX = 'kms:recipientattestation:'
IMAGE = PREFIX + 'imagesha384'
PCR = re.compile(PREFIX + r'pcr(\d|[12]\d|3[01])$')
OPERATORS = {
    'StringEquals': lambda have, want: have == want,
    'StringEqualsIgnoreCase': lambda have, want: have.lower() == want.lower(),
}
ZEROS = '0' * 96


def _list(value):
    return value if isinstance(value, list) else [value]


def attested(registers):
    """Values of the condition keys: of the registers of a document."""
    values = {PREFIX + name.lower(): value
              for name, value in registers.items()}
    values[IMAGE] = registers.get('PCR0', '')
    return values


class Condition:
    """One key that must have one of some values."""

    def __init__(self, operator, key, values):
        if operator not in OPERATORS:
            raise ValueError("operator '%s' is not known: use %s"
                             % (operator, ' or '.join(OPERATORS)))
        self.same = OPERATORS[operator]
        self.key = key.lower()
        if self.key != IMAGE and not PCR.match(self.key):
            raise ValueError("condition key '%s' is not known" % key)
        self.name, self.values = key, _list(values)
        if not self.values or not all(isinstance(value, str)
                                      for value in self.values):
            raise ValueError("'%s' must have texts as values" % key)

    def holds(self, values):
        """With these values of condition keys?"""
        have = values.get(self.key)
        return have is not None and any(self.same(have, want)
                                        for want in self.values)

    def problem(self, values):
        """Why it does not hold."""
        have = values.get(self.key)
        if have is None:
            return ('%s is not there: %s' % (
                self.name, 'the document has no such register' if values
                else 'the request has no Recipient'))
        return '%s is %s, the policy has %s' % (
            self.name, have, ' or '.join(self.values))


class Statement:
    """One statement of a policy."""

    def __init__(self, data):
        unknown = set(data) - {'Sid', 'Effect', 'Principal', 'Action',
                               'Resource', 'Condition'}
        if unknown:
            raise ValueError("'%s' is not known" % sorted(unknown)[0])
        self.name = data.get('Sid', 'statement')
        self.allows = {'Allow': True, 'Deny': False}[data['Effect']]
        self.actions = _list(data['Action'])
        self.principals = self._principals(data['Principal'])
        self.conditions = [
            Condition(operator, key, values)
            for operator, keys in data.get('Condition', {}).items()
            for key, values in keys.items()]

    @staticmethod
    def _principals(value):
        return _list(value['AWS'] if isinstance(value, dict) else value)

    def concerns(self, principal, action):
        """Is it about this principal and action at all?"""
        who = any(name in ('*', ROOT, ACCOUNT, principal)
                  for name in self.principals)
        return who and any(fnmatch.fnmatchcase(action.lower(), name.lower())
                           for name in self.actions)

    def holds(self, values):
        """Do all conditions hold?"""
        return all(condition.holds(values) for condition in self.conditions)


class Policy:
    """All statements."""

    def __init__(self, data):
        statements = _list(data['Statement'])
        self.statements = [Statement(each) for each in statements]

    @classmethod
    def load(cls, path):
        """Of a file; a LabError says what is wrong with it."""
        try:
            return cls(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError,
                AttributeError) as error:
            raise LabError('%s: no key policy: %s: %s' % (
                path, type(error).__name__, error),
                'see "Key policies" in the manual of nitro-lab') from error

    def decide(self, principal, action, values):
        """(is it allowed, why)."""
        mine = [s for s in self.statements if s.concerns(principal, action)]
        for statement in mine:
            if not statement.allows and statement.holds(values):
                return False, '%s denies it' % statement.name
        allowing = [s for s in mine if s.allows]
        for statement in allowing:
            if statement.holds(values):
                return True, '%s allows it' % statement.name
        problems = ['%s: %s' % (s.name, c.problem(values)) for s in allowing
                    for c in s.conditions if not c.holds(values)]
        return False, '; '.join(problems) or 'no statement is about it'

    def is_conditional(self):
        """Does some statement allow things to certain enclaves only?"""
        return any(s.allows and s.conditions for s in self.statements)

    def warnings(self):
        """The usual mistakes."""
        for statement in self.statements:
            for condition in statement.conditions:
                if condition.key in (IMAGE, *(PREFIX + 'pcr%d' % n
                                              for n in range(3))) and                         ZEROS in condition.values:
                    yield ('%s: %s of zeros lets every enclave in debug mode'
                           ' in' % (statement.name, condition.name))
        yield from self._open_doors()

    def _open_doors(self):
        """Statements that make the conditions of others useless."""
        for strict in self.statements:
            for action in strict.actions if strict.conditions else ():
                for other in self.statements:
                    if strict.allows and other.allows and                             not other.conditions and any(
                                fnmatch.fnmatchcase(action, pattern) or
                                fnmatch.fnmatchcase(pattern, action)
                                for pattern in other.actions):
                        yield ('%s allows %s without a condition, so that of'
                               ' %s is useless' % (other.name, action,
                                                   strict.name))
