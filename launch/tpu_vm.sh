#!/usr/bin/env bash
# Run on a Cloud TPU VM with one or more hosts. Needs gcloud with a login and a project.
#
#   export NAME=gpt1 ZONE=us-west4-a                # defaults: TYPE=v5litepod-8 and the VERSION for it
#   bash launch/tpu_vm.sh create --spot             # flags are those of queued-resources create
#   bash launch/tpu_vm.sh status                    # continue when it prints ACTIVE
#   bash launch/tpu_vm.sh copy                      # copy the code to every host
#   bash launch/tpu_vm.sh run --config=configs/pretrain.py:gpt1 --workdir=/mnt/bucket/exp_books ...
#   bash launch/tpu_vm.sh logs                      # follow the log of host 0; WORKER=1 of host 1
#   bash launch/tpu_vm.sh resume ...                # with the flags of run: resume from the last checkpoint
#   bash launch/tpu_vm.sh delete                    # delete the machine, its disk and the request
#
# DRY_RUN=1 prints the commands and runs nothing. With several hosts, or on a spot machine, --workdir
# must be a folder that all hosts see (a mounted bucket, a file share). After a preemption: delete,
# create, copy and resume.
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

runtime_version() { # the image that Google recommends for each generation
  case $1 in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail "no runtime version is known for TYPE=$1: set VERSION" ;;
  esac
}

work() { # on each host: install, then run
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  if [[ ! -e .venv ]]; then
    # The Ubuntu 22.04 images have Python 3.10. uv installs a newer one without root.
    export PATH="$HOME/.local/bin:$PATH" UV_MANAGED_PYTHON=1
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/0.13.9/install.sh | sh
    uv python install 3.12.16
    PYTHON=$(uv python find 3.12.16)
    export PYTHON
  fi
  source launch/forward.sh
  forward bash launch/environment.sh tpu
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
    # A list of names, so that .venv, runs and .git are not copied.
    ssh_workers all 'mkdir -p gpt1_jax'
    run gcloud compute tpus tpu-vm scp --recurse --worker=all --zone="$ZONE" \
      README.md LICENSE pyproject.toml requirements-lock.txt gpt1_jax configs launch "$NAME:gpt1_jax"
    ;;
  run | resume)
    # The default folder contains the time of the start: hosts would not share it, nor find it again.
    [[ " $*" == *" --workdir="* ]] || fail "give --workdir=DIR, so that the run can resume"
    # Quoted again for the shell of the host. nohup, because the run outlives the connection.
    command=$(printf '%q ' bash launch/tpu_vm.sh work "$@")
    ssh_workers all "cd gpt1_jax || exit; nohup ${command}>>run.log 2>&1 </dev/null &"
    ;;
  logs)
    ssh_workers "${WORKER:-0}" 'tail -n 100 -F gpt1_jax/run.log'
    ;;
  delete)
    run gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force
    ;;
  *) fail "unknown action '$action'; choose one of: create, status, copy, run, resume, logs, delete" ;;
esac
