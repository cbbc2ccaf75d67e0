#!/bin/sh
# Runs the tests in guests, one a kernel and case, and says how it went in a line for each.
#
#   test.sh --nsctl FILE --boxes FILE [--filter NAME] [-- ARGUMENTS OF BOXES]
#   test.sh --shell     [--nsctl FILE] [--boxes FILE]      an interactive guest
#   test.sh --exec CMD  [--nsctl FILE] [--boxes FILE]      CMD's output and exit status (125: the guest failed)
#
#   --kernels "6.1 newest"   5.10, 6.1, 6.12, newest or any series the mirrors have; the default is those four, of --shell
#                            and --exec 6.1
#   --cases "initramfs bare" how the guest's root came to be: initramfs, switched, readonly, bare (see init); the default is
#                            the first three, of --shell and --exec initramfs. With those --root-case may be said as well
#   --filter NAME            only tests with NAME in theirs, in all cases
#   --case-filter NAME       only those in the cases other than initramfs; the default is the variable case_filter below
#   --modules "veth nf_nat"  load these too (and what they need) before the start; NSCTL_QEMU_MODULES
#   --images DIR             what is below DIR is below /images in the guest, which has no mkfs itself
#   --add FILE:GUESTPATH     put one more file or directory into the guest; may be repeated
#   --timeout SECONDS        for each guest from its init on; the default is 2700
#   --jobs N                 so many kernels at once; the default is the number of processors
#   --refresh                ask the mirrors for newer kernels than the cached
#
# A test finds the case in NSCTL_QEMU_CASE. V=1 shows the console live, NSCTL_QEMU_MEMORY (1024) is in MiB, NSCTL_CACHE the
# kernels' place. The exit status is the verdict: 0 all passed, 1 not, 125 it could not be tried. The last line is
# "N passed, M failed, K skipped".
set -eu
here=$(dirname "$0")
. "$here/lib.sh"
. "$here/boot.sh"

# Emulation is slow. In a guest the masked tests take three times as long as all others: one kernel is enough for them, an
# old one: outside of guests they run on a new one.
masked_kernels=6.1
# In the other cases, what depends on the root that nsctl was started from. Empty: all tests but the masked ones.
case_filter=roots::
# Words in the names of tests that need limits: bare has no /sys/fs/cgroup to mount the hierarchy on.
bare_skip='limit cgroups each_others_groups hog'

jobs=$(nproc)
mode=boxes kernels= cases= nsctl= boxes= modules=${NSCTL_QEMU_MODULES-} timeout=2700 refresh= filter=
work=$(mktemp -d)
: >"$work/extra"
: >"$work/script"
mkdir "$work/args"
trap 'stop_qemu; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
added=
words=$work/words
: >"$words"
[ $# = 0 ] || printf '%s\n' "$@" >"$words"
while [ $# -gt 0 ]; do
	case $1 in
	--shell) mode=shell ;;
	--refresh) refresh=--refresh ;;
	--) shift; [ $# = 0 ] || printf '%s\n' "$@" >>"$work/extra"; break ;;
	--help | -h) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
	--exec | --kernels | --cases | --root-case | --nsctl | --boxes | --modules | --images | --add | --timeout | --filter | --case-filter | --jobs)
		[ $# -gt 1 ] || die "$1 wants a value; --help shows how."
		case $1 in
		--exec) mode=exec; printf '%s\n' "$2" >"$work/script" ;;
		--kernels) kernels=$2 ;;
		--cases | --root-case) cases=$2 ;;
		--nsctl) nsctl=$2 ;;
		--boxes) boxes=$2 ;;
		--modules) modules="$modules $2" ;;
		--images) added="$added --images $2" ;;
		--add) added="$added --add $2" ;;
		--timeout) timeout=$2 ;;
		--jobs) jobs=$2 ;;
		--filter) filter=$2 ;;
		--case-filter) case_filter=$2 ;;
		esac
		shift
		;;
	*) die "test.sh does not know '$1'; --help shows what it knows." ;;
	esac
	shift
done
if [ $mode = boxes ]; then
	[ "$nsctl" ] && [ "$boxes" ] || die "Name the programs to test: --nsctl FILE and --boxes FILE ('make qemu-test' builds both)."
	: "${kernels:=5.10 6.1 6.12 newest}" "${cases:=initramfs switched readonly}"
