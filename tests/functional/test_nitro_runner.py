#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: nitro-run in the place of nitro-cli, with the real driver."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from test_nitro_kubernetes import commands
from test_nitro_launchers import DEBIAN, FAULTS, PAGE, SCENARIOS, Qemu, table
from test_nitro_manual import blocks
from test_nitro_nsm import verified
from nitro_parent import (DEMO, DEMO_MIB, POOL, NitroParentTest, ScopedTest,
                          config, cpu_list, only_wanted, packages)

from nitro_lab import application, eif, foreign, images, python
from nitro_lab.arch import FOREIGN, GUEST
from nitro_lab.arch import PROGRAM as QEMU
from nitro_lab.patience import PATIENCE

TOP = '/lab/tree'
TOOL = TOP + '/contrib/nitro-run/nitro-run'
RUNNER = config.TREE / 'contrib/nitro-run/nitro-run'
RUNTIME = '/run/nitro-run'
REFERENCE = 'contrib/nitro-run/nitro_run/selftest-parent.json'
PAGES = '/sys/kernel/mm/hugepages/hugepages-%dkB/nr_hugepages'
RUN_INFO = ['EnclaveName', 'EnclaveID', 'ProcessID', 'EnclaveCID',
            'NumberOfCPUs', 'CPUIDs', 'MemoryMiB']
# A program whose output says what reached it, and that ends when asked to
PROGRAM = """echo "a=$A args=$*"; echo to-stderr >&2; trap 'echo stopped; exit 3' TERM
[ "$A" ] && exit 7; while :; do sleep 0.1; done"""
# Asks a UDP port until it answers
ASK = """import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
while True:
    s.sendto(b'ping', ('127.0.0.1', 7777))
    try:
        print(s.recv(99).decode())
        break
    except TimeoutError:
        pass"""
# SIGTERM for process 1 of the namespace that unshare has made
KILL_FIRST = ['sh', '-c',
              'kill -TERM $(cat /proc/$(pidof unshare)/task/*/children)']
PROGRAM_IMAGE, HTTP_IMAGE = '/lab/program.eif', '/lab/http.eif'
DESCRIBE_INFO = RUN_INFO + ['State', 'Flags', 'Measurements', 'ImageName',
                            'ImageVersion']


def program_image():
    """An enclave image with that program."""
    return application.image('program', ['sh', '-c', PROGRAM, 'name'],
                             allow_env='A', allow_args='yes')


def http_image():
    """An enclave image of a container with python3 and a server in it."""
    entry, server = application.tar_entry, Path(__file__).with_name(
        'nitro_http.py')
    files = {**python.files(), '/srv/serve.py': server}
    layer = [(entry(name[1:], 0o755), Path(file).read_bytes())
             for name, file in files.items() if isinstance(file, Path)]
    with tempfile.TemporaryDirectory() as top:
        application.write_saved(top + '/http.tar', [layer], {
            'Entrypoint': ['/py/lib/' + python.LIBRARIES['libc6'][-1],
                           '--library-path', '/py/lib',
                           '/py/bin/' + python.VERSION, '/srv/serve.py'],
            'Env': ['PYTHONHOME=/py', 'PYTHONDONTWRITEBYTECODE=1']})
        return application.container_image(top + '/http.tar', name='http',
                                           net='dhcp')


def image_tool():
    """qemu-eif, where it is built for the parent."""
    if FOREIGN:
        return {}
    tool = images.image_tool()
    return {'/usr/bin/qemu-eif': tool, **{
        path: Path(file) for path, file in
        images.shared_libraries(tool).items()}}


