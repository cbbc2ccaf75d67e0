#!/bin/sh
# kernel.sh [--refresh] NAME: fetches a Debian kernel, prints "VERSION DIRECTORY"; the directory has vmlinuz, config and
# modules/. NAME is newest or a series (5.10, 6.1, 6.12, 7.2 ...): point versions vanish from the mirrors, so a name is
# resolved when it is first used and stays what it was until --refresh.
#
# Nothing on this machine changes: apt works on a state, a cache and a sources list of its own. Mirrors are those this
# machine is configured with; only the suite is another. apt verifies what it fetches, from the signature to the package.
set -eu
here=$(dirname "$0")
. "$here/lib.sh"

refresh=
[ "${1-}" = --refresh ] && { refresh=1; shift; }
name=${1:?usage: kernel.sh [--refresh] NAME}
store=$cache/$arch

found() { # RELEASE
	[ -e "$store/$1/version" ] && has_busybox && echo "$(cat "$store/$1/version") $store/$1"
}
# A guest of another processor needs that one's.
has_busybox() { [ "$arch" = "$(uname -m)" ] || [ -e "$store/busybox" ]; }
[ ! "$refresh" ] && [ -e "$store/$name.is" ] && found "$(cat "$store/$name.is")" && exit

# Which suites to look into. The older names come from the release whose kernel they were.
checked=
case $name in
5.10) suites='bullseye bullseye-security' pattern='5\.10\.'
	# That archive is closing down. A stale signature over a test kernel hides no update that would matter here.
	checked='check-valid-until=no ' ;;
6.1) suites='bookworm bookworm-security' pattern='6\.1\.' ;;
6.12) suites='trixie trixie-security' pattern='6\.12\.' ;;
newest) suites='trixie-backports OWN' pattern= ;;
[0-9]*.[0-9]*) suites='trixie-backports OWN' pattern=$(echo "$name" | sed 's/\./\\./g')'\.' ;;
*) die "The kernel name '$name' is unknown: take newest or a series like 6.1." ;;
esac

for c in apt-get dpkg; do
	command -v $c >/dev/null || die "Kernels are fetched with $c, which is missing: run this on Debian, or once there and copy $cache."
done
mkdir -p "$store"
tmp=$(mktemp -d "$store/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$tmp/state/lists/partial" "$tmp/cache/archives/partial" "$tmp/debs"
: >"$tmp/status"

# -c is read after the machine's own apt.conf.d, so proxies and credentials there hold, and its hooks (they empty the
# machine's cache, or talk to PackageKit) are cleared. Sandbox: _apt may not read root's cache directory.
cat >"$tmp/conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "$deb_arch";
APT::Architectures { "$deb_arch"; };
APT::Sandbox::User "root";
Dir::State "$tmp/state/";
Dir::State::status "$tmp/status";
Dir::Cache "$tmp/cache/";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
CONF
apt() { # TOOL ARGUMENTS...: with the machine's own sources until $tmp/sources.list is there
	tool=$1
	shift
	if [ -e "$tmp/sources.list" ]; then
		set -- -o "Dir::Etc::sourcelist=$tmp/sources.list" -o Dir::Etc::sourceparts=/dev/null "$@"
	fi
	"$tool" -c "$tmp/conf" "$@"
}

# The machine's Debian mirrors: of all that is configured, the archives whose verified Release file says that it is
# Debian's. apt reads the configuration (both formats, mirror lists, all) and fetches the Release files, no more.
say "looking for the kernel '$name' on the configured mirrors"
mirrors() {
	apt apt-get -o Acquire::IndexTargets::deb::Packages::DefaultEnabled=false update >"$tmp/log" 2>&1 || true
	main= security= own=
	apt apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(FILENAME)' \
		'Created-By: Packages' | sort -u >"$tmp/targets"
	while read -r uri suite component file; do
		[ "$component" = main ] || continue
		for release in "${file%_main_*}_InRelease" "${file%_main_*}_Release"; do
			grep -qs '^Origin: Debian$' "$release" || continue
			label=$(sed -n 's/^Label: //p' "$release")
			case $label:$suite in
			Debian:bullseye* | Debian:bookworm* | Debian:trixie*) main=$uri ;;
			Debian:*) main=$uri own="$own $suite" ;; # forky, sid ...: may have what is newer than the backports
			Debian-Security:*) security=$uri ;;
			esac
		done
	done <"$tmp/targets"
	[ "$main" ]
}
patiently mirrors || main=${NSCTL_DEBIAN_MIRROR-}
[ "$main" ] || {
	cat "$tmp/log" >&2
	die "No Debian mirror that is configured here could be reached and verified: see apt's words above, or name one in NSCTL_DEBIAN_MIRROR."
}

# fetch PACKAGES...: into $tmp/debs.
fetch() { (cd "$tmp/debs" && patiently apt apt-get download "$@") >"$tmp/log.fetch" 2>&1; }

