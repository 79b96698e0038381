# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
#
# Each job does everything it needs, from a fresh clone on.

# BASE= names another QEMU than the usual; what is made of it stays apart
BUILD ?= build$(if $(BASE),/$(BASE))
export BUILD := $(abspath $(BUILD))
export BASE

# A fresh machine may not even have Python, in which jobs are written
PYTHON = /usr/bin/python3
JOB = { [ -x $(PYTHON) ] || overlay/deps; } && overlay/job

.PHONY: all arm64 deps compose run parent check check-quick check-launchers soak load bench fuzz series check-series deb \
    check-ec2 check-base check-bases install clean help

all:
	@$(JOB) build

run parent check check-quick check-launchers soak load bench fuzz series check-series \
deb arm64 check-ec2 check-base check-bases:
	@$(JOB) $@

deps:
	@overlay/deps

compose:
	@overlay/base && overlay/compose

install: all
	ninja -C $(BUILD)/out install

clean:
	rm -rf $(BUILD)/out $(BUILD)/arm64 $(BUILD)/qemu \
	    $(BUILD)/qemu.git $(BUILD)/logs $(BUILD)/lab* \
	    $(BUILD)/*.configured $(BUILD)/*.prepared $(BUILD)/sanitizers \
	    $(BUILD)/fuzz $(BUILD)/threads $(BUILD)/nitro-only $(BUILD)/no-nitro \
	    $(BUILD)/series* $(BUILD)/deb $(BUILD)/deb-root

help:
	@echo 'make run        boot a demo enclave in the emulated parent'
	@echo '                  EIF=FILE, IMAGE=CONTAINER, or KERNEL= INITRD='
	@echo '                  APPEND=, MEM=, CPUS=; PORT=8080:80 with IMAGE'
	@echo '                  KEEP=1: leave the parent running, and use the one'
	@echo '                  that such a run has left'
	@echo '                  ARCH=aarch64: parent and enclave are arm64'
	@echo '                  ACCEL=auto|kvm|tcg: KVM if it runs guests, or as'
	@echo '                  said; with all jobs that boot a parent'
	@echo 'make check      all tests'
	@echo '                  TEST="NAME ...": only these, e.g. Boot.test_eif or'
	@echo '                  test-eif-load or "qtest-*/nitro-nsm-test"'
	@echo 'make check-quick  unit tests, qtests, one enclave: three minutes'
	@echo 'make check-launchers  launchers of others, other kernels'
	@echo 'make soak       200 launches, then look for what they left behind'
	@echo '                  LAUNCHES=N, SEED=N: the same again'
	@echo 'make load       8 enclaves echo for 2 minutes while others are killed'
	@echo '                  ENCLAVES=, SECONDS=, SEED='
	@echo 'make            build (dependencies, base, compose, configure, ninja)'
	@echo '                  BASE=10.2: that QEMU, in build/10.2; also with run'
	@echo 'make check-bases  build and test with each other QEMU this fits'
	@echo 'make check-ec2  on an instance: try its device out, write a report'
	@echo '                  ROOT=DIR: in the emulated parent, with the package'
	@echo '                  that is installed in this root'
	@echo 'make arm64      cross-build qemu-system-aarch64 for arm64 hosts'
	@echo 'make parent     a shell in the emulated parent'
	@echo '                  ARGS="--share DIR --root DIR ..."; also with run'
	@echo 'make bench      speed and memory, as tables and JSON'
	@echo '                  BENCH=launch|console|network|platform|documents|'
	@echo '                  build|large, RUNS=, BASELINE=FILE.json,'
	@echo '                  PEER=PROGRAM PEER_ARGS='
	@echo 'make fuzz       fuzzers, 10 CPU minutes each'
	@echo '                  FUZZ_SECONDS=, JOBS=, TARGET='
	@echo 'make deb        build/deb: packages that leave the distribution alone'
	@echo '                  TRY=1: install them in a clean root, run an enclave'
	@echo 'make series     build/series: patches for QEMU, tried with git am'
	@echo '                  SIGNOFF=1, FORMAT="-v2 --rfc" (see git format-patch)'
	@echo 'make check-series  build and test after each of them'
	@echo '                  PATCHES=1,7-9, JOBS=; FULL=1: all of QEMU, optimized;'
	@echo '                  SERIES=images: once, after it and what it needs'
	@echo 'make deps       install build dependencies'
	@echo 'make compose    build/qemu: the base with our files and edits'
	@echo 'make install    install (DESTDIR= is honoured)'
	@echo 'make clean      remove what was built, keep downloads'
	@echo './configure --help  options of the build'
