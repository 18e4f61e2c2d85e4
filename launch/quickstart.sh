#!/usr/bin/env bash
# Run Table 5 and Figure 2 at a small scale on a fresh machine: create .venv, install, write the
# microworld, pretrain both bodies, finetune every cell, and print the path of the report.
#
#   bash launch/quickstart.sh                       # on the CPU, into runs/exp_ablations
#   EXTRA=cuda bash launch/quickstart.sh            # on an accelerator: cuda, cuda13 or tpu
#   bash launch/quickstart.sh --workdir=runs/exp_2 --config.seeds=1
#
# Flags are passed to the program. Paths are relative to the repository. The same command resumes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/forward.sh

workdir=runs/exp_ablations
for argument; do
  case $argument in
    --workdir=*) workdir=${argument#*=} ;;
    --workdir) echo "launch/quickstart.sh: write --workdir=DIR, with the equals sign" >&2 && exit 2 ;;
  esac
done

forward bash launch/environment.sh "${EXTRA:-}"
forward .venv/bin/python -m gpt1_jax.main --config=configs/ablations.py:quick --workdir="$workdir" "$@" || status=$?
[[ -e $workdir/report.html ]] || exit "${status:-1}"

results=$(cd "$workdir" && pwd)
echo "to use the commands of the README: source .venv/bin/activate"
echo "the report, with tables, figures and all runs:"
echo "$results/report.html"
exit "${status:-0}"
