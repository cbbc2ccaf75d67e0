# Sourced by tools/cargo-musl, which gives say and die: a Rust toolchain for static
# musl binaries out of distribution packages, for machines where rustup may not
# download or does not exist.
#
# Debian's rustc-web, cargo-web and lld are unpacked into a private prefix; nothing
# is installed and the host's apt state is not touched. They bring no std for musl,
# so it is built from rust-web-src, once per target, against that architecture's
# musl-dev.
#
#   $ROOT/usr               the sysroot, TOOLCHAIN; linked as rustup's nsctl-musl
#   $ROOT/usr/recipe        the RECIPE it was made by
#   $ROOT/usr/lib/rustlib/TARGET
#   $ROOT/lock, $ROOT/tmp   who builds, and where; only the holder touches the two
#
# usr and each TARGET come into being by one rename, so a killed run leaves nothing
# half made and readers need no lock.

# Raise it when anything below changes what comes out: prefixes made by another
# number are then made anew.
RECIPE=1

ROOT=$(readlink -m -- "${NSCTL_TOOLCHAIN:-${XDG_CACHE_HOME:-$HOME/.cache}/nsctl-toolchain}")
TOOLCHAIN=$ROOT/usr
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# Where riscv64 is, for machines of an earlier release: the oldest that has it, and
# the next ones for when a mirror is caught amid an update of that.
RISCV_SUITES='trixie forky sid'

base_ready() { [ "$(cat "$TOOLCHAIN/recipe" 2>/dev/null)" = "$RECIPE" ]; }
toolchain_ready() { base_ready && [ -d "$TOOLCHAIN/lib/rustlib/$1" ]; }

toolchain_make() { # TARGET DEB_ARCH
    for tool in apt-get dpkg flock; do
        command -v $tool >/dev/null ||
            die "no std for $1, and no $tool to make one from Debian's packages: run 'rustup target add $1'"
    done
    for tool in cc ar; do
        command -v $tool >/dev/null || die "no $tool, which std's build scripts need: apt-get install gcc libc6-dev"
    done
    mkdir -p "$ROOT"
    exec 9>"$ROOT/lock"
    flock -n 9 || { say "waiting for the run that holds $ROOT/lock"; flock 9; }
    if ! toolchain_ready "$1"; then
        tmp=$ROOT/tmp
        rm -rf "$tmp"
        mkdir -p "$tmp"
        trap 'rm -rf "$tmp"' EXIT
        trap 'exit 1' HUP INT TERM
        base_ready || make_base
        make_target "$1" "$2"
        rm -rf "$tmp"
        trap - EXIT HUP INT TERM
    fi
    exec 9>&-
}

# The machine's own Debian sources as "URI SUITE" lines, read from apt itself: that
# covers both file formats, and works before the first apt-get update.
own_sources() {
    codename=$(. /etc/os-release; echo "${VERSION_CODENAME:-sid}")
    apt-get update --print-uris |
        sed -nE "s,^'([^']*)/dists/(($codename|stable|oldstable|testing|sid|unstable)(-updates|-security)?)/InRelease'.*,\1 \2,p"
}

# Makes $tmp/NAME, a private apt state for one architecture; stdin: "URI SUITE" lines.
# Everything else works on it by APT_CONFIG=$tmp/NAME/conf.
apt_state() { # NAME DEB_ARCH KEYRING STATUS
    s=$tmp/$1
    mkdir -p "$s/state/lists/partial" "$s/cache/archives/partial"
    sed "s,.*,deb [signed-by=$3] & main," >"$s/list"
    [ -s "$s/list" ] || die "apt has no Debian source of this release configured (see 'apt-get update --print-uris')"
    # Of the host's settings only Acquire (proxies), without the desktop's extra indexes;
    # not its hooks, which clean caches that are not ours.
    apt-config dump Acquire | grep -v IndexTargets >"$s/conf"
    cat >>"$s/conf" <<END
Acquire::Languages "none";
APT::Architecture "$2";
APT::Architectures { "$2"; };
APT::Sandbox::User "root";
Dir::State "$s/state";
Dir::State::status "$4";
Dir::Cache "$s/cache";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$s/list";
Dir::Etc::sourceparts "/dev/null";
END
    # The host's lists spare the download, and serve if the mirror is amid an update.
    eval "$(apt-config shell lists Dir::State::lists/d)"
    [ "$1" != native ] || cp "$lists"/*_dists_* "$s/state/lists/" 2>/dev/null || :
    # One dead source of several need not matter; a missing package is told by name later.
    APT_CONFIG=$s/conf apt-get update -qq >&2 || say "apt-get update had errors, going on"
}

# Unpacks packages into DIR, each with what it needs that the host has not got.
unpack() { # NAME DIR PACKAGES...
    conf=$tmp/$1/conf dir=$2
    shift 2
    need=$(APT_CONFIG=$conf apt-get install -s --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p') || return
    need=$(printf '%s\n' "$@" $need | sort -u)
    say fetching $need
    rm -rf "$tmp/debs"
    mkdir -p "$tmp/debs" "$dir"
    (cd "$tmp/debs" && APT_CONFIG=$conf apt-get download -qq $need >&2) || return
    for deb in "$tmp"/debs/*.deb; do
        case $deb in
        # 500 MB of compiler source that nobody reads
        */rust-web-src_*) dpkg --fsys-tarfile "$deb" | tar -xC "$dir" --wildcards './usr/src/rustc-*/library' './usr/lib/rustlib/src' ;;
        *) dpkg -x "$deb" "$dir" ;;
        esac || return
    done
}

