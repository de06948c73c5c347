# shellcheck shell=bash
# Common parts of the scripts: where things are, what must be installed, how a person is told.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR=$target
# shellcheck disable=SC2034 # for the scripts that read this file
bin=$target/release
rust_needed=1.95

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' dim=$'\e[2m' plain=$'\e[0m'
else
    # shellcheck disable=SC2034
    bold='' red='' green='' dim='' plain=''
fi

# Progress and trouble go to standard error: standard output belongs to what was asked for.
say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }
warn() { printf '%swarning:%s %s\n' "$red" "$plain" "$*" >&2; }
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
    exit "${2:-1}"
}

have() { command -v "$1" >/dev/null 2>&1; }

# A random password; and the digest of one, as an ACL file of Redis has it.
new_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
digest() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }

# The BPF programs ask for this kernel.
require_kernel() {
    at_least "$(uname -r | sed 's/[^0-9.].*//')" 6.2 ||
        die "this is Linux $(uname -r); 6.2 or later is needed (Debian 12: linux-image-amd64 of its backports)" 77
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# as_root COMMAND…: directly, or through sudo.
as_root() {
    if is_root; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "root is needed for: $*" 77
    fi
}

# install_packages PACKAGE…: those that are missing, on Debian and Ubuntu.
install_packages() {
    local missing=() package
    have dpkg-query || {
        have_by_hand "$@"
        return
    }
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    without_new_services "${missing[@]}"
}

# Other distributions: only the programs can be looked for.
have_by_hand() {
    local program
    for program in clang gcc make pkg-config redis-server; do
        have "$program" || die "$program is missing; install it (packages on Debian: $*)"
    done
}

# Installs packages without starting or enabling a service that was not there: redis-server
# would otherwise listen on port 6379 from now on. In a subshell, so that a Ctrl-C in the
# middle takes the policy away too: with it left, no package could start its service any more.
without_new_services() (
    policy=/usr/sbin/policy-rc.d ours='' redis_was_there=''
    [ -e /lib/systemd/system/redis-server.service ] && redis_was_there=yes
    # shellcheck disable=SC2317 # called by the trap
    put_back() {
        [ -z "$ours" ] || as_root rm -f "$policy"
        if [ -z "$redis_was_there" ] && have redis-server; then
            # deb-systemd-helper enables it even when the policy forbids the start.
            as_root systemctl disable redis-server.service >/dev/null 2>&1 || true
            as_root update-rc.d redis-server disable >/dev/null 2>&1 || true
        fi
    }
    trap put_back EXIT
    trap 'exit 130' INT TERM HUP
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2 ||
        die "apt-get could not install $*"
)

# at_least HAVE NEED: versions of numbers and dots.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

cargo_version() { (cd "$root" && cargo --version 2>/dev/null) | cut -d ' ' -f 2; }

# Rust by rustup where cargo is absent or too old. A cargo of rustup's fetches the toolchain of
# rust-toolchain.toml by itself.
install_rust() {
    [ ! -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    if have cargo && at_least "$(cargo_version)" "$rust_needed"; then
        return
    fi
    say "installing Rust by rustup: cargo is absent or older than $rust_needed"
    have curl || install_packages curl ca-certificates
    local installer
    installer=$(mktemp)
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs -o "$installer"
    RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$installer" -q -y --no-modify-path --profile minimal \
        --default-toolchain none >&2
    rm -f "$installer"
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    at_least "$(cargo_version)" "$rust_needed" ||
        die "cargo is still $(cargo_version); remove the older Rust from PATH"
}

# Everything that building and running needs; the arguments are further packages.
# shellcheck disable=SC2120 # the callers that pass some are other scripts
install_needed() {
    install_packages clang gcc libc6-dev libelf-dev make pkg-config redis-server zlib1g-dev "$@"
    install_rust
    local version
    version=$(redis-server --version | sed 's/.* v=\([0-9.]*\).*/\1/')
    at_least "$version" 7.0 ||
        die "redis-server is $version; 7.0 or later is needed (https://redis.io/docs/latest/operate/oss_and_stack/install/)"
}

build() {
    say "building ${dim}(the first time takes some minutes)${plain}"
    (cd "$root" && cargo build --release --workspace --locked) >&2
}

# Seconds since some time ago, for people.
since() { printf '%s s' "$((SECONDS - $1))"; }

# Instances of the sensor that are pinned: each weighs on every syscall of this host.
instances() { { find /sys/fs/bpf/ravn -mindepth 1 -maxdepth 1 2>/dev/null || true; } | sort; }
