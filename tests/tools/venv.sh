#!/bin/sh
# venv.sh PYTHON VENV REQUIREMENTS - the Python environment of the judges, made once and remade when the list changes.
set -eu
python=$1 venv=$2 list=$3

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: the judges need Python 3.11 or later, '$python' is not; set PYTHON=" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "error: Python has no venv module" >&2
    echo "help: apt-get install python3-venv, or make deps" >&2
    exit 1
fi
echo "making the judges' Python environment in $venv"
rm -rf "$venv"
"$python" -m venv "$venv"
if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$list"; then
    rm -rf "$venv"
    echo "error: the judges (zarr-python, TensorStore) could not be installed from $list" >&2
    exit 1
fi
touch "$venv/ready"
