# nsctl: `make help` lists the targets. Two are enough to start: `make run` and `make test`.

ARCH   ?= x86_64
TARGET := $(if $(filter armv7,$(ARCH)),armv7-unknown-linux-musleabihf,$(if $(filter riscv64 riscv64gc,$(ARCH)),riscv64gc-unknown-linux-musl,$(ARCH)-unknown-linux-musl))
NSCTL  := target/$(TARGET)/release/nsctl
# The most that `make size` lets the binary have, in bytes.
SIZE_BUDGET ?= 973000

# What `make qemu-test` boots: see tools/qemu/test.sh --help. IMAGES is a directory whose contents go to /images in the guest: roots
# that tools/root-images makes, since the guest has no tools to make them.
KERNELS ?= 5.10 6.1 6.12 newest
CASES   ?= initramfs switched readonly
IMAGES  ?= target/images

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man

CARGO_MUSL := tools/cargo-musl $(TARGET)
# Panic messages name source files: without the builder's home, the same bytes come out on every machine.
CARGO_DIR  := $(or $(CARGO_HOME),$(HOME)/.cargo)
RELEASE    := build --locked --release --target $(TARGET) \
	--config "target.$(TARGET).rustflags=['--remap-path-prefix=$(CARGO_DIR)/registry/src=/crates']"
# The test programs are static, so that they can be copied into a container or an initramfs.
HOST       := $(shell rustc -vV | sed -n 's/^host: //p')
HOST_TESTS := RUSTFLAGS=-Ctarget-feature=+crt-static cargo test --locked --target $(HOST)

.PHONY: all toolchain run test unit boxes lint size reproducible bench qemu-test qemu-shell arch-test fuzz install bless clean help

all: ## build the static binary (ARCH=x86_64, aarch64, armv7 or riscv64gc)
	$(CARGO_MUSL) $(RELEASE)
	@ls -l $(NSCTL)

toolchain: ## make the toolchain for the static target, if it is not there
	$(CARGO_MUSL)

run: all ## build, then an isolated shell (without a terminal: a short demonstration)
	@if [ -t 0 ] && [ -t 1 ]; then $(NSCTL) run -t /bin/sh || [ $$? -ne 125 ]; else tools/demo $(NSCTL); fi

test: all unit boxes ## every test that this machine can run

unit: ## the tests inside the source files, and the golden plans
	$(HOST_TESTS) --bin nsctl

boxes: all target/images target/debian.tar ## real containers, on this machine
	NSCTL=$(CURDIR)/$(NSCTL) NSCTL_IMAGES=$(CURDIR)/target/images $(HOST_TESTS) --test boxes --test source

# Roots and images of a busybox, by other people's tools.
target/images: tools/root-images
	tools/root-images $@

# A Debian in which an ordinary user installs packages. Where it is not to be had, without a mirror or root, that test says so.
target/debian.tar: tools/debian-root
	timeout 900 tools/debian-root $@ || echo "$@ could not be made: the test that wants it is skipped" >&2

bless: ## write the golden plans anew
	BLESS=1 $(HOST_TESTS) --bin nsctl golden

lint: ## clippy and rustfmt, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

size: all ## the binary against its budget, and that it is static
	@tools/size $(NSCTL) $(SIZE_BUDGET)

reproducible: all ## build again in another place; the bytes must be the same
	$(CARGO_MUSL) $(RELEASE) --target-dir target/again
	cmp $(NSCTL) target/again/$(TARGET)/release/nsctl && echo "the two builds are the same"
	@rm -rf target/again

bench: all ## measure beside the peers, in one run
	NSCTL=$(CURDIR)/$(NSCTL) cargo bench --locked --bench bench -- $(BENCH_ARGS)

qemu-test: all $(IMAGES) ## the box tests in booted kernels (KERNELS="6.1 newest" CASES="switched bare" FILTER=NAME ARCH=aarch64)
	ARCH=$(ARCH) tools/qemu/test.sh --nsctl $(NSCTL) --boxes "$$(tools/test-program boxes $(TARGET))" --kernels "$(KERNELS)" \
		--cases "$(CASES)" --images "$(IMAGES)" $(if $(FILTER),--filter "$(FILTER)")

qemu-shell: all ## a shell in an initramfs with nsctl
	tools/qemu/test.sh --shell --nsctl $(NSCTL)

fuzz: ## run the fuzz targets for FUZZ_SECONDS=20 each (FUZZ="netlink state": those)
	tools/fuzz $(FUZZ)

install: all ## install to DESTDIR, below PREFIX
	install -D -m 755 $(NSCTL) $(DESTDIR)$(BINDIR)/nsctl
	install -D -m 644 docs/nsctl.1 $(DESTDIR)$(MANDIR)/man1/nsctl.1

clean: ## remove what was built
	cargo clean

arch-test: ## aarch64, armv7 and riscv64 under emulation, and that other systems are refused
	tools/arch-test
	tools/other-os

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14
