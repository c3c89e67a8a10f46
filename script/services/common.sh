# What the service scripts share; sourced, not run. Each of them is called as
#
#   script/services/KIND start STATE [OPTION...]    starts the daemon on free loopback ports; returns once it answers
#   script/services/KIND stop STATE                 ends exactly that daemon; twice is once
#   script/services/KIND env STATE                  prints what was started as shell assignments
#   script/services/KIND restart STATE              starts it again on the same data and ports after a stop or a kill
#
# STATE is a folder, made by start, with everything of the service in it: data, configuration, logs, certificates,
# and a file uri.USER (0600) for each user. Passwords are made anew at each start. Root is not needed.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

KIND=$(basename "$0")

# free_ports N: ports that nothing listens on at any address, neither TCP nor UDP, from below the range out of which the kernel gives
# ports to clients. Another process may still be faster: the daemons are started again on others then.
free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys

held = []
while len(held) < int(sys.argv[1]):
    port = random.SystemRandom().randrange(15000, 32000)
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        tcp.bind(("", port))
        udp.bind(("", port))
    except OSError:
        tcp.close()
        udp.close()
        continue
    held.append((port, tcp, udp))
print(*[port for port, _, _ in held])
PY
}

password() { openssl rand -hex 16; }

# write_private FILE: from standard input, readable by the owner alone from the first byte.
write_private() { (umask 077 && cat >"$1"); }

# certificates: ca.pem; server.pem (key and certificate for localhost and 127.0.0.1); wrong-ca.pem, which signed nothing.
certificates() {
    (
        umask 077
        cd "$STATE"
        for name in ca wrong-ca; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$name" \
                -keyout "$name.key" -out "$name.pem" 2>/dev/null
        done
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
            -keyout server.key -out server.csr 2>/dev/null
        printf 'subjectAltName=DNS:localhost,IP:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$HOST" >server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext \
            -out server.crt 2>/dev/null
        cat server.key server.crt >server.pem
    )
}

# started_at PID: the kernel's start time of a process, or nothing once it has ended: PIDs come again, the pair does not.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

is_running() {
    local pid since
    read -r pid since 2>/dev/null <"$STATE/pid" || return 1
    [ -n "$since" ] && [ "$(started_at "$pid")" = "$since" ]
}

# spawn READY COMMAND...: starts the daemon; returns once its log holds the pattern READY, and fails if it ends before.
spawn() {
    local ready=$1 pid
    shift
    : >"$STATE/log"
    setsid "$@" >>"$STATE/log" 2>&1 </dev/null 9>&- &
    pid=$!
    disown "$pid"
    printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$STATE/pid"
    for _ in $(seq 600); do
        grep -qE -- "$ready" "$STATE/log" && return 0
        is_running || return 1
        sleep 0.05
    done
    return 1
}

end_daemon() {
    local pid
    if is_running; then
        pid=$(cut -d' ' -f1 "$STATE/pid")
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 200); do
            is_running || break
            sleep 0.05
        done
        if is_running; then kill -KILL "$pid" 2>/dev/null || true; fi
    fi
    rm -f "$STATE/pid"
    ended
}

# ended: what a kind does when its daemon has ended, for what that leaves behind.
ended() { :; }

# ready_within SECONDS COMMAND...: tries until the command succeeds.
ready_within() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! is_running || [ "$(date +%s)" -ge "$end" ]; then return 1; fi
        sleep 0.05
    done
}

# main VERB STATE [OPTION...]: the script defines configure (options in, files out, ports in $PORTS), launch, prepare (once, after
# the first launch), print_env and PORT_COUNT.
main() {
    local verb=${1:-} attempt
    [ $# -ge 2 ] || die "usage: $KIND start|stop|restart|env STATE [OPTION...]"
    mkdir -p "$2"
    STATE=$(cd "$2" && pwd)
    shift 2
    case $verb in
    start)
        end_daemon
        [ -z "$(ls -A "$STATE")" ] || [ -e "$STATE/kind" ] || die "$STATE is not empty and not a service's"
        for attempt in 1 2 3 4 5; do
            find "$STATE" -mindepth 1 -delete
            chmod 700 "$STATE"
            echo "$KIND" >"$STATE/kind"
            read -r -a PORTS <<<"$(free_ports "$PORT_COUNT")"
            configure "$@"
            if launch && prepare; then return 0; fi
            end_daemon
            grep -qi 'in use' "$STATE/log" || break # another process was faster with the port: once more on another
        done
        tail -n 15 "$STATE/log" >&2
        die "did not start in $attempt attempts; the last log is $STATE/log"
        ;;
    restart)
        end_daemon
        launch || die "did not start again; its log is $STATE/log"
        ;;
    stop) end_daemon ;;
    env) print_env ;;
    *) die "no verb '$verb'; there are start, stop, restart, env" ;;
    esac
}
