#!/bin/sh
# deps.sh check|install|tests|fuzz - the libraries and tools sluice is built with.
#
# check    compiles one line against each library and names the package of every one that is missing
# install  installs what is missing with apt (with sudo when not root); where there is no apt it says what to install
# tests    installs what some tests are skipped without: file systems to put on an image, FUSE, strace
# fuzz     says what is missing for make fuzz, which nothing else needs: clang, with its libFuzzer
set -u
CC=${CC:-cc}

# header                library     Debian package   Fedora package
LIBRARIES='
liburing.h              uring       liburing-dev     liburing-devel
blosc.h                 blosc       libblosc-dev     blosc-devel
yaml.h                  yaml        libyaml-dev      libyaml-devel
zstd.h                  zstd        libzstd-dev      libzstd-devel
lz4.h                   lz4         liblz4-dev       lz4-devel
libdeflate.h            deflate     libdeflate-dev   libdeflate-devel
json-c/json.h           json-c      libjson-c-dev    json-c-devel
zlib.h                  z           zlib1g-dev       zlib-devel
snappy-c.h              snappy      libsnappy-dev    snappy-devel
xxhash.h                xxhash      libxxhash-dev    xxhash-devel
'

# Prints "debian-package fedora-package" a line. Not to /dev/null: a linker run by root could replace it.
missing_libraries()
{
    probe=$(mktemp)
    echo "$LIBRARIES" | while read -r header library debian fedora; do
        [ -n "$header" ] || continue
        printf '#include <stddef.h>\n#include <stdio.h>\n#include <%s>\nint main(void) { return 0; }\n' "$header" |
            $CC -D_GNU_SOURCE -x c -o "$probe" - "-l$library" >/dev/null 2>&1 || echo "$debian $fedora"
    done
    rm -f "$probe"
}

missing_tools()
{
    command -v "${CC%% *}" >/dev/null 2>&1 || echo "gcc gcc"
    command -v make >/dev/null 2>&1 || echo "make make"
    # libstdc++.a, for libsnappy in the static build
    command -v g++ >/dev/null 2>&1 || echo "g++ gcc-c++"
    if ! command -v python3 >/dev/null 2>&1; then
        echo "python3 python3"
        echo "python3-venv python3"
    elif ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
        echo "python3-venv python3"
    fi
}

TEST_PACKAGES='e2fsprogs xfsprogs fuse3 libfuse3-dev strace util-linux'

# With apt, as root or with sudo.
install_packages()
{
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "please run as root: apt-get install $*" >&2
            return 1
        fi
        sudo=sudo
    fi
    echo "installing $*"
    $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends \
        "$@" >/dev/null </dev/null
}

names() { awk -v column="$1" '{ printf "%s%s", sep, $column; sep = " " }'; }

case ${1-} in
check)
    if ! command -v "${CC%% *}" >/dev/null 2>&1; then
        echo "error: no C compiler '$CC'" >&2
        echo "help: apt-get install gcc, or make deps" >&2
        exit 1
    fi
    missing=$(missing_libraries)
    [ -z "$missing" ] && exit 0
    echo "error: libraries are missing" >&2
    echo "help: apt-get install $(echo "$missing" | names 1)" >&2
    echo "help: or let make install them: make deps" >&2
    exit 1
    ;;
install)
    missing=$(missing_tools)
    if command -v "${CC%% *}" >/dev/null 2>&1; then
        missing=$(printf '%s\n%s\n' "$missing" "$(missing_libraries)" | grep . || true)
    else
        missing=$(printf '%s\n%s\n' "$missing" "$(echo "$LIBRARIES" | awk 'NF { print $3, $4 }')")
    fi
    [ -z "$missing" ] && exit 0
    packages=$(echo "$missing" | names 1)
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "there is no apt-get here; please install what your system calls:" >&2
        echo "  $packages" >&2
        echo "on Fedora: dnf install $(echo "$missing" | names 2)" >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    install_packages $packages || exit 1
    [ -z "$(missing_libraries)" ] || { echo "still missing: $(missing_libraries | names 1)" >&2; exit 1; }
    ;;
tests)
    command -v apt-get >/dev/null 2>&1 || { echo "please install what your system calls: $TEST_PACKAGES" >&2; exit 1; }
    # shellcheck disable=SC2086
    install_packages $TEST_PACKAGES
    ;;
fuzz)
    probe=$(mktemp)
    echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long bytes) { return data && bytes > 9; }' |
        clang -fsanitize=fuzzer,address -x c -o "$probe" - >/dev/null 2>&1
    status=$?
    rm -f "$probe"
    [ $status = 0 ] && exit 0
    echo "error: make fuzz needs clang with libFuzzer" >&2
    echo "help: apt-get install clang 'libclang-rt-*-dev'; on Fedora: dnf install clang compiler-rt" >&2
    exit 1
    ;;
*)
    echo "usage: deps.sh check|install|tests|fuzz" >&2
    exit 2
    ;;
esac
