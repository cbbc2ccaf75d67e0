#!/bin/sh
# initramfs.sh OUT --kernel DIR [--nsctl FILE] [--boxes FILE] [--modules "NAMES"] [--script FILE] [--args DIR]
#              [--images DIR] [--add FILE:GUESTPATH]... [--squashfs OUT2]
# Packs the guest's whole file system into the cpio archive OUT, and into the squashfs OUT2 if asked; as any user.
#
# /bin has busybox with its applets and nsctl, /boxes is the test program, /images has the file system images that tests
# bring along (the guest has no mkfs), and what serves the boot alone is in /qemu: modules.list (in loading order),
# args/CASE (those of /boxes, one a line), script (what --exec runs), exit (tells qemu how it went).
set -eu
here=$(dirname "$0")
. "$here/lib.sh"

out=${1:?usage: see the head of initramfs.sh}
shift
kernel= nsctl= boxes= modules= script= args= images= added= squashfs=
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=$2 ;;
	--nsctl) nsctl=$2 ;;
	--boxes) boxes=$2 ;;
	--modules) modules=$2 ;;
	--script) script=$2 ;;
	--args) args=$2 ;;
	--images) images=$2 ;;
	--add) added="$added $2" ;;
	--squashfs) squashfs=$2 ;;
	*) die "initramfs.sh does not know '$1'." ;;
	esac
	shift 2
done
[ -d "$kernel/modules" ] || die "initramfs.sh wants --kernel with a directory that kernel.sh made."

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# rootfs is at /, world-readable whatever the builder's umask was: tests change their uid.
umask 022
chmod 755 "$root"

cd "$root"
mkdir -p bin dev etc home/user images lib/modules proc qemu root run sys tmp usr var/lib
ln -s bin sbin
ln -s ../bin usr/bin
ln -s ../bin usr/sbin
ln -s ../run var/run
busybox=$(static_busybox) || die "A static busybox is missing: install the package busybox-static."
# Its list of applets is taken from ours: what runs in the guest may not run here.
if [ "$arch" = "$(uname -m)" ]; then cp "$busybox" bin/busybox; else cp "$cache/$arch/busybox" bin/busybox; fi
for applet in $("$busybox" --list); do
	[ "$applet" = busybox ] || ln -s busybox "bin/$applet"
done
printf '%s\n' root:x:0:0:root:/root:/bin/sh user:x:1000:1000:user:/home/user:/bin/sh \
	nobody:x:65534:65534:nobody:/:/bin/sh >etc/passwd
printf '%s\n' root:x:0: user:x:1000: nogroup:x:65534: >etc/group
echo user:100000:65536 >etc/subuid
echo user:100000:65536 >etc/subgid
echo '127.0.0.1 localhost' >etc/hosts
cd - >/dev/null

# copy FILE GUESTPATH: what runs in the guest finds no libraries there.
copy() {
	[ -f "$1" ] || die "There is no file $1 to put into the guest as $2."
	mkdir -p "$root/$(dirname "$2")"
	cp "$1" "$root/$2"
}
program() {
	copy "$1" "$2"
	chmod 755 "$root/$2"
	! head -c 4096 "$1" | tr '\0' '\n' | grep -q '^/lib.*/ld-' ||
		die "$1 is dynamically linked and would not start in the guest; build it statically."
}
[ ! "$nsctl" ] || program "$nsctl" /bin/nsctl
[ ! "$boxes" ] || program "$boxes" /boxes
[ ! "$script" ] || copy "$script" /qemu/script
[ ! "$args" ] || cp -R "$args" "$root/qemu/args"
[ ! "$images" ] || cp -a "$images/." "$root/images" || die "--images wants a directory that can be read, not '$images'."
for a in $added; do cp -a "${a%%:*}" "$root/${a#*:}" || die "--add wants FILE:GUESTPATH with a FILE that exists and a directory that does, not '$a'."; done
cp "$here/init" "$root/init"
chmod 755 "$root/init"

