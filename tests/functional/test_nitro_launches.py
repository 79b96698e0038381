#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: enclaves launched through the real driver."""

import hashlib
import os
import re
import signal
import time

from test_nitro_nsm import DEBUG, KEYS, verified
from nitro_parent import (AWS_CMDLINE, DEMO, DEMO_MIB, ECHO_PORT, INITRD,
                          KERNEL, PROBE, ROLE, NitroParentTest, ScopedTest,
                          cpu_list, only_wanted)

from nitro_lab import eif, images, instance, nsm
from nitro_lab.arch import GUEST
from nitro_lab.qmp import QmpError

ZERO = '0' * 96

# Words that make a kernel write from its start on, and its first line then.
# What comes before the x86 kernel proper prints each character twice, by
# itself and through the firmware.
EARLY_CONSOLE = {
    'x86_64': ('console=ttyS0 earlyprintk=ttyS0',
               r'^(PP?r+oo?b|early console|.*Linux version)'),
    'aarch64': ('console=ttyAMA0 earlycon', r'Booting Linux on physical CPU'),
}
# Under emulation an arm64 guest copies slowly
BULK_BYTES = {'x86_64': 100, 'aarch64': 25}[GUEST.name] * 1000 * 1000


class Boot(NitroParentTest):
    """Ways to boot an enclave, and what one sees of it."""

    def test_eif(self):
        """An image file boots: CID, heartbeat, console, end by SIGTERM."""
        launch = self.boot()
        self.assertGreaterEqual(launch.cid, 16)
        self.console(launch, 'hello from enclave CID %d, 2 CPUs' % launch.cid)
        self.assertTrue(launch.qmp.command('query-status')['running'])
        self.assertEqual(len(launch.qmp.command('query-cpus-fast')), 2)
        self.assertEqual(self.stop(launch), 0, launch.job.text())

    def test_direct_kernel(self):
        """A kernel with ramdisk and command line becomes an image."""
        launch = self.boot(*self.direct('demo.hello=direct'), image=None)
        self.console(launch, 'demo: direct')

    def test_direct_kernel_measured(self):
        """The image made for a direct boot measures as it should."""
        cmdline = images.demo_cmdline('demo.mode=serve')
        launch = self.boot(*self.direct('demo.mode=serve'), image=None,
                           debug='off')
        image = eif.build(images.demo_kernel().read_bytes(), cmdline,
                          [images.demo_initramfs().read_bytes()])
        self.assertEqual(self.registers(self.hello(launch)),
                         eif.measure(image))

    def test_no_ramdisk(self):
        """A kernel without a ramdisk boots, up to where it looks for one."""
        kernel = images.demo_kernel().read_bytes()
        line = b'console=ttyS0 panic=-1 reboot=t'
        for name, ramdisks, unusual in (
                ('none, gaps, flags', [], {'gap': 64, 'flags': 0x240}),
                ('empty', [b''], {'version': 3})):
            with self.case(name):
                self.parent.put('/tmp/image', eif.assemble(
                    [(eif.KERNEL, kernel), (eif.CMDLINE, line),
                     (eif.METADATA, eif.metadata()),
                     *((eif.RAMDISK, data) for data in ramdisks)],
                    arch=GUEST.image_flag, **unusual))
                launch = self.start(self.arguments(image='/tmp/image'))
                self.console(launch, 'Unable to mount root fs')
                self.end(launch, status=4)

    def test_kernel_without_acpi(self):
        """Kernels made for enclaves find their devices without ACPI."""
        launch = self.start(self.arguments('-no-shutdown', image=PROBE))
        self.console(launch, 'probe: done')
        text = launch.job.text()
        self.assertIn('probe: command line: ' + AWS_CMDLINE, text)
        self.assertIn('probe: no ACPI', text)
        found = re.findall('magic good, version 2, id (0x[0-9a-f]+), '
                           'interrupt routed', text)
        self.assertEqual(sorted(found), ['0x13', '0x21'])   # vsock, NSM

    def test_console_from_first_byte(self):
        """The kernel's very first line reaches the console."""
        console, beginning = EARLY_CONSOLE[GUEST.name]
        words = ['-kernel', KERNEL, '-initrd', INITRD, '-append',
                 console + ' panic=-1 reboot=t']
        launch = self.start(self.arguments(*words, image=None))
        self.console(launch, 'demo: serving')
        text = launch.job.output.decode(errors='replace')
        first = next(line for line in text.splitlines() if line.strip())
        self.assertRegex(first, beginning)
        self.assertIn('[    0.000000] Linux version', text)
        self.assertIn('ommand line: ' + console, text)

    def test_debug_registers_are_zero(self):
        """In debug mode an enclave cannot prove what its image is."""
        launch = self.boot()
        self.console(launch, 'demo: serving')
        text = launch.job.output.decode(errors='replace')
        self.assertEqual(self.registers(text), [ZERO] * 3)
        self.assert_identity(launch, text)
        self.assert_debug_document(launch)

    def assert_debug_document(self, launch):
        """Signed as any other; nothing but the image's registers is lost."""
        with nsm.Module(self.parent, launch.cid) as module:
            document = module.document(nonce=b'n')
        payload = nsm.decode(nsm.decode(document)[2])
        self.assertEqual(list(payload), KEYS)
        self.assertEqual(len(payload['cabundle']), 4)
        self.assertEqual({index: value.hex() for index, value
                          in payload['pcrs'].items() if any(value)},
                         self.identity())
        self.assertEqual(list(payload['pcrs']), list(range(16)))
        verified(self, document, '--nonce', '6e', status=DEBUG)
        verified(self, document, '--nonce', '6e', '--allow-debug')

    def identity(self):
        """Registers of the parent: its role, its ID."""
        return {index: hashlib.sha384(bytes(48) + name.encode()).hexdigest()
                for index, name in ((3, ROLE), (4, self.parent.instance_id))}

    def assert_identity(self, launch, text):
        """What it attests of itself and its parent, debug mode or not."""
        self.assertIn('demo: module %s-enc%016x\n' % (
            self.parent.instance_id,
            launch.qmp.command('query-nitro-enclave')['slot-uid']),
            text.replace('\r', ''))
        for index, value in self.identity().items():
            self.assertIn('demo: PCR%d %s' % (index, value), text)

    def test_dmi(self):
        """The parent's firmware says that it is an instance, and which."""
        names = ('sys_vendor', 'product_name', 'board_vendor',
                 'board_asset_tag')
        self.assertEqual(self.parent.check(
            ['sh', '-c', 'cd /sys/devices/virtual/dmi/id; cat "$@"', 'sh',
             *names]).splitlines(),
            ['Amazon EC2', instance.PRODUCT, 'Amazon EC2',
             self.parent.instance_id])

    def test_production(self):
        """Without debug mode: no console, real measurements."""
        launch = self.boot(debug='off')
        text = self.hello(launch)
        self.assertEqual(self.registers(text),
                         eif.measure(images.demo_image().read_bytes()))
        self.assert_identity(launch, text)
        refused = self.parent.run(['lab', 'vsock', 'connect', '0',
                                   10000 + launch.cid])
        self.assertNotEqual(refused.status, 0)
        self.assertNotIn('demo:', launch.job.text())

    def test_paused_then_cont(self):
        """-S: nothing starts before cont."""
        launch = self.start(self.arguments('-S'))
        self.assertEqual(launch.qmp.command('query-status')['status'],
                         'prelaunch')
        self.assertEqual(launch.qmp.get('/machine/nitro-vsock',
                                        'enclave-cid'), 0)
        launch.qmp.command('cont')
        launch.wait_booted()

    def test_nodefaults_with_devices(self):
        """With -nodefaults heartbeat and console come by -device."""
        launch = self.boot('-nodefaults', '-device', 'nitro-heartbeat',
                           '-chardev', 'file,id=con,path=/tmp/console',
                           '-device', 'nitro-serial-vsock,chardev=con')
        self.wait_until(lambda: 'demo: serving'
                        in self.parent.get('/tmp/console'), 'console')

    def test_nodefaults_alone(self):
        """With -nodefaults alone there is no console; the rest works."""
        launch = self.start(self.arguments('-nodefaults'))
        self.wait_until(lambda: launch.poll() and launch.cid, 'CID')
        self.wait_until(lambda: self.parent.run(
            ['lab', 'vsock', 'echo', launch.cid, ECHO_PORT, 'hi']).status
            == 0, 'echo service')
        launch.wait_booted()

    def libvirt_console(self):
        """What <serial> becomes, on x86_64 with <qemu:override>."""
        if GUEST.name == 'aarch64':
            return ['-serial', 'chardev:charserial0']
        return ['-device', 'nitro-serial-vsock,chardev=charserial0']

    def test_libvirt_command_line(self):
        """What libvirt writes: tcg first, -nodefaults, -S, cont by QMP."""
        launch = self.start([
            '-name', 'guest=enc,debug-threads=on', '-S', '-machine',
            'nitro,usb=off,dump-guest-core=off', '-accel', 'tcg', '-m',
            'size=%dk' % (DEMO_MIB * 1024), '-overcommit', 'mem-lock=off',
            '-smp', '2,sockets=2,cores=1,threads=1', '-display', 'none',
            '-no-user-config', '-nodefaults', '-rtc', 'base=utc',
            '-no-shutdown', '-kernel', DEMO, '-chardev', 'pty,id=charserial0',
            *self.libvirt_console(),
            '-device', 'nitro-heartbeat', '-accel', 'nitro,debug-mode=on',
            '-msg', 'timestamp=on'])
        launch.qmp.command('cont')
        launch.wait_booted()
        chardevs = launch.qmp.command('query-chardev')
        pty = next(c['filename'] for c in chardevs
                   if c['label'] == 'charserial0').removeprefix('pty:')
        reader = self.parent.spawn(['cat', pty])
        self.parent.run(['lab', 'vsock', 'echo', launch.cid, ECHO_PORT, 'x'])
        self.assertTrue(reader.status is None, reader.text())
        reader.signal(signal.SIGKILL)
        launch.qmp.command('quit')
        self.end(launch)

    def test_two_at_once(self):
        """Two enclaves have their own CIDs, consoles and services."""
        first = self.boot()
        second = self.boot()
        self.assertNotEqual(first.cid, second.cid)
        for launch in (first, second):
            self.assertEqual(self.parent.check(
                ['lab', 'vsock', 'echo', launch.cid, ECHO_PORT, 'both']),
                'both\n')
            self.console(launch, 'enclave CID %d' % launch.cid)
        self.assertEqual(self.stop(first), 0)
        self.assertEqual(self.parent.check(
            ['lab', 'vsock', 'echo', second.cid, ECHO_PORT, 'still']),
            'still\n')

    def test_no_neighbours(self):
        """Enclaves cannot reach each other, nor what is not there."""
        first = self.boot()
        second = self.boot(*self.direct('demo.dial=%d' % first.cid),
                           image=None)
        self.console(second, 'demo: dial %d: Connection reset' % first.cid)
        nobody = self.parent.run(['lab', 'vsock', 'echo', '99', ECHO_PORT,
                                  'x'])
        self.assertIn('Connection reset', nobody.errors)

    def test_console_backlog(self):
        """Who connects to the console late still reads all of it."""
        launch = self.start(self.arguments('-nodefaults', '-device',
                                           'nitro-heartbeat'))
        launch.wait_booted()
        reader = self.parent.spawn(['lab', 'vsock', 'connect', '0',
                                    10000 + launch.cid])
        reader.wait_for('demo: serving')
        self.assertIn('demo: init started', reader.text())
        self.stop(launch)
        reader.wait()

    def test_chosen_cid(self):
        """enclave-cid= is honoured and can be read back."""
        launch = self.start(['-accel', 'nitro,debug-mode=on,enclave-cid=77',
                             *self.arguments()[2:]])
        launch.wait_booted()
        self.assertEqual(launch.cid, 77)

    def test_serial_to_pty_and_file(self):
        """The console goes to any character device."""
        launch = self.boot('-serial', 'file:/tmp/serial')
        self.wait_until(lambda: 'demo: serving'
                        in self.parent.get('/tmp/serial'), 'console')

    def test_restrictions(self):
        """seccomp, another user and -daemonize do not stand in the way."""
        self.parent.check('chmod 666 /dev/nitro_enclaves')
        launch = self.boot('-sandbox', 'on', '-run-with', 'user=nobody')
        self.console(launch, 'demo: serving')


