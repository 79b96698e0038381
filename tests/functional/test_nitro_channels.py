#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: console and application channels, through the real driver; the
vsock switch below them."""

import os
import re
import signal
from pathlib import Path

from nitro_lab import images
from nitro_parent import (ECHO_PORT, NitroParentTest, ScopedTest, only_wanted,
                          report_text)

TELL_PORT = 5007
TOOL_PORT, SERVE_PORT, SOURCE_PORT = 5007, 7000, 4000
TOOL_INITRD = '/lab/initrd-tool'
# More of them: CONNECTIONS=5000 AGAIN=300
CONNECTIONS = int(os.environ.get('CONNECTIONS') or 1000)
AGAIN = int(os.environ.get('AGAIN') or 40)
SOCKET, LOG = '/run/app.sock', '/tmp/app.log'
CONSOLE = '/run/console.sock'
BULK = bytes(range(256)) * 4096         # 1 MiB


def channel(port, chardev, *properties):
    """Options for a device in front of a character device."""
    return ['-chardev', chardev + ',id=app', '-device',
            ','.join(['nitro-vsock-chardev,id=app0,chardev=app',
                      'port=%d' % port, *properties])]


class StreamTest(NitroParentTest):
    """What channels and consoles have in common."""

    @classmethod
    def parent_files(cls):
        return dict(super().parent_files(),
                    **{TOOL_INITRD: images.demo_tool_initramfs()})

    def setUp(self):
        super().setUp()
        self.parent.run(['rm', '-f', SOCKET, LOG, CONSOLE])

    def query(self, launch):
        """All that QEMU knows."""
        return launch.qmp.command('query-nitro-enclave')

    def client(self, path=SOCKET):
        """Somebody who opens a socket character device."""
        return self.parent.spawn(['lab', 'relay', path])


class Channels(StreamTest):
    """nitro-vsock-chardev: production enclaves that can be talked to."""

    def production(self, device, *words):
        """An enclave without console."""
        return self.boot(*self.direct(*words), *device, image=None,
                         debug='off')

    def state(self, launch):
        """The only channel."""
        return self.query(launch)['channels'][0]

    def echo(self, data=b'ping\n'):
        """A client that gets back what it sends; returns it."""
        client = self.client()
        client.send(data)
        self.wait_until(lambda: len(client.output) >= len(data), 'echo')
        self.assertEqual(bytes(client.output), data)
        return client

    def test_echo(self):
        """A client of a unix socket talks with a port of the enclave."""
        launch = self.production(channel(
            ECHO_PORT, 'socket,path=%s,server=on,wait=off' % SOCKET))
        self.assertEqual(self.state(launch)['state'], 'waiting')
        client = self.echo(BULK)
        state = self.state(launch)
        self.assertEqual((state['state'], state['direction'], state['port'],
                          state['received'], state['sent'],
                          state['connections']),
                         ('open', 'connect', ECHO_PORT, len(BULK), len(BULK),
                          1))
        client.end_input()
        self.assertEqual(client.wait(), 0)
        self.wait_until(lambda: self.state(launch)['state'] == 'waiting',
                        'end of the stream')
        self.echo()
        self.assertEqual(self.state(launch)['connections'], 2)
        self.assertEqual(self.stop(launch), 0)

    def test_reset(self):
        """The enclave that a reset launches has the channel, too."""
        launch = self.production(channel(
            ECHO_PORT, 'socket,path=%s,server=on,wait=off' % SOCKET))
        self.echo().signal(signal.SIGKILL)
        launch.qmp.command('system_reset')
        self.wait_until(lambda: self.state(launch)['connections'] == 0
                        and self.query(launch)['state'] == 'booted',
                        'another enclave')
        self.echo(b'pong\n')
        self.assertEqual(self.state(launch)['sent'], 5)

    def test_enclave_connects(self):
        """The enclave brings its output to a file of the parent."""
        launch = self.production(
            channel(TELL_PORT, 'file,path=' + LOG, 'direction=listen'),
            'demo.tell=%d' % TELL_PORT)
        self.wait_until(lambda: 'PCR2' in self.parent.get(LOG), 'greeting')
        text = self.parent.get(LOG)
        self.assertIn('hello from enclave CID %d' % launch.cid, text)
        self.assertEqual(len(self.registers(text)), 3)
        self.assertNotIn('0' * 96, text)
        self.wait_until(lambda: self.state(launch)['state'] == 'listening',
                        'end of the stream')
        self.assertEqual(self.state(launch)['received'], len(text))

    def test_other_enclave(self):
        """Another enclave cannot take the place of the right one."""
        launch = self.production(channel(ECHO_PORT, 'file,path=' + LOG,
                                         'direction=listen'))
        other = self.boot(*self.direct('demo.dial=3'), image=None)
        self.console(other, 'demo: dial 3: ')
        self.console(other, 'demo: serving')
        state = self.state(launch)
        self.assertEqual((state['state'], state['connections']),
                         ('listening', 0))

    def test_port_taken(self):
        """A port that another program has."""
        listener = self.parent.spawn(['lab', 'vsock', 'listen', TELL_PORT])
        listener.wait_for('listening')
        self.refused(self.arguments(
            *channel(TELL_PORT, 'null', 'direction=listen'), debug='off'),
            'cannot listen on vsock port %d' % TELL_PORT,
            'Address already in use', 'use another port=PORT')


class Console(StreamTest):
    """nitro-serial-vsock: late and slow readers, and a hang-up."""

    def console_state(self, launch):
        """What the device says."""
        return self.query(launch)['console']

    def ringbuf(self, launch):
        """All that the character device keeps."""
        return launch.qmp.command('ringbuf-read', device='con',
                                  size=1 << 20)

    def console_arguments(self, chardev, *words, properties=''):
        """An enclave in debug mode whose console is this."""
        return self.arguments(
            *self.direct(*words), '-nodefaults', '-device', 'nitro-heartbeat',
            '-chardev', chardev + ',id=con', '-device',
            'nitro-serial-vsock,chardev=con' + properties, image=None)

    def with_console(self, *arguments, **options):
        """Boot it."""
        launch = self.start(self.console_arguments(*arguments, **options))
        launch.wait_booted()
        return launch

    def test_ringbuf(self):
        """A look at the console in QMP, from its first line on."""
        launch = self.with_console('ringbuf,size=1M')
        text = ''

        def serving():
            nonlocal text
            text += self.ringbuf(launch)
            return 'demo: serving' in text

        self.wait_until(serving, 'console')
        # The kernel is quiet, so this is the first line of all
        self.assertTrue(text.startswith('demo: init started'), text)
        self.assertEqual(self.console_state(launch)['dropped'], 0)

    def test_hang_up(self):
        """The hypervisor hangs up, the enclave lives on: it is read again."""
        launch = self.with_console('ringbuf,size=1M')
        self.wait_until(lambda: 'demo: serving' in self.ringbuf(launch),
                        'console')
        before = self.console_state(launch)
        self.assertEqual(before['reconnects'], 0)
        self.parent.hypervisor.popen.send_signal(signal.SIGUSR1)
        self.wait_until(lambda: self.console_state(launch)['reconnects'] == 1,
                        'another connection')
        # What the hypervisor has kept comes once more
        self.wait_until(lambda: 'demo: serving' in self.ringbuf(launch),
                        'console')
        after = self.console_state(launch)
        self.assertEqual(after['state'], 'open')
        self.assertGreater(after['bytes'], before['bytes'])
        self.assertNotIn('lost', after)
        self.assertIn('hello from enclave', self.hello(launch))

    def flood(self, properties):
        """A flood of output, and a reader that has stopped."""
        launch = self.start(self.console_arguments(
            'socket,path=%s,server=on,wait=off' % CONSOLE, 'demo.mode=flood',
            properties=properties) + ['-S'])
        # Output that comes before the reader is kept, but not all of a flood
        reader = self.client(CONSOLE)
        self.wait_until(lambda: self.is_connected(launch), 'reader')
        launch.qmp.command('cont')
        launch.wait_booted()
        reader.wait_for('flood 0')
        reader.signal(signal.SIGSTOP)
        return launch, reader

    def is_connected(self, launch):
        """Somebody has the console's character device open."""
        return any(chardev['label'] == 'con'
                   and not chardev['filename'].startswith('disconnected:')
                   for chardev in launch.qmp.command('query-chardev'))

    def stopped(self, launch):
        """The device takes no more."""
        first = self.console_state(launch)['bytes']
        self.hello(launch)
        return self.console_state(launch)['bytes'] == first

    def test_flood_block(self):
        """A stopped reader stops the hypervisor, and neither of the others."""
        launch, reader = self.flood('')
        self.wait_until(lambda: self.stopped(launch), 'back-pressure')
        self.assertEqual(self.console_state(launch)['dropped'], 0)
        self.assertIn('hello from enclave', self.hello(launch))
        seen = len(reader.output)
        reader.signal(signal.SIGCONT)
        self.wait_until(lambda: len(reader.output) > seen + (1 << 20),
                        'more output')
        self.assertEqual(self.stop(launch), 0)
        self.in_order(reader)

    def in_order(self, reader):
        """Nothing is missing before the hypervisor had to drop something."""
        lines = re.findall(rb'flood (\d{9}) 0123456789abcdefghijkl'
                           rb'mnopqrstuvwxyz\r\n', bytes(reader.output))
        numbers = [int(line) for line in lines]
        self.assertEqual(numbers, sorted(set(numbers)))
        gaps = sum(b != a + 1 for a, b in zip(numbers, numbers[1:]))
        self.assertLessEqual(gaps, 1)

    def test_flood_drop(self):
        """With the other policy the hypervisor is read all the time."""
        launch, reader = self.flood(',overflow=drop-oldest')
        self.wait_until(lambda: self.console_state(launch)['dropped']
                        > 1 << 20, 'dropped output')
        launch.job.wait_for('is dropped: its reader is too slow', 10,
                            errors=True)
        self.assertIn('hello from enclave', self.hello(launch))
        reader.signal(signal.SIGCONT)
        self.assertEqual(self.stop(launch), 0)
        self.assertEqual(launch.job.text().count('is dropped'), 1)

    def test_late_reader(self):
        """Who comes after the end of the enclave sees its last lines."""
        launch = self.with_console(
            'socket,path=%s,server=on,wait=off' % CONSOLE,
            'demo.mode=poweroff', properties=',backlog=4K')
        launch.qmp.command('set-action', shutdown='pause')
        self.wait_until(lambda: self.query(launch)['state'] == 'exited',
                        'end')
        reader = self.client(CONSOLE)
        reader.wait_for('demo: orderly power-off')
        self.assertTrue(reader.text().startswith('demo: init started'))
        self.assertEqual(self.console_state(launch)['dropped'], 0)


