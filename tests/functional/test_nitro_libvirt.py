#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: enclaves are domains of Debian's libvirt, unmodified.

The domains are the manual's examples, with files and sizes that the emulated
parent has.  One libvirtd serves all scenarios of a class.
"""

import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from nitro_parent import (DEMO, DEMO_MIB, INITRD, KERNEL, NitroParentTest,
                          ScopedTest, config, images, only_wanted,
                          stop_parent)
from test_nitro_runner import PROGRAM_IMAGE, program_image

from nitro_lab import application
from nitro_lab.arch import GUEST, PROGRAM
from nitro_lab.libvirt import SUITES
from nitro_lab.libvirt import Release as LibvirtRelease
from nitro_lab.release import Release

EXAMPLES = Path(config.TREE, 'docs/system/nitro-libvirt')
TELLING, SERVING = '/lab/telling.eif', '/lab/serving.eif'
CONF = '/etc/libvirt/qemu.conf'
LOGS = '/var/log/libvirt/qemu'

ACCOUNTS = r'''
rmdir /var/run && ln -s ../run /var/run
mkdir -p /etc/libvirt /usr/bin /var/log/libvirt/qemu /var/lock
ln -s /bin/%s /usr/bin
cat >> /etc/passwd << END
libvirt-qemu:x:64055:108::/var/lib/libvirt:/bin/false
member:x:906:990::/home/member:/bin/sh
END
cat >> /etc/group << END
kvm:x:108:
libvirt-qemu:x:64055:
END
sed -i 's/^ne:.*/&libvirt-qemu,member/' /etc/group
mount -t cgroup2 cgroup2 /sys/fs/cgroup
virtlogd -d
''' % PROGRAM

# A user with huge pages of its own
SESSION = r'''
export HOME=/home/member
mkdir -p $HOME/.config/libvirt $HOME/pages
mount -t hugetlbfs -o uid=906 pages $HOME/pages
echo "hugetlbfs_mount = \"$HOME/pages\"" > $HOME/.config/libvirt/qemu.conf
chown -R member $HOME
'''


def example(name, arch=GUEST.name):
    """An example of the manual."""
    return (EXAMPLES / ('%s-%s.xml' % (name, arch))).read_text()


def adapted(name, *changes, image=DEMO):
    """An example for the emulated parent; @changes: (pattern, new)."""
    text = example(name)
    for pattern, new in ((r'>\S+app.eif<', '>%s<' % image),
                         (r'>\S+Image<', '>%s<' % KERNEL),
                         (r'>\S+initrd.cpio<', '>%s<' % INITRD),
                         (r'(?<=<cmdline>)[^<]*', images.demo_cmdline()),
                         (r"(?<=<memory unit='MiB'>)\d+", str(DEMO_MIB)),
                         (r"size='1' unit='GiB'", "size='2' unit='MiB'"),
                         (r'(?<=<vcpu>)\d+', '2'),
                         (r'cpus=2:6', 'cpus=2:3'), *changes):
        text = re.sub(pattern, new, text)
    return text


class Examples(ScopedTest):
    """The examples are valid for each libvirt."""

    def validate(self, release, path):
        """virt-xml-validate of a release."""
        return subprocess.run(
            ['sh', '-c', release.validator(), 'virt-xml-validate', path],
            text=True, check=False, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def test_schema(self):
        """Every example, and one with a mistake."""
        paths = sorted(EXAMPLES.glob('*.xml'))
        self.assertGreaterEqual(len(paths), 10)
        bad = Path(self.scratch_file('bad.xml'))
        bad.write_text(example('eif').replace('hugepages', 'largepages'))
        for suite in SUITES:
            release = LibvirtRelease(suite)
            for path in paths:
                run = self.validate(release, path)
                self.assertEqual(run.returncode, 0, run.stdout)
            run = self.validate(release, bad)
            self.assertIn('memoryBacking', run.stdout)
            self.assertNotEqual(run.returncode, 0)

    def test_apparmor(self):
        """The rules are rules to AppArmor, and one with a mistake is not."""
        rules = (EXAMPLES / 'apparmor').read_text()
        profile = Path(self.scratch_file('profile'))
        for suite in SUITES:
            release = Release(suite, ('apparmor',), ())
            base = release.path('etc/apparmor.d')
            for text, status in ((rules, 0),
                                 (rules.replace('vsock', 'vsuck'), 1)):
                profile.write_text('abi <abi/3.0>,\nprofile nitro {\n%s}\n'
                                   % text)
                run = subprocess.run(
                    [*release.here('sbin/apparmor_parser'), '--base', base,
                     '--skip-kernel-load', '--skip-cache', profile],
                    text=True, check=False, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT)
                self.assertEqual(run.returncode, status, run.stdout)

    def test_pairs(self):
        """Each is there for both architectures, and boots alike."""
        names = {path.stem.rpartition('-')[::2]
                 for path in EXAMPLES.glob('*.xml')}
        self.assertEqual({arch for _, arch in names}, {'x86_64', 'aarch64'})
        for name, _ in names:
            both = [ElementTree.fromstring(example(name, arch))
                    for arch in ('x86_64', 'aarch64')]
            for tag in ('name', 'memory', 'vcpu', 'on_crash', 'on_poweroff'):
                first, second = (root.findtext(tag) for root in both)
                self.assertEqual(first, second, name)


class Libvirt(NitroParentTest):
    """One libvirtd with domains in it."""

    abstract = True
    suite, fits = None, True
    parent_cpus, parent_mib = 4, 2 * DEMO_MIB + 64

    @classmethod
    def parent_files(cls):
        release = LibvirtRelease(cls.suite)
        files = {'/' + name: path for name, path in release.files().items()}
        return {**super().parent_files(), **files}

    @classmethod
    def setUpClass(cls):
        stop_parent()
        cls.fits = LibvirtRelease(cls.suite).fits()
        if cls.fits:
            super().setUpClass()
            cls.parent.check(['sh', '-c', ACCOUNTS])
            cls.configure((EXAMPLES / 'qemu.conf').read_text())

    @classmethod
    def tearDownClass(cls):
        stop_parent()

    @classmethod
    def configure(cls, text):
        """Write qemu.conf and start the daemon."""
        # There is no AppArmor in this parent
        cls.parent.put(CONF, (text + 'security_driver = "none"\n').encode())
        cls.parent.check('libvirtd -d')

    @classmethod
    def stop_daemon(cls):
        """End libvirtd; domains run on."""
        cls.parent.check('pid=$(cat /run/libvirtd.pid); kill $pid;'
                         ' while [ -e /proc/$pid ]; do sleep 0.1; done')

    def setUp(self):
        if not self.fits:
            self.skipTest('QEMU was built with a newer C library than that of '
                          + self.suite)
        super().setUp()
        self.domains = []

    def _end_launches(self):
        logs = self.parent.run('cd %s; tail -n 1000 ../*.log *.log' % LOGS)
        Path(self.log_file('domains.log')).write_text(logs.output)
        for name in self.domains:
            self.parent.run(['virsh', 'destroy', name])
            self.parent.run(['virsh', 'undefine', name])
        super()._end_launches()

    # Domains

    def virsh(self, *words):
        """A command that has to succeed; returns what it prints."""
        return self.parent.check(['virsh', '-q', *words])

    def virsh_refuses(self, expected, *words):
        """A command that has to fail and say @expected."""
        result = self.parent.run(['virsh', '-q', *words])
        self.assertNotEqual(result.status, 0, result.output)
        self.assertIn(expected, result.errors)

    def define(self, text):
        """Define a domain; returns its name."""
        name = re.search('<name>(.*)</name>', text).group(1)
        self.parent.put('/run/%s.xml' % name, text.encode())
        self.virsh('define', '--validate', '/run/%s.xml' % name)
        self.domains.append(name)
        return name

    def start_domain(self, text):
        """Define and start one."""
        name = self.define(text)
        self.virsh('start', name)
        return name

    def query(self, name, command='query-nitro-enclave'):
        """A query of the monitor."""
        return json.loads(self.virsh('qemu-monitor-command', name,
                                     json.dumps({'execute': command})
                                     ))['return']

    def booted(self, name, launches=1):
        """Wait for the heartbeat; returns what the monitor shows."""
        def there():
            found.update(self.query(name))
            return (found['launches'], found['state']) == (launches, 'booted')
        found = {}
        self.wait_until(there, '%s booted' % name)
        return found

    def state(self, name):
        """State and reason, as libvirt sees them."""
        return self.virsh('domstate', name, '--reason').strip()

    def in_state(self, name, state):
        """Wait for a state."""
        self.wait_until(lambda: self.state(name) == state,
                        '%s %s' % (name, state))

    def has(self, name, command, **expected):
        """Lines 'key: value' that a command has to print."""
        text = self.virsh(command, name)
        found = dict(re.findall(r'(?m)^\s*([^:=\n]+)[:=]\s*(.*\S)', text))
        for key, value in expected.items():
            self.assertEqual(found.get(key.replace('_', ' ')), value, text)

    # Scenarios

    def test_life(self):
        """From define to shutdown, with a look at everything."""
        events = self.parent.spawn(['virsh', 'event', '--all', '--loop'])
        name = self.define(adapted('eif'))
        self.defined_heard(name, events)
        self.virsh('start', '--paused', name)
        self.assertEqual(self.state(name), 'paused (user)')
        info = self.query(name)
        self.assertEqual((info['state'], info['launches']), ('prepared', 0))
        self.virsh('resume', name)
        self.booted(name)
        self.look(name)
        self.read_console(name)
        self.refuse(name)
        self.virsh('reset', name)
        self.booted(name, 2)
        self.virsh('reboot', name)
        self.booted(name, 3)
        self.stop_daemon()
        self.assertEqual(events.wait(), 1)    # its connection is gone
        self.parent.check('libvirtd -d')
        self.assertEqual(self.booted(name, 3)['launches'], 3)
        self.virsh('shutdown', name)
        self.in_state(name, 'shut off (shutdown)')
        text = events.text()
        for what in ('Defined Added', 'Started Booted', 'Resumed Unpaused'):
            self.assertIn("'lifecycle' for domain '%s': %s" % (name, what),
                          text)
        self.assertEqual(text.count("'reboot' for domain"), 2, text)

    def defined_heard(self, name, events):
        """Define it anew until virsh, which says nothing first, listens."""
        def heard():
            self.virsh('undefine', name)
            self.virsh('define', '/run/%s.xml' % name)
            return 'Defined Added' in events.text()
        self.wait_until(heard, 'event of a definition')

    def look(self, name):
        """Commands that ask."""
        self.assertTrue(self.state(name).startswith('running'))
        self.has(name, 'dominfo', Max_memory='%d KiB' % (DEMO_MIB << 10),
                 State='running', Persistent='yes', **{'CPU(s)': '2'})
        self.has(name, 'domstats', **{'vcpu.current': '2', 'state.state': '1',
                                      'vcpu.1.state': '1'})
        text = self.virsh('vcpuinfo', name)
        self.assertEqual(text.count('running'), 2, text)

    def read_console(self, name):
        """virsh console has what was said before, the log file all."""
        job = self.parent.spawn(['virsh', 'console', name], terminal=True)
        job.wait_for('demo: serving')
        job.send(b'\x1d')
        self.assertEqual(job.wait(), 0)
        text = self.parent.get('%s/%s-console.log' % (LOGS, name))
        self.assertTrue(text.startswith('demo: init started'), text)
        self.assertIn('demo: serving', text)

    def refuse(self, name):
        """What cannot be done with an enclave; it runs on."""
        state = self.state(name)
        dump = ['dump', '--memory-only', name, '/run/core']
        for words in (['suspend', name], dump):
            self.virsh_refuses('cannot be paused', *words)
        self.virsh_refuses("'dump-guest-memory'", *dump, '--live')
        for words in (['managedsave', name], ['save', name, '/run/saved']):
            self.virsh_refuses('can be neither saved nor migrated', *words)
        self.virsh_refuses('error', 'setvcpus', name, '1', '--live')
        self.virsh_refuses('error', 'setmem', name, '64M', '--live')
        self.assertEqual(self.state(name), state)
        self.assertEqual(self.query(name)['state'], 'booted')


class Debian12(Libvirt):
    """libvirt 9.0: a domain's life."""

    suite = 'bookworm'


