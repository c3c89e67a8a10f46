# shellcheck shell=bash
# script/bench stores: the same backup into a folder, into the Ceph gateway, and into folder, gateway and folder at once, in
# turns; then a second night of 3 % more, restores, the gateway's own limits, and restic if it is on the PATH.

ROUNDS=${ROUNDS:-3}
services=$ROOT/script/services
phase "a server, a target, a gateway" bash -euc "'$services/mongodb' start '$RUN/source'; '$services/mongodb' start '$RUN/target'; '$services/ceph' start '$RUN/ceph'"
gateway() { cat "$RUN/ceph/$1"; }
hand() { "$PYTHON" "$ROOT/script/lib/s3_hand.py" "$1" "$(gateway endpoint)" "$RUN/ceph/access" "$RUN/ceph/secret" "${@:2}"; }
phase "$MB MB of MongoDB data" "$PYTHON" "$ROOT/script/data/mongo.py" --uri-file "$RUN/source/uri.admin" --size-mb "$MB" --seed 1
for number in 1 2; do "$BIN/drp" keys init --identity "$RUN/key.$number" >/dev/null; done
printf 'services: {mongo: {uri: {file: %s}}}\n' "$RUN/target/uri.admin" >"$RUN/target.yaml"

# world NAME STORES [ENDPOINT]: a fleet of its own, with one client and empty stores.
world() {
    local folder=$RUN/$1 endpoint=${3:-$(gateway endpoint)}
    mkdir -p "$folder/one" "$folder/two"
    hand make "$1"
    cat >"$folder/fleet.yaml" <<YAML
fleet: bench
state: $folder/state
site: office
recovery: [$(sed -n 's/^# recipient: //p' "$RUN/key.1"), $(sed -n 's/^# recipient: //p' "$RUN/key.2")]
sites: {office: {}, here: {}}
stores:
  one: {site: office, folder: $folder/one}
  two: {site: office, folder: $folder/two}
  gateway:
    site: office
    s3: {provider: ceph, endpoint: "$endpoint", bucket: $1, region: default, access: {file: $RUN/ceph/access}, secret: {file: $RUN/ceph/secret}}
policies: {nightly: {schedule: "daily 02:30 Europe/Paris", stores: [$2]}}
environments: {staging: {policy: nightly}}
clients:
  - {id: bench, environment: staging, site: here, priority: 1, services: {mongo: {uri: {file: $RUN/source/uri.admin}}}}
YAML
    "$BIN/drp" keys init bench --fleet "$folder/fleet.yaml" >/dev/null
}

# timed NAME COMMAND...: appends seconds, CPU seconds and peak KiB to times.NAME, what it answers to answer.NAME.
timed() {
    local name=$1
    shift
    /usr/bin/time -a -o "$RUN/times.$name" -f '%e %U %S %M' "$@" >"$RUN/answer.$name" || die "$* failed: $(cat "$RUN/answer.$name")"
}
backup() { timed "$2" "$BIN/drp" backup run bench --json --fleet "$RUN/$1/fleet.yaml"; }

RESTIC=$(command -v restic || true)
export RESTIC_PASSWORD_FILE=$RUN/key.2 RESTIC_CACHE_DIR=$RUN/cache
restic_backup() {
    # The gateway's accounts are of this run alone.
    AWS_ACCESS_KEY_ID=$(gateway access) AWS_SECRET_ACCESS_KEY=$(gateway secret) timed "$1" \
        "$RESTIC" -r "s3:$(gateway endpoint)/$2" "${@:3}"
}
for round in $(seq $ROUNDS); do
    phase "first night, round $round" true
    for kind in "folder one" "gateway gateway" "three one,gateway,two"; do
        read -r name stores <<<"$kind"
        world "$name-$round" "$stores"
        backup "$name-$round" "first.$name"
    done
    if [ -n "$RESTIC" ]; then
        hand make "restic-$round"
        "$PYTHON" "$ROOT/script/lib/dump_bson.py" "$RUN/source/uri.admin" "$RUN/dump" >"$RUN/dump.json"
        restic_backup restic.init "restic-$round" init
        restic_backup first.restic "restic-$round" backup --json "$RUN/dump"
    fi
    hand measure "folder-$round" "$(du -sm "$RUN/folder-$round/one" | cut -f1)" >>"$RUN/limits.json"
done
hand size "gateway-$ROUNDS" >"$RUN/size.gateway.first"
if [ -n "$RESTIC" ]; then hand size "restic-$ROUNDS" >"$RUN/size.restic.first"; fi
phase "3 % more" "$PYTHON" "$ROOT/script/data/mutate_mongo.py" --uri-file "$RUN/source/uri.admin" --append 3% --seed 2 >"$RUN/mutation.json"
for name in folder gateway three; do backup "$name-$ROUNDS" "second.$name"; done
if [ -n "$RESTIC" ]; then
    "$PYTHON" "$ROOT/script/lib/dump_bson.py" "$RUN/source/uri.admin" "$RUN/dump" >"$RUN/dump.json"
    restic_backup second.restic "restic-$ROUNDS" backup --json "$RUN/dump"
    hand size "restic-$ROUNDS" >"$RUN/size.restic.second"
fi
hand size "gateway-$ROUNDS" >"$RUN/size.gateway.second"
restore() {
    timed "restore.$1" "$BIN/drp" restore run bench --target "$RUN/target.yaml" --identity "$RUN/key.1" --json \
        --replace --confirm bench --fleet "$RUN/$1-$ROUNDS/fleet.yaml"
}
restore folder
restore gateway
# A thin line: the slowest store sets the pace, not the memory.
"$PYTHON" "$ROOT/script/lib/slow_proxy.py" "$RUN/slow.url" "$(gateway endpoint)" "${SLOW:-1048576}" &
until [ -s "$RUN/slow.url" ]; do sleep 0.1; done
world slow one,gateway "$(cat "$RUN/slow.url")"
backup slow first.slow
kill $!
"$PYTHON" "$ROOT/script/lib/bench_stores_report.py" "$RUN"
