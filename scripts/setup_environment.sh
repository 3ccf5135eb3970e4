#!/bin/sh
# Make .venv and install a locked list of packages into it: `setup_environment.sh base` to run, `dev` to test and check as well.
#
# Run by every Makefile target, so: nothing to do costs nothing, and needs no network. What has been installed is a copy of its list
# in .venv/.installed; a list that differs is installed again. The project itself is put on the path by a .pth file instead of
# being built, so that no build tool is needed; the path in it is relative, so the folder may be moved.
#
# PYTHON=/path/to/python chooses the interpreter; otherwise the first of python3.11 to python3.13 and python3 that fits, those that
# come with pip before those that do not.
set -eu

level=${1:?base or dev}
cd "$(dirname "$0")/.."
venv_python=.venv/bin/python
installed=.venv/.installed

say() { printf '==> %s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

fits() { # Is $1 an interpreter that we support?
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13"
        printf '%s\n' "$PYTHON"
        return
    fi
    for modules in venv,pip venv,ensurepip venv; do
        for candidate in python3.11 python3.12 python3.13 python3 python; do
            if fits "$candidate" && "$candidate" -c "import $modules" >/dev/null 2>&1; then
                printf '%s\n' "$candidate"
                return
            fi
        done
    done
    fail "no Python 3.11, 3.12 or 3.13 was found. Install one (Debian and Ubuntu: apt-get install python3 python3-venv;" \
        "macOS: brew install python@3.13), or name one: make PYTHON=/path/to/python"
}

base_of() { # The installation that interpreter $1 belongs to.
    "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null
}

venv_is_usable() {
    fits "$venv_python" || return 1
    [ -z "${PYTHON:-}" ] || [ "$(base_of "$PYTHON")" = "$(base_of "$venv_python")" ]
}

create_venv() {
    python=$(find_python)
    if [ -e .venv ]; then
        [ -f .venv/pyvenv.cfg ] || fail ".venv is there, but is no virtual environment: move it away"
        say "Making .venv anew: what is there is not for the Python asked for, or no longer works"
        rm -rf .venv
    fi
    say "Making .venv with $("$python" -c 'import sys; print("Python", sys.version.split()[0], "from", sys.executable)')"
    "$python" -m venv --without-pip .venv
}

# pip is needed once, for uv. That of the interpreter can install into .venv, which saves the seconds that ensurepip takes; an
# interpreter without one brings ensurepip, except on Debian and Ubuntu, where that is a package of its own.
pip() {
    if "$venv_python" -m pip --version >/dev/null 2>&1; then
        "$venv_python" -m pip "$@"
    else
        "$base_python" -m pip --python "$venv_python" "$@"
    fi
}

ensure_pip() {
    base_python=$("$venv_python" -c 'import sys; print(sys._base_executable)')
    if pip --version >/dev/null 2>&1; then return; fi
    if ! "$venv_python" -c 'import ensurepip' >/dev/null 2>&1; then
        package=python$("$venv_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
        command -v apt-get >/dev/null || fail "$base_python has neither pip nor ensurepip: install one of them"
        [ "$(id -u)" = 0 ] || fail "$base_python has neither pip nor ensurepip: run 'sudo apt-get install $package', then this again"
        say "Installing $package"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$package"; } </dev/null >/dev/null ||
            fail "apt-get could not install $package"
    fi
    "$venv_python" -m ensurepip >/dev/null
}

no_packages="the packages could not be installed (the reason is above). Setting up needs a package index, once; run this again when it can be reached"

install_list() { # Lists are pinned with hashes; wheels only, so nothing is compiled or run while installing.
    if ! cmp -s requirements/bootstrap.txt "$installed/bootstrap.txt"; then
        ensure_pip
        say "Installing uv"
        pip install --quiet --require-hashes --only-binary :all: -r requirements/bootstrap.txt || fail "$no_packages"
        cp requirements/bootstrap.txt "$installed/bootstrap.txt"
    fi
    say "Installing the packages of requirements/$1.txt"
    if ! "$venv_python" -m uv pip install --quiet --python "$venv_python" --require-hashes --only-binary :all: -r "requirements/$1.txt"; then
        say "uv could not install them; trying pip, which may be set up for another index"
        ensure_pip
        pip install --quiet --require-hashes --only-binary :all: -r "requirements/$1.txt" || fail "$no_packages"
    fi
    cp "requirements/$1.txt" "$installed/$1.txt"
}

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
case $level in base | dev) ;; *) fail "no such list: $level" ;; esac

venv_is_usable || create_venv
mkdir -p "$installed"

# dev holds everything that base holds, at the same versions: never install the smaller list over the larger one.
if [ -f "$installed/dev.txt" ]; then level=dev; fi
cmp -s "requirements/$level.txt" "$installed/$level.txt" || install_list "$level"

path_file=$("$venv_python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/py_trading_engine.pth
[ -f "$path_file" ] || printf '../../../../src\n' >"$path_file"
