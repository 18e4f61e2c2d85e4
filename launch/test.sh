#!/usr/bin/env bash
# Run the tests. On a fresh machine, create .venv and install the locked packages first.
#
#   bash launch/test.sh                             # all tests, on up to four cores
#   bash launch/test.sh tests/text -k bpe           # arguments of pytest; paths from the repository
#   EXTRA=parity bash launch/test.sh                # also compare with transformers, ftfy and spaCy
#   PYTHON=python3.12 bash launch/test.sh           # the interpreter of a new .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/forward.sh

forward bash launch/environment.sh "${EXTRA:-dev}"
if (($# == 0)); then
  set -- --numprocesses=auto --maxprocesses=4 --dist=worksteal
fi
exec .venv/bin/python -m pytest "$@"