fi
: "${kernels:=6.1}" "${cases:=initramfs}"
squashfs=
command -v "$qemu" >/dev/null || install_package "$qemu_package"
static_busybox >/dev/null || install_package busybox-static
for c in $cases; do
	case $c in
	initramfs | bare) ;;
	switched) PATH=$PATH:/usr/sbin:/sbin command -v mke2fs >/dev/null || install_package e2fsprogs ;;
	readonly) command -v mksquashfs >/dev/null || install_package squashfs-tools; squashfs="--squashfs $work/squashfs" ;;
	*) die "The case '$c' is unknown: take initramfs, switched, readonly or bare." ;;
	esac
done

# arguments NAME CASE: those of /boxes there, one a line. It takes one filter, which fits anywhere in a name, and any
# number of --skip. What was asked for by name, in --filter or after --, is not skipped.
arguments() {
	cat "$work/extra"
	if [ "$filter" ]; then echo "$filter"
	elif [ "$2" != initramfs ] && [ "$case_filter" ] && [ ! -s "$work/extra" ]; then echo "$case_filter"; fi
	case " $masked_kernels :$2:$filter$(cat "$work/extra")" in
	*" $1 "*:initramfs:* | *masked*) ;;
	*) printf '%s\n' --skip masked:: ;;
	esac
	# shellcheck disable=SC2086
	[ "$2" != bare ] || printf -- '--skip\n%s\n' $bare_skip
}

# prepare NAME: sets kernel and version, packs the guest, settles how to run it.
prepare() {
	for c in $cases; do arguments "$1" "$c" >"$work/args/$c"; done
	# shellcheck disable=SC2086
	found=$("$here/kernel.sh" $refresh "$1") || exit 125
	version=${found%% *} kernel=${found#* }
	# shellcheck disable=SC2086
	"$here/initramfs.sh" "$work/initramfs" --kernel "$kernel" --nsctl "$nsctl" --boxes "$boxes" \
		--modules "$modules" --script "$work/script" --args "$work/args" $added $squashfs || exit 125
	choose_accel
}

# A line of the verdict: value NAME
value() { sed -n "s/^$1 //p" "$work/verdict" 2>/dev/null | tail -n 1; }

# why: a sentence, unless the guest ran to its end and said that all went well.
why() {
	case $status in
	65) ;;
	67) ;;
	69) echo "the guest could not be set up"; return ;;
	71) echo "the tests were not done after $timeout s (--timeout sets that)"; return ;;
	hung) reached_init && echo "the guest hung and was stopped" || echo "the guest never reached init"; return ;;
	0) echo "the guest rebooted, panicked or powered off before its verdict"; return ;;
	*) echo "qemu ended with exit status $status: $(head -n 3 "$work/qemu.log" | tr '\n' ' ')"; return ;;
	esac
	if [ "$(tail -n 1 "$work/verdict")" != end ]; then echo "the guest's verdict is missing or cut short"
	elif ! grep -v 'reboot: Power down' "$work/console" | tail -n 1 | grep -q '^nsctl-qemu: end'; then echo "the console's end is missing"
	elif [ $status = 65 ] && [ "$(value status)" != 0 ]; then echo "qemu says passed, the verdict says '$(value status)'"
	fi
}

# judge: sets passed, failed, skipped, and complaint (empty if all is well).
judge() {
	# A machine without an exit device can only power off: then the port says how it went.
	if [ ! "$exit_device" ] && [ "$status" = 0 ] && [ "$(tail -n 1 "$work/verdict")" = end ]; then
		[ "$(value status)" = 0 ] && status=65 || status=67
	fi
	complaint=$(why)
	closing=$(grep '^test result: ' "$work/output" | tail -n 1) || :
	# Without a closing line the tests so far count, and the end of it as one failure.
	number() { echo "$closing" | sed -n "s/.* \([0-9][0-9]*\) $1.*/\1/p"; }
	passed=$(number passed) failed=$(number failed) skipped=$(number ignored)
	if [ ! "$passed" ] || [ ! "$failed" ] || [ "$complaint" ]; then
		[ "$complaint" ] || complaint="/boxes ended with status $(value status) and without a closing line 'test result: ...'"
		count() { grep -c "^test .* \.\.\. $1" "$work/output" || :; }
		passed=$(count ok) failed=$(($(count FAILED) + 1)) skipped=$(count ignored)
		open=$(grep -v '^test .* \.\.\. \(ok\|FAILED\|ignored\)' "$work/output" | sed -n 's/^test \(.*[^ ]\) *\.\.\. .*/\1/p' | tail -n 1)
		[ ! "$open" ] || complaint="$complaint; the test under way was $open"
	elif [ "$status" != 65 ] && [ "$failed" = 0 ]; then
		failed=1 complaint="/boxes ended with status $(value status) though no test failed"
	elif [ "$failed" != 0 ]; then
		complaint="failed: $(sed -n 's/^test \(.*[^ ]\) *\.\.\. FAILED.*/\1/p' "$work/output" | tr '\n' ' ')"
	elif [ $((passed + ${skipped:=0})) = 0 ]; then
		failed=1 complaint="no test ran: does the filter fit any name?"
	fi
	: "${skipped:=0}"
}

