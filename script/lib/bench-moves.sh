# Measures what moves take; sourced by script/bench, which sets MB, BIN and RUN.
# shellcheck shell=bash
export DRP=$BIN/drp

"$BIN/Benchmarks" engine "$RUN/engine" >"$RUN/engine.json"
"$PYTHON" -c 'import json, sys
line = json.loads(sys.stdin.readline())
steps = int(line["name"].split()[1])
print("engine: %.1f ms a step with its journal, over %d steps that do nothing (goal: under 50)" % (line["seconds"] * 1000 / steps, steps))' <"$RUN/engine.json"

# A fleet of 1,000 clients at one site, two sites with room.
for number in 1 2; do "$DRP" keys init --identity "$RUN/key.$number" >/dev/null; done
{
    cat <<YAML
fleet: bench
state: $RUN/state
site: office
recovery: [$(sed -n 's/^# recipient: //p' "$RUN/key.1"), $(sed -n 's/^# recipient: //p' "$RUN/key.2")]
sites:
  office: {}
  north: {frontends: [{address: 10.0.0.1}]}
  south: {frontends: [{address: 10.0.0.2}]}
  east: {frontends: [{address: 10.0.0.3}]}
stores: {vault: {site: office, folder: $RUN/store}}
policies: {nightly: {schedule: "daily 02:30 Europe/Paris", stores: [vault]}}
environments: {staging: {policy: nightly, objectives: {rpo: 24h, rto: 30m}}}
clients:
YAML
    for number in $(seq 1000); do
        printf '  - {id: c%d, environment: staging, site: north, priority: %d, services: {mongo: {uri: {file: /nowhere}}}}\n' \
            "$number" $((number % 9 + 1))
    done
} >"$RUN/fleet.yaml"
/usr/bin/time -o "$RUN/plan.time" -f '%e %M' "$DRP" failover plan north --fleet "$RUN/fleet.yaml" >"$RUN/plan"
grep -q '1000 of 1000 clients' "$RUN/plan" || die "the plan: $(tail -n 3 "$RUN/plan")"
read -r seconds kib <"$RUN/plan.time"
echo "plan: 1,000 clients in $seconds s, $((kib / 1024)) MB, the fleet file read and checked (goal: under 2 s)"

if [ "$(id -u)" -ne 0 ]; then
    echo "downtime: not measured, Docker engines in network namespaces need root"
    return
fi
fleet=$RUN/docker
export XDG_RUNTIME_DIR=$fleet/memory
MONGO_MB=$((MB * 4 / 5)) REDIS_MB=$((MB / 5)) phase "two Docker sites, a client with $MB MB" \
    "$ROOT/script/lib/docker-fleet" make "$fleet" acme
move() {
    "$DRP" migrate run acme --to "$1" --identity "$fleet/recovery-1.key" --confirm acme --fleet "$fleet/fleet.yaml" 2>/dev/null |
        grep -E '^ +(data|down|steps) |^ {9}'
}
"$DRP" backup run acme --fleet "$fleet/fleet.yaml" >/dev/null
echo "a planned move of $MB MB into containers at north (goal: down under 30 s):"
move north
"$DRP" backup run acme --fleet "$fleet/fleet.yaml" >/dev/null
echo "and from north to south:"
move south