class Debian13(Libvirt):
    """libvirt 11.3: that, and all else."""

    suite = 'trixie'

    @classmethod
    def parent_files(cls):
        return {**super().parent_files(),
                TELLING: images.demo_image('telling', 'demo.tell=5006'),
                PROGRAM_IMAGE: program_image(),
                SERVING: application.image(
                    'libvirt-net', ['httpd', '-f', '-p', '80', '-h', '/etc'],
                    net='dhcp')}

    def test_autostart(self):
        """The daemon starts two, which boot one after the other."""
        names = [self.define(adapted('eif', ('enclave-eif', 'enclave-%d' % n)))
                 for n in (1, 2)]
        for name in names:
            self.virsh('autostart', name)
        self.stop_daemon()
        # What the daemon knows until the machine is booted again
        self.parent.check('rm -f /run/libvirt/qemu/autostarted')
        self.parent.check('libvirtd -d')
        for name in names:
            self.wait_until(lambda n=name: self.state(n).startswith('running'),
                            '%s started' % name)
        cids = {self.booted(name)['cid'] for name in names}
        self.assertEqual(len(cids), 2)
        for name in names:
            self.virsh('destroy', name)
            self.assertEqual(self.state(name), 'shut off (destroyed)')

    def test_production(self):
        """Application channels, and launched again whatever ends it."""
        name = self.start_domain(adapted('production', image=TELLING))
        info = self.booted(name)
        self.assertFalse(info['debug-mode'])
        relay = self.parent.spawn(
            ['lab', 'relay', '/var/lib/libvirt/qemu/enclave-app.sock'])
        relay.send(b'to and fro\n')
        relay.wait_for('to and fro')
        relay.end_input()
        log = '/var/lib/libvirt/qemu/enclave-app.log'
        self.wait_until(lambda: 'hello from enclave' in self.parent.get(log),
                        'greeting in the log')
        self.virsh('shutdown', name)
        self.booted(name, 2)

    def test_network(self):
        """A server in the enclave, reached by a port of the parent."""
        name = self.start_domain(adapted('network', image=SERVING))
        self.booted(name)
        fetch = ['wget', '-q', '-O-', 'http://127.0.0.1:8080/passwd']
        self.wait_until(lambda: 'web:x:1000' in self.parent.run(fetch).output,
                        'an answer of the enclave')
        card = self.query(name)['network']
        self.assertEqual((card['connected'], card['faults']), (True, 0))

    def test_chosen(self):
        """CPUs, CID and NUMA node of one's choice."""
        name = self.start_domain(adapted('cpus-cid'))
        info = self.booted(name)
        self.assertEqual(info['cid'], 40)
        self.assertEqual([cpu['host-cpu'] for cpu in info['vcpus']], [2, 3])
        self.virsh('destroy', name)
        name = self.start_domain(adapted('numa'))
        self.booted(name)
        backend = self.query(name, 'query-memdev')[0]
        self.assertEqual((backend['policy'], backend['host-nodes']),
                         ('bind', [0]))

    def test_program(self):
        """shutdown is the stop signal of a program with an agent."""
        log = '/var/lib/libvirt/qemu/program.log'
        options = ''.join("<qemu:arg value='%s'/>" % word for word in (
            '-chardev', 'file,id=out,path=' + log, '-device',
            'nitro-agent,stdout=out'))
        name = self.start_domain(adapted(
            'eif', ('(?=</qemu:commandline>)', options), image=PROGRAM_IMAGE))
        self.booted(name)
        self.wait_until(lambda: 'a= args=' in self.parent.get(log), 'output')
        self.virsh('shutdown', name)
        self.in_state(name, 'shut off (shutdown)')
        self.assertIn('stopped\n', self.parent.get(log))

    def test_end_by_itself(self):
        """on_poweroff after the boot."""
        mode = ('(?<=<cmdline>)', 'demo.mode=poweroff demo.seconds=1 ')
        name = self.start_domain(adapted('kernel', mode))
        self.in_state(name, 'shut off (shutdown)')

    def test_end_before_boot(self):
        """on_crash before it."""
        for action in ('destroy', 'restart', 'preserve'):
            with self.case(action):
                name = self.start_domain(adapted(
                    'kernel', ('(?<=<cmdline>)', 'rdinit=/nothing '),
                    ('enclave-kernel', 'crash-' + action),
                    ('  <devices>', '<on_crash>%s</on_crash>\\g<0>' % action)))
                self.after_crash(name, action)
                self.parent.run(['virsh', 'destroy', name])

    def after_crash(self, name, action):
        """Wait for what on_crash leads to."""
        if action == 'destroy':
            self.in_state(name, 'shut off (crashed)')
        elif action == 'preserve':
            self.in_state(name, 'crashed (panicked)')
        else:
            self.wait_until(lambda: self.query(name)['launches'] > 1,
                            'launched again')

    def test_device_list(self):
        """The device has to be in qemu.conf, as the manual says."""
        name = self.define(adapted('eif'))
        self.stop_daemon()
        self.configure('')
        try:
            self.virsh_refuses('cgroup_device_acl in qemu.conf', 'start',
                               name)
        finally:
            self.stop_daemon()
            self.configure((EXAMPLES / 'qemu.conf').read_text())

    def test_session(self):
        """A user of group ne, without root."""
        self.parent.check(['sh', '-c', SESSION])
        text = re.sub('<log [^>]*>', '', adapted('eif'))
        self.parent.put('/home/member/enclave.xml', text.encode())
        commands = ('create enclave.xml; domstate enclave-eif;'
                    ' qemu-monitor-event enclave-eif NITRO_ENCLAVE_BOOTED'
                    ' --timeout 60; destroy enclave-eif')
        job = self.parent.spawn(
            ['su', 'member', '-c', 'cd; export XDG_RUNTIME_DIR=$HOME/run;'
             ' mkdir $XDG_RUNTIME_DIR; virsh -c qemu:///session "%s"'
             % commands])
        self.assertEqual(job.wait(), 0, job.text())
        for words in ('running', 'event NITRO_ENCLAVE_BOOTED', 'destroyed'):
            self.assertIn(words, job.text())


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
