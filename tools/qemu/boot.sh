# Running qemu; sourced by test.sh. $work is its private directory.

qemu_pid=
# stop_qemu: also what the traps call.
stop_qemu() {
	[ "$qemu_pid" ] || return 0
	kill "$qemu_pid" 2>/dev/null || return 0
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		kill -0 "$qemu_pid" 2>/dev/null || return 0
		sleep 0.2
	done
	# A guest stuck in a software KVM does not let qemu end.
	kill -9 "$qemu_pid" 2>/dev/null || :
}

# What the guest's init takes for its third argument, and the disk that it needs for that.
root_case=initramfs disk=

# insert_disk CASE: the disk holds the root of that case. The squashfs was packed with the initramfs. The ext4 is new for
# each boot and comes empty (init copies); its features are those that 5.10 knows, whatever the host's defaults are.
insert_disk() {
	root_case=$1 disk=
	case $1 in
	readonly) disk=$work/squashfs ;;
	switched)
		disk=$work/ext4
		rm -f "$disk"
		PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -b 4096 -m 0 -I 256 \
			-O none,has_journal,ext_attr,dir_index,filetype,extent,sparse_super,large_file "$disk" 256M >"$work/log" 2>&1 ||
			{ cat "$work/log" >&2; die "mke2fs could not make an ext4 file system (its words are above)."; }
		;;
	esac
}

# qemu_line MODE LIMIT: sets the words that all boots have in common into $line. panic=-1 with -no-reboot: a panic
# ends qemu, with status 0. loglevel=4: warnings stay in the ring buffer, errors and panics reach the console.
# (-M microvm is quicker when it works, but hangs calibrating the TSC in most runs.)
qemu_line() {
	line="$qemu_machine -m ${NSCTL_QEMU_MEMORY:-1024} -nodefaults -no-user-config -display none -no-reboot $exit_device"
	append="console=$console panic=-1 loglevel=4"
	words="$1 $2 $root_case" # the kernel hands on to init what it does not know
}

# launch ACCEL MODE LIMIT PATIENCE: runs one guest in the background's care. Leaves in $work: console, output, verdict;
# sets status (qemu's exit status, or hung) and took. PATIENCE is how long init's first line may take.
launch() {
	qemu_line "$2" "$3"
	patience=$4
	rm -f "$work/console" "$work/output" "$work/verdict" "$work/killed"
	: >"$work/console"
	: >"$work/output"
	start=$(now)
	# Everything the guest says goes into files: qemu writes those at once, a pipe's reader may lose the last lines.
	# ioeventfd=off: with it, a line on the port could still be queued when the exit device ends qemu.
	# shellcheck disable=SC2086
	"$qemu" $1 $line -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" -append "$append -- $words" \
		${disk:+-drive "if=virtio,format=raw,cache=unsafe,file=$disk"} \
		-chardev "file,id=console,path=$work/console" -serial chardev:console \
		-device virtio-serial-pci,ioeventfd=off \
		-chardev "file,id=verdict,path=$work/verdict" -device virtserialport,chardev=verdict,name=nsctl.verdict \
		-chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,name=nsctl.output \
		</dev/null 2>"$work/qemu.log" &
	qemu_pid=$!
	follower=
	if [ "${V-}" ] && [ "$2" != probe ]; then
		set -- "$@" "$work/console"
		[ "$2" = exec ] || set -- "$@" "$work/output" # that of --exec is handed back on stdout, when all is over
		(shift 4; exec tail -q -s 0.2 --pid="$qemu_pid" -n +1 -f "$@") >&2 &
		follower=$!
	fi
	watch "$3" &
	watcher=$!
	if wait "$qemu_pid" 2>/dev/null; then status=0; else status=$?; fi
	took=$(($(now) - start))
	qemu_pid=
	kill "$watcher" 2>/dev/null || :
	wait "$watcher" 2>/dev/null || :
	[ ! "$follower" ] || wait "$follower"
	[ ! -e "$work/killed" ] || status=hung
}

reached_init() { grep -q '^nsctl-qemu: init' "$work/console"; }

# watch LIMIT: kills a guest that does not reach init, and one that outlives its limit: the guest's own watchdog, which
# tells more, goes first (it starts later, so it gets 30 s more).
watch() {
	trap 'kill $nap 2>/dev/null; exit' TERM
	seen=
	while :; do
		sleep 1 &
		nap=$!
		wait $nap
		past=$((($(now) - start) / 100))
		[ "$seen" ] || ! reached_init || seen=$past
		if [ ! "$seen" ]; then [ $past -ge "$patience" ] || continue
		elif [ $((past - seen)) -lt $(($1 + 30)) ]; then continue; fi
		: >"$work/killed"
		stop_qemu
		exit
	done
}

# choose_accel: KVM if a probe boot under it comes through, else TCG; sets accel and accel_name. The machine may have a
# /dev/kvm under which kernels hang. The answer is kept until this machine boots anew.
choose_accel() {
	ulimit -c 0 # qemu may abort where the processor offers less than it promised
	accel=$accel_tcg accel_name=tcg
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 0
	answer=$cache/$arch/kvm.$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -e "$answer" ]; then
		say "probing /dev/kvm"
		launch "$accel_kvm" probe 0 10
		[ "$status" = 65 ] && word=yes || word=no
		# By one rename, for another run may ask at the same time.
		echo $word >"$cache/$arch/.kvm.$$"
		mv "$cache/$arch/.kvm.$$" "$answer"
		find "$cache/$arch" -maxdepth 1 -name 'kvm.*' ! -path "$answer" -exec rm -f {} +
		[ $word = yes ] || say "a guest does not come up under this machine's /dev/kvm; using TCG ('rm $answer' to probe again)"
	fi
	[ "$(cat "$answer")" = no ] || accel=$accel_kvm accel_name=kvm
}

# boot MODE LIMIT CASE: launches, and once more if init's first line never appeared, which happens to 1 boot in 300.
boot() {
	insert_disk "$3"
	launch "$accel" "$1" "$2" 60
	reached_init && return
	say "the guest did not reach init (exit status $status after $(seconds $took) s); once more"
	insert_disk "$3"
	launch "$accel" "$1" "$2" 300
}

# shell CASE: the same guest with this terminal as its console.
shell() {
	insert_disk "$1"
	qemu_line shell 0
	size=$(stty size 2>/dev/null) || size='24 80'
	# shellcheck disable=SC2086
	"$qemu" $accel $line -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
		${disk:+-drive "if=virtio,format=raw,cache=unsafe,file=$disk"} \
		-append "$append LINES=${size% *} COLUMNS=${size#* } -- $words" \
		-chardev stdio,id=console,mux=on,signal=off -serial chardev:console -mon chardev=console
}
