# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios of the selftest: launches by QEMU, channels, and ends."""

import argparse
import re
import signal
import socket
import subprocess
import sys
import threading

from . import driver
from .common import stopping
from .driver import DEBUG, Slot, error_name
from .enclaves import Enclaves
from .launch import Launch
from .scenario import Failure, Scenario, Skip
from .selftest_refusals import LEAST_MIB

ENCLAVE_MIB = 128
LIMIT = 600         # seconds, for what has to come
CID, OTHER_CID = 60321, 60322
ECHO_PORT, HELLO_PORT = 5005, 5006      # of the demo enclave
STREAM = bytes(range(251)) * (4 << 20 >> 8)
PIECE = 64 * 1024
REGISTER = re.compile(r'PCR([0-2]) ([0-9a-f]{96})')
NO_HEARTBEAT = 5    # status of QEMU
MIB = 1 << 20
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Running:
    """An enclave of the selftest."""

    def __init__(self, launch):
        self.launch, self.text = launch, ''

    @property
    def info(self):
        """What QEMU said of it when it had booted."""
        return self.launch.enclave.info

    def console(self, pattern):
        """Wait for a text on the console."""
        self.launch.console.settimeout(LIMIT)
        while not re.search(pattern, self.text):
            data = self.launch.console.recv(PIECE)
            if not data:
                raise Failure(f'the console ended without {pattern}: '
                              + ' '.join(self.text[-300:].split()))
            self.text += data.decode(errors='replace')
        return self.text

    def connect(self, port):
        """A stream to the enclave."""
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        sock.settimeout(LIMIT)
        try:
            sock.connect((self.info['cid'], port))
        except OSError:
            sock.close()
            raise
        return sock

    def wait_end(self):
        """Exit status of QEMU, which ends with its enclave."""
        return self.launch.process.wait(LIMIT)

    def kill(self):
        """As a launcher that is killed."""
        self.launch.process.send_signal(signal.SIGKILL)
        self.launch.process.wait(LIMIT)

    def end(self):
        """End it, whatever has come of it; nothing stays.

        A further signal waits until that is done.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.launch.abandon()
            if self.launch.console:
                self.launch.console.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Bench:
    """What scenarios have in common; use as a context manager."""

    def __init__(self, args, images, instance, place):
        """@place: a private directory for sockets."""
        self.args, self.images, self.place = args, images, place
        self.instance, self.pool = instance, instance.pool()
        self.threads = instance.threads()
        self.running, self.launches = {}, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for running in self.running.values():
            running.end()
        self.running.clear()

    def require(self, cpus, mib):
        """Skip what this machine has not enough of."""
        free = self.free_cpus(cpus) if cpus else 0
        if free < cpus:
            raise Skip(f'needs {cpus} CPUs of the pool, {free} are free')
        pages = self.free_pages() * 2 if mib else 0
        if pages < mib:
            raise Skip(f'needs {mib} MiB in huge pages of 2 MiB, {pages} are'
                       ' free on the node of the pool')

    def free_cpus(self, wanted):
        """Of the pool, for another enclave."""
        return driver.free_cpus(wanted)

    def free_pages(self):
        """Huge pages of 2 MiB where the pool is."""
        return self.instance.pages('free_hugepages')

    def total_pages(self):
        """The same, with those in use."""
        return self.instance.pages('nr_hugepages')

    def options(self, image, **changes):
        """Options of Launch, as the command line would have them."""
        values = {'qemu': self.args.qemu, 'debug_mode': False,
                  'enclave_cid': None, 'cpu_ids': None, 'agent_port': None,
                  'cpu_count': self.threads, 'memory_mib': ENCLAVE_MIB,
                  'eif_path': str(image),
                  'qemu_options': ['-global',
                                   f'nitro-heartbeat.timeout={LIMIT}']}
        return argparse.Namespace(**{**values, **changes})

    def launch(self, name, image, **changes):
        """Launch; returns when it has booted."""
        args, late = self.options(image, **changes), []
        # No signal comes between QEMU's start and who ends it
        with stopping(lambda number, _frame: late.append(number)):
            launch = Launch(args, *Enclaves(self.place).new(name))
            self.running[name] = running = Running(launch)
        try:
            if late:
                sys.exit(128 + late[0])
            launch.start(args.debug_mode)
        except BaseException:
            self.end(name)
            raise
        self.launches += 1
        return running

    def end(self, name):
        """End one."""
        running = self.running.pop(name, None)
        if running:
            running.end()

    def enclave(self, name):
        """One that an earlier scenario launched."""
        if name not in self.running:
            raise Skip(f'needs the enclave of the launch in {name} mode,'
                       ' which is not there')
        return self.running[name]


def check(condition, reason, **found):
    """A scenario fails unless this is so."""
    if not condition:
        raise Failure(reason, **found)


def check_info(info, debug, cid=None):
    """Is it what was wanted?"""
    check(info['state'] == 'booted', f'the state is {info["state"]}')
    check(info['debug-mode'] == debug, 'the mode is another one')
    check(cid in (None, info['cid']) and info['cid'] > 3,
          f'the CID is {info["cid"]}, wanted is {cid or "a free one"}')
    memory = sum(region['size'] for region in info['memory']) // MIB
    check(memory == ENCLAVE_MIB, f'it has {memory} MiB')


def launch_debug(bench):
    """A chosen CID, and a heartbeat."""
    running = bench.launch('debug', bench.images.image(), debug_mode=True,
                           enclave_cid=CID)
    check_info(running.info, True, CID)
    return {'Boot': running.info['boot-ms'] / 1000}


def debug_console(bench):
    """All that the demo enclave prints; its registers are zero."""
    text = bench.enclave('debug').console('demo: serving')
    registers = dict(REGISTER.findall(text))
    check(not registers or set(registers.values()) == {'0' * 96},
          'registers in debug mode are not zero')
    return {'Registers': len(registers)}


def echo(running):
    """Much data each way, at once; every byte is compared."""
    with running.connect(ECHO_PORT) as sock:
        writer = threading.Thread(target=send_all, args=(sock,), daemon=True)
        writer.start()
        at = 0
        while at < len(STREAM):
            data = sock.recv(PIECE)
            check(data, f'the stream ended after {at} of {len(STREAM)} bytes')
            check(data == STREAM[at:at + len(data)],
                  f'what came back differs behind byte {at}')
            at += len(data)
        writer.join(LIMIT)
    return {'Bytes': at}


def send_all(sock):
    """The other half of echo(), which reports what goes wrong."""
    try:
        sock.sendall(STREAM)
    except OSError:
        pass


def echo_debug(bench):
    """A stream in debug mode."""
    return echo(bench.enclave('debug'))


def echo_production(bench):
    """A stream in production."""
    return echo(bench.enclave('production'))


def taken_cid(bench):
    """The hypervisor does not give a CID twice."""
    cid = bench.enclave('debug').info['cid']
    with Slot() as slot:
        slot.add_core(bench.threads)
        slot.donate(LEAST_MIB)
        try:
            slot.start(DEBUG, cid)
        except OSError as error:
            return {'Errno': error.errno}
    raise Failure('it was given to two enclaves', Errno=0)


def two_at_once(bench):
    """Another one, of the hypervisor's CID, beside the first."""
    first = bench.enclave('debug')
    try:
        second = bench.launch('second', bench.images.image())
        check_info(second.info, False)
        check(second.info['cid'] != first.info['cid'], 'both have one CID')
        check(not {cpu['host-cpu'] for cpu in first.info['vcpus']}
              & {cpu['host-cpu'] for cpu in second.info['vcpus']},
              'both have one CPU')
        echo(second)
        echo(first)
    finally:
        bench.end('second')


