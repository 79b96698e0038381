# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab exec, put, get, ps, status, stop: a parent that runs elsewhere.

Another terminal runs it, by 'nitro-lab parent' or 'run'; see server.py.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from . import directories, forward, shell
from .accel import NAMES
from .agent import CHUNK, STDERR, STDOUT, Agent, Job, exec_request
from .config import LabError, TREE
from .patience import PATIENCE
from .server import FORWARD, SOCKET, STATUS

sys.path.append(str(TREE / 'contrib/nitro-run'))
from nitro_run.streams import OutputLost            # noqa: E402

CONSOLE_PORT = 10000


def _choose(name):
    """The parent of this name, or the only one: (name, sockets)."""
    running = directories.running()
    if name in running:
        return name, running[name]
    if name is not None or not running:
        raise LabError('no parent %s runs' % name if name is not None
                       else 'no parent runs', 'start one with nitro-lab parent'
                       if not running else 'choose from ' + ', '.join(running))
    if len(running) > 1:
        raise LabError('%d parents run' % len(running),
                       'choose with --name: ' + ', '.join(running))
    return next(iter(running.items()))


def _socket(name):
    name, place = _choose(name)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(str(place / SOCKET))
    except OSError as error:
        raise LabError('parent %s cannot be reached: %s'
                       % (name, error.strerror),
                       'it is just booting or ending; try again') from error
    return sock


def _connect(name):
    agent = Agent(_socket(name))
    if not agent.hello.wait(PATIENCE) or agent.gone.is_set():
        raise LabError('the process that runs the parent does not answer',
                       'see nitro-lab ps')
    return agent


class Output(Job):
    """A program whose output is written to files at once."""

    def __init__(self, agent, argv, out=None):
        """@out: a file for its stdout, not the lab's stdout."""
        super().__init__(agent, 0, argv)
        self.files = {STDOUT: out or sys.stdout.buffer,
                      STDERR: sys.stderr.buffer}

    def frame(self, kind, data):
        if kind not in self.files:
            super().frame(kind, data)
        elif not self.failure:
            self._write(self.files[kind], data)

    def _write(self, file, data):
        """As in a pipe, what nobody takes ends the program."""
        try:
            file.write(data)
            file.flush()
        except (OSError, OutputLost) as error:
            self.failure = error
            self.signal(signal.SIGPIPE)


class Answer(Job):
    """The answer of the process that runs the parent."""

    def frame(self, kind, data):
        if kind in (STATUS, FORWARD):
            with self.changed:
                self.output += data
                self.changed.notify_all()


def _question(agent, kind, data=b''):
    """What the process that runs the parent answers."""
    answer = agent.start(Answer(agent, 0, ['parent']), data, kind)
    answer.wait_until(lambda: answer.output or agent.gone.is_set(), PATIENCE,
                      'answer')
    if not answer.output:
        raise LabError('the process that runs the parent has ended')
    return json.loads(answer.output)


@contextlib.contextmanager
def _forwarding(agent, rules):
    """Ports of this machine lead to the parent meanwhile."""
    for rule in rules:
        failure = _question(agent, FORWARD, rule.encode())
        if failure:
            raise LabError(failure)
    try:
        yield
    finally:
        if rules:
            with contextlib.suppress(LabError):     # it has ended as well
                _question(agent, FORWARD)


def _exit_status(status):
    return status if status >= 0 else 128 - status


def execute(args):
    """Run a program in the parent."""
    command = args.command[args.command[:1] == ['--']:] or ['sh']
    rules = [forward.rule(text) for text in args.forward]
    agent = _connect(args.name)
    terminal = args.terminal and sys.stdin.isatty()
    argv = shell.sized(command) if terminal else command
    heard, once = [], set()

    def pass_on(number, _frame):
        # A program that does not end is left, and ended, the second time
        if once:
            raise SystemExit(128 + number)
        once.add(number)
        heard.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    with _forwarding(agent, rules):
        job = agent.start(Output(agent, argv), exec_request(argv, terminal))
        shell.relay(job, terminal, heard)
    # Without a status its output is lost, which ends the lab as well
    return 1 if job.status is None else _exit_status(job.status)


def _finish(job, what):
    """Wait for the end of a program that has to succeed."""
    job.wait(timeout=None)
    if job.failure:
        raise LabError('%s: cannot write: %s' % (what, getattr(
            job.failure, 'strerror', job.failure)))
    if job.status:
        raise LabError('%s failed with status %d' % (what, job.status))
    return 0


def put(args):
    """Copy a file, or what is in a directory, into the parent."""
    source, agent = Path(args.source), _connect(args.name)
    if source.is_dir():
        argv = ['sh', '-c', 'mkdir -p "$0" && tar -x -C "$0" -f -',
                args.target]
        words = ['tar', '-c', '-C', source, '.']
    elif source.is_file():
        argv = ['sh', '-c', 'if [ -d "$0" ]; then set -- "$0/$1" "$2"; else'
                ' set -- "$0" "$2"; fi; cat > "$1" && chmod "$2" "$1"',
                args.target, source.name, '%o' % (source.stat().st_mode
                                                  & 0o777)]
        words = ['cat', source]
    else:
        raise LabError('%s is neither a file nor a directory' % source)
    job = agent.start(Output(agent, argv), exec_request(argv, False))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as reader:
        for block in iter(lambda: reader.stdout.read(CHUNK), b''):
            job.send(block)
    job.end_input()
    status = _finish(job, 'put')
    if reader.returncode:
        raise LabError('put: %s could not be read as a whole' % source)
    return status


