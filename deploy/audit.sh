#!/bin/sh
# Look up known vulnerabilities of what the image runs on. Needs a network: PyPI is asked about each version.
# Exit code 0 when there are none, 1 when there are some, 3 when not everything could be asked about.
set -eu
found=$(mktemp) errors=$(mktemp)
trap 'rm -f "$found" "$errors"' EXIT
if "${BIN:-.venv/bin}/pip-audit" --requirement deploy/runtime.lock --require-hashes --disable-pip --strict \
    --progress-spinner off --timeout 10 --output "$found" 2>"$errors"; then
    echo "No known vulnerabilities in deploy/runtime.lock."
elif [ -s "$found" ]; then
    cat "$found"
    exit 1
else
    echo "Not audited; this needs a network that reaches pypi.org. $(tail -n 1 "$errors" | cut -c 1-300)" >&2
    exit 3
fi
