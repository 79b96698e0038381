#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Key policies of the lab's key service: what they allow, and why."""

import json

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted
from nitro_kms import (ACCOUNT, CALLER, GOOD, IMAGE_KEY, OTHER, ZERO,
                       policy_of, statement, when)

from nitro_lab.kms import policy

OTHERS = 'arn:aws:iam::000000000000:root'


class Rules(QemuBaseTest):
    """Key policies."""

    def decision(self, *statements, values=None, action='kms:Decrypt',
                 caller=CALLER):
        """What a policy says."""
        return policy.Policy(policy_of(*statements)).decide(
            caller, action, 'arn:key', values or {})

    def test_conditions(self):
        """Operator, value of the policy, PCR0: does it allow?"""
        for operator, want, have, allowed in (
                ('StringEquals', GOOD, GOOD, True),
                ('StringEquals', GOOD.upper(), GOOD, False),
                ('StringEqualsIgnoreCase', GOOD.upper(), GOOD, True),
                ('StringEqualsIgnoreCase', [OTHER, GOOD], GOOD, True),
                ('StringEqualsIgnoreCase', OTHER, GOOD, False),
                ('StringEqualsIgnoreCase', GOOD, None, False),
                ('StringEqualsIfExists', GOOD, None, True),
                ('StringEqualsIfExists', GOOD, OTHER, False),
                ('StringNotEquals', GOOD, OTHER, True),
                ('StringNotEquals', [OTHER, GOOD], GOOD, False),
                ('StringNotEqualsIgnoreCase', GOOD, None, True),
                ('StringLike', 'ab*', GOOD, True),
                ('StringLike', 'ab?c*', GOOD, False),
                ('StringNotLike', 'cd*', GOOD, True)):
            values = policy.attested({'PCR0': have}) if have else {}
            reply = self.decision(statement(**when(operator, want)),
                                 values=values)
            self.assertEqual(reply.allowed, allowed,
                             (operator, want, have, reply.reason))

    def test_registers(self):
        """Each register has a name; all conditions have to hold."""
        values = policy.attested({'PCR0': GOOD, 'PCR31': OTHER})
        both = {'Condition': {'StringEquals': {
            'kms:recipientattestation:pcr0': GOOD,
            'kms:RecipientAttestation:PCR31': OTHER}}}
        self.assertTrue(self.decision(statement(**both),
                                      values=values).allowed)
        values.pop('kms:recipientattestation:pcr31')
        reply = self.decision(statement(**both), values=values)
        self.assertEqual((reply.allowed, reply.reason), (
            False, 'one: kms:RecipientAttestation:PCR31 is missing: the'
            ' document has no such register'))

    def test_reasons(self):
        """What AWS keeps to itself."""
        values = policy.attested({'PCR0': OTHER})
        strict = statement(**when('StringEquals', GOOD))
        for reply, reason in (
                (self.decision(strict, values=values),
                 'one: %s is %s, the policy has StringEquals %s'
                 % (IMAGE_KEY, OTHER, GOOD)),
                (self.decision(strict), 'one: %s is missing: the request has'
                 ' no Recipient' % IMAGE_KEY),
                (self.decision(statement(action='kms:Encrypt')),
                 'no statement of the policy allows kms:Decrypt to '
                 + CALLER.arn)):
            self.assertEqual((reply.allowed, reply.reason), (False, reason))

    def test_deny(self):
        """It wins, wherever it stands; one that does not hold is nothing."""
        reply = self.decision(statement(), statement('Deny', sid='no'))
        self.assertEqual((reply.allowed, reply.explicit, reply.reason),
                         (False, True, 'no denies it'))
        shut = statement('Deny', **when('StringNotEquals', GOOD))
        self.assertFalse(self.decision(statement(), shut).allowed)
        self.assertTrue(self.decision(
            statement(), shut, values=policy.attested({'PCR0': GOOD})).allowed)

    def test_who_and_what(self):
        """Principals, actions, resources."""
        role = policy.Principal(
            'arn:aws:sts::%s:assumed-role/demo/session' % ACCOUNT)
        for caller, principal, allowed in (
                (CALLER, {'AWS': 'arn:aws:iam::%s:root' % ACCOUNT}, True),
                (CALLER, {'AWS': ACCOUNT}, True), (CALLER, '*', True),
                (CALLER, {'AWS': [OTHERS, CALLER.arn]}, True),
                (CALLER, {'AWS': OTHERS}, False),
                (role, {'AWS': 'arn:aws:iam::%s:role/demo' % ACCOUNT}, True),
                (role, {'AWS': 'arn:aws:iam::%s:role/dem' % ACCOUNT}, False)):
            rule = {**statement(), 'Principal': principal}
            self.assertEqual(self.decision(rule, caller=caller).allowed,
                             allowed, principal)
        for action, allowed in (('kms:De*', True), ('KMS:decrypt', True),
                                ('*', True), ('kms:Decryp?', True),
                                ('kms:Decryp', False), ('kms:GenerateDataKey*',
                                                        False)):
            self.assertEqual(self.decision(statement(action=action)).allowed,
                             allowed, action)
        self.assertFalse(self.decision(
            {**statement(), 'Resource': 'arn:other*'}).allowed)

    def test_wildcards_are_quick(self):
        """No pattern takes more than a step for each pair of letters."""
        self.assertFalse(policy.wildcard('a*' * 2000 + 'b', 'a' * 400))
        self.assertTrue(policy.wildcard('*a' * 100 + '*', 'a' * 100))

    def test_refused(self):
        """What would be decided otherwise than by AWS, or is broken."""
        deep = '[' * 100000
        for text, words in (
                ('{', 'not JSON'), (deep, 'not JSON|characters'),
                ('[]', 'no Statement'), ('{"Statement": [1]}', 'an object'),
                (' ' * 40000, '32768 characters at most'),
                (policy_of(statement(NotAction='x')), "'NotAction' is not"),
                (policy_of(statement('allow')), 'Effect must be'),
                (policy_of(statement(action=[])), 'Action must be'),
                (policy_of(statement(Principal={'Service': 'x'})),
                 'Principal must be'),
                (policy_of(statement(Condition=[])), 'Condition must be'),
                (policy_of(statement(**when('Bool', 'x'))),
                 "operator 'Bool' is not one of StringEquals"),
                (policy_of(statement(**when('StringEquals', 'x', 'aws:x'))),
                 "condition key 'aws:x' is neither"),
                (policy_of(statement(**when(
                    'StringEquals', 'x', 'kms:RecipientAttestation:PCR32'))),
                 'PCR0 to PCR31'),
                (policy_of(statement(**when('StringEquals', 7))),
                 'must be a text'),
                ('{"Statement": {"Effect": "Allow", "Effect": "Deny"}}',
                 "'Effect' is there twice")):
            with self.assertRaisesRegex(ValueError, words):
                policy.Policy(text)

    def test_malformed(self):
        """What AWS does not take as a key policy, in its words."""
        bare = {**statement()}
        del bare['Resource']
        good = json.loads(policy_of(statement()))
        for change, words in (
                ({'version': 'x'}, 'Syntax errors in policy: .version'),
                ({'Version': '2012-10-18'}, 'must contain a valid version'),
                ({'Version': 2012}, 'must contain a valid version'),
                ({'Id': 7}, 'Syntax errors in policy: Id'),
                ({'Statement': bare}, 'must contain resources: one'),
                *(({'Statement': statement(action=action)},
                   'one or more invalid actions: one')
                  for action in ('s3:Get', 'Decrypt', 'kms:', '', 'kms',
                                 ['kms:Decrypt', 'ec2:*'])),
                *(({'Statement': statement(Principal={'AWS': who})},
                   'one or more invalid principals: one')
                  for who in ('x', '', '12345', 'arn:aws:s3:::bucket',
                              'arn:aws:iam::123456789012:user/*',
                              'arn:aws:iam::123456789012:group/g',
                              ['*', 'arn:aws:iam::1:root']))):
            with self.assertRaisesRegex(ValueError, words):
                policy.Policy(json.dumps({**good, **change}))
        for change in ({'Version': '2008-10-17'}, {'Id': 'x'},
                       {'Statement': statement(action=['KMS:decrypt', '*'])},
                       {'Statement': statement(Principal={'AWS': [
                           ACCOUNT, OTHERS, 'arn:aws:sts::%s:assumed-role/r/s'
                           % ACCOUNT, 'arn:aws-cn:iam::%s:role/a/b+c'
                           % ACCOUNT]})}):
            policy.Policy(json.dumps({**good, **change}))
        policy.Policy(json.dumps({'Statement': good['Statement']}))

    def test_warnings(self):
        """The usual mistakes."""
        strict = statement(**when('StringEquals', GOOD))
        mine = {**strict, 'Principal': {'AWS': CALLER.arn}}
        shut = statement('Deny', **when('StringNotEquals', GOOD))
        clear = ('one: %s holds for a request without a Recipient, too, which'
                 ' gets the secret in the clear')
        for statements, warnings in (
                ([strict], []), ([statement()], []),
                ([strict, statement('Deny')], []),
                ([strict, statement(action='kms:Put*', sid='two')], []),
                ([statement(**when('StringEquals', [GOOD, ZERO]))],
                 ['one: %s of zeros allows every enclave in debug mode'
                  % IMAGE_KEY]),
                ([strict, statement(action='kms:Decrypt', sid='two')],
                 ['two allows kms:Decrypt without a condition, which makes'
                  ' the condition of one useless']),
                ([strict, statement(action='kms:Decrypt', sid='two',
                                    Principal={'AWS': OTHERS})],
                 ['two allows kms:Decrypt without a condition, which makes'
                  ' the condition of one useless']),
                ([mine, statement(sid='two', Principal={'AWS': OTHERS})], []),
                ([strict, statement(sid='two', Principal={
                    'AWS': CALLER.arn})], []),
                ([mine, statement(action='kms:Decrypt', sid='two',
                                  Principal={'AWS': ACCOUNT})],
                 ['two allows kms:Decrypt without a condition, which makes'
                  ' the condition of one useless']),
                ([strict, statement(sid='two'), shut], []),
                ([strict, statement(action='kms:Decrypt', sid='two'),
                  {**shut, 'Principal': {'AWS': OTHERS}, 'Action':
                   'kms:GenerateDataKey'}],
                 ['two allows kms:Decrypt without a condition, which makes'
                  ' the condition of one useless']),
                ([statement(**when('StringNotEquals', ZERO))], [clear
                  % 'StringNotEquals']),
                ([statement(**when('StringNotEquals', ZERO)), shut], []),
                ([statement(**when('StringEqualsIfExists', GOOD))], [clear
                  % 'StringEqualsIfExists']),
                ([statement(**when('StringNotEquals', GOOD))], [
                    'one: %s StringNotEquals %s allows every enclave in debug'
                    ' mode' % (IMAGE_KEY, GOOD), clear % 'StringNotEquals']),
                *(([statement(**when('StringLike', text))], [
                    'one: %s StringLike %s allows every enclave in debug mode'
                    % (IMAGE_KEY, text)]) for text in ('*', '0*', '?' * 96)),
                ([statement(**when('StringLike', '*')), shut], []),
                ([statement(Condition={
                    'StringLike': {IMAGE_KEY: '*'}, 'StringEquals': {
                        'kms:RecipientAttestation:PCR1': GOOD}})], []),
                ([statement(**when('StringLike', '*',
                                   'kms:RecipientAttestation:PCR8'))], [])):
            self.assertEqual(list(policy.Policy(
                policy_of(*statements)).warnings()), warnings)


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
