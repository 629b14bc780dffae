#!/bin/sh
# Make the three lock files anew from setup.cfg: the whole of it, what the image runs on, and what the demo adds.
set -eu
"$PYTHON" -m venv .venv-lock
.venv-lock/bin/pip install -q uv
compile() {
    .venv-lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q "$@"
}
compile setup.cfg --extra embedded --extra tracing --extra sentry --extra dev --extra build -o requirements.lock
compile setup.cfg --extra tracing --extra sentry --extra build -c requirements.lock -o deploy/runtime.lock
printf 'aiohttp\naiosmtpd\n' | compile - -c requirements.lock -o deploy/demo.lock
rm -rf .venv-lock
