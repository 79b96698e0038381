# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Key policies in AWS's form: who may do what with a key.

The identity of callers is not verified.  What counts is the condition on the
enclave that an answer is for: kms:RecipientAttestation:ImageSha384 and
kms:RecipientAttestation:PCRn.  Only a request with a recipient has them.

What is not known (other condition keys, other operators) is refused when a
policy is read: to ignore it would decide otherwise than AWS.
"""

import json
import re

PREFIX = 'kms:recipientattestation:'
IMAGE = PREFIX + 'imagesha384'
KNOWN = re.compile(PREFIX + r'(imagesha384|pcr(\d|[12]\d|3[01]))')
# Registers that are zero in debug mode
ZEROS = '0' * 96
IN_DEBUG_MODE = {key: ZEROS for key in (
    IMAGE, *(PREFIX + 'pcr%d' % n for n in (0, 1, 2)))}
SIZE_MAX = 32 * 1024        # AWS's
# Operations that take a recipient
ATTESTED = ('kms:Decrypt', 'kms:DeriveSharedSecret', 'kms:GenerateDataKey',
            'kms:GenerateDataKeyPair', 'kms:GenerateRandom')
VERSIONS = ('2012-10-17', '2008-10-17')
MEMBERS = {'Version', 'Id', 'Statement'}
ACTION = re.compile(r'\*|kms:.+', re.I)
ROOT = re.compile(r'arn:aws(-[a-z]+)*:iam::[0-9]{12}:root|[0-9]{12}')
ROLE_OR_USER = re.compile(
    r'arn:aws(-[a-z]+)*:(iam::[0-9]{12}:(user|role)|'
    r'sts::[0-9]{12}:(assumed-role|federated-user))/[\w+=,.@/-]+', re.A)
STATEMENT = {'Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition'}


def wildcard(pattern, text):
    """Does a text match, with AWS's * and ?

    Takes len(pattern) * len(text) steps at most, whatever the pattern is.
    """
    at, star, resume, i = 0, -1, 0, 0
    while i < len(text):
        if at < len(pattern) and pattern[at] == '*':
            star, resume, at = at, i, at + 1
        elif at < len(pattern) and pattern[at] in ('?', text[i]):
            at, i = at + 1, i + 1
        elif star >= 0:
            at, resume = star + 1, resume + 1
            i = resume
        else:
            return False
    return not pattern[at:].strip('*')


def _same(have, want):
    return have == want


def _same_letters(have, want):
    return have.lower() == want.lower()


# Name of an operator: (comparison, whether it has to fail)
OPERATORS = {
    'StringEquals': (_same, False),
    'StringNotEquals': (_same, True),
    'StringEqualsIgnoreCase': (_same_letters, False),
    'StringNotEqualsIgnoreCase': (_same_letters, True),
    'StringLike': (lambda have, want: wildcard(want, have), False),
    'StringNotLike': (lambda have, want: wildcard(want, have), True),
}
IF_EXISTS = 'IfExists'


def _once(pairs):
    """An object whose members have different names."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError("'%s' is there twice in one object" % next(
            name for name in members if names.count(name) > 1))
    return members


def _list(value, what):
    """A text or a list of texts, as a list."""
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError('%s must be a text or a list of texts' % what)
    return texts


def attested(registers):
    """Values of condition keys: from register name -> hexadecimal digits."""
    values = {PREFIX + name.lower(): value
              for name, value in registers.items()}
    if PREFIX + 'pcr0' in values:
        values[IMAGE] = values[PREFIX + 'pcr0']
    return values


class Condition:
    """One condition key that must have one of some values."""

    def __init__(self, operator, key, values):
        base = operator.removesuffix(IF_EXISTS)
        if base not in OPERATORS:
            raise ValueError("condition operator '%s' is not one of %s"
                             % (operator, ', '.join(OPERATORS)))
        if not KNOWN.fullmatch(key.lower()):
            raise ValueError(
                "condition key '%s' is neither"
                ' kms:RecipientAttestation:ImageSha384 nor'
                ' kms:RecipientAttestation:PCR0 to PCR31' % key)
        self.compare, self.negated = OPERATORS[base]
        self.optional = operator.endswith(IF_EXISTS)
        self.operator, self.name, self.key = operator, key, key.lower()
        self.values = _list(values, 'the value of ' + key)

    def holds(self, values):
        """Does it hold for these values of condition keys?"""
        have = values.get(self.key)
        if have is None:
            return self.optional or self.negated
        return self.negated != any(self.compare(have, want)
                                   for want in self.values)

    def problem(self, values):
        """Why it does not hold."""
        have = values.get(self.key)
        if have is None:
            return '%s is missing: %s' % (
                self.name, 'the document has no such register' if values
                else 'the request has no Recipient')
        return '%s is %s, the policy has %s %s' % (
            self.name, have, self.operator, ' or '.join(self.values))