# sources KEYRING SUITES...
sources() {
	keyring=$1
	shift
	for s; do
		uri=$main
		case $s in *-security) uri=$security; [ "$uri" ] || continue ;; esac
		echo "deb [${checked}signed-by=$keyring] $uri $s main"
	done >"$tmp/sources.list"
}
suites=$(echo "$suites" | sed "s/OWN/$own/")
keyring=
for k in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
	[ ! -e "$k" ] || keyring=$k
done
[ "$keyring" ] || die "Debian's keys are missing: install the package debian-archive-keyring."

# A keyring older than the suite's key: each release's keyring package has the key of the next, and is itself verified.
newer_keyring() {
	for hop in bullseye bookworm trixie; do
		sources "$keyring" $hop
		patiently apt apt-get update >"$tmp/log.hop" 2>&1 && fetch debian-archive-keyring || continue
		rm -rf "$tmp/keys"
		dpkg -x "$tmp/debs"/debian-archive-keyring_*.deb "$tmp/keys"
		rm -f "$tmp/debs"/*
		mkdir -p "$tmp/keep"
		cat "$tmp/keys/usr/share/keyrings/debian-archive-keyring.gpg" >"$tmp/keep/$hop.gpg"
		keyring=$tmp/keep/$hop.gpg
		say "the local keyring lacks the key of: $suites; took the keys from $hop's debian-archive-keyring, which is verified"
	done
}
update() { sources "$keyring" $suites && apt apt-get update >"$tmp/log" 2>&1; }
update || { ! grep -qE 'NO_PUBKEY|Missing key' "$tmp/log" || newer_keyring; patiently update; } || {
	cat "$tmp/log" >&2
	die "apt-get could not fetch the package lists of $suites from $main (its words are above); check the network or the mirror."
}

# Before the flavour is a digit: rt-amd64 is another one than amd64.
newest_release() {
	for flavour in $flavours; do
		release=$(apt apt-cache pkgnames linux-image- |
			sed -n "s/^linux-image-\([0-9]*\.[0-9]*\..*[0-9]-$flavour\)\$/\1/p" |
			grep "^$pattern" | sort -V | tail -n 1) || true
		[ ! "$release" ] || return 0
	done
	return 1
}
# apt-get update succeeds, too, with a part of the lists.
again() { update && newest_release; }
newest_release || patiently again || die "No kernel '$name' is among the packages of $suites on $main; see what there is with 'apt-cache pkgnames linux-image-'."

if ! has_busybox; then
	fetch busybox-static || {
		cat "$tmp/log.fetch" >&2
		die "apt-get could not fetch busybox-static of $deb_arch (its words are above)."
	}
	dpkg -x "$tmp/debs"/busybox-static_*.deb "$tmp/busybox"
	rm -f "$tmp/debs"/*
	cp "$tmp/busybox/bin/busybox" "$tmp/busybox.new" 2>/dev/null || cp "$tmp/busybox/usr/bin/busybox" "$tmp/busybox.new"
	mv "$tmp/busybox.new" "$store/busybox"
fi

if ! found "$release" >/dev/null; then
	# From 6.19 on the image package is empty; the kernel, its modules and its configuration are packages it depends on.
	apt apt-cache show "linux-image-$release" >"$tmp/show"
	packages=$(sed -n '1,/^$/s/^Depends: //p' "$tmp/show" | tr ',|' '\n\n' | sed -n 's/^ *\(linux-[a-z]*-[0-9][^ ]*\).*/\1/p')
	say "fetching linux-image-$release"
	# shellcheck disable=SC2086
	fetch "linux-image-$release" $packages || {
		cat "$tmp/log.fetch" >&2
		die "apt-get could not fetch the packages of $release (its words are above); if they have just left the mirror, try --refresh."
	}
	for d in "$tmp/debs"/*.deb; do dpkg -x "$d" "$tmp/root"; done
	mkdir "$tmp/kernel"
	for m in "$tmp/root/lib/modules/$release" "$tmp/root/usr/lib/modules/$release"; do
		[ ! -d "$m" ] || cp -al "$m/." "$tmp/kernel/modules"
	done
	for f in vmlinuz config; do
		for from in "$tmp/root/boot/$f-$release" "$tmp/kernel/modules/$f"; do
			[ ! -e "$from" ] || cp "$from" "$tmp/kernel/$f"
		done
	done
	[ -e "$tmp/kernel/vmlinuz" ] && [ -d "$tmp/kernel/modules/kernel" ] ||
		die "The packages of $release have no vmlinuz or no modules where kernel.sh looks: Debian has moved them; adapt kernel.sh."
	sed -n '1,/^$/s/^Version: \([^-]*\).*/\1/p' "$tmp/show" >"$tmp/kernel/version"
	mv -T "$tmp/kernel" "$store/$release" 2>/dev/null || found "$release" >/dev/null # another run was quicker
fi
echo "$release" >"$tmp/is"
mv "$tmp/is" "$store/$name.is"
found "$release"
