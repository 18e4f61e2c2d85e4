#!/usr/bin/env bash
# The runs of an ablation, shared out over N machines or jobs: each does its part of one and the same --workdir, which all of
# them see. A part that dies is started again by the same line; what is finished is not done twice.
#
#   bash launch/sweep.sh slurm 8 --config=configs/ablations.py:paper --workdir=runs/exp_paper   # a Slurm array of 8 jobs
#   bash launch/sweep.sh slurm 8 --time=2-0 -- --config=...          # what stands before -- is sbatch's
#   bash launch/sweep.sh tpu 4 --config=... --workdir=/mnt/bucket/exp_paper   # the TPU VMs $NAME-1 to $NAME-4, made and
#                                                                    # given the code by launch/tpu_vm.sh create and copy
#   bash launch/sweep.sh gpus 2 --config=... --workdir=runs/exp_paper         # the GPUs 0 and 1 of this machine
#
# A part waits for the pretrainings, which belong to the first ones; on costly machines rather pretrain before, and give
# --config.pretrained.transformer=DIR --config.pretrained.lstm=DIR. The TPU VMs must have one host each.
#
# DRY_RUN=1 prints the commands and runs nothing. The report of all parts is written by whichever ends last, and by
# gpt1 report WORKDIR at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "sweep.sh: $*" >&2
  exit 2
}

run() {
  if [[ ${DRY_RUN:-} ]]; then
    printf '%q ' "$@" && echo
  else
    "$@"
  fi
}

kind=${1:-} parts=${2:-}
[[ $parts =~ ^[1-9][0-9]*$ ]] || fail "the second argument is the number of parts, not '$parts'"
shift 2
# Without a name every part would make a folder of its own.
[[ " $*" == *" --workdir="* ]] || fail "give --workdir=DIR, a folder that all parts see"

case $kind in
  slurm)
    options=()
    if [[ " $* " == *" -- "* ]]; then
      while [[ $1 != -- ]]; do
        options+=("$1")
        shift
      done
      shift
    fi
    run sbatch --array="1-$parts" --export="ALL,PARTS=$parts" ${options[@]+"${options[@]}"} launch/slurm.sbatch "$@" # which adds each job's part
    ;;
  tpu)
    : "${NAME:?set NAME: the TPU VMs are NAME-1, NAME-2, ...}" "${ZONE:?set ZONE, such as us-west4-a}"
    for ((part = 1; part <= parts; part++)); do
      NAME="$NAME-$part" bash launch/tpu_vm.sh run "$@" --config.shard="$part/$parts"
    done
    ;;
  gpus)
    python=.venv/bin/python
    [[ -x $python ]] || python=python3
    python=${PYTHON:-$python}
    pids=()
    trap 'kill "${pids[@]}" 2>/dev/null || true' TERM INT
    for ((part = 1; part <= parts; part++)); do
      run env CUDA_VISIBLE_DEVICES="$((part - 1))" "$python" -m gpt1_jax.main "$@" --config.shard="$part/$parts" &
      pids+=("$!")
    done
    status=0
    for pid in "${pids[@]}"; do
      wait "$pid" || status=$?
    done
    exit "$status"
    ;;
  *)
    fail "unknown kind '$kind', known are slurm, tpu and gpus"
    ;;
esac
