#!/bin/sh
# Set up the virtual environment from the locked, hashed wheels. Wheels are kept in $WHEELS, so that a second clone
# needs no network. Called by make; safe to interrupt: the stamp is written last.
set -eu
say() { printf '[setup] %s\n' "$*"; }

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Usher needs Python 3.11 or newer; '$PYTHON' is $("$PYTHON" --version 2>&1 || echo missing)." >&2
    echo "Name another one: make PYTHON=/path/to/python3.12 run" >&2
    exit 1
fi

say "virtual environment in $VENV ($("$PYTHON" --version 2>&1))"
"$PYTHON" -m venv "$VENV" || {
    echo "Could not make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }
mkdir -p "$WHEELS"
say "installing locked wheels (kept in $WHEELS)"
if ! pip install -qq --no-index --find-links "$WHEELS" --only-binary :all: --require-hashes -r "$LOCK" 2>/dev/null; then
    say "downloading wheels, about 175 MB the first time"
    pip download -qq --dest "$WHEELS" --only-binary :all: --require-hashes -r "$LOCK"
    pip install -qq --no-index --find-links "$WHEELS" --only-binary :all: --require-hashes -r "$LOCK"
fi

say "installing usher itself"
pip install -qq --no-index --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
date >"$VENV/.locked"
