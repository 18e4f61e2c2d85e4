#!/usr/bin/env bash
# The whole factory in small, from nothing: makes .venv, installs, writes a text, pretrains both bodies on it, finetunes every cell of
# the ablations, and says where the report is.
#
#   bash launch/quickstart.sh                       # on the CPU, into runs/exp_ablations
#   EXTRA=cuda bash launch/quickstart.sh            # on an accelerator: cuda, cuda13 or tpu
#   bash launch/quickstart.sh --workdir=runs/exp_2 --config.seeds=1
#
# Flags go to the program; paths are seen from the repository. Typed again, it resumes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

workdir=runs/exp_ablations
for argument; do
  case $argument in
    --workdir=*) workdir=${argument#*=} ;;
    --workdir) echo "launch/quickstart.sh: write --workdir=DIR, with the equals sign" >&2 && exit 2 ;;
  esac
done

bash launch/environment.sh "${EXTRA:-}"
.venv/bin/python -m gpt1_jax.main --config=configs/ablations.py:quick --workdir="$workdir" "$@" || status=$?
[[ -e $workdir/report.html ]] || exit "${status:-1}"

results=$(cd "$workdir" && pwd)
echo "tables, figures and every run, on one page:"
echo "$results/report.html"
exit "${status:-0}"
