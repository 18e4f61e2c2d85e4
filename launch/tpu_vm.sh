#!/usr/bin/env bash
# Run on a Cloud TPU VM with one or more hosts. Needs gcloud with a login and a project.
#
#   export NAME=gpt1 ZONE=us-west4-a                # defaults: TYPE=v5litepod-8 and the VERSION for it
#   bash launch/tpu_vm.sh keep --spot -- --config=configs/pretrain.py:gpt1 --workdir=gs://BUCKET/exp_books ...
#
# keep does everything, and asks for nothing while it does: it creates the machine, waits for it, copies the code, runs,
# prints the log of host 0 and, after a preemption, does all of it again, until result.json is in the bucket. Then it
# deletes the machine. It may be stopped and typed again at any time. Or step by step:
#
#   bash launch/tpu_vm.sh create --spot             # flags are those of queued-resources create
#   bash launch/tpu_vm.sh status                    # continue when it prints ACTIVE
#   bash launch/tpu_vm.sh copy                      # copy the code to every host
#   bash launch/tpu_vm.sh run --config=configs/pretrain.py:gpt1 --workdir=gs://BUCKET/exp_books ...
#   bash launch/tpu_vm.sh logs                      # follow the log of host 0; WORKER=1 of host 1
#   bash launch/tpu_vm.sh resume ...                # with the flags of run: resume from the last checkpoint
#   bash launch/tpu_vm.sh delete                    # delete the machine, its disk and the request
#
# API=gce uses Compute Engine, which serves TPU7x (launch/tpu_machine.sh). If HF_TOKEN is set, the program gets it through
# the connection; it is written nowhere. DRY_RUN=1 prints the commands and runs nothing. With several hosts, or on a spot
# machine, --workdir must be a folder that all hosts see: in a bucket (gs://), or on a file share.
set -euo pipefail

fail() {
  echo "tpu_vm.sh: $*" >&2
  exit 2
}

work() { # on each host: install, then run; write the exit code to run.exit
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  echo $$ >run.pid
  rm -f run.exit
  trap 'echo $? >run.exit' EXIT
  source launch/forward.sh
  if [[ ! -e .venv ]]; then
    # The Ubuntu 22.04 images have Python 3.10. uv installs a newer one without root.
    export PATH="$HOME/.local/bin:$PATH" UV_MANAGED_PYTHON=1
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/0.13.9/install.sh | sh
    uv python install 3.12.16
    PYTHON=$(uv python find 3.12.16)
    export PYTHON
  fi
  forward bash launch/environment.sh tpu
  forward .venv/bin/python -m gpt1_jax.main --multihost=on "$@"
}

start_program() { # FLAG...: start the program on every host
  # The default folder contains the time of the start: hosts would not share it, nor find it again.
  [[ " $*" == *" --workdir="* ]] || fail "give --workdir=DIR, so that the run can resume"
  # Quoted again for the shell of the host. nohup, because the run outlives the connection.
  local command workers token=''
  command=$(printf '%q ' bash launch/tpu_vm.sh work "$@")
  [[ ! ${HF_TOKEN:-} ]] || token='read -r HF_TOKEN; export HF_TOKEN; '
  command="cd gpt1_jax || exit; ${token}nohup ${command}>>run.log 2>&1 </dev/null &"
  if [[ $token ]]; then # one host after the other, because only one would read the token
    workers=$(machine_workers) || return
    for worker in $workers; do
      machine_ssh "$worker" "$command" <<<"$HF_TOKEN"
    done
  else
    machine_ssh all "$command"
  fi
}

action=${1:-}
shift || true
if [[ $action == work ]]; then
  work "$@"
  exit
fi
: "${NAME:?set NAME, the name of the TPU VM}" "${ZONE:?set ZONE, such as us-west4-a}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/tpu_machine.sh

case $action in
  create) machine_create "$@" ;;
  status) machine_status ;;
  copy) machine_copy ;;
  run | resume) start_program "$@" ;;
  logs) machine_ssh "${WORKER:-0}" 'tail -n 100 -F gpt1_jax/run.log' ;;
  delete) machine_delete ;;
  keep)
    source launch/tpu_keep.sh
    keep "$@"
    ;;
  *) fail "unknown action '$action'; choose one of: keep, create, status, copy, run, resume, logs, delete" ;;
esac
