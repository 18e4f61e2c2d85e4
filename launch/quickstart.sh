#!/usr/bin/env bash
# The main job in small, from nothing: makes .venv, installs, writes a text, pretrains on it, finetunes, and says where
# the results are.
#
#   bash launch/quickstart.sh                       # on the CPU, into runs/exp_quickstart
#   EXTRA=cuda bash launch/quickstart.sh            # on an accelerator: cuda, cuda13 or tpu
#   bash launch/quickstart.sh --workdir=runs/exp_2 --config.seed=1
#
# Flags go to the program; paths are seen from the repository. Typed again, it resumes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

workdir=runs/exp_quickstart
for argument; do
  case $argument in
    --workdir=*) workdir=${argument#*=} ;;
    --workdir) echo "launch/quickstart.sh: write --workdir=DIR, with the equals sign" >&2 && exit 2 ;;
  esac
done

bash launch/environment.sh "${EXTRA:-}"
.venv/bin/python -m gpt1_jax.main --config=configs/quickstart.py --workdir="$workdir" "$@"

results=$(cd "$workdir" && pwd)
echo "the results are in $results:"
echo "  result.json   the numbers"
echo "  log.txt       what was printed"
echo "  tb/           the curves (tensorboard --logdir=$results)"