def _conditions(block):
    if not isinstance(block, dict) or not all(
            isinstance(keys, dict) for keys in block.values()):
        raise ValueError('Condition must be {operator: {key: value}}')
    return [Condition(operator, key, values)
            for operator, keys in block.items()
            for key, values in keys.items()]


def _principals(value):
    if isinstance(value, dict):
        if set(value) != {'AWS'}:
            raise ValueError('Principal must be "*" or {"AWS": ...}')
        value = value['AWS']
    return _list(value, 'Principal')


def _check_all(name, what, texts, good):
    """AWS's words when one of some texts is not good."""
    for text in texts:
        if not good(text):
            raise ValueError("Policy contains a statement with one or more"
                             " invalid %s: %s: '%s'" % (what, name, text))


def _is_principal(text):
    return text == '*' or bool(ROOT.fullmatch(text)
                               or ROLE_OR_USER.fullmatch(text))


class Principal:
    """Who calls: an ARN of a user, or of a session of a role."""

    def __init__(self, arn):
        fields = arn.split(':', 5)
        if len(fields) != 6 or fields[0] != 'arn' or \
                not re.fullmatch(r'\d{12}', fields[4]):
            raise ValueError("'%s' is not the ARN of a user or a role" % arn)
        self.arn, account = arn, fields[4]
        # A root stands for all of an account
        self.names = {'*', account, 'arn:aws:iam::%s:root' % account, arn}
        session = re.fullmatch(r'assumed-role/([^/]+)/[^/]+', fields[5])
        if session:
            self.names.add('arn:aws:iam::%s:role/%s'
                           % (account, session.group(1)))


class Statement:
    """One statement of a policy."""

    def __init__(self, data, number):
        if not isinstance(data, dict):
            raise ValueError('a statement must be an object')
        for name in sorted(set(data) - STATEMENT):
            raise ValueError("'%s' is not a member of a statement that is"
                             ' known here' % name)
        self.name = str(data.get('Sid') or 'statement %d' % number)
        if data.get('Effect') not in ('Allow', 'Deny'):
            raise ValueError('%s: Effect must be Allow or Deny' % self.name)
        for member in ('Principal', 'Action', 'Resource'):
            if member not in data:
                raise ValueError('Policy statement must contain %ss: %s'
                                 % (member.lower(), self.name))
        self.allows = data['Effect'] == 'Allow'
        self.actions = _list(data['Action'], 'Action')
        _check_all(self.name, 'actions', self.actions, ACTION.fullmatch)
        self.resources = _list(data['Resource'], 'Resource')
        self.principals = set(_principals(data['Principal']))
        _check_all(self.name, 'principals', self.principals, _is_principal)
        self.conditions = _conditions(data.get('Condition', {}))

    def names_action(self, action):
        """Is it about this action, such as kms:Decrypt?"""
        return any(wildcard(pattern.lower(), action.lower())
                   for pattern in self.actions)

    def concerns(self, principal, action, resource):
        """Is it about this call at all?"""
        return (bool(self.principals & principal.names)
                and self.names_action(action)
                and any(wildcard(pattern, resource)
                        for pattern in self.resources))

    def _includes(self, name):
        """Is it about all that a name of a principal stands for?"""
        if name == '*':         # a policy is about the callers of an account
            return any(mine == '*' or ROOT.fullmatch(mine)
                       for mine in self.principals)
        account = name if name.isdigit() else name.split(':')[4]
        return bool(self.principals & {
            '*', name, account, 'arn:aws:iam::%s:root' % account})

    def covers(self, other, action):
        """Is it about all calls of an action that another one is about?"""
        return (self.names_action(action)
                and all(map(self._includes, other.principals))
                and all(any(wildcard(mine, theirs) for mine in self.resources)
                        for theirs in other.resources))

    def holds(self, values):
        """Do all conditions hold?"""
        return all(condition.holds(values) for condition in self.conditions)


