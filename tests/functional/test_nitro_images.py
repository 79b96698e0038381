#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run run without an enclave: images that it builds and keeps, and
what it asks of the lab."""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import config, only_wanted

from nitro_lab import application, images as lab_images
from nitro_lab.arch import FOREIGN

PROGRAM = (Path(__file__).resolve().parents[2] / 'contrib' / 'nitro-run'
           / 'nitro-run')
sys.path.insert(0, str(PROGRAM.parent))

from nitro_run import (build, cli, commands, detached,    # noqa: E402
                       foreground, images, lab, network, store)
from nitro_run.common import RunError, progress             # noqa: E402

# In the place of nitro-lab: what it is asked, and a parent that is kept
LAB = '''#!/bin/sh
echo "$*" >> %(top)s/asked
case $1 in
exec)
    [ -e %(top)s/up ] || exit 1
    [ "$5" = true ] || { echo out; echo err >&2; exit 9; }
    ;;
parent)
    [ ! -e %(top)s/broken ] || { echo no memory >&2; exit 1; }
    touch %(top)s/up
    echo ready
    ;;
stop)
    rm %(top)s/up
    ;;
esac
'''


def parse(*words):
    """Options of run."""
    args = cli.parser().parse_args(['run', *map(str, words)])
    args.more = []
    return args


class Case(QemuBaseTest):
    """A directory for each test."""

    def setUp(self):
        super().setUp()
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.top = Path(top.name)
        self.store = store.Store(self.top / 'store')

    def add(self, key, size=1):
        """An image of this key."""
        def make(target):
            target.write_bytes(b'x' * size)
            return {'Measurements': {'PCR0': '0'}}

        return self.store.image(key, make, {'Source': key})


class Kept(Case):
    """The store."""

    def test_once(self):
        """An image is built once, and known by its key."""
        first = self.add('a', 7)
        self.assertEqual((first.size, first.note()['Source']), (7, 'a'))
        self.assertEqual(self.add('a', 9).size, 7)
        self.assertEqual(sorted(os.listdir(self.store.path)),
                         ['a.eif', 'a.json', 'lock'])
        self.assertEqual((self.store.path.stat().st_mode & 0o777), 0o700)

    def test_failure(self):
        """What could not be built leaves nothing."""
        def fail(target):
            target.write_bytes(b'half')
            raise RunError('no')

        with self.assertRaisesRegex(RunError, 'no'):
            self.store.image('a', fail, {})
        self.assertEqual(os.listdir(self.store.path), ['lock'])
        with self.assertRaisesRegex(RunError, 'cannot keep images in'):
            store.Store(Path('/dev/null/x')).image('a', fail, {})

    def test_bound(self):
        """What was used first goes first; what is held stays."""
        with mock.patch.object(store, 'limit', return_value=25):
            held = self.add('held', 10)
            os.utime(held.path, (0, 0))
            for number, key in enumerate('ab', 1):
                image = self.add(key, 10)
                image.file.close()
                os.utime(image.path, (number, number))
            self.assertEqual([i.key for i in self.store.images()],
                             ['b', 'held'])
            held.file.close()
            self.add('c', 10)
            self.assertEqual([i.key for i in self.store.images()],
                             ['c', 'b'])
        for text in ('x', '-1', '1G'):
            with mock.patch.dict(os.environ, NITRO_RUN_IMAGES_MIB=text), \
                    self.assertRaisesRegex(RunError, 'is not a number'):
                store.limit()

    def test_prune(self):
        """All that nobody holds; a damaged note says nothing."""
        held, other = self.add('held'), self.add('other', 1 << 20)
        other.file.close()
        held.path.with_suffix('.json').write_text('[')
        self.assertEqual(held.info()['ID'], 'held')
        out = io.StringIO()
        with contextlib.redirect_stdout(out), \
                mock.patch.object(images, 'Store', lambda: self.store):
            images.images(argparse.Namespace(json=False))
            images.images(argparse.Namespace(json=True))
            images.prune(None)
        self.assertRegex(out.getvalue(), r'\nother +\S+ \S+ +1  other\n')
        self.assertIn('"ID": "held"', out.getvalue())
        self.assertIn('\n1 images removed, 1 MiB\n', out.getvalue())
        self.assertEqual([i.key for i in self.store.images()], ['held'])

    def test_two_at_once(self):
        """The second one waits, and finds the image of the first."""
        begun, go = (multiprocessing.Event() for _ in range(2))

        def slow(target):
            begun.set()
            go.wait()
            target.write_bytes(b'first')
            return {}

        first = multiprocessing.Process(
            target=lambda: self.store.image('a', slow, {}))
        first.start()
        begun.wait()
        waiting = threading.Event()
        with mock.patch.object(store, 'tell', lambda _text: waiting.set()):
            found = []
            second = threading.Thread(
                target=lambda: found.append(self.add('a', 99)))
            second.start()
            waiting.wait()
            go.set()
            second.join()
        first.join()
        self.assertEqual(found[0].size, len('first'))

    def test_held_by_others(self):
        """It stays while another program that was started with it lives."""
        held = self.add('a')
        with subprocess.Popen(['cat'], stdin=subprocess.PIPE, pass_fds=[
                held.file.fileno()]) as process:
            held.file.close()
            self.assertEqual(self.store.prune(), (0, 0))
            process.stdin.close()
            process.wait()
        self.assertEqual(self.store.prune()[0], 1)


class Sources(Case):
    """What a container image is, and what is made of it."""

    def layout(self, name='app', content=b'program'):
        """An OCI layout."""
        path = self.top / name
        application.write_layout(
            path, [[(application.tar_entry('app', 0o755), content)]],
            {'Entrypoint': ['/app'], 'Cmd': ['word']})
        return path

    def test_digest(self):
        """The same content is the same image, with its tag."""
        one, two, other = (self.layout(name, content) for name, content in (
            ('one', b'1'), ('two', b'1'), ('other', b'2')))
        digest = build.source_digest(str(one))
        self.assertEqual(digest, build.source_digest(f'oci:{two}'))
        self.assertNotEqual(digest, build.source_digest(str(other)))
        self.assertEqual(digest + ':tag', build.source_digest(f'{one}:tag'))
        file = self.top / 'a:b'
        file.write_bytes(b'x')
        self.assertEqual(build.source_digest(f'docker-archive:{file}'),
                         hashlib.sha256(b'x').hexdigest())
        with self.assertRaisesRegex(RunError, 'neither a file nor'):
            build.check_local(str(self.top / 'none'))
        build.check_local('docker://none')

    def test_fetched(self):
        """skopeo knows the digest of what is elsewhere."""
        tool = self.top / 'skopeo'
        tool.write_text('#!/bin/sh\n[ "$4" = docker://a ] || { echo gone >&2;'
                        ' exit 1; }\necho sha256:1\n')
        tool.chmod(0o755)
        with mock.patch.dict(os.environ, PATH=f'{self.top}:/usr/bin:/bin'):
            self.assertEqual(build.source_digest('docker://a'), 'sha256:1')
            with self.assertRaisesRegex(RunError, 'cannot look at docker-'
                                        'daemon:b: gone'):
                build.source_digest('docker-daemon:b')
        with mock.patch.dict(os.environ, PATH='/none'), \
                self.assertRaisesRegex(RunError, 'cannot run skopeo'):
            build.source_digest('docker://a')

    def build_with(self, source, commands):
        """Build with a script in the place of qemu-eif."""
        tool = self.top / 'qemu-eif'
        tool.write_text('#!/bin/sh\necho image > "$5"\n%s\n'
                        'echo \'{"Measurements": {}}\'\n' % commands)
        tool.chmod(0o755)
        parts = {'Tool': str(tool), 'Kernel': str(tool), 'Init': str(tool)}
        with mock.patch.dict(os.environ, PATH=f'{self.top}:/usr/bin:/bin'), \
                mock.patch.object(build, 'Store', lambda: self.store):
            build.built(parse(source), lambda: parts)

    def test_replaced(self):
        """What a tag names, or a file has, may change while it is built: it
        must not be kept as an image of what was there before."""
        skopeo, file = self.top / 'skopeo', self.top / 'app.tar'
        skopeo.write_text(f'#!/bin/sh\nwc -c < {file}\n')
        skopeo.chmod(0o755)
        for source in ('docker://a:latest', str(file)):
            file.write_bytes(b'1')
            with self.assertRaisesRegex(RunError, 'was replaced while'):
                self.build_with(source, f'echo 22 > {file}')
            self.assertEqual(self.store.images(), [])
            self.build_with(source, '')
            self.store.prune()

    def test_names(self):
        """Names of enclaves."""
        for source, name in (('docker://r.io:5/a/web:1.2', 'web'),
                             ('dir/app.tar', 'app'), ('oci:/x/y/', 'y'),
                             ('containers-storage:z@sha256:1', 'z'),
                             ('docker-daemon:web:1', 'web')):
            self.assertEqual(build.name_of(source), name, source)

    def recipe(self, *words, more=(), **files):
        """Key of an image."""
        args = parse(*words)
        args.more = list(more)
        return build.Recipe(args, {'Tool': __file__, **files}).key()

    def test_key(self):
        """All that goes into an image makes another one of it."""
        source = self.layout()
        kernel, other, modules = (self.top / name for name in
                                  ('kernel', 'other', 'modules'))
        kernel.write_bytes(b'1')
        other.write_bytes(b'2')
        modules.mkdir()
        usual = {'Kernel': str(kernel), 'Modules': str(modules)}
        keys = [self.recipe(source, **usual),
                self.recipe(source, more=['x'], **usual),
                self.recipe(source, '--settings', other, **usual),
                self.recipe(source, '--agent-port', '9002', **usual),
                self.recipe(source, **{**usual, 'Kernel': str(other)}),
                self.recipe(source, '--kernel', other, **usual),
                self.recipe(source, '--signing-certificate', other, **usual),
                self.recipe(self.layout('two', b'else'), **usual)]
        (modules / 'nsm.ko').write_bytes(b'')
        keys.append(self.recipe(source, **usual))
        with mock.patch.dict(os.environ, SOURCE_DATE_EPOCH='1'):
            keys.append(self.recipe(source, **usual))
        # Those of AWS
        with mock.patch.dict(os.environ, NITRO_CLI_BLOBS=str(modules)):
            keys.append(self.recipe(source))
            (modules / 'bzImage').write_bytes(b'')
            keys.append(self.recipe(source))
        self.assertEqual(len(set(keys)), len(keys))
        self.assertEqual(keys[0], self.recipe(
            self.layout('three'), **{**usual, 'Modules': self.empty()}))
        with self.assertRaisesRegex(RunError, 'cannot read /none'):
            self.recipe(source, '--kernel', '/none')

    def test_settings(self):
        """A program waits for its reader, unless its user wants something
        else; no line has a key that another one has."""
        path, lines = self.top / 'settings', {}
        for text, words in (
                ('', ()), ('output drop', ()), ('umask 7\noutput block\n', ()),
                ('#output drop\nenv output drop', ()),
                ('agent 9003', ('--agent-port', '9003')),
                ('net static\nnet-address 10.0.2.15/24', ('-p', '80'))):
            path.write_text(text)
            args = parse('x', '--settings', path, *words)
            network.check(args)
            recipe = build.Recipe(args, {'Tool': __file__})
            lines[text] = [line for line in
                           recipe.settings().splitlines() if line]
        self.assertEqual(list(lines.values()), [
            ['output block'], ['output drop'], ['umask 7', 'output block'],
            ['#output drop', 'env output drop', 'output block'],
            ['agent 9003', 'output block'],
            ['net static', 'net-address 10.0.2.15/24', 'output block']])
        args = parse('x', '--agent-port', '9003', '-p', '80')
        network.check(args)
        self.assertEqual(
            build.Recipe(args, {'Tool': __file__}).settings().split('\n'),
            ['agent 9003', 'output block', 'net dhcp', ''])

    def test_settings_in_key(self):
        """An image with other lines of ours is another image."""
        source = self.layout()
        key = self.recipe(source)
        with mock.patch.object(build, 'OUTPUT', 'drop'):
            self.assertNotEqual(self.recipe(source), key)

    def test_other_port(self):
        """The program would be at a port where nobody listens."""
        path = self.top / 'settings'
        path.write_text('agent 9003\n')
        build.check_additions(parse('x', '--settings', path, '--agent-port',
                                    '9003'))
        with self.assertRaisesRegex(RunError, "has 'agent 9003', .* at port"
                                    ' 9001') as caught:
            build.check_additions(parse('x', '--settings', path))
        self.assertIn('--agent-port', caught.exception.remedy)

    def empty(self):
        """A directory without modules."""
        path = self.top / 'empty'
        path.mkdir()
        return str(path)

    def test_built(self):
        """By qemu-eif: arguments and settings are in it, registers known."""
        if FOREIGN:
            self.skipTest('the tools are of this machine')
        equipment = {'Tool': str(lab_images.image_tool()),
                     'Kernel': str(lab_images.demo_kernel()),
                     'Modules': str(lab_images.modules_directory()),
                     'Init': str(lab_images.enclave_init())}
        settings = self.top / 'settings'
        settings.write_text('allow-env A\nstop-grace 3')
        args = parse(self.layout(), '--settings', settings, '-e', 'A=1',
                     '--agent-port', '9003')
        args.more = ['more words']
        with mock.patch.object(build, 'Store', lambda: self.store):
            image = build.built(args, lambda: equipment)
            self.assertEqual(build.built(args, lambda: equipment).path,
                             image.path)
            data = image.path.read_bytes()
            self.assertIn(b'\nexec /app\narg more words\n', data)
            for line in (b'\nallow-env A\n', b'\nstop-grace 3\n',
                         b'\nagent 9003\n', b'\noutput block\n'):
                self.assertIn(line, data)
            path = self.top / 'pcrs'
            build.write_registers(image.note(), path)
            with mock.patch.object(build.shutil, 'which',
                                   return_value=equipment['Tool']):
                known = build.described(image.path)
            self.assertEqual(json.loads(path.read_text()),
                             known['Measurements'])
            # More than the image is, and less than 4 times that
            minimum = image.note()[build.MINIMUM]
            self.assertEqual(known[build.MINIMUM], minimum)
            self.assertGreater(minimum << 20, image.size)
            args.source = str(PROGRAM)
            with self.assertRaisesRegex(RunError, 'cannot build an image of'):
                build.built(args, lambda: equipment)
        self.assertEqual(sorted(path.suffix for path
                                in self.store.path.iterdir()),
                         ['', '.eif', '.json'])

    def test_refused(self):
        """What would be ignored, or what the image does not allow."""
        image = self.top / 'app.eif'
        image.write_bytes(b'.eif')
        for option in ('--kernel', '--modules', '--settings',
                       '--signing-certificate', '--private-key'):
            with self.assertRaisesRegex(RunError, option + ' is for an image'
                                        ' that is built'):
                commands.check_source(parse(image, option, 'x'))
        settings = self.top / 'settings'
        settings.write_text('allow-env A\n')
        build.check_additions(parse('x', '-e', 'A=1', '--settings', settings))
        for words in (['-e', 'B=1', '--settings', settings], ['-e', 'A=1']):
            with self.assertRaisesRegex(RunError, 'does not allow that'):
                build.check_additions(parse('x', *words))
        with self.assertRaises(SystemExit), \
                contextlib.redirect_stderr(io.StringIO()):
            parse('x', '--cpus', '-3')

    def test_variables(self):
        """Files of them."""
        path = self.top / 'env'
        path.write_text('# comment\nA=1\n\nB=two words=\r\n')
        self.assertEqual(foreground.env_file(path), ['A=1', 'B=two words='])
        self.assertEqual(foreground.env_file(None), [])
        for text in ('A\n', '=1\n'):
            path.write_text(text)
            with self.assertRaisesRegex(RunError, 'is not a variable'):
                foreground.env_file(path)
        with self.assertRaisesRegex(RunError, 'cannot read /none'):
            foreground.env_file('/none')

    def test_progress(self):
        """A line is printed only for what takes long."""
        said = threading.Event()
        with contextlib.redirect_stderr(io.StringIO()) as errors, \
                progress('quick'):
            pass
        with mock.patch('nitro_run.common.tell',
                        side_effect=lambda _text: said.set()) as tell, \
                progress('slow'):
            said.wait()
        tell.assert_called_once_with('nitro-run: slow')
        self.assertEqual(errors.getvalue(), '')


class Lab(Case):
    """A lab that is a script."""

    def setUp(self):
        super().setUp()
        self.program = self.top / 'nitro-lab'
        self.program.write_text(LAB % {'top': self.top})
        self.program.chmod(0o755)
        self.lab = lab.Lab(self.store.path)
        self.lab.program = str(self.program)

    def asked(self):
        """What the lab was asked since the last call."""
        path = self.top / 'asked'
        lines = path.read_text().splitlines()
        path.unlink()
        return lines

    def ensure(self, *size):
        """Start it, if it has to be; what is said."""
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            self.lab.ensure(*size)
        return errors.getvalue()

    def test_shared(self):
        """It is started once, large enough for the first run, and stays."""
        with mock.patch.dict(os.environ, MEM='1', ARGS='--gigantic 1'):
            self.assertIn('2048 MiB and 4 CPUs', self.ensure(2048, 2))
        self.assertEqual(self.asked(), [
            'exec --name nitro-run -- true',
            'parent --keep --name nitro-run --mem 2048 --cpus 4 --net --kms'
            f' --share {self.store.path}:/mnt/images'])
        self.assertEqual(self.ensure(2048, 4), '')
        self.assertEqual(self.asked(), ['exec --name nitro-run -- true'])
        for size in ((2049, 2), (64, 5)):
            with self.assertRaisesRegex(RunError, '2048 MiB and 4 CPUs'):
                self.ensure(*size)
        self.assertEqual(self.lab.stop(), 0)
        self.assertIn('1024 MiB and 4 CPUs', self.ensure(64, 2))

    def test_stores(self):
        """A parent sees one store, so that another has another parent."""
        names = set()
        for place in ('', 'a', 'b'):
            with mock.patch.dict(os.environ):
                os.environ.pop('NITRO_RUN_IMAGES', None)
                if place:
                    os.environ['NITRO_RUN_IMAGES'] = place
                names.add(lab.Lab(store.directory()).name)
        self.assertEqual(len(names), 3)
        self.assertIn('nitro-run', names)

    def test_broken(self):
        """What it says when it cannot be started."""
        (self.top / 'broken').touch()
        with self.assertRaisesRegex(RunError, 'could not be started: no mem'):
            self.ensure(64, 2)

    def test_missing(self):
        """A machine without the device has to have the lab."""
        with mock.patch.object(lab, 'TREE', self.top), \
                mock.patch.object(lab.shutil, 'which', return_value=None), \
                self.assertRaisesRegex(RunError, 'and no nitro-lab'):
            lab.Lab(self.store.path)

    def run_there(self, *words, more=()):
        """Words with which it becomes a run in the parent."""
        args = parse(*words)
        args.more = list(more)
        with mock.patch.object(commands, 'DEVICE', '/none'), \
                mock.patch.object(build, 'Store', lambda: self.store), \
                mock.patch.object(commands.lab, 'Lab',
                                  return_value=self.lab), \
                mock.patch.object(self.lab, 'become') as become, \
                mock.patch.object(build, 'TREE', self.top), \
                mock.patch.object(build.shutil, 'which', return_value=None), \
                contextlib.redirect_stderr(io.StringIO()):
            commands.run(args)
        return list(map(str, become.call_args[0]))

    def test_words(self):
        """Options reach the one in the parent."""
        image = self.top / 'web.eif'
        image.write_bytes(b'.eif')
        with mock.patch.object(build, 'described', return_value={
                build.MINIMUM: 100}):
            self.assertIn('228', self.run_there(image))
            image.write_bytes(b'.eif.')
            with self.assertRaisesRegex(RunError, 'needs 100 MiB to boot'):
                self.run_there(image, '--memory', '99')
        image.write_bytes(b'.eif..')
        name = hashlib.sha256(b'.eif..').hexdigest()[:32]
        self.assertEqual(
            self.run_there(image, '--debug', '-e', 'A=1', more=['x']),
            ['run', f'/mnt/images/{name}.eif', '--memory', '128',
             '--cpu-count', '2', '--agent-port', '9001', '--origin',
             str(image), '--env', 'A=1', '--debug-mode', '--', 'x'])
        self.assertEqual(
            self.run_there(image, '-d', '--name', 'a')[-3:],
            ['--enclave-name', 'a', '--detach'])
        with self.assertRaisesRegex(RunError, 'are too many for the lab'):
            self.run_there(image, more=['x'] * 200)
        with self.assertRaisesRegex(RunError, 'has a QEMU of its own'):
            self.run_there(image, '--qemu', 'other')

    def test_no_network(self):
        """Settings without the network that an option needs are refused
        before the lab is asked for anything."""
        settings, source = self.top / 'settings', self.top / 'app.tar'
        source.touch()
        settings.write_text('net off\n')
        with self.assertRaisesRegex(RunError, f'{source} with --settings'
                                    f" {settings} has 'net off'"):
            self.run_there(source, '--settings', settings, '-p', '0.0.0.0:9:9')
        self.assertFalse((self.top / 'asked').exists())

    def test_detached(self):
        """Commands for programs that run detached are for the parent, too, if
        it is up."""
        args = cli.parser().parse_args(['--runtime-dir', str(self.top / 'r'),
                                        'stop', '--time', '5', 'a', 'b'])
        with mock.patch.object(detached, 'DEVICE', '/none'), \
                mock.patch.object(detached.lab, 'Lab',
                                  return_value=self.lab), \
                mock.patch.object(self.lab, 'become') as become, \
                contextlib.redirect_stderr(io.StringIO()) as errors:
            self.assertEqual(args.main(args), 1)
            self.assertIn('there is no program b', errors.getvalue())
            become.assert_not_called()
            (self.top / 'up').touch()
            args.main(args)
        become.assert_called_once_with('stop', '--time', 5, 'a', 'b')

    def test_become(self):
        """Outputs and status are those of the lab."""
        (self.top / 'up').touch()
        script = ('import sys; sys.path.insert(0, sys.argv[1])\n'
                  'from pathlib import Path\nfrom nitro_run import lab\n'
                  'here = lab.Lab(Path(sys.argv[2]))\n'
                  'here.program = sys.argv[3]\nhere.become("run", "x y")\n')
        run = subprocess.run(
            [sys.executable, '-c', script, PROGRAM.parent, self.store.path,
             self.program], check=False, capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout, run.stderr),
                         (9, 'out\n', 'err\n'))
        self.assertEqual(self.asked(), [
            f'exec --name nitro-run -- {lab.PROGRAM} run x y'])


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
