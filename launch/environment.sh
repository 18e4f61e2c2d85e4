#!/usr/bin/env bash
# Create .venv in the repository, or update it. Do nothing if it is up to date.
#
#   bash launch/environment.sh                      # the program, for the CPU
#   bash launch/environment.sh dev                  # with the tools of the tests
#   bash launch/environment.sh openai               # with ftfy and spaCy, for OpenAI's text pipeline
#   bash launch/environment.sh gcs                  # with what gs:// needs; tpu has it, too
#   bash launch/environment.sh parity               # dev, openai, PyTorch, transformers and libtpu
#   bash launch/environment.sh cuda                 # for an accelerator: cuda, cuda13 or tpu. Also to
#                                                   # compile for one on a machine without it
#   PYTHON=python3.12 bash launch/environment.sh    # the interpreter of a new .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/forward.sh

fail() {
  echo "launch/environment.sh: $*" >&2
  exit 2
}

# Debian ships python3 without the modules that create an environment.
suitable() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

version() {
  "$1" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null
}

extra=${1:-}
case $extra in
  '' | dev | gcs | openai | parity | cuda | cuda13 | tpu) ;;
  # pip would only warn, and the program would run on the CPU.
  *) fail "unknown extra '$extra'; choose one of: dev, gcs, openai, parity, cuda, cuda13, tpu" ;;
esac

candidates=(python3 python3.13 python3.12 python3.11)
[[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")

if [[ ! -e .venv ]]; then
  for python in "${candidates[@]}" ''; do
    suitable "$python" && break
  done
  [[ $python ]] || fail "no Python >= 3.11 with its venv module (tried ${candidates[*]}): install one" \
    "(Debian, Ubuntu: apt install python3-venv) or name one with PYTHON=/path/to/python3.12"
  echo "creating .venv with Python $(version "$python")"
  "$python" -m venv --without-pip .venv
# An existing environment is never converted or deleted.
elif ! suitable .venv/bin/python; then
  fail ".venv has no working Python >= 3.11: delete it (rm -r .venv) and run this again"
elif [[ ${PYTHON:-} && $(version "$PYTHON") != "$(version .venv/bin/python)" ]]; then
  fail ".venv has Python $(version .venv/bin/python), not that of PYTHON=$PYTHON:" \
    "delete it (rm -r .venv) and run this again"
fi

# The stamp has the time of the last installation and lists the installed extras, one a line.
stamp=.venv/.installed
if [[ $stamp -nt pyproject.toml && $stamp -nt requirements-lock.txt ]]; then
  if [[ -z $extra ]] || grep -qx "$extra" "$stamp"; then
    exit 0
  fi
else
  rm -f "$stamp"
fi
echo "installing gpt1_jax${extra:+ with $extra} into .venv (minutes the first time)"
# Also repairs an environment whose creation was interrupted.
.venv/bin/python -m ensurepip >/dev/null
forward .venv/bin/python -m pip install --quiet --disable-pip-version-check -c requirements-lock.txt -e ".${extra:+[$extra]}"
echo "$extra" >>"$stamp"