class Run(NitroParentTest):
    """Enclaves by the commands of nitro-cli."""

    @classmethod
    def parent_files(cls):
        # As make check-launchers; the rest of that takes too long here
        others = foreign.Qemu().files() if GUEST.name == 'x86_64' else {}
        return {**super().parent_files(), **python.files(), **others,
                **python.nitro_run_files(TOP), **image_tool(),
                PROGRAM_IMAGE: program_image(), HTTP_IMAGE: http_image()}

    @classmethod
    def start_parent(cls):
        parent = super().start_parent()
        parent.check(['python3', '-c', python.WARM_UP])
        return parent

    def tearDown(self):
        if self.parent.run(['ls', RUNTIME]).output:
            self.tool('terminate-enclave', '--all')
        super().tearDown()

    def tool(self, *words, status=0):
        """Run it; its output as JSON, and its messages."""
        result = self.parent.run([TOOL, *words])
        self.assertEqual(result.status, status, result.errors)
        return (json.loads(result.output) if result.output else None,
                re.sub(r'\s+', ' ', result.errors))

    def refused(self, *words, expected, status=1):
        """It has to refuse, say why, and print no result."""
        told, errors = self.tool(*words, status=status)
        self.assertIsNone(told)
        for text in expected:
            self.assertIn(text, errors)

    def measured(self):
        """Registers of the demo image."""
        registers = eif.measure((config.LAB / 'demo.eif').read_bytes())
        return {'PCR%d' % n: value for n, value in enumerate(registers)}

    def test_life(self):
        """Run, list, show the console, end: what each prints."""
        job = self.parent.spawn([
            TOOL, 'run-enclave', '--eif-path', DEMO, '--memory',
            str(DEMO_MIB), '--cpu-count', '2', '--enclave-cid', '77',
            '--attach-console'])
        told = json.loads(job.wait_for(r'(?s)({.*?\n}\n).*PCR0')[1])
        self.assertEqual(list(told), RUN_INFO)
        self.assertEqual((told['EnclaveName'], told['EnclaveCID'],
                          told['NumberOfCPUs'], told['MemoryMiB']),
                         ('demo', 77, 2, DEMO_MIB))
        self.assertRegex(told['EnclaveID'],
                         r'^i-[0-9a-f]{17}-enc[0-9a-f]{16}$')
        self.assertIn('demo: module ' + told['EnclaveID'], job.text())
        self.assertLessEqual(set(told['CPUIDs']),
                             cpu_list(self.parent.get(POOL)))
        self.assertIn('Started enclave with enclave-cid: 77, memory: %d MiB,'
                      ' cpu-ids: %s' % (DEMO_MIB, told['CPUIDs']),
                      job.errors.decode())
        self.assertIn('qemu-system', self.parent.get(
            '/proc/%d/cmdline' % told['ProcessID']))
        self.check_described(told)
        self.refused('console', '--enclave-name', 'demo', expected=[
            'somebody reads the console'])
        ended, errors = self.tool('terminate-enclave', '--enclave-id',
                                  told['EnclaveID'])
        self.assertEqual(ended, {'EnclaveName': 'demo', 'Terminated': True,
                                 'EnclaveID': told['EnclaveID']})
        self.assertIn('Successfully terminated enclave', errors)
        self.assertEqual(job.wait(), 0)
        self.assertEqual(self.tool('describe-enclaves')[0], [])
        self.assertEqual(self.parent.check(['ls', RUNTIME]), '')

    def check_described(self, told):
        """describe-enclaves tells the same, and more."""
        (listed,), _ = self.tool('describe-enclaves')
        self.assertEqual(list(listed), DESCRIBE_INFO)
        self.assertLessEqual(told.items(), listed.items())
        self.assertEqual((listed['State'], listed['Flags'],
                          listed['ImageName']),
                         ('RUNNING', 'DEBUG_MODE', 'demo'))
        self.assertLessEqual(self.measured().items(),
                             listed['Measurements'].items())

    def test_program(self):
        """A program's output, apart, and its status; what is added to it."""
        result = self.parent.run([TOOL, 'run', PROGRAM_IMAGE, '--env',
                                  'A=one two', '--', 'x', 'y z'])
        self.assertEqual((result.output, result.errors, result.status),
                         ('a=one two args=x y z\n', 'to-stderr\n', 7))
        self.assertEqual(self.parent.check(['ls', RUNTIME]), '')

    def test_stop(self):
        """Two enclaves of one image with an agent each: both are heard, and
        end by the stop signal of their programs; one of them as SIGTERM of
        QEMU becomes that."""
        outputs, told = ['/run/%s.out' % name for name in ('one', 'two')], []
        for path in outputs:
            told.append(self.tool(
                'run-enclave', '--eif-path', PROGRAM_IMAGE, '--memory', '128',
                '--cpu-count', '2', '--', '-chardev', 'file,id=out,path='
                + path, '-device', 'nitro-agent,stdout=out,stop-on-sigterm=on'
            )[0])
        for path in outputs:
            self.wait_until(lambda p=path: 'a= args=' in self.parent.get(p),
                            'output in ' + path)
        self.parent.check(['kill', str(told[0]['ProcessID'])])
        self.wait_until(lambda: len(self.tool('describe-enclaves')[0]) == 1,
                        'the end of the first')
        ended, _ = self.tool('terminate-enclave', '--all')
        self.assertEqual([e['EnclaveID'] for e in ended],
                         [told[1]['EnclaveID']])
        for path in outputs:
            self.assertIn('stopped\n', self.parent.get(path))

    def test_first_process(self):
        """As process 1 of a container: SIGTERM ends the program by its stop
        signal, and its status is the container's."""
        job = self.parent.spawn(['unshare', '-f', '-p', '-m', TOOL, 'run',
                                 '--memory', '128', PROGRAM_IMAGE])
        job.wait_for('a= args=\n')
        self.parent.check(KILL_FIRST)
        self.assertEqual(job.wait(), 3, job.errors)

    def test_pod(self):
        """QEMU as process 1 of a pod, with the manifest's arguments, does the
        same."""
        words = commands()[1]
        words[0] = QEMU
        words[words.index('/app.eif')] = PROGRAM_IMAGE
        words[words.index('512M')] = '128M'
        job = self.parent.spawn(['unshare', '-f', '-p', '-m', *words])
        job.wait_for('a= args=\n')
        self.parent.check(KILL_FIRST)
        self.assertEqual(job.wait(), 3, job.errors)
        self.assertIn('stopped\n', job.text())

    def check_served(self):
        """HTTP at a published port: the answer is attested, and of its image;
        UDP at another one."""
        client = self.parent.spawn(['wget', '-q', '-O-',
                                    'http://127.0.0.1:8080/fresh'])
        self.assertEqual(client.wait(), 0, client.errors)
        found = verified(self, bytes(client.output), '--nonce',
                         b'/fresh'.hex(), '--image', config.LAB / 'http.eif')
        self.assertIs(found['Valid'], True)
        self.assertEqual(self.parent.check(['python3', '-c', ASK]), 'ping\n')

    def check_in_use(self):
        """What another program cannot have meanwhile, or ever."""
        for image, option, expected in (
                (HTTP_IMAGE, '-p8080:80', ['tcp port 8080', 'in use']),
                (PROGRAM_IMAGE, '-p8081:80', ["a line 'net dhcp'"])):
            self.refused('run', '--memory', '128', option, image,
                         expected=expected)

    def test_detached(self):
        """Two programs at once, without anybody who waits: output, end,
        status; what the distribution's python3 serves.  An enclave goes with
        its keeper."""
        for name, mib, image, *more in (
                ('one', '128', PROGRAM_IMAGE),
                ('web', '256', HTTP_IMAGE, '-p8080:80', '-p7777:7/udp')):
            self.assertEqual(self.parent.check([
                TOOL, 'run', '-d', '--name', name, '--memory', mib, *more,
                image]), name + '\n')
        found, _ = self.tool('inspect', 'one', 'web')
        self.assertEqual([(info['Name'], info['State'], info['Source'])
                          for info in found],
                         [('one', 'running', PROGRAM_IMAGE),
                          ('web', 'running', HTTP_IMAGE)])
        self.assertEqual([info['EnclaveID'] for info in self.tool(
            'describe-enclaves')[0]], [info['EnclaveID'] for info in found])
        logs = [self.parent.spawn([TOOL, 'logs', '--follow', info['Name']])
                for info in found]
        logs[0].wait_for('a= args=\n')
        logs[1].wait_for('serving\n')
        self.assertEqual(found[1]['Ports'], ['127.0.0.1:8080->80/tcp',
                                             '127.0.0.1:7777->7/udp'])
        self.check_served()
        self.wait_until(lambda: b'"GET /fresh HTTP/1.1" 200'
                        in logs[1].errors, 'the request in the output')
        self.assertEqual(self.parent.check([
            TOOL, 'stop', '--time', str(PATIENCE), 'one']), 'one\n')
        self.check_in_use()
        self.parent.check(['kill', '-KILL', str(found[1]['Keeper'])])
        for name, status in (('one', 3), ('web', 125)):
            result = self.parent.run([TOOL, 'wait', name])
            self.assertEqual(result.status, status, result.errors)
        self.assertIn('was killed', result.errors)
        for job in logs:
            self.assertEqual(job.wait(), 0)
        self.assertTrue(logs[0].errors.startswith(b'to-stderr\n'))
        for info in found:
            self.wait_until(lambda: self.parent.run(
                ['test', '-e', '/proc/%d' % info['ProcessID']]).status,
                'the end of its QEMU')
        self.parent.check([TOOL, 'rm', 'one', 'web'])
        self.wait_until(lambda: self.parent.run(
            ['test', '-e', RUNTIME + '/relay-9001']).status,
            'the end of the relay')

    def test_two(self):
        """Two by the same name, by a file and with chosen CPUs."""
        pool = sorted(cpu_list(self.parent.get(POOL)))
        self.parent.put('/run/enclave.json', json.dumps({
            'eif_path': DEMO, 'memory_mib': DEMO_MIB, 'enclave_name': 'one',
            'enclave_cid': 77, 'cpu_ids': pool[-2:]}).encode())
        first, _ = self.tool('run-enclave', '--config', '/run/enclave.json')
        self.assertEqual(first['CPUIDs'], pool[-2:])
        self.refused('run-enclave', '--eif-path', DEMO, '--memory', '64',
                     '--cpu-count', '2', '--enclave-cid', '77', status=3,
                     expected=['another enclave has this CID'])
        second, _ = self.tool(
            'run-enclave', '--eif-path', DEMO, '--memory', str(DEMO_MIB),
            '--cpu-count', '2', '--enclave-name', 'one', '--debug-mode')
        self.assertEqual(second['EnclaveName'], 'one_1')
        self.refused('terminate-enclave', '--enclave-name', 'two', expected=[
            'no enclave two runs here', first['EnclaveID'],
            second['EnclaveID']])
        self.refused('console', '--enclave-name', 'one', expected=[
            'has no console, as debug mode is off', '--debug-mode'])
        job = self.parent.spawn([TOOL, 'console', '--enclave-name', 'one_1'])
        job.wait_for('PCR0')
        ended, _ = self.tool('terminate-enclave', '--all')
        self.assertEqual([e['EnclaveName'] for e in ended], ['one', 'one_1'])
        self.assertEqual(job.wait(), 0)

    def test_refusals(self):
        """What QEMU refuses, with its status; nothing stays."""
        self.refused('run-enclave', '--eif-path', DEMO, '--memory', '99999',
                     '--cpu-count', '2', expected=['huge pages'])
        self.fault('START:1:-12')
        self.refused('run-enclave', '--eif-path', DEMO, '--memory', '128',
                     '--cpu-count', '2', status=3, expected=[
                         'NE_START_ENCLAVE', 'not enough memory'])
        self.assertEqual(self.parent.check(['ls', RUNTIME]), '')
        mode = self.parent.check(['stat', '-c', '%a', RUNTIME])
        self.assertEqual(mode.strip(), '700')

    def doctor(self, status):
        """The page that a user in group ne gets."""
        result = self.parent.run(['su', 'ec2-user', '-c', TOOL + ' doctor'])
        self.assertEqual(result.status, status, result.output
                         + result.errors)
        return result.output

    def set_up(self, cpus, pages, owner):
        """Pool, huge pages, and whose the device is."""
        self.parent.check([
            'sh', '-c', 'echo > %s; echo %s > %s; echo %s > %s; chown %s'
            ' /dev/nitro_enclaves' % (POOL, cpus, POOL, pages, PAGES % 2048,
                                      owner)])

    def state(self):
        """Read these settings back."""
        return self.parent.check([
            'sh', '-c', 'cat %s %s; stat -c %%U:%%G /dev/nitro_enclaves'
            % (POOL, PAGES % 2048)]).split()

    def test_doctor(self):
        """What is broken is on its page; its commands mend it, itself
        nothing."""
        before = self.state()
        self.assertNotIn('fail', self.doctor(0))
        try:
            self.set_up('', 0, 'root:root')
            broken, page = self.state(), self.doctor(1)
            self.assertEqual(self.state(), broken)
            found = re.findall(r'fail  (.{12}) .*\n {19}mend: (.*)\n', page)
            self.assertEqual([check.strip() for check, _ in found],
                             ['rights', 'CPU pool', 'huge pages'], page)
            self.assertEqual(page.count('fail'), 3)
            for _, command in found:
                self.parent.check(['sh', '-c', command])
            self.assertNotIn('fail', self.doctor(0))
        finally:
            self.set_up(*before)
            self.assertEqual(self.state(), before)

    def test_selftest(self):
        """The quick part as a user in group ne: the driver's answers are
        those of the report that comes with it."""
        report = '/tmp/selftest.json'
        result = self.parent.run([
            'su', 'ec2-user', '-c', TOOL + ' selftest --quick --eif %s'
            ' --report %s' % (DEMO, report)])
        self.assertEqual(result.status, 0, result.output + result.errors)
        rows = json.loads(self.parent.get(report))['Scenarios']
        known = {row['Name']: row for row in json.loads(
            (config.TREE / REFERENCE).read_text())['Scenarios']}
        for row in rows:
            with self.case(row['Name']):
                self.assertEqual(row['Outcome'], 'passed', row)
                self.assertEqual(row.get('Errno'),
                                 known[row['Name']].get('Errno'))
        self.assertGreater(len(rows), 30)
        self.assertEqual(self.parent.run('ls -d /tmp/nitro-*').output, '')