make_base() {
    own_sources >"$tmp/sources"
    # A Rust from packages would look present, or in conflict; the prefix wants its own.
    awk -v RS= -v ORS='\n\n' '!/^Package: [^\n]*(rust|cargo)/' /var/lib/dpkg/status >"$tmp/status"
    apt_state native "$(dpkg --print-architecture)" "$KEYRING" "$tmp/status" <"$tmp/sources"
    new=$tmp/new P=$tmp/new/usr
    # The keyring: a release older than the machine may be signed by keys it has not
    # got yet; through the machine's verified sources they come as a package.
    unpack native "$new" rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web debian-archive-keyring ||
        die "apt's sources have no rustc-web, cargo-web and rust-web-src (Debian's newest Rust, in bookworm and later): use rustup instead"
    # Where rustup would look for libraries, and so does LD_LIBRARY_PATH
    for f in "$P"/lib/*-linux-gnu*/*.so*; do [ ! -e "$f" ] || ln -sf "${f#"$P/lib/"}" "$P/lib/"; done
    v=$(LD_LIBRARY_PATH=$P/lib "$P/bin/rustc" -vV) || die "Debian's rustc was unpacked into $P but does not run"
    llvm=$(echo "$v" | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    host=$(echo "$v" | sed -n 's/^host: //p')
    # The lld of rustc's own LLVM knows all that this rustc emits, and shares its library.
    unpack native "$new" "lld-$llvm" || die "apt's sources have no lld-$llvm to go with rustc-web"
    mkdir -p "$P/lib/rustlib/$host/bin"
    ln -s "../../../llvm-$llvm/bin/lld" "$P/lib/rustlib/$host/bin/rust-lld"
    echo "$RECIPE" >"$P/recipe"
    [ ! -e "$TOOLCHAIN" ] || mv "$TOOLCHAIN" "$tmp/old"
    mv "$P" "$TOOLCHAIN"
    # For people who type cargo +nsctl-musl; the script itself does not need it.
    ! command -v rustup >/dev/null || rustup toolchain link nsctl-musl "$TOOLCHAIN" >&2 ||
        say "rustup does not take the link nsctl-musl, going on without"
}

# musl-dev of an architecture, unpacked into $tmp/musl
fetch_musl() { # DEB_ARCH
    : >"$tmp/none"
    [ -s "$tmp/sources" ] || own_sources >"$tmp/sources"
    sed -nE '/ [a-z]+$/p' "$tmp/sources" >"$tmp/base" # updates and security have no other musl
    apt_state foreign "$1" "$KEYRING" "$tmp/none" <"$tmp/base"
    [ "$1" != riscv64 ] || for suite in $RISCV_SUITES; do
        ! APT_CONFIG=$tmp/foreign/conf apt-cache show musl-dev >/dev/null 2>&1 || break
        sed "s, .*, $suite," "$tmp/base" >"$tmp/later"
        apt_state foreign "$1" "$TOOLCHAIN/share/keyrings/debian-archive-keyring.gpg" "$tmp/none" <"$tmp/later"
    done
    mkdir -p "$tmp/musl"
    (cd "$tmp/musl" && APT_CONFIG=$tmp/foreign/conf apt-get download -qq musl-dev >&2 && dpkg -x musl-dev_*.deb .) ||
        die "apt's sources have no musl-dev for $1"
}

make_target() { # TARGET DEB_ARCH
    fetch_musl "$2"
    say "building std for $1"
    sys=$tmp/sysroot/lib/rustlib/$1
    self=$sys/lib/self-contained
    mkdir -p "$self"
    cp "$tmp"/musl/usr/lib/*-linux-musl*/*crt1.o "$tmp"/musl/usr/lib/*-linux-musl*/crt[in].o \
        "$tmp"/musl/usr/lib/*-linux-musl*/libc.a "$self"
    (
        # Inherited settings must not change what comes out.
        unset RUSTUP_TOOLCHAIN $(env | sed -nE 's/^(CARGO_(BUILD|ENCODED|INCREMENTAL|PROFILE|TARGET)[A-Z0-9_]*)=.*/\1/p')
        export LD_LIBRARY_PATH="$TOOLCHAIN/lib" RUSTC="$TOOLCHAIN/bin/rustc" RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER=
        export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
        lib=$TOOLCHAIN/lib/rustlib/src/rust/library
        # Bitcode for fat LTO; crt-static because riscv64 does not default to it and would
        # try a dynamic std; and the same bytes whatever the prefix and the home are.
        RUSTFLAGS="-Awarnings -Zforce-unstable-if-unmarked -Cembed-bitcode=yes -Ctarget-feature=+crt-static"
        for dir in "$lib" "$(readlink -f "$lib")"; do RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$dir=/rust/library"; done
        export RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/rust/cargo"
        cd "$tmp"
        # No backtrace feature: its symbolizer is 200 KB in every binary. The sysroot crate
        # brings test and proc_macro along.
        "$TOOLCHAIN/bin/cargo" build -q --locked --release --target "$1" --target-dir "$tmp/build" \
            --manifest-path "$lib/sysroot/Cargo.toml" --no-default-features --features 'panic-unwind optimize_for_size' ||
            die "std for $1 does not build (its few dependencies come from the crate registry)"
        cp "$tmp/build/$1/release/deps"/lib*.rlib "$sys/lib"
        unset RUSTFLAGS
        unwind_stub >"$tmp/unwind.rs"
        echo '#![no_std]' >"$tmp/empty.rs"
        for f in unwind empty; do
            "$RUSTC" --sysroot "$tmp/sysroot" --target "$1" --edition 2024 --crate-type lib --emit obj \
                -Copt-level=s -Cpanic=abort -o "$tmp/$f.o" "$tmp/$f.rs"
        done
    )
    ar rcsD "$self/libunwind.a" "$tmp/unwind.o"
    # What compilers put into these is for C++ exceptions and constructors of old
    for f in crtbegin.o crtbeginS.o crtend.o crtendS.o; do cp "$tmp/empty.o" "$self/$f"; done
    mv "$sys" "$TOOLCHAIN/lib/rustlib/$1"
}

# std's unwind crate wants libunwind.a even with panic=abort, where nothing unwinds.
# With the stub a panic that would unwind aborts: #[should_panic] needs the host target.
unwind_stub() {
    echo '#![no_std] use core::ffi::{c_int, c_void}; type P = *mut c_void;'
    f='#[unsafe(no_mangle)] pub unsafe extern "C" fn'
    for n in GetIP GetCFA GetLanguageSpecificData GetRegionStart GetTextRelBase GetDataRelBase FindEnclosingFunction; do
        echo "$f _Unwind_$n(_: P) -> usize { 0 }"
    done
    echo "$f _Unwind_GetIPInfo(_: P, b: *mut c_int) -> usize { unsafe { *b = 0 }; 0 }
$f _Unwind_Backtrace(_: P, _: P) -> c_int { 5 }
$f _Unwind_RaiseException(_: P) -> c_int { 5 }
$f _Unwind_DeleteException(_: P) {}
$f _Unwind_SetGR(_: P, _: c_int, _: usize) {}
$f _Unwind_SetIP(_: P, _: usize) {}
$f _Unwind_Resume(_: P) -> ! { loop {} }
$f _Unwind_VRS_Get(_: P, _: c_int, _: u32, _: c_int, _: P) -> c_int { 2 }
$f _Unwind_VRS_Set(_: P, _: c_int, _: u32, _: c_int, _: P) -> c_int { 2 }
$f __gnu_unwind_frame(_: P, _: P) -> c_int { 9 }" # the last three are ARM's
}
