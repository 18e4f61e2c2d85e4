#!/usr/bin/env bash
# Define `keep`, for launch/tpu_vm.sh: keep a machine at work on a run until the run is finished.
# shellcheck disable=SC2154    # api, type: see launch/tpu_machine.sh
set -euo pipefail

pause=${PAUSE:-20} # seconds between two looks; failures wait longer
CRASHES=3          # so many crashes of the program in a row end `keep`; preemptions do not count

note() {
  echo "$(date +%T) tpu_vm.sh: $*" >&2
}

# keep [CREATE_FLAG... --] FLAG...: create the machine, copy, run and, after a preemption, do so again, until
# WORKDIR/result.json exists. It keeps no state of its own: the same command goes on where another was stopped.
keep() {
  local create=() crashes=0 failures=0 state last_state='' answer
  if [[ " $* " == *" -- "* ]]; then
    while [[ $1 != -- ]]; do
      create+=("$1")
      shift
    done
    shift
  fi
  workdir=$(flag_value --workdir "$@")
  [[ $workdir == gs://?*/?* ]] || fail "keep needs --workdir=gs://BUCKET/FOLDER, which outlives the machine"
  if [[ ${DRY_RUN:-} ]]; then
    machine_create ${create[@]+"${create[@]}"}
    machine_copy
    start_program "$@"
    machine_delete
    return
  fi
  export CLOUDSDK_CORE_DISABLE_PROMPTS=1
  check_access
  trap 'unfollow' EXIT
  trap 'note "stopped watching; the machine goes on (delete it with: bash launch/tpu_vm.sh delete)"; exit 130' INT TERM HUP

  until is_finished; do
    state=$(machine_state)
    case $state in
      none)
        note "requesting the machine"
        if ! attempt_create ${create[@]+"${create[@]}"}; then
          back_off
          continue
        fi
        ;;
      ready)
        answer=$(program_state) || answer=unreachable
        case $answer in
          running) follow ;;
          '')
            note "copying the code and starting the run"
            if machine_copy >&2 && start_program "$@" >&2; then failures=0; else back_off; fi
            ;;
          0) is_finished || fail "the program ended without an error, but $workdir/result.json is missing" ;;
          2)
            machine_ssh 0 'tail -n 5 gpt1_jax/run.log' >&2 || true
            fail "the program refused its settings: see the lines above. The machine is still there: mend the flags," \
              "and repeat keep after: bash launch/tpu_vm.sh delete"
            ;;
          unreachable) back_off ;;
          *)
            unfollow
            # 128 + a signal: stopped from outside, as before a preemption.
            if ((answer < 128)); then crashes=$((crashes + 1)); fi
            if ((crashes == CRASHES)); then
              machine_ssh 0 'tail -n 20 gpt1_jax/run.log' >&2 || true
              fail "the program ended with code $answer, $CRASHES times: see the lines above; the machine is still there"
            fi
            note "the program ended with code $answer; resuming"
            start_program "$@" >&2 || back_off
            ;;
        esac
        ;;
      gone)
        unfollow
        note "the machine was preempted or failed; deleting it"
        machine_delete >&2 || back_off
        crashes=0
        ;;
      unknown) back_off ;;
      waiting) [[ $last_state == waiting ]] || note "waiting for the machine" ;;
    esac
    last_state=$state
    sleep "$pause"
  done
  unfollow
  note "finished: $workdir/result.json; deleting the machine"
  [[ $(machine_state) == none ]] || machine_delete >&2
}

check_access() { # refuse now what would fail after minutes or hours
  local bucket=${workdir#gs://}
  command -v gcloud >/dev/null || fail "gcloud is missing: see https://cloud.google.com/sdk/docs/install"
  [[ $(gcloud auth list --filter=status:ACTIVE --format='value(account)') ]] || fail "gcloud has no login: gcloud auth login"
  [[ $(gcloud config get-value project 2>/dev/null) ]] || fail "gcloud has no project: gcloud config set project PROJECT"
  set_type
  local kind=(tpus accelerator-types)
  [[ $api != gce ]] || kind=(machine-types)
  gcloud compute "${kind[@]}" describe "$type" --zone="$ZONE" >/dev/null 2>&1 || fail "no TYPE=$type in ZONE=$ZONE:" \
    "gcloud compute ${kind[*]} list --zones=ZONE lists them"
  gcloud storage buckets describe "gs://${bucket%%/*}" >/dev/null 2>&1 || fail "gs://${bucket%%/*} cannot be reached:" \
    "create it, or choose an account that may use it (gcloud auth login)"
  # shellcheck disable=SC2016    # the user types it
  # gcloud reaches several hosts at once only with a key in the agent.
  [[ $api == gce ]] || ssh-add -l >/dev/null 2>&1 || fail "no key in the ssh agent:" \
    'eval "$(ssh-agent)" && ssh-add ~/.ssh/google_compute_engine'
}

flag_value() { # NAME FLAG...: print the value of the last flag NAME=VALUE
  local name=$1 value='' flag
  shift
  for flag; do [[ $flag != "$name="* ]] || value=${flag#*=}; done
  echo "$value"
}

is_finished() {
  gcloud storage ls "$workdir/result.json" >/dev/null 2>&1
}

attempt_create() { # a refused quota ends `keep`; other errors may pass
  local answer
  answer=$(machine_create "$@" 2>&1) && return
  case $answer in
    *[Qq]uota* | *RESOURCE_EXHAUSTED*)
      fail "no quota for $type in $ZONE: ask for it at https://console.cloud.google.com/iam-admin/quotas (${answer##*$'\n'})"
      ;;
    *PERMISSION_DENIED* | *INVALID_ARGUMENT*) fail "the request was refused: ${answer##*$'\n'}" ;;
  esac
  note "the request failed: ${answer##*$'\n'}"
  return 1
}

program_state() { # print "running", the exit code of the ended program, or nothing if there is none
  # shellcheck disable=SC2016    # the shell of the host expands it
  machine_ssh 0 'cd gpt1_jax 2>/dev/null || exit 0; if [ -e run.exit ]; then cat run.exit; elif [ -e run.pid ] && kill -0 "$(cat run.pid)" 2>/dev/null; then echo running; fi'
}

follow() { # print the log of host 0 while the program runs
  if [[ ! ${follower:-} ]] || ! kill -0 "$follower" 2>/dev/null; then
    machine_ssh 0 'tail -n 20 -F gpt1_jax/run.log' 2>/dev/null &
    follower=$!
  fi
}

unfollow() {
  if [[ ${follower:-} ]]; then
    kill "$follower" 2>/dev/null || true
    follower=
  fi
}

back_off() { # wait twice as long after each failure in a row, at most 32 times as long as usual
  failures=$((failures < 5 ? failures + 1 : 5))
  sleep $((pause * (1 << failures)))
}