# The page whose commands are typed here, those that do not need a registry
TUTORIAL = 'docs/system/nitro-containers.rst'
ELSEWHERE = r'podman (pull|save)'
# What the machine of a test may not have
CURL = """python3 -c 'import sys, urllib.request as web
print(end=web.urlopen(sys.argv[1]).read().decode())'"""
SECRET = b'attack at dawn\n'


def write_container(path):
    """An archive of a container with a shell, as docker save writes it."""
    entry = application.tar_entry
    layer = [(entry('bin/busybox', 0o755), packages.busybox().read_bytes())]
    layer += [(entry('bin/' + name, kind=tarfile.SYMTYPE, link='busybox'),
               None) for name in ('sh', 'sleep', 'httpd')]
    application.write_saved(path, [layer], {
        'Cmd': ['sh', '-c', 'exit 1'], 'Env': ['PATH=/bin']})


def write_client(directory):
    """An archive of what the page's Containerfile makes."""
    layer = [(application.tar_entry(name, 0o755),
              (directory / name).read_bytes())
             for name in ('kms-client', 'ca.pem')]
    application.write_saved(directory / 'secret.tar', [layer], {
        'Entrypoint': ['/kms-client']})


def free_port():
    """A TCP port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def typed():
    """Commands of the page and what follows them."""
    for block in blocks(TUTORIAL):
        for line, answer in re.findall(
                r'(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)', block):
            if line.endswith('<< END'):
                line, answer = '%s\n%s' % (line, answer), ''
            if not re.match(ELSEWHERE, line):
                yield line, answer.strip()


class Laptop(ScopedTest):
    """Container images on a machine without the device: the tutorial."""

    def setUp(self):
        super().setUp()
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.place = Path(top.name)
        # Neither images nor keys of this machine's user are for tests
        self.env = dict(os.environ,
                        NITRO_RUN_IMAGES=str(self.place / 'store'),
                        KMS_DIRECTORY=str(self.place / 'kms'))
        self.port = str(free_port())
        self.addCleanup(subprocess.run, [RUNNER, 'lab', 'stop'], env=self.env,
                        check=False, capture_output=True)
        write_container(self.place / 'app.tar')

    def shell(self, line, **options):
        """Start a command of the page."""
        for word, value in (('build/out/', '%s/' % config.OUT),
                            ('contrib/', '%s/contrib/' % config.TREE),
                            ('8080', self.port), ('curl -s', CURL),
                            ('kms serve', 'kms serve --port 0')):
            line = line.replace(word, value)
        return subprocess.Popen(['sh', '-c', 'exec ' * options.pop(
            'alone', False) + line], cwd=self.place, env=self.env, text=True,
            stdout=subprocess.PIPE, **options)

    def check_foreground(self, line, answer):
        """The parent is started; outputs, and an end by a signal."""
        with open(self.place / 'errors', 'w+', encoding='utf-8') as errors:
            program = self.shell(line, stderr=errors, alone=True)
            *remarked, hello, bye = answer.splitlines()
            said = program.stdout.readline()
            errors.seek(0)
            remarks = errors.read()
            self.assertEqual(said, hello + '\n', remarks)
            program.send_signal(signal.SIGINT)
            self.assertEqual('^C' + program.communicate()[0], bye + '\n')
        self.assertEqual(program.returncode, 7)
        for text in remarked:
            self.assertIn(text + '\n', remarks)

    def serve(self, line):
        """Start the key service."""
        program = self.shell(line, stderr=subprocess.STDOUT, alone=True)
        self.addCleanup(program.communicate)
        self.addCleanup(program.terminate)
        self.assertIn('key service of the lab', program.stdout.readline())

    def answer_of(self, line, answer):
        """What a command says; what its program has not done yet is awaited.
        """
        early = re.search(' logs |curl', line)
        for _ in range(PATIENCE):
            program = self.shell(line, stderr=subprocess.PIPE)
            said, errors = program.communicate()
            if not early or said.strip() == answer:
                break
            time.sleep(1)
        self.assertEqual(program.returncode, 0, line + errors)
        return said, errors

    def check_typed(self, line, answer):
        """It says what the page does, but for values."""
        if line.endswith('kms serve'):
            return self.serve(line)
        if line.startswith('podman'):
            return write_client(self.place)
        said, errors = self.answer_of(line, answer)
        words = re.escape(answer)
        for value in (r'[0-9a-f]{20,}\\\.\\\.\\\.',
                      r'[0-9a-f]{8}(\\-[0-9a-f]{4}){3}\\-[0-9a-f]{12}'):
            words = re.sub(value, '[0-9a-f-]+', words)
        self.assertRegex(said.strip(), '^%s$' % words, line + errors)
        if ' decrypt ' in line:
            self.assertIn(hashlib.sha256(SECRET).hexdigest(), said)
        return None

    def test_run(self):
        """Each command of the page."""
        (line, answer), *others = typed()
        self.check_foreground(line, answer)
        for line, answer in others:
            self.check_typed(line, answer)
        registers = json.loads((self.place / 'registers.json').read_text())
        image, = [image for image in json.loads(subprocess.run(
            [RUNNER, 'images', '--json'], env=self.env, check=True,
            stdout=subprocess.PIPE).stdout)
            if image['Measurements'] == registers]
        self.assertIn(registers['PCR8'],
                      (self.place / 'policy.json').read_text())
        self.assertEqual(image['Source'], 'app.tar')
        status = subprocess.run([RUNNER, 'lab', 'status'], env=self.env,
                                capture_output=True, check=False)
        self.assertEqual(status.returncode, 1, status.stderr)


class Foreign(Qemu):
    """The distribution's QEMU; make check-launchers has all of its list."""

    launcher, program = DEBIAN, foreign.QEMU
    parent_files, start_parent = Run.parent_files, Run.start_parent

    def test_foreign(self):
        """It launches an enclave, whose console it shows."""
        self.check_launch()

    def test_relay(self):
        """Output, stop and status of a program in an enclave of its."""
        launch = self.parent.spawn(self.command(
            image=PROGRAM_IMAGE, mib=128, debug=False, cid=78))
        relay = self.parent.spawn([TOOL, 'relay', '--enclave-cid', '78'])
        relay.wait_for('a= args=\n')
        self.wait_until(lambda: b'to-stderr\n' in relay.errors, 'stderr')
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 3, relay.errors)
        self.assertEqual(bytes(relay.output), b'a= args=\nstopped\n')
        launch.signal(signal.SIGTERM)
        launch.wait()

    def test_table(self):
        """The manual has the table of all launchers."""
        self.assertIn(table(), (config.TREE / PAGE).read_text())
        for faults in FAULTS.values():
            self.assertLessEqual(faults.keys(), set(SCENARIOS))


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
