#!/usr/bin/env bash
# A run on a Cloud TPU VM with one or many hosts. Needs gcloud, logged in and with a project set.
#
#   export NAME=gpt1 ZONE=us-west4-a                # TYPE=v5litepod-8 and its VERSION unless set
#   bash launch/tpu_vm.sh create --spot             # asks for the machine; flags of queued-resources create
#   bash launch/tpu_vm.sh status                    # go on when it says ACTIVE
#   bash launch/tpu_vm.sh copy                      # this working tree's code to every host
#   bash launch/tpu_vm.sh run --config=configs/pretrain.py:gpt1 --workdir=/mnt/bucket/exp_books ...
#   bash launch/tpu_vm.sh logs                      # follows host 0; WORKER=1 another
#   bash launch/tpu_vm.sh resume ...                # the run's flags again: it goes on from its last checkpoint
#   bash launch/tpu_vm.sh delete                    # machine and request; what it holds on its own disk is lost
#
# DRY_RUN=1 prints the commands and runs nothing. --workdir must be a folder that all hosts see (a mounted bucket, a
# file share) where there is more than one host, or where a spot machine may be taken away: then delete, create, copy
# and resume.
set -euo pipefail

fail() {
  echo "tpu_vm.sh: $*" >&2
  exit 2
}

run() {
  if [[ ${DRY_RUN:-} ]]; then
    printf '%q ' "$@" && echo
  else
    "$@"
  fi
}

ssh_workers() { # WORKER COMMAND
  run gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

runtime_version() { # the image that Google names for each generation
  case $1 in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail "no runtime version is known for TYPE=$1: set VERSION" ;;
  esac
}

work() { # on a host: install, then run
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  if [[ ! -e .venv ]]; then
    # Python on the Ubuntu 22.04 images is 3.10; uv brings a newer one, whole and without root.
    export PATH="$HOME/.local/bin:$PATH" UV_MANAGED_PYTHON=1
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
    uv python install 3.12
    PYTHON=$(uv python find 3.12)
    export PYTHON
  fi
  bash launch/environment.sh tpu
  exec .venv/bin/python -m gpt1_jax.main --multihost=on "$@"
}

action=${1:-}
shift || true
if [[ $action == work ]]; then
  work "$@"
fi
: "${NAME:?set NAME, the name of the TPU VM}" "${ZONE:?set ZONE, such as us-west4-a}"

case $action in
  create)
    type=${TYPE:-v5litepod-8}
    version=${VERSION:-$(runtime_version "$type")}
    run gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \
      --accelerator-type="$type" --runtime-version="$version" "$@"
    ;;
  status)
    run gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" --format='value(state.state)'
    ;;
  copy)
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # Named one by one: .venv, runs and .git stay at home.
    ssh_workers all 'mkdir -p gpt1_jax'
    run gcloud compute tpus tpu-vm scp --recurse --worker=all --zone="$ZONE" \
      README.md LICENSE pyproject.toml requirements-lock.txt gpt1_jax configs launch "$NAME:gpt1_jax"
    ;;
  run | resume)
    # A fresh time-stamped folder on every host would be neither shared nor found again.
    [[ " $*" == *" --workdir="* ]] || fail "give --workdir=DIR, so that the run can resume"
    # Quoted once more for the host's shell. nohup and no open stream: the run outlives the connection.
    command=$(printf '%q ' bash launch/tpu_vm.sh work "$@")
    ssh_workers all "cd gpt1_jax || exit; nohup ${command}>>run.log 2>&1 </dev/null &"
    ;;
  logs)
    ssh_workers "${WORKER:-0}" 'tail -n 100 -F gpt1_jax/run.log'
    ;;
  delete)
    run gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force
    ;;
  *) fail "unknown action '$action', known are create, status, copy, run, resume, logs and delete" ;;
esac