class Monitor(NitroParentTest):
    """What the monitor shows, compared with what the enclave says."""

    def measured(self, launch):
        """The query's answer with the image measured."""
        def done():
            info = launch.qmp.command('query-nitro-enclave')
            return info['image']['measurement'] != 'running'
        self.wait_until(done, 'measurement')
        info = launch.qmp.command('query-nitro-enclave')
        self.assertEqual(info['image']['measurement'], 'done')
        return info

    def pcrs(self, values):
        """PCR0, PCR1, PCR2 of an answer."""
        return [values['pcr%d' % i] for i in range(3)]

    def test_production(self):
        """Measurements are those the enclave's NSM shows; events in order."""
        launch = self.start(self.arguments('-S', '-M', 'nitro,measure=on',
                                           debug='off'))
        info = launch.qmp.command('query-nitro-enclave')
        self.assertEqual(info['state'], 'prepared')
        self.assertNotIn('cid', info)
        launch.qmp.command('cont')
        started = launch.qmp.wait_event('NITRO_ENCLAVE_STARTED')['data']
        booted = launch.qmp.wait_event('NITRO_ENCLAVE_BOOTED', 60)['data']
        launch.wait_booted()
        info = self.measured(launch)
        shown = self.registers(self.hello(launch))
        self.assertEqual(self.pcrs(info['attestation-pcrs']), shown)
        self.assertEqual(self.pcrs(info['image']['pcrs']), shown)
        self.assertEqual(info['image']['name'], 'demo')
        self.assertEqual(info['state'], 'booted')
        self.assertEqual(info['cid'], launch.cid)
        self.assertEqual(started, {'cid': launch.cid, 'debug-mode': False,
                                   'slot-uid': info['slot-uid']})
        self.assertEqual(booted, {'cid': launch.cid,
                                  'boot-ms': info['boot-ms']})
        self.assertEqual(info['memory'][0]['size'], DEMO_MIB << 20)
        self.assertEqual(info['memory'][0]['page-size'], 2 << 20)
        offline = self.parent.get('/sys/devices/system/cpu/offline')
        for vcpu in info['vcpus']:
            self.assertIn(vcpu['host-cpu'], cpu_list(offline))
        self.assertNotIn('console', info)
        self.assertEqual(self.stop(launch), 0)

    def test_debug(self):
        """Debug mode: zeros for others, console counted, end told."""
        launch = self.boot('-M', 'nitro,measure=on', '-no-shutdown',
                           '-serial', 'file:/tmp/counted',
                           *self.direct('demo.mode=poweroff',
                                        'demo.seconds=3'), image=None)
        info = self.measured(launch)
        self.assertEqual(self.pcrs(info['attestation-pcrs']), [ZERO] * 3)
        image = eif.build(images.demo_kernel().read_bytes(),
                          images.demo_cmdline('demo.mode=poweroff',
                                              'demo.seconds=3'),
                          [images.demo_initramfs().read_bytes()])
        self.assertEqual(self.pcrs(info['image']['pcrs']),
                         eif.measure(image))
        data = launch.qmp.wait_event('NITRO_ENCLAVE_EXITED')['data']
        self.assertEqual(data['cause'], 'ended')
        self.assertGreater(data['uptime-ms'], info['boot-ms'])
        launch.qmp.wait_event('SHUTDOWN')
        info = launch.qmp.command('query-nitro-enclave')
        self.assertEqual(info['state'], 'exited')
        self.assertEqual(info['console']['state'], 'closed')
        self.assertEqual(self.parent.check(['wc', '-c', '/tmp/counted']),
                         '%d /tmp/counted\n' % info['console']['bytes'])
        self.assertIn('demo: orderly power-off',
                      self.parent.get('/tmp/counted'))


