#!/bin/sh
# Installs what building and testing need, with the system's own package
# manager, and leaves alone what is there. A machine that has everything is not
# touched: no package list is refreshed and no root right is asked for.
set -eu

say() { printf 'deps: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# What each tool is for:
#   git            pipelines are cloned with it
#   bash           steps may ask for `shell: bash`; CI's entry is bash
#   cc             SQLite is C, and rustc links with it
#   mount, unshare, setsid   the tests make small disks and namespaces (Linux)
#   strace         the tests slow down a disk with it (Linux)
tools='git bash cc'
[ "$(uname -s)" != Linux ] || tools="$tools mount unshare setsid strace"

# The package that holds a tool, by package manager.
package_of() {
    case "$1:$2" in
        *:git | *:bash | *:strace) echo "$2" ;;
        apt-get:cc) echo gcc libc6-dev ;;
        dnf:cc) echo gcc glibc-devel ;;
        apk:cc) echo gcc musl-dev ;;
        pacman:cc) echo gcc ;;
        dnf:mount | dnf:unshare | dnf:setsid) echo util-linux util-linux-core ;;
        *) echo util-linux ;;
    esac
}

missing_tools() {
    for tool in $tools; do
        have "$tool" || printf '%s ' "$tool"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "missing: ${missing}(no root rights and no sudo); run as root: $*"
    fi
}

install() {
    case "$manager" in
        apt-get)
            as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
            ;;
        dnf) as_root dnf install -y "$@" ;;
        apk) as_root apk add --no-cache "$@" ;;
        pacman) as_root pacman -Sy --noconfirm --needed "$@" ;;
        # Homebrew refuses to run as root.
        brew) brew install "$@" ;;
    esac
}

install_missing_tools() {
    missing=$(missing_tools)
    [ -n "$missing" ] || return 0
    manager=
    for candidate in apt-get dnf apk pacman brew; do
        if have "$candidate"; then manager=$candidate; break; fi
    done
    [ -n "$manager" ] ||
        die "missing: ${missing}and none of apt-get, dnf, apk, pacman, brew is here; please install them by hand"
    # Homebrew's compilers don't call themselves cc; Apple's do.
    case "$manager $missing" in
        brew*" cc "*) die "missing: cc; install it with: xcode-select --install" ;;
    esac
    packages=
    for tool in $missing; do
        for package in $(package_of "$manager" "$tool"); do
            case " $packages " in
                *" $package "*) ;;
                *) packages="$packages $package" ;;
            esac
        done
    done
    say "missing: ${missing}- installing with $manager:$packages"
    # Split on purpose: each word is a package.
    # shellcheck disable=SC2086
    install $packages || die "$manager could not install:$packages"
    missing=$(missing_tools)
    [ -z "$missing" ] || die "still missing after the install: ${missing}- please install them by hand"
}

# The formatter and the linter come with the toolchain, but rustup's minimal
# profile leaves them out.
add_component() {
    cargo "$2" --version >/dev/null 2>&1 && return 0
    have rustup || die "cargo $2 is missing: install the $1 that belongs to your Rust toolchain"
    say "missing: $1 - adding it with rustup"
    rustup component add "$1" || die "rustup could not add $1"
}

install_missing_tools
have cargo || die "cargo is missing: install Rust from https://rustup.rs"
add_component rustfmt fmt
add_component clippy clippy