class Switch(StreamTest):
    """Connections through the switch, from the parent and to it."""

    def setUp(self):
        super().setUp()
        words = self.direct()
        words[words.index('-initrd') + 1] = TOOL_INITRD
        self.launch = self.boot(*words, image=None, mib=256)
        # Each direction: who connects, to which CID
        self.ways = (('parent', self.outside, self.launch.cid),
                     ('enclave', self.inside, 3))
        for run in (self.outside, self.inside):
            run('serve', SERVE_PORT).wait_for('serving')

    def outside(self, *words):
        """The tool in the parent."""
        return self.parent.spawn(['lab', 'vsock', *words])

    def inside(self, *words):
        """The tool in the enclave."""
        job = self.parent.spawn(['lab', 'vsock', 'connect', self.launch.cid,
                                 TOOL_PORT])
        job.send((' '.join(map(str, ('vsock', *words))) + '\n').encode())
        return job

    def again(self, count, ports, how):
        """Use the same ports again and again: every connection has to be."""
        for name, run, cid in self.ways:
            with self.case('%s, %d ports, %s' % (name, ports, how)):
                job = run('again', cid, SERVE_PORT, count, SOURCE_PORT, ports,
                          how)
                said = job.wait_for(r'\d+ connections, (\d+) failed, .*', 600)
                report_text('%-7s %d ports, %-7s %s'
                            % (name, ports, how, said.group()))
                job.wait()
                self.assertNotIn('timed out', job.text())
                # A given-up socket may refuse until its program closes it
                if how != 'hasty':
                    self.assertEqual(said.group(1), '0', job.text())

    def test_again(self):
        """A source port is free for another connection after each one."""
        for how in ('orderly', 'both', 'early', 'hasty'):
            self.again(AGAIN, 1, how)
        self.again(AGAIN, 8, 'orderly')

    def hypervisor_memory(self):
        """KiB that nitro-hypervisor has, without that of guests."""
        status = Path('/proc/%d/status' % self.parent.hypervisor.popen.pid)
        return int(re.search(r'RssAnon:\s+(\d+)',
                             status.read_text()).group(1))

    def test_many(self):
        """Many connections at once, each of them echoes."""
        for name, run, cid in self.ways:
            before = self.hypervisor_memory()
            job = run('many', cid, SERVE_PORT, CONNECTIONS)
            said = job.wait_for(r'\d+ connections, open .*', 600).group()
            report_text('%-7s %s, %d KiB more in nitro-hypervisor'
                        % (name, said, self.hypervisor_memory() - before))
            job.end_input()
            self.assertEqual(job.wait(600), 0, job.text())

    def test_host_cid(self):
        """The enclave reaches the parent as CID 2, too."""
        for cid in (2, 3):
            job = self.inside('echo', cid, SERVE_PORT, 'hello')
            self.assertEqual(job.wait(), 0)
            self.assertEqual(job.text().strip(), 'hello')
        refused = self.inside('echo', 2, SERVE_PORT + 1, 'hello')
        refused.wait_for('connect: Connection reset by peer')


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
