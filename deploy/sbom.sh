#!/bin/sh
# Write what the image runs on, with versions and hashes, as a CycloneDX 1.6 document: sh deploy/sbom.sh FILE.
# Made from the hashed lock alone, so it needs no network and comes out the same each time.
set -eu
"${BIN:-.venv/bin}/cyclonedx-py" requirements deploy/runtime.lock --sv 1.6 --output-reproducible --validate -o "$1"
echo "$1"