def killed_launcher(bench):
    """Its enclave ends; the same CPUs serve the next launch at once."""
    bench.enclave('debug').kill()
    bench.end('debug')
    running = bench.launch('production', bench.images.image())
    check_info(running.info, False)
    return {'Boot': running.info['boot-ms'] / 1000}


def production_registers(bench):
    """What the enclave attests is what the image has."""
    with bench.enclave('production').connect(HELLO_PORT) as sock:
        text = b''
        while data := sock.recv(PIECE):
            text += data
    told = dict(REGISTER.findall(text.decode(errors='replace')))
    if not told:
        raise Skip('needs a security module in the enclave, its kernel has'
                   ' no driver for it')
    wanted = bench.images.registers()
    check([told.get(str(n)) for n in range(3)] == wanted,
          "the registers are not the image's")


def end_production(bench):
    """SIGTERM ends launcher and enclave."""
    running = bench.enclave('production')
    running.launch.process.terminate()
    status = running.wait_end()
    bench.end('production')
    check(status == 0, f'QEMU ended with status {status}', Status=status)
    return {'Status': status}


def own_end(mode):
    """The enclave ends by itself; QEMU notices."""
    def run(bench):
        image = bench.images.image(f'demo.mode={mode}')
        try:
            status = bench.launch(mode, image).wait_end()
        finally:
            bench.end(mode)
        check(status == 0, f'QEMU ended with status {status}', Status=status)
        return {'Status': status}
    return run


def no_heartbeat(bench):
    """An enclave that does not say that it has booted is ended."""
    image = bench.images.image('demo.mode=mute')
    return refusal(bench, NO_HEARTBEAT, image, more=[
        '-global', 'nitro-heartbeat.timeout=10'])


