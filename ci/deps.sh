#!/bin/sh
# Installs what building and testing need, with the system's own package
# manager, and leaves alone what is there. A machine that has everything is not
# touched: no package list is refreshed and no root right is asked for.
set -eu

say() { printf 'deps: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
on_path() { command -v "$1" >/dev/null 2>&1; }

# Whether a tool is here, under the names that systems give it.
have() {
    case "$1" in
        alertmanager) on_path alertmanager || on_path prometheus-alertmanager ;;
        redis-server | redis-cli) on_path "$1" || on_path "valkey-${1#redis-}" ;;
        docker-registry) on_path docker-registry || on_path registry ;;
        chromium) on_path chromium || on_path chromium-browser ;;
        python3-venv) [ -n "$(python_for_peers)" ] ;;
        sshd) on_path sshd || [ -x /usr/sbin/sshd ] ;;
        *) on_path "$1" ;;
    esac
}

# What each tool is for:
#   git            pipelines are cloned with it
#   bash           steps may ask for `shell: bash`; CI's entry is bash
#   cc             SQLite and jemalloc are C, and rustc links with it
#   make           builds jemalloc
#   mount, unshare, setsid   the tests make small disks and namespaces (Linux)
#   strace         the tests make a disk slow, full or broken with it, and kill at a system call (Linux)
#   mkfs.ext4      the tests cut the power of a disk that is a file (Linux)
#   ip, nsenter    the tests put a worker behind a link that goes dead (Linux)
#   setpriv        the tests take rights from a server (Linux)
tools='git bash cc make'
[ "$(uname -s)" != Linux ] || tools="$tools mount unshare setsid setpriv strace ip nsenter prlimit mkfs.ext4"

# Real programs that the tests of telemetry run beside Danube (`peers`), the Redis that
# carries jobs in the tests, the Ansible that runs the tests' playbooks, Go for its `pprof`, which reads our
# profiles, a Docker registry with the skopeo that pushes to it and pulls from it, an sshd in front of a git repository,
# Node for the OpenID provider that the tests sign in at, and the Chromium in which they look at pages. Without them
# everything else can still be built and tested.
peers='prometheus promtool alertmanager amtool python3-venv ansible-playbook redis-server redis-cli go docker-registry skopeo sshd node npm chromium'
# The systemd that judges the units of deploy/systemd, and runs them where namespaces allow it. Alpine has none.
[ "$(uname -s)" != Linux ] || on_path apk || peers="$peers systemd-analyze"

# The package that holds a tool, by package manager.
package_of() {
    case "$1:$2" in
        *:git | *:bash | *:make | *:strace) echo "$2" ;;
        *:mkfs.ext4) echo e2fsprogs ;;
        apt-get:ansible-playbook | dnf:ansible-playbook | apk:ansible-playbook | pacman:ansible-playbook) echo ansible-core ;;
        *:ansible-playbook) echo ansible ;;
        apt-get:redis-cli) echo redis-tools ;;
        dnf:redis-* | pacman:redis-*) echo valkey ;;
        apt-get:go) echo golang-go ;;
        dnf:go) echo golang ;;
        *:go) echo go ;;
        dnf:docker-registry) echo docker-distribution ;;
        *:docker-registry | *:skopeo | *:npm | *:chromium) echo "$2" ;;
        pacman:sshd) echo openssh ;;
        *:sshd) echo openssh-server ;;
        apt-get:node | dnf:node | apk:node | pacman:node) echo nodejs ;;
        *:node) echo node ;;
        apt-get:redis-server) echo redis-server ;;
        *:redis-*) echo redis ;;
        *:systemd-analyze) echo systemd ;;
        apk:setpriv) echo setpriv ;;
        apt-get:ip | apk:ip | pacman:ip) echo iproute2 ;;
        dnf:ip) echo iproute ;;
        apt-get:cc) echo gcc libc6-dev ;;
        dnf:cc) echo gcc glibc-devel ;;
        apk:cc) echo gcc musl-dev ;;
        pacman:cc) echo gcc ;;
        dnf:prometheus | dnf:promtool) echo golang-github-prometheus ;;
        dnf:alertmanager | dnf:amtool) echo golang-github-prometheus-alertmanager ;;
        *:prometheus | *:promtool) echo prometheus ;;
        apt-get:alertmanager | apt-get:amtool) echo prometheus-alertmanager ;;
        *:alertmanager | *:amtool) echo alertmanager ;;
        apt-get:python3-venv) echo python3 python3-venv ;;
        pacman:python3-venv) echo python ;;
        brew:python3-venv) echo python@3.13 ;;
        *:python3-venv) echo python3 ;;
        dnf:nsenter | dnf:prlimit | dnf:mount | dnf:unshare | dnf:setsid | dnf:setpriv) echo util-linux util-linux-core ;;
        *) echo util-linux ;;
    esac
}

# missing TOOL...: those that aren't here.
missing() {
    for tool; do
        have "$tool" || printf '%s ' "$tool"
    done
}

find_manager() {
    manager=
    for candidate in apt-get dnf apk pacman brew; do
        if on_path "$candidate"; then manager=$candidate; break; fi
    done
}

