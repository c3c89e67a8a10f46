# What every script here shares; sourced, not run.
# shellcheck shell=bash
#
# Environment:
#   DRP_CACHE   where the Python environment and the MongoDB server are kept ($HOME/.cache/drp)

set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8 SWIFT_BACKTRACE=enable=no PYTHONDONTWRITEBYTECODE=1

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${DRP_CACHE:-${HOME:-/root}/.cache/drp}
PYTHON=$CACHE/venv/bin/python
PROGRAMS=$CACHE/bin # mongod and redis-server, under these names
HOST=127.0.0.1

say() { printf '%s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# now_ms: milliseconds, for durations.
now_ms() { date +%s%3N; }

# seconds_since MS: as 12.3.
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# phase "what" COMMAND...: says what it does and how long it took. What the command prints goes to a log,
# and is shown if it fails. PHASE_LOG names the log.
phase() {
    local what=$1 began status=0
    shift
    began=$(now_ms)
    if [ -t 2 ]; then printf '%-58s' "$what ..." >&2; fi
    supervised "$@" >"${PHASE_LOG:=$(mktemp)}" 2>&1 || status=$?
    if [ -t 2 ]; then printf '\r' >&2; fi
    if [ "$status" -ne 0 ]; then
        grep -E 'error:' "$PHASE_LOG" | sort -u | head -n 40 >&2 || true
        tail -n 40 "$PHASE_LOG" >&2
        die "$what: failed with status $status"
    fi
    printf '%-58s %7s s\n' "$what" "$(seconds_since "$began")" >&2
}

# supervised COMMAND...: runs it in a session of its own, so that a signal to this script reaches all of it at once
# (bash itself would first wait for the command to end).
supervised() {
    local status=0
    setsid "$@" </dev/null &
    SUPERVISED=$!
    wait "$SUPERVISED" || status=$?
    SUPERVISED=
    return "$status"
}

end_supervised() {
    if [ -n "${SUPERVISED:-}" ]; then
        kill -TERM -- "-$SUPERVISED" 2>/dev/null || true
        wait "$SUPERVISED" 2>/dev/null || true
        kill -KILL -- "-$SUPERVISED" 2>/dev/null || true
        SUPERVISED=
    fi
}

# begin_run NAME: makes the folder RUN for this run, and sees to it that its services end and the folder goes,
# however the script ends.
begin_run() {
    RUN=$(mktemp -d "${TMPDIR:-/tmp}/drp-$1.XXXXXX")
    PHASE_LOG=$RUN/phase.log
    trap 'status=$?; trap "" INT TERM HUP; end_run; exit $status' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

end_run() {
    end_supervised
    end_services "$RUN"
    end_strays "$RUN"
    rm -rf "$RUN"
}

# end_services FOLDER: stops every service whose state lies in the folder.
end_services() {
    local kind
    # As deep as a fleet in a test's folder lies, and not in an engine's own data.
    while read -r kind; do
        "$ROOT/script/services/$(cat "$kind")" stop "$(dirname "$kind")" >/dev/null 2>&1 &
    done < <(find "$1" -maxdepth 7 -path '*/data' -prune -o -name kind -type f -print)
    wait
    # What drp kept in memory for such a fleet.
    find "$1" -maxdepth 5 -name memory -lname '/dev/shm/drp-fleet.*' -exec readlink {} + | xargs -r rm -rf
}

# end_strays FOLDER: ends what else still works inside the folder (a killed test leaves its servers behind). The folder
# is this run's alone, so nothing of others can be hit.
end_strays() {
    local signal pids
    for signal in TERM KILL; do
        pids=$(strays "$1")
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill -s "$signal" $pids 2>/dev/null || true
        for _ in $(seq 50); do
            [ -n "$(strays "$1")" ] || return 0
            sleep 0.1
        done
    done
}

strays() {
    local process pid
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] || continue
        if [[ $(readlink "$process/cwd" 2>/dev/null) == "$1"* ]] ||
            tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF -- "$1/"; then
            awk -v pid="$pid" '/^State:/ && $2 != "Z" { print pid }' "$process/status" 2>/dev/null || true
        fi
    done
}
