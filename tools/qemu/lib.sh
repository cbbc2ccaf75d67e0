# What the scripts of this directory share; sourced, not run.
#
# Who calls whom:  test.sh -> kernel.sh     fetch a kernel, print where it lies
#                          -> initramfs.sh  pack the guest
#                          -> boot.sh       (sourced) run qemu, watch it, collect what it left
#                  in the guest: init

say() { printf 'qemu-test: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }

cache=${NSCTL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/nsctl-qemu}

# ARCH=aarch64 boots that processor's kernel with its programs, emulated. A new one needs: its line
# here, a way to say "passed" besides the verdict port if its machine has no isa-debug-exit (exit_device empty:
# then the port alone decides), and in initramfs.sh the few bytes of the program that talks to that device.
arch=${ARCH:-$(uname -m)}
case $arch in
x86_64)
	deb_arch=amd64
	# The cloud flavour has the same core as the normal one and fewer drivers: smaller, and quicker at init.
	flavours='cloud-amd64 amd64'
	qemu=qemu-system-x86_64
	qemu_package=qemu-system-x86
	qemu_machine='-M q35'
	console=ttyS0
	exit_device='-device isa-debug-exit,iobase=0x501,iosize=2'
	# thread=single: QEMU 7.2's multi-threaded TCG with two processors panics guests ("Oops: int3", 9 of 13 runs).
	accel_tcg='-accel tcg,thread=single -smp 2 -cpu max'
	accel_kvm='-accel kvm -smp 2 -cpu host'
	;;
aarch64)
	deb_arch=arm64
	flavours='cloud-arm64 arm64'
	qemu=qemu-system-aarch64
	qemu_package=qemu-system-arm
	qemu_machine='-M virt,gic-version=3'
	console=ttyAMA0
	exit_device=
	accel_tcg='-accel tcg,thread=single -smp 2 -cpu cortex-a72'
	accel_kvm='-accel kvm -smp 2 -cpu host'
	;;
*)
	die "No guest of architecture $arch is described in tools/qemu/lib.sh; x86_64 and aarch64 are, so set ARCH to one of them or add it there."
	;;
esac

# patiently COMMAND...: tries it three times. A mirror may be out of reach, or amid an update, for a while.
patiently() {
	for pause in 0 10 30; do
		sleep $pause
		"$@" && return
	done
	return 1
}

# install_package NAME: called when what it has is missing.
install_package() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 ||
		die "The package $1 is missing: install it as root with 'apt-get install --no-install-recommends $1'."
	say "installing $1"
	log=$(mktemp)
	# Container images come without package lists: then, or if the lists are stale, fetch them and try again. Somebody else may
	# be installing, too.
	for pause in '' 0 10 30; do
		[ ! "$pause" ] || { sleep "$pause"; apt-get update -qq; }
		DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$1" && break
	done >"$log" 2>&1 </dev/null || { cat "$log" >&2; rm -f "$log"; die "apt-get could not install $1 (its words are above)."; }
	rm -f "$log"
}

# static_busybox: the path of a busybox that runs without libraries. The dynamic package has the same file name.
static_busybox() {
	for b in /bin/busybox /usr/bin/busybox; do
		# A dynamic program names its interpreter, near the start of the file.
		[ -x "$b" ] && ! head -c 4096 "$b" | tr '\0' '\n' | grep -q '/ld-' && { echo "$b"; return; }
	done
	return 1
}

# Hundredths of a second since boot: date has no fractions in POSIX.
now() {
	read -r t _ </proc/uptime
	echo "${t%.*}${t#*.}"
}

# seconds HUNDREDTHS: prints them with one decimal.
seconds() { echo "$(($1 / 100)).$(($1 % 100 / 10))"; }
