#!/usr/bin/env bash
# Run several processes on this machine, joined like the hosts of a cluster, with one CPU device each.
#
#   bash launch/local_multi.sh 2 --config=configs/pretrain.py:tiny --workdir=runs/exp_two ...
#   PYTHON=/path/to/python bash launch/local_multi.sh 2 ...   # the default is .venv, then python3
#
# Process 0 prints to the terminal, the other processes to files. The first failure stops all
# processes and is the exit code. SIGTERM and Ctrl-C are forwarded as SIGTERM; the program then saves
# a checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

count=${1:-}
if [[ ! $count =~ ^[1-9][0-9]*$ ]]; then
  echo "local_multi.sh: the first argument is the number of processes, not '$count'" >&2
  exit 2
fi
shift

python=.venv/bin/python
[[ -x $python ]] || python=python3
python=${PYTHON:-$python}
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} JAX_NUM_CPU_DEVICES=1 # overrides a device count in XLA_FLAGS

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
logs=$(mktemp -d "${TMPDIR:-/tmp}/local_multi.XXXXXX")
pids=()

# stop SECONDS: send TERM, so that processes save and exit. After SECONDS send KILL to those that wait
# in a collective for a dead process.
stop() {
  ((${#pids[@]})) || return 0
  kill "${pids[@]}" 2>/dev/null || true
  for ((tenths = 0; tenths < 10 * $1; tenths++)); do
    kill -0 "${pids[@]}" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "${pids[@]}" 2>/dev/null || true
}
trap 'stop 60; exit 143' TERM
trap 'stop 60; exit 130' INT
trap 'stop 5' EXIT

for ((i = 0; i < count; i++)); do
  command=("$python" -m gpt1_jax.main --multihost=on --coordinator="127.0.0.1:$port"
    --num_processes="$count" --process_id="$i" "$@")
  if ((i == 0)); then
    "${command[@]}" &
  else
    "${command[@]}" >"$logs/process_$i.log" 2>&1 &
  fi
  pids[i]=$!
done
((count == 1)) || echo "processes 1 to $((count - 1)) log to $logs" >&2

# Polling works without wait -n -p, which older bash versions lack, and reports which process failed.
while ((${#pids[@]})); do
  sleep 0.2
  for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    status=0
    wait "${pids[i]}" || status=$?
    unset "pids[$i]"
    ((status == 0)) && continue
    echo "process $i ended with $status, the others are stopped" >&2
    ((i == 0)) || tail -n 20 "$logs/process_$i.log" >&2
    exit "$status"
  done
done
