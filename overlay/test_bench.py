# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The benchmark's arithmetic: medians, comparisons, targets, files.

Nothing here takes the time of anything.
"""

import os
import sys
import tempfile
import unittest
import zlib
from pathlib import Path
from unittest import mock

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPO, 'contrib', 'nitro-lab'))
from nitro_lab import (bench_console, bench_images, bench_launch,  # noqa: E402
                       bench_platform, bench_process, bench_stats)
from nitro_lab.config import LabError  # noqa: E402


def figures(**entries):
    """name -> runs, all in ms."""
    return {name: {'unit': 'ms', 'runs': runs}
            for name, runs in entries.items()}


class Statistics(unittest.TestCase):
    """Medians, spread and percentiles."""

    def test_median(self):
        result = {}
        for value in (5, 1, 100):
            bench_stats.add(result, 'x', 'ms', value)
        self.assertEqual(bench_stats.median(result, 'x'), 5)
        self.assertIsNone(bench_stats.median(result, 'y'))

    def test_percentile(self):
        values = list(range(1000))
        self.assertEqual(bench_console.percentile(values, 50), 500)
        self.assertEqual(bench_console.percentile(values, 99), 990)
        self.assertEqual(bench_console.percentile([7], 99), 7)

    def test_digits(self):
        self.assertEqual([bench_stats.digits(n) for n
                          in (1234.5, 99.94, 9.994, 0)],
                         ['1234', '99.9', '9.99', '0.00'])

    def test_table(self):
        self.assertEqual(bench_stats.show(figures(load=[3, 1, 2])),
                         ['          median   min   max  runs',
                          'load, ms    2.00  1.00  3.00     3'])


class Comparison(unittest.TestCase):
    """What counts as faster and slower."""

    def verdict(self, now, then, unit='ms'):
        """Of lists of runs."""
        return bench_stats.verdict(unit, now, then)

    def test_clear(self):
        self.assertEqual(self.verdict([20, 21, 22], [10, 11, 12]), 'slower')
        self.assertEqual(self.verdict([10, 11, 12], [20, 21, 22]), 'faster')

    def test_rates_are_the_other_way_round(self):
        self.assertEqual(self.verdict([20, 21], [10, 11], 'MiB/s'), 'faster')
        self.assertEqual(self.verdict([10, 11], [20, 21], 'GiB/s'), 'slower')

    def test_runs_that_overlap(self):
        self.assertEqual(self.verdict([10, 20, 21], [9, 10, 11]), '')

    def test_too_little(self):
        self.assertEqual(self.verdict([10.3, 10.4], [10, 10.1]), '')

    def test_only_what_both_have(self):
        lines = bench_stats.compare(figures(a=[2], b=[1]),
                                    figures(a=[1], c=[1]))
        self.assertEqual(lines, ['        now  then  ratio',
                                 'a, ms  2.00  1.00   2.00  slower'])
        other = {'a': {'unit': 's', 'runs': [1]}}
        self.assertEqual(bench_stats.compare(figures(a=[2]), other),
                         ['nothing that both have'])

    def test_nothing_then(self):
        self.assertIn('slower', bench_stats.compare(figures(a=[2]),
                                                    figures(a=[0]))[1])


class Targets(unittest.TestCase):
    """Limits from above, and from below for rates."""

    def test_limits(self):
        targets = bench_stats.Targets()
        targets.limit('a', 'ms', 30, 30)
        targets.limit('b', 'ms', 30.1, 30)
        targets.limit('c', 'MiB/s', 299, 300)
        targets.limit('d', 'MiB/s', 300, 300)
        targets.limit('e', 'ms', None, 300)
        self.assertEqual([row[3] for row in targets.rows[1:]],
                         ['met', 'missed', 'missed', 'met'])
        self.assertEqual(targets.missed, 2)
        self.assertEqual(bench_stats.Targets().show(), [])

    def test_launch(self):
        result = {}
        for size, own, read in ((1, 10, 0), (64, 26, 10), (512, 14, 1),
                                (2048, 14, 1)):
            bench_stats.add(result, 'limit: plain read of %d MiB' % size,
                            'ms', read)
            bench_stats.add(result, '%d MiB image: exec to START' % size,
                            'ms', own)
        targets = bench_stats.Targets()
        bench_launch.check(result, targets)
        self.assertEqual([row[2:] for row in targets.rows[1:]],
                         [['<= 30.0', 'met'], ['<= 26.0', 'met'],
                          ['<= 14.3', 'met'], ['<= 14.3', 'met']])
        bench_launch.check({}, targets)
        self.assertEqual(len(targets.rows), 5)


class Boots(unittest.TestCase):
    """A parent that does not boot gets one more chance."""

    def boot(self, *results):
        """Boot with these results of starting; returns the parents."""
        parents = [mock.Mock(**{'start.side_effect': result})
                   for result in results]
        with mock.patch.object(bench_platform, 'Parent',
                               side_effect=parents), \
                mock.patch.object(bench_platform.images, 'demo_image'), \
                mock.patch('builtins.print'):
            try:
                self.assertIs(bench_platform._booted(2, 256), parents[-1])
            finally:
                self.assertEqual([p.stop.called for p in parents],
                                 [bool(result) for result in results])

    def test_boots(self):
        self.boot(None)
        self.boot(LabError('once'), None)

    def test_gives_up(self):
        with self.assertRaises(LabError):
            self.boot(LabError('once'), LabError('twice'))
        with self.assertRaises(KeyboardInterrupt):
            self.boot(KeyboardInterrupt())


class Files(unittest.TestCase):
    """Stored runs, images, and what the model of the driver writes."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = Path(directory.name)

    def test_store(self):
        path = self.dir / 'new' / 'run.json'
        bench_stats.save(path, {'cpus': 2}, figures(a=[1, 2]))
        self.assertEqual(bench_stats.load(path, 'tcg'), figures(a=[1, 2]))
        for text in '[]', '{}', '{"figures": 1}', 'x':
            path.write_text(text)
            with self.assertRaises(ValueError):
                bench_stats.load(path, 'tcg')

    def test_other_accelerator(self):
        path = self.dir / 'run.json'
        for machine, accelerator, fits in (
                ({}, 'tcg', True), ({}, 'kvm', False), ([], 'tcg', True),
                ({'accelerator': 'kvm'}, 'kvm', True),
                ({'accelerator': 'kvm'}, 'tcg', False),
                ({'accelerator': 'tcg'}, 'kvm', False)):
            bench_stats.save(path, machine, figures(a=[1]))
            if fits:
                bench_stats.load(path, accelerator)
                continue
            with self.assertRaisesRegex(ValueError, 'accelerator'):
                bench_stats.load(path, accelerator)

    def image(self, pieces, size):
        """Bytes of an image with a ramdisk of @size bytes."""
        path = self.dir / 'image'
        bench_images._write(path, size, pieces(size))
        return path, path.read_bytes()

    def test_image(self):
        for pieces in bench_images._blocks, bench_images._holes:
            size = 3 * bench_images.BLOCK + 5
            path, data = self.image(pieces, size)
            with self.subTest(pieces):
                crc = zlib.crc32(data[548:], zlib.crc32(data[:544]))
                self.assertEqual(int.from_bytes(data[544:548], 'big'), crc)
                self.assertEqual(len(data),
                                 len(bench_images._head(0)) + size)
                sections = bench_images.eif.sections(data)
                self.assertEqual([kind for kind, _ in sections], [1, 2, 5, 3])
                self.assertEqual(len(sections[3][1]), size)

    def test_holes(self):
        path, data = self.image(bench_images._holes,
                                3 * bench_images.BLOCK + 5)
        with open(path, 'rb') as image:
            ranges = list(bench_process.data_ranges(image.fileno()))
        self.assertEqual(ranges[0][0], 0)
        self.assertEqual(ranges[-1][1], len(data))
        self.assertTrue(all(data[begin:end].strip(b'\0')
                            for begin, end in ranges))

    def test_times(self):
        times = bench_process.Times(
            'load 1500000\nCREATE_VM 2000000 3000000\n'
            'GET_IMAGE_LOAD_INFO 3500000 3500000\n'
            'SET_USER_MEMORY_REGION 9000000 9500000\n'
            'ADD_VCPU 9500000 9600000\nSTART_ENCLAVE 10000000 11000000\n'
            'Name:\tqemu\nVmHWM:\t   4096 kB\nRssShmem:\t   1024 kB\n',
            1000000)
        self.assertAlmostEqual(times.own_ms(), 9 - 1 - 0.5 - 0.1)
        self.assertEqual(times.beside_mib(), 3)
        self.assertEqual([took for _, took in times.steps()],
                         [0.5, 0.5, 0.5, 5.5, 0.5])
        self.assertEqual(times.kib('VmSwap'), 0)