# boot_share: how long until the tests' start, from the guest's own account of how long it lived after that.
boot_share() {
	centi() { value "$1" | sed 's/\.//; s/^0*//'; }
	began=$(centi began) ended=$(centi ended)
	[ "$began" ] && [ "$ended" ] || return 0
	echo ", $(seconds $((took - ended + began))) s of it boot"
}
show_console() {
	[ ! -s "$work/output" ] || { echo "--- $version $root_case: the output"; cat "$work/output"; echo; }
	echo "--- $version $root_case: the console"
	tr -d '\r' <"$work/console"
	cat "$work/qemu.log"
	echo "--- $version $root_case: end"
}

case $mode in
shell)
	prepare "${kernels%% *}"
	if shell "${cases%% *}"; then status=0; else status=$?; fi
	[ $status = 65 ] || say "qemu ended with exit status $status (65 after 'exit', 0 after poweroff or a panic)"
	exit
	;;
exec)
	for k in $kernels; do
		prepare "$k"
		for c in $cases; do
			boot exec "$timeout" "$c"
			cat "$work/output"
			say "$version $c ($accel_name): $(seconds "$took") s$(boot_share)"
			complaint=$(why)
			[ ! "$complaint" ] || { : >"$work/output"; [ "${V-}" ] || show_console >&2; die "$complaint."; }
			code=$(value status)
			[ "$code" = 0 ] || exit "$code"
		done
	done
	exit
	;;
esac

# several: each kernel by a test.sh of its own, whose output is shown when it is done. An emulated processor is one thread of the host's.
several() {
	for k in $kernels; do
		# Asked for here, one after the other: two at once would both ask the mirrors.
		# shellcheck disable=SC2086
		"$here/kernel.sh" $refresh "$k" >/dev/null || exit 125
	done
	# The last word of an option counts, but for those after --.
	set --
	while IFS= read -r word; do
		[ "$word" != -- ] || set -- "$@" --kernels KERNEL --jobs 1
		set -- "$@" "$word"
	done <"$words"
	case " $* " in *" -- "*) ;; *) set -- "$@" --kernels KERNEL --jobs 1 ;; esac
	export here work
	# shellcheck disable=SC2016
	printf '%s\n' $kernels | xargs -P "$jobs" -I KERNEL \
		sh -c '"$here/test.sh" "$@" >"$work/KERNEL.out" 2>&1; echo $? >"$work/KERNEL.status"; cat "$work/KERNEL.out"' sh "$@"
	for k in $kernels; do
		[ "$(cat "$work/$k.status")" -le 1 ] || exit 125
		tail -n 1 "$work/$k.out"
	done | {
		passed=0 failed=0 skipped=0
		while read -r p _ f _ s _; do
			passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
		done
		echo "$passed passed, $failed failed, $skipped skipped"
		[ "$failed" = 0 ]
	}
}

if [ "$jobs" -gt 1 ] && [ "$(echo "$kernels" | wc -w)" -gt 1 ]; then
	several
	exit
fi

sum_passed=0 sum_failed=0 sum_skipped=0
for k in $kernels; do
	prepare "$k"
	for c in $cases; do
		boot boxes "$timeout" "$c"
		judge
		if [ "$complaint" ]; then
			[ "${V-}" ] || show_console
			echo "qemu $version $c: $complaint"
		fi
		sed -n "s/^left /qemu $version $c: note: the tests left behind the /p" "$work/verdict" 2>/dev/null || :
		tainted=$(value tainted)
		[ "${tainted:-0}" = 0 ] || echo "qemu $version $c: note: the guest kernel is tainted ($tainted): a warning hit? V=1 and dmesg tell"
		echo "qemu $version $c ($accel_name): $passed passed, $failed failed, $skipped skipped in $(seconds "$took") s$(boot_share)"
		sum_passed=$((sum_passed + passed)) sum_failed=$((sum_failed + failed)) sum_skipped=$((sum_skipped + skipped))
	done
done
echo "$sum_passed passed, $sum_failed failed, $sum_skipped skipped"
[ "$sum_failed" = 0 ]