def get(args):
    """Copy a file, or what is in a directory, out of the parent."""
    # Never '..', below which the files of a directory would go astray
    name = Path(os.path.normpath(args.source)).name
    name = '' if name == '..' else name
    if not (name or args.target):
        raise LabError('get: %s has no name of its own' % args.source,
                       'say where it goes: nitro-lab get %s TARGET'
                       % args.source)
    target = Path(args.target or name)
    if target.is_dir():
        target = target / name
    agent = _connect(args.name)
    if agent.run(['test', '-d', args.source]).status == 0:
        return _get_directory(agent, args.source, target)
    if agent.run(['test', '-r', args.source]).status:
        raise LabError('get: the parent has no readable file %s' % args.source,
                       'nitro-lab exec ls shows what it has')
    mode = agent.run(['stat', '-L', '-c', '%a', args.source]).output
    with open(target, 'wb') as file:
        if target.is_file() and mode:
            os.fchmod(file.fileno(), int(mode, 8) & 0o777)
        return _fetch(agent, ['cat', args.source], file)


def _get_directory(agent, source, target):
    target.mkdir(exist_ok=True)
    with subprocess.Popen(['tar', '-x', '-p', '-C', target, '-f', '-'],
                          stdin=subprocess.PIPE) as writer:
        status = _fetch(agent, ['tar', '-c', '-C', source, '.'], writer.stdin)
    if writer.returncode:
        raise LabError('get: %s could not be written as a whole' % target)
    return status


def _fetch(agent, argv, file):
    job = Output(agent, argv, out=file)
    agent.start(job, exec_request(argv, False)).end_input()
    return _finish(job, 'get')


def ask(name):
    """Agent of a parent, and what its process says of it."""
    agent = _connect(name)
    return agent, _question(agent, STATUS)


def _time(seconds):
    return '%d:%02d:%02d' % (seconds // 3600, seconds // 60 % 60,
                             seconds % 60)


def processes(_args):
    """List the parents that run, and the programs in them."""
    running = directories.running()
    if not running:
        print('no parent runs')
    for name in running:
        try:
            _, known = ask(name)
        except LabError as error:
            print('%-12s %s' % (name, error))
            continue
        print('%-12s %s, %s, process %d, up %s, %d enclaves' % (
            name, known['arch'], NAMES[known['accelerator']],
            known['process'], _time(known['seconds']),
            len(known['enclaves'])))
        for argv in known['programs']:
            print('  %s' % ' '.join(argv))
    return 0


# Connections that the parent's kernel has, free and all huge pages by size
PROBE = '''lab connections
for d in /sys/kernel/mm/hugepages/hugepages-*kB; do
    echo "pages ${d##*-} $(cat $d/free_hugepages) $(cat $d/nr_hugepages)"
done
echo "pool $(cat /sys/module/nitro_enclaves/parameters/ne_cpus)"'''


def status(args):
    """Parents, their enclaves, memory, CPUs and vsock connections."""
    names = [args.name] if args.name else list(directories.running())
    reports = []
    for name in names:
        try:
            agent, known = ask(name)
        except LabError as error:
            print('nitro-lab: %s' % error, file=sys.stderr)
            continue
        _ask_guest(agent, known)
        reports.append(known)
    if args.name and not reports:
        return 1
    if args.json:
        print(json.dumps(reports, indent=2))
    else:
        print('\n'.join(line for known in reports for line in _lines(known))
              or 'no parent runs')
    return 0


def _enclave_of(cid, port):
    """Consoles are served by the hypervisor, on a port for each enclave."""
    return cid or port - CONSOLE_PORT


def _ask_guest(agent, known):
    """Add what the guest's kernel knows."""
    try:
        text = agent.run(['sh', '-c', PROBE], PATIENCE).output
    except LabError:
        known['guest'] = 'does not answer'
        return
    rows = [line.split() for line in text.splitlines()]
    known['pages'] = [{'size': row[1], 'free': int(row[2]),
                       'all': int(row[3])} for row in rows
                      if row[0] == 'pages']
    known['pool'] = ' '.join(row[1] for row in rows
                             if row[0] == 'pool' and len(row) > 1)
    peers = [_enclave_of(int(row[3]), int(row[4])) for row in rows
             if row[0] == 'connection']
    for enclave in known['enclaves']:
        enclave['connections'] = peers.count(enclave['cid'])


def _lines(known):
    yield 'parent %s: %s, %s, process %d, up %s' % (
        known['name'], known['arch'], NAMES[known['accelerator']],
        known['process'], _time(known['seconds']))
    yield '  logs      %s' % known['logs']
    if 'guest' in known:
        yield '  parent    ' + known['guest']
    for pages in known.get('pages', ()):
        if pages['all']:
            yield '  pages     %s: %d of %d free' % (
                pages['size'], pages['free'], pages['all'])
    if 'pool' in known:
        yield '  CPU pool  %s' % (known['pool'] or 'empty, or all in use')
    for enclave in known['enclaves']:
        yield ('  enclave   CID %d: %d MiB, %d vCPUs, process %d, %s'
               ' connections' % (
                   enclave['cid'], enclave['memory_mib'], enclave['vcpus'],
                   enclave['process'], enclave.get('connections', '?')))
    if not known['enclaves']:
        yield '  enclave   none'


def end(name):
    """End a parent and everything in it; returns when it has ended."""
    sock = _socket(name)
    owner, _, _ = struct.unpack('3i', sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize('3i')))
    process = os.pidfd_open(owner)
    signal.pidfd_send_signal(process, signal.SIGTERM)
    select.select([process], [], [])
    os.close(process)


def stop(args):
    """End a parent."""
    end(args.name)
    return 0