# Modules, each after those it depends on: nobody runs depmod on these kernels, so "depends=" is read from the files
# themselves. They go in unpacked: an older kernel cannot unpack them, and busybox would not ask a newer one to.
dir=$kernel/modules
: >"$root/qemu/modules.list"
pattern() { printf %s "$1" | sed 's/[-_]/[-_]/g'; }
file_of() { find "$dir/kernel" -name "$(pattern "$1").ko" -o -name "$(pattern "$1").ko.xz" | head -n 1; }
exists() { [ "$(file_of "$1")" ] || grep -qs "/$(pattern "$1")\.ko\$" "$dir/modules.builtin"; }
module() {
	! grep -qx "$(pattern "$1")" "$root/qemu/modules.list" || return 0
	exists "$1" || die "The kernel in $kernel has no module '$1', nor is it built in; leave it out or take a kernel that has it."
	file=$(file_of "$1")
	[ "$file" ] || return 0
	target=$root/lib/modules/$1.ko
	case $file in
	*.xz) "$busybox" unxz -c "$file" >"$target" ;;
	*) cp "$file" "$target" ;;
	esac
	# The callee overwrites our variables: only $1 is ours after these loops.
	for dependency in $(tr '\0' '\n' <"$target" | sed -n 's/^depends=//p' | tr ',' ' '); do module "$dependency"; done
	# What a module asks the crypto layer for by name is no symbol that it depends on: "softdep=pre: crc32c", which the
	# module crc32c_generic serves where no faster one is. Without it libcrc32c fails with ENOENT.
	for dependency in $(tr '\0' '\n' <"$root/lib/modules/$1.ko" | sed -n 's/^softdep=.*pre: *\([^:]*\).*/\1/p'); do
		for name in "$dependency" "${dependency}_generic"; do ! exists "$name" || module "$name"; done
	done
	echo "$1" >>"$root/qemu/modules.list"
}
# The verdict port and its bus (built in from 6.12 on) and the disk. Then the file systems and the networks of containers, whatever a
# kernel has of them.
for m in virtio_pci virtio_console virtio_blk $modules; do module "$m"; done
networks="veth bridge macvlan ipvlan tun nf_tables nft_chain_nat nft_nat nft_masq nft_fib_inet nft_ct"
for m in overlay loop squashfs erofs ext4 $networks; do
	if exists "$m"; then module "$m"; else say "${kernel##*/} has no module $m: its tests will not find it"; fi
done

# /qemu/exit C: has qemu exit with the status 2*C+1 (isa-debug-exit). Debian's kernels have no /dev/port, so this takes a
# program, and a compiler is not always at hand:
#   ioperm(0x501, 2, 1); mov rsi, [rsp+16] (argv[1]); mov al, [rsi]; mov dx, 0x501; out dx, al; exit(1)
case $arch in
x86_64)
	{
		printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0\1\0\0\0\170\0\100\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
		printf '\0\0\0\0\100\0\70\0\1\0\0\0\0\0\0\0'                         # ... 64-byte header, one segment follows
		printf '\1\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\100\0\0\0\0\0' # PT_LOAD, r-x, all of it at 0x400000
		printf '\255\0\0\0\0\0\0\0\255\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0'       # 173 bytes
		printf '\270\255\0\0\0\277\1\5\0\0\276\2\0\0\0\272\1\0\0\0\17\5'     # ioperm
		printf '\110\213\164\44\20\212\6\146\272\1\5\356'                   # out
		printf '\270\74\0\0\0\277\1\0\0\0\17\5\0\0\0\0\0\0\0'                # exit, padding
	} >"$root/qemu/exit"
	chmod 755 "$root/qemu/exit"
	;;
esac

(cd "$root" && find . | "$busybox" cpio -o -H newc -R 0:0 2>"$out.log") >"$out" || { cat "$out.log" >&2; die "busybox cpio could not pack $out."; }
# Nothing is compressed: the guest's processor is a program, too.
[ ! "$squashfs" ] || mksquashfs "$root" "$squashfs" -noappend -all-root -noI -noD -noF -noX >"$out.log" 2>&1 ||
	{ cat "$out.log" >&2; die "mksquashfs could not make $squashfs."; }