def after_start(bench):
    """What a started enclave does not take any more."""
    with Slot() as slot:
        memory = slot.donate_image(bench.images.image(), ENCLAVE_MIB)
        slot.add_core(bench.threads)
        cid = slot.start(DEBUG, OTHER_CID)
        check(cid == OTHER_CID, f'the CID is {cid}, wanted is {OTHER_CID}')
        for request in (slot.start, slot.add_cpu, slot.image_offset,
                        lambda: slot.add_memory(memory.address, 2 * MIB)):
            try:
                request()
                number = 0
            except OSError as error:
                number = error.errno
            check(number == 270, f'the driver answered {error_name(number)}',
                  Errno=number)
    return {'Errno': 270}


def no_image(bench):
    """Memory without an image: refused, or ended; which, is reported."""
    with Slot() as slot:
        slot.add_core(bench.threads)
        slot.donate(LEAST_MIB)
        try:
            slot.start()
        except OSError as error:
            return {'Errno': error.errno}
        check(slot.has_ended(LIMIT), 'it runs', Errno=0)
    return {'Errno': 0}


def refusal(bench, status, image, smp=None, mib=ENCLAVE_MIB, accel='',
            machine='', more=()):
    """QEMU has to end with this status and say why."""
    argv = [bench.args.qemu, '-accel', 'nitro' + accel, '-M',
            'nitro' + machine, '-nodefaults', '-display', 'none', '-smp',
            str(smp or bench.threads), '-m', f'{mib}M', '-kernel', str(image),
            *more]
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=LIMIT,
                         capture_output=True, text=True, errors='replace',
                         check=False)
    said = run.stderr.strip().split('\n')[0]
    check(run.returncode == status, f'QEMU ended with status'
          f' {run.returncode}, expected is {status}: {said}',
          Status=run.returncode)
    return {'Status': status, 'Said': said}


def refusing(**changes):
    """QEMU itself refuses this, before it asks the driver."""
    return lambda bench: refusal(bench, 1, bench.images.image(), **changes)


def refuse_half_core(bench):
    """One of two threads."""
    if bench.threads < 2:
        raise Skip('needs cores of 2 threads, they have 1')
    return refusal(bench, 1, bench.images.image(), smp=1)


def refuse_cpu_twice(bench):
    """The first CPU of the pool, two times."""
    cpu = bench.pool[0]
    return refusal(bench, 1, bench.images.image(), smp=2,
                   accel=f',cpus={cpu}:{cpu}')


def refuse_much_memory(bench):
    """A page more than there are."""
    return refusal(bench, 1, bench.images.image(),
                   mib=2 * bench.total_pages() + 2)


def refuse_image(number):
    """A file that is no image, or one that is damaged."""
    def run(bench):
        return refusal(bench, 1, bench.images.broken()[number])
    return run


SMALL_PAGES = ['-object', 'memory-backend-memfd,id=small,'
               f'size={ENCLAVE_MIB}M']


def scenarios(threads):
    """All of them, in an order in which launches serve several; @threads: of
    a core, which is what an enclave gets."""
    launched = {'cpus': threads, 'mib': ENCLAVE_MIB}
    raw = {'cpus': threads, 'mib': LEAST_MIB, 'quick': False}
    later = {**launched, 'quick': False}
    yield Scenario('launch in debug mode', launch_debug, **launched)
    yield Scenario('console', debug_console)
    yield Scenario('stream in debug mode', echo_debug)
    yield Scenario('CID of another enclave', taken_cid, **raw)
    yield Scenario('two at once', two_at_once, **later)
    yield Scenario('launcher killed, launched again', killed_launcher)
    yield Scenario('stream in production', echo_production, quick=False)
    yield Scenario('registers in production', production_registers,
                   quick=False)
    yield Scenario('launcher ended by SIGTERM', end_production)
    for name, mode in (('power-off', 'poweroff'), ('reset', 'reboot'),
                       ('panic', 'crash')):
        yield Scenario('end by ' + name, own_end(mode), **{
            **launched, 'quick': mode == 'crash'})
    yield Scenario('no heartbeat', no_heartbeat, **later)
    yield Scenario('requests after the start', after_start, **later)
    yield Scenario('memory without an image', no_image, **raw)
    for name, run in (
            ('half a core', refuse_half_core),
            ('CPU 0', refusing(smp=2, accel=',cpus=0:1')),
            ('CPU twice', refuse_cpu_twice),
            ('too little memory', refusing(mib=LEAST_MIB // 2)),
            ('more memory than there is', refuse_much_memory),
            ('memory of ordinary pages', refusing(
                machine=',memory-backend=small', more=SMALL_PAGES)),
            ('CID of the parent', refusing(accel=',enclave-cid=3')),
            ('damaged image', refuse_image(0)),
            ('file that is no image', refuse_image(1))):
        yield Scenario('QEMU: ' + name, run, quick=False)
