#!/usr/bin/env bash
# Runs the tests, on a fresh machine too: makes .venv and installs the locked packages first.
#
#   bash launch/test.sh                             # all, shared out over up to four cores
#   bash launch/test.sh tests/text -k bpe           # what pytest is told; paths are seen from the repository
#   EXTRA=parity bash launch/test.sh                # those against transformers, ftfy and spaCy too, which brings PyTorch
#   PYTHON=python3.12 bash launch/test.sh           # the interpreter of a new .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/environment.sh "${EXTRA:-dev}"
if (($# == 0)); then
  set -- --numprocesses=auto --maxprocesses=4 --dist=worksteal
fi
exec .venv/bin/python -m pytest "$@"