class Life(NitroParentTest):
    """Data, ends and leftovers."""

    def test_donated_image(self):
        """The hypervisor finds the file's bytes in donated memory."""
        launch = self.boot()
        data = images.demo_image().read_bytes()
        digest = hashlib.sha384(data).hexdigest()
        log = self.parent.hypervisor.log.read_text(errors='replace')
        self.assertIn(digest, log)
        if GUEST.name == 'x86_64':
            self.assertIn('kernel unpacks itself'
                          if self.parent.accelerator == 'kvm'
                          else 'kernel unpacked here', log)

    def test_bulk_transfer(self):
        """Many bytes in odd chunks, to the enclave and back, intact."""
        launch = self.boot()
        output = self.parent.check(['lab', 'vsock', 'bulk', launch.cid,
                                    ECHO_PORT, BULK_BYTES])
        self.assertIn('%d bytes intact' % BULK_BYTES, output)

    def test_power_off(self):
        """An enclave that powers off ends its launcher with status 0."""
        launch = self.boot(*self.direct('demo.mode=poweroff',
                                        'demo.seconds=1'), image=None)
        self.end(launch)
        self.assertIn('demo: orderly power-off', launch.job.text())

    def test_crash(self):
        """A panic ends the launcher, and the last words are shown."""
        launch = self.start(self.arguments(
            *self.direct('demo.mode=crash', 'demo.seconds=1'), image=None))
        self.end(launch)
        self.assertIn('Kernel panic', launch.job.text())
        self.assertIn(', booted after', launch.job.text())

    def test_lost(self):
        """The enclave is torn away: its launcher learns and ends."""
        launch = self.boot()
        for pid in self.enclave_processes():
            os.kill(pid, signal.SIGKILL)
        self.end(launch)

    def test_lost_unheard(self):
        """Without the event nobody learns; SIGTERM still frees all."""
        launch = self.boot()
        self.fault('EVENT:1:silence')
        for pid in self.enclave_processes():
            os.kill(pid, signal.SIGKILL)
        time.sleep(1)
        self.assertIsNone(launch.job.status)
        self.assertEqual(self.stop(launch), 0)

    def test_no_shutdown(self):
        """-no-shutdown keeps QEMU after the enclave's end."""
        launch = self.boot('-no-shutdown',
                           *self.direct('demo.mode=poweroff',
                                        'demo.seconds=1'), image=None)
        launch.qmp.wait_event('SHUTDOWN')
        self.assertFalse(launch.qmp.command('query-status')['running'])

    def test_terminated(self):
        """SIGTERM: orderly end, everything free at once."""
        launch = self.boot()
        self.assertEqual(self.stop(launch), 0)
        self.assert_free()

    def test_killed(self):
        """SIGKILL: no enclave outlives its launcher."""
        launch = self.boot()
        self.assertEqual(self.stop(launch, signal.SIGKILL), -signal.SIGKILL)
        self.assert_free()
        gone = self.parent.run(['lab', 'vsock', 'echo', launch.cid,
                                ECHO_PORT, 'x'])
        self.assertNotEqual(gone.status, 0)

    def test_killed_before_heartbeat(self):
        """SIGKILL during boot leaves neither port nor memory taken."""
        launch = self.start(self.arguments())
        self.wait_until(lambda: launch.poll() and launch.cid, 'CID')
        self.stop(launch, signal.SIGKILL)
        self.assert_free()

    def test_console_flood(self):
        """An enclave that never stops writing blocks neither QMP nor end."""
        launch = self.boot(*self.direct('demo.mode=flood'), image=None)
        self.console(launch, 'flood 000001000')
        for _ in range(20):
            self.assertTrue(launch.qmp.command('query-status')['running'])
        self.assertEqual(self.stop(launch), 0)

    def test_other_launcher(self):
        """Another program drives the same driver to a running enclave."""
        job = self.parent.spawn([
            'lab', 'ne', 'create', 'info', '1', 'map', DEMO_MIB, 'image',
            DEMO, 'donate', 'vcpu', '0', 'vcpu', '0', 'start', '1', '0',
            'hold'])
        listener = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        cid = int(job.wait_for(r'start ok (\d+)').group(1))
        self.assertEqual(int(listener.wait_for(r'accepted cid (\d+)')
                             .group(1)), cid)
        job.end_input()
        self.assertEqual(job.wait(), 0)
        listener.wait()

    def test_heartbeat_of_a_stranger(self):
        """Somebody else's connection to port 9000 is not the heartbeat."""
        launch = self.start(self.arguments('-S'))
        strangers = [self.parent.spawn(['lab', 'vsock', 'connect', '1',
                                        '9000']) for _ in range(3)]
        launch.qmp.command('cont')
        strangers += [self.parent.spawn(['lab', 'vsock', 'connect', '1',
                                         '9000']) for _ in range(3)]
        launch.wait_booted()
        for stranger in strangers:
            stranger.wait()

    def test_mute_enclave(self):
        """Without a heartbeat the enclave runs on, unbooted."""
        launch = self.start(self.arguments(*self.direct('demo.mode=mute'),
                                           image=None))
        self.console(launch, 'demo: serving')
        self.assertTrue(launch.poll())
        self.assertIsNone(launch.booted)

    def test_deadline(self):
        """An enclave that does not boot in time is ended, with status 5."""
        launch = self.start(self.arguments(
            '-global', 'nitro-heartbeat.timeout=4',
            *self.direct('demo.mode=mute'), image=None))
        self.end(launch, status=5)
        self.assertIn('has sent no heartbeat for 4.0 s, ending it',
                      launch.job.text())
        self.assert_free()

    def test_end_before_heartbeat(self):
        """A kernel that panics before its init: status 4."""
        launch = self.start(self.arguments(
            '-kernel', KERNEL, '-initrd', INITRD, '-append',
            'console=ttyS0 panic=-1 reboot=t rdinit=/none', image=None))
        self.end(launch, status=4)
        self.assertIn('Kernel panic', launch.job.text())
        self.assertRegex(launch.job.text(),
                         r'ended after [0-9.]+ s, before its heartbeat')
        self.assert_free()

    def test_not_paused(self):
        """stop is refused, and the status tells the truth."""
        launch = self.boot()
        with self.assertRaisesRegex(QmpError, 'cannot be paused'):
            launch.qmp.command('stop')
        self.assertEqual(launch.qmp.command('query-status')['status'],
                         'running')

    def waits_for_port(self, launch):
        """Wait until a launch says that it has to wait."""
        self.wait_until(lambda: 'vsock port 9000 is taken by another launch'
                        in launch.job.text(), 'message')

    def test_launches_at_once(self):
        """The second launch waits for the port of the first."""
        first = self.start(self.arguments('-S', *self.direct(), image=None))
        second = self.start(self.arguments('-S'))
        for launch in (first, second):
            launch.qmp.command('cont')
        self.waits_for_port(second)
        first.wait_booted()
        second.wait_booted()
        self.assertNotEqual(first.cid, second.cid)

    def test_beside_another_program(self):
        """Another launcher has the port, and dies with it."""
        listener = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        listener.wait_for('listening')
        launch = self.start(self.arguments())
        self.waits_for_port(launch)
        self.assertEqual(launch.qmp.get('/machine/nitro', 'state'),
                         'prepared')
        listener.signal(signal.SIGKILL)
        listener.wait()
        launch.wait_booted()

    def test_wrong_heartbeat(self):
        """A wrong byte is no heartbeat, and is not answered."""
        launch = self.start(self.arguments(*self.direct('demo.mode=wrong'),
                                           image=None))
        self.console(launch, 'demo: no heartbeat, peer closed')
        self.assertTrue(launch.poll())
        self.assertIsNone(launch.booted)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
