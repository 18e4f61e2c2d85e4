#!/usr/bin/env bash
# Split the runs of an ablation into N shards, one for each machine or job. All shards use the same
# --workdir, which every machine must see. The same command restarts dead shards; finished runs are
# not repeated.
#
#   bash launch/sweep.sh slurm 8 --config=configs/ablations.py:paper --workdir=runs/exp_paper
#   bash launch/sweep.sh slurm 8 --time=2-0 -- --config=...    # flags before -- are passed to sbatch
#   bash launch/sweep.sh tpu 4 --config=... --workdir=gs://BUCKET/exp_paper
#   bash launch/sweep.sh gpus 2 --config=... --workdir=runs/exp_paper    # GPUs 0 and 1 of this machine
#
# slurm submits an array of N jobs. tpu uses the TPU VMs $NAME-1 to $NAME-N, one host each, after
# launch/tpu_vm.sh create and copy. Shards wait for the pretraining runs of other shards. On costly
# machines pretrain first, and give --config.pretrained.transformer=DIR
# --config.pretrained.lstm=DIR.
#
# DRY_RUN=1 prints the commands and runs nothing. The last shard to finish writes the report;
# `gpt1 report WORKDIR` writes it at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/forward.sh

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

kind=${1:-} shards=${2:-}
[[ $shards =~ ^[1-9][0-9]*$ ]] || fail "the second argument is the number of shards, not '$shards'"
shift 2
# By default every shard would create its own folder.
[[ " $*" == *" --workdir="* ]] || fail "give --workdir=DIR, a folder that all shards see"

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
    # slurm.sbatch adds the shard of each job.
    run sbatch --array="1-$shards" --export="ALL,SHARDS=$shards" ${options[@]+"${options[@]}"} launch/slurm.sbatch "$@"
    ;;
  tpu)
    : "${NAME:?set NAME: the TPU VMs are NAME-1, NAME-2, ...}" "${ZONE:?set ZONE, such as us-west4-a}"
    for ((shard = 1; shard <= shards; shard++)); do
      NAME="$NAME-$shard" bash launch/tpu_vm.sh run "$@" --config.shard="$shard/$shards"
    done
    ;;
  gpus)
    python=.venv/bin/python
    [[ -x $python ]] || python=python3
    python=${PYTHON:-$python}
    pids=()
    for ((shard = 1; shard <= shards; shard++)); do
      command=(env CUDA_VISIBLE_DEVICES="$((shard - 1))" "$python" -m gpt1_jax.main "$@" --config.shard="$shard/$shards")
      if [[ ${DRY_RUN:-} ]]; then
        run "${command[@]}"
      else # without `run`, so that $! is the program
        "${command[@]}" &
        pids+=("$!")
      fi
    done
    await ${pids[@]+"${pids[@]}"}
    ;;
  *)
    fail "unknown kind '$kind'; choose one of: slurm, tpu, gpus"
    ;;
esac