# packages_of TOOL...: the packages that hold them, each once.
packages_of() {
    packages=
    for tool; do
        for package in $(package_of "$manager" "$tool"); do
            case " $packages " in
                *" $package "*) ;;
                *) packages="$packages $package" ;;
            esac
        done
    done
    echo "$packages"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif on_path sudo; then
        sudo "$@"
    else
        say "no root rights and no sudo; run as root: $*" >&2
        return 1
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
    # Lists of words are split on purpose, here and below.
    # shellcheck disable=SC2086
    missing=$(missing $tools)
    [ -n "$missing" ] || return 0
    find_manager
    [ -n "$manager" ] ||
        die "missing: ${missing}and none of apt-get, dnf, apk, pacman, brew is here; please install them by hand"
    # Homebrew's compilers don't call themselves cc; Apple's do.
    case "$manager $missing" in
        brew*" cc "*) die "missing: cc; install it with: xcode-select --install" ;;
    esac
    # shellcheck disable=SC2086
    packages=$(packages_of $missing)
    say "missing: ${missing}- installing with $manager:$packages"
    # shellcheck disable=SC2086
    install $packages || die "$manager could not install:$packages"
    # shellcheck disable=SC2086
    missing=$(missing $tools)
    [ -z "$missing" ] || die "still missing after the install: ${missing}- please install them by hand"
}

# Debian starts a service when its package is installed and at every boot. The
# tests start their own on free ports; nothing may listen because of `make deps`.
policy=/usr/sbin/policy-rc.d

without_services() {
    if [ "$manager" != apt-get ]; then
        "$@"
        return
    fi
    is_policy_ours=
    if [ ! -e "$policy" ]; then
        is_policy_ours=1
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    fi
    outcome=0
    "$@" || outcome=$?
    if [ -n "$is_policy_ours" ]; then
        as_root rm -f "$policy"
        trap - EXIT INT TERM
    fi
    return "$outcome"
}

# disable SERVICE...: only what this run has installed; an operator's own stays.
disable_services() {
    [ "$manager" = apt-get ] && on_path systemctl || return 0
    for service in $services; do
        as_root systemctl disable --quiet "$service" || say "could not disable $service; it may start at the next boot"
    done
}

# On CI nothing is left out in silence; elsewhere the rest is worth testing.
without_peers() {
    say "$*; the tests that need it fail (\`cargo test … -- --skip peers\` leaves them out)" >&2
    [ -z "${CI:-}" ] || exit 1
}

install_missing_peers() {
    # shellcheck disable=SC2086
    missing=$(missing $peers)
    [ -n "$missing" ] || return 0
    find_manager
    if [ -z "$manager" ]; then
        without_peers "missing: ${missing}and none of apt-get, dnf, apk, pacman, brew is here"
        return
    fi
    # shellcheck disable=SC2086
    packages=$(packages_of $missing)
    services=
    have prometheus || services=prometheus
    have alertmanager || services="$services prometheus-alertmanager"
    have redis-server || services="$services redis-server"
    have docker-registry || services="$services docker-registry"
    have sshd || services="$services ssh"
    have sshd || services="$services ssh"
    say "missing: ${missing}- installing with $manager:$packages"
    # shellcheck disable=SC2086
    if without_services install $packages; then
        disable_services
    else
        without_peers "$manager could not install:$packages"
        return
    fi
    # shellcheck disable=SC2086
    missing=$(missing $peers)
    [ -z "$missing" ] || without_peers "still missing after the install: $missing"
}

# A Python with `venv` and pip's own wheel, of a version that rotel has a wheel for.
python_for_peers() {
    for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11 python3.10; do
        "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
            >/dev/null 2>&1 || continue
        echo "$candidate"
        return
    done
}

# The copy of the list is written last: an install that broke off is done again.
install_python_peers() {
    list=ci/peers.txt
    venv=${CARGO_TARGET_DIR:-target}/peers-venv
    if cmp -s "$list" "$venv/peers.txt" && "$venv/bin/python" -c '' 2>/dev/null; then return; fi
    python=$(python_for_peers)
    if [ -z "$python" ]; then
        without_peers "missing: a Python of 3.10 to 3.13 with venv"
        return
    fi
    say "installing the Python packages of $list into $venv"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    # Wheels only: nothing is compiled, and no setup script runs.
    if "$python" -m venv "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: -r "$list"; then
        cp "$list" "$venv/peers.txt"
    else
        without_peers "could not install the packages of $list (rotel has wheels for glibc 2.34 or newer and macOS on ARM)"
    fi
}

# install_node_peers NAME: the packages that ci/NAME locks, into target/NAME. The copy of the lock is written
# last: an install that broke off is done again. No package's own script is run.
install_node_peers() {
    from=ci/$1
    into=${CARGO_TARGET_DIR:-target}/$1
    if cmp -s "$from/package-lock.json" "$into/installed-lock.json"; then return; fi
    if ! have npm; then
        without_peers "missing: npm"
        return
    fi
    say "installing the Node packages of $from into $into"
    mkdir -p "$into"
    cp "$from/package.json" "$from/package-lock.json" "$into/"
    if (cd "$into" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
        cp "$from/package-lock.json" "$into/installed-lock.json"
    else
        without_peers "could not install the packages of $from"
    fi
}

# The formatter and the linter come with the toolchain, but rustup's minimal
# profile leaves them out.
add_component() {
    cargo "$2" --version >/dev/null 2>&1 && return 0
    have rustup || die "cargo $2 is missing: install the $1 that belongs to your Rust toolchain"
    say "missing: $1 - adding it with rustup"
    rustup component add "$1" || die "rustup could not add $1"
}

cd "$(dirname "$0")/.."
install_missing_tools
have cargo || die "cargo is missing: install Rust from https://rustup.rs"
add_component rustfmt fmt
add_component clippy clippy
install_missing_peers
install_python_peers
install_node_peers oidc
install_node_peers browser
