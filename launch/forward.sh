#!/usr/bin/env bash
# Define the functions by which the other scripts run programs, so that a signal to a script reaches
# its programs. bash alone would end and leave them running.
set -euo pipefail

# forward PROGRAM ARGUMENT...: run a program and return its exit code; signals as `await`.
forward() {
  "$@" &
  await "$!"
}

# await PID...: wait for background processes and return the exit code of the first failure. TERM, HUP
# and INT (Ctrl-C) are forwarded to all of them as TERM, because background processes ignore INT.
await() {
  local pid code status=0 pids=("$@")
  trap 'kill "${pids[@]}" 2>/dev/null || true' TERM HUP INT
  for pid; do
    code=0
    wait "$pid" || code=$?
    while kill -0 "$pid" 2>/dev/null; do # a signal has interrupted `wait`
      code=0
      wait "$pid" || code=$?
    done
    ((status)) || status=$code
  done
  trap - TERM HUP INT
  return "$status"
}
