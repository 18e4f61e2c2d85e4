#!/usr/bin/env bash
# Define one set of functions for the two ways to a TPU VM, for launch/tpu_vm.sh:
#
#   API=queue    Cloud TPU's queued resources, for v2 to v6e. One or more hosts. The pages followed, as of 2025-09-04:
#                https://cloud.google.com/tpu/docs/queued-resources (requests and their states),
#                .../spot (--spot), .../request-using-flex-start (--provisioning-model=flex-start --max-run-duration=4h)
#   API=gce      Compute Engine, for v5p, v6e and TPU7x. One host. The page followed, as of 2026:
#                https://docs.cloud.google.com/tpu/docs/spot-compute
#
# They read NAME, ZONE, TYPE and VERSION. For API=gce, TYPE is a machine type (tpu7x-standard-4t), and VERSION the
# image family of IMAGE_PROJECT that Google's page names for it.
set -euo pipefail

api=${API:-queue}

run() { # print instead with DRY_RUN=1
  if [[ ${DRY_RUN:-} ]]; then
    printf '%q ' "$@" && echo
  else
    "$@"
  fi
}

runtime_version() { # the image that Google recommends for each generation
  case $1 in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *tpu7x*) fail "TYPE=$1 is not served by Cloud TPU's API: set API=gce" ;;
    *) fail "no runtime version is known for TYPE=$1: set VERSION" ;;
  esac
}

set_type() { # set `type` and `version` from TYPE and VERSION
  if [[ $api == gce ]]; then
    type=${TYPE:-tpu7x-standard-4t}
    version=${VERSION:?set VERSION, the image family that Google names for $type}
  else
    type=${TYPE:-v5litepod-8}
    version=${VERSION:-$(runtime_version "$type")}
  fi
}

machine_create() { # flags of create
  set_type
  if [[ $api == gce ]]; then
    local spot=()
    if [[ " $* " == *" --spot "* ]]; then
      spot=(--provisioning-model=SPOT --instance-termination-action=DELETE)
    fi
    local flags=()
    for flag; do [[ $flag == --spot ]] || flags+=("$flag"); done
    run gcloud compute instances create "$NAME" --zone="$ZONE" --machine-type="$type" --image-family="$version" \
      --image-project="${IMAGE_PROJECT:-ubuntu-os-accelerator-images}" --maintenance-policy=TERMINATE \
      ${spot[@]+"${spot[@]}"} ${flags[@]+"${flags[@]}"}
  else
    run gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \
      --accelerator-type="$type" --runtime-version="$version" "$@"
  fi
}

machine_status() { # print Google's name of the state
  if [[ $api == gce ]]; then
    run gcloud compute instances describe "$NAME" --zone="$ZONE" --format='value(status)'
  else
    run gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" --format='value(state.state)'
  fi
}

machine_state() { # print one of: none, waiting, ready, gone, unknown
  local state
  if ! state=$(machine_status 2>&1); then
    case $state in
      *NOT_FOUND* | *"was not found"*) echo none ;;
      *) echo unknown ;;
    esac
    return
  fi
  state=${state##*$'\n'}
  if [[ $state == ACTIVE ]]; then # the request stays so when its machine is preempted
    state=$(gcloud compute tpus tpu-vm describe "$NAME" --zone="$ZONE" --format='value(state)' 2>/dev/null) || state=
  fi
  case ${state##*$'\n'} in
    READY | RUNNING) echo ready ;;
    FAILED | SUSPEND* | DELETING | PREEMPTED | STOP* | TERMINATED) echo gone ;;
    '') echo unknown ;;
    *) echo waiting ;;
  esac
}

machine_ssh() { # WORKER COMMAND
  if [[ $api == gce ]]; then
    run gcloud compute ssh "$NAME" --zone="$ZONE" --command="$2"
  else
    run gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"
  fi
}

machine_workers() { # print the numbers of the hosts
  local count=1
  if [[ $api != gce && ! ${DRY_RUN:-} ]]; then
    count=$(gcloud compute tpus tpu-vm describe "$NAME" --zone="$ZONE" --format='value(networkEndpoints.len())')
    [[ $count =~ ^[1-9][0-9]*$ ]] || fail "the number of hosts of $NAME is unknown; try again"
  fi
  seq 0 $((count - 1))
}

machine_copy() { # copy the code to every host, without .venv, runs and .git
  local files=(README.md LICENSE pyproject.toml requirements-lock.txt gpt1_jax configs launch)
  machine_ssh all 'mkdir -p gpt1_jax'
  if [[ $api == gce ]]; then
    run gcloud compute scp --recurse --zone="$ZONE" "${files[@]}" "$NAME:gpt1_jax"
  else
    run gcloud compute tpus tpu-vm scp --recurse --worker=all --zone="$ZONE" "${files[@]}" "$NAME:gpt1_jax"
  fi
}

machine_delete() { # the machine, its disk and the request
  if [[ $api == gce ]]; then
    run gcloud compute instances delete "$NAME" --zone="$ZONE" --quiet
  else
    run gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force
  fi
}