class Decision:
    """Whether a policy allows a call, and why."""

    def __init__(self, allowed, reason, explicit=False):
        self.allowed, self.reason, self.explicit = allowed, reason, explicit


def _check_head(data):
    """What stands beside the statements of a policy."""
    for name in sorted(set(data) - MEMBERS):
        raise ValueError("Syntax errors in policy: '%s' is not one of %s"
                         % (name, ', '.join(sorted(MEMBERS))))
    if data.get('Version', VERSIONS[0]) not in VERSIONS:
        raise ValueError('The policy must contain a valid version string: %s'
                         % ' or '.join(VERSIONS))
    if not isinstance(data.get('Id', ''), str):
        raise ValueError('Syntax errors in policy: Id must be a text')


class Policy:
    """All statements of a policy; ValueError says what is wrong with it."""

    def __init__(self, text):
        if len(text) > SIZE_MAX:
            raise ValueError('a policy has %d characters at most, this has %d'
                             % (SIZE_MAX, len(text)))
        try:
            data = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise ValueError('not JSON: %s' % error) from error
        if not isinstance(data, dict) or 'Statement' not in data:
            raise ValueError('no Statement')
        _check_head(data)
        statements = data['Statement']
        if not isinstance(statements, list):
            statements = [statements]
        self.text = text
        self.statements = [Statement(each, number) for number, each
                           in enumerate(statements, 1)]

    def decide(self, principal, action, resource, values):
        """A Decision; @values: of the condition keys."""
        mine = [s for s in self.statements
                if s.concerns(principal, action, resource)]
        for statement in mine:
            if not statement.allows and statement.holds(values):
                return Decision(False, '%s denies it' % statement.name, True)
        allowing = [s for s in mine if s.allows]
        for statement in allowing:
            if statement.holds(values):
                return Decision(True, '%s allows it' % statement.name)
        problems = ['%s: %s' % (s.name, c.problem(values)) for s in allowing
                    for c in s.conditions if not c.holds(values)]
        return Decision(False, '; '.join(problems) or
                        'no statement of the policy allows %s to %s'
                        % (action, principal.arn))

    def is_attested(self, action):
        """Is an action allowed to certain enclaves?"""
        return any(s.allows and s.conditions and s.names_action(action)
                   for s in self.statements)

    def warnings(self):
        """The usual mistakes."""
        for statement in self.statements:
            if statement.allows and statement.conditions:
                yield from self._debug_mode(statement)
                yield from self._no_recipient(statement)
        yield from self._open_doors()

    def _shuts(self, statement, action, values):
        """Does a Deny take back what a statement allows?"""
        return any(not other.allows and other.covers(statement, action)
                   and other.holds(values) for other in self.statements)

    def _gives(self, statement, values):
        """Does a statement give secrets, after all denials?"""
        return any(statement.names_action(action)
                   and not self._shuts(statement, action, values)
                   for action in ATTESTED)

    def _debug_mode(self, statement):
        """Conditions that registers of zeros fulfil."""
        asked = [c for c in statement.conditions if c.key in IN_DEBUG_MODE]
        if not all(c.holds(IN_DEBUG_MODE) for c in asked) or \
                not self._gives(statement, IN_DEBUG_MODE):
            return
        for condition in asked:
            yield '%s: %s %s allows every enclave in debug mode' % (
                statement.name, condition.name, 'of zeros'
                if ZEROS in condition.values else '%s %s' % (
                    condition.operator, ' or '.join(condition.values)))

    def _no_recipient(self, statement):
        """Conditions that a request fulfils which names no enclave."""
        if statement.holds({}) and self._gives(statement, {}):
            yield ('%s: %s holds for a request without a Recipient, too, which'
                   ' gets the secret in the clear' % (
                       statement.name, ' and '.join(sorted(
                           {c.operator for c in statement.conditions}))))

    def _open_doors(self):
        """Statements that make the conditions of others useless."""
        allowing = [s for s in self.statements if s.allows]
        for strict in (s for s in allowing if s.conditions):
            for other in (s for s in allowing if not s.conditions):
                common = [action for action in sorted(ATTESTED)
                          if strict.names_action(action)
                          and other.covers(strict, action)
                          and not self._shuts(strict, action, {})]
                if common:
                    yield ('%s allows %s without a condition, which makes'
                           ' the condition of %s useless' % (
                               other.name, ', '.join(common), strict.name))
                    break
