# Writes the fleet file of the demo; sourced, not run.
# shellcheck shell=bash
#
# write_fleet FOLDER: writes FOLDER/fleet.yaml for two sites on this machine (each a folder and a loopback address),
# clients at the first one in the order of their priority, a store in a folder of a third site, and DNS by BIND. It reads
#   CLIENTS PORTS   arrays: names, and the ports of their APIs
#   RECIPIENTS      two recipients, drp1…, separated by a space
#   DNS_ADDRESS DNS_ZONE DNS_TSIG_FILE    of script/services/bind env
#   PYTHON PROGRAMS ROOT    of common.sh
write_fleet() {
    local folder=$1 recipients clients='' number name
    recipients=${RECIPIENTS// /, }
    for number in "${!CLIENTS[@]}"; do
        name=${CLIENTS[number]}
        clients+="  - id: $name
    environment: staging
    site: north
    priority: $((number + 1))
    services:
      api: {command: [$PYTHON, $ROOT/script/demo-api.py], port: ${PORTS[number]}}
      mongo: {uri: {file: $folder/north-$name-mongo/uri.admin}}
      redis: {uri: {file: $folder/north-$name-redis/uri.admin}, role: store}
    domains: [$name.$DNS_ZONE]
    contacts: [ops@$name.example]
"
    done
    mkdir -p "$folder"/{state,store,sites/north,sites/south}
    cat >"$folder/fleet.yaml" <<YAML
fleet: demo
state: $folder/state
site: office
recovery: [$recipients]

sites:
  office: {}
  north:
    provider: local
    folder: $folder/sites/north
    frontends: [{address: 127.0.0.11}]
    programs: {mongod: $PROGRAMS/mongod, redis-server: $PROGRAMS/redis-server}
  south:
    provider: local
    folder: $folder/sites/south
    frontends: [{address: 127.0.0.12}]
    programs: {mongod: $PROGRAMS/mongod, redis-server: $PROGRAMS/redis-server}

stores:
  vault: {site: office, folder: $folder/store}

policies:
  nightly:
    schedule: "daily 02:30 Europe/Paris"
    stores: [vault]

environments:
  staging: {policy: nightly, objectives: {rpo: 24h, rto: 30m, availability: 99.9}}

clients:
$clients
traffic:
  site: office
  ttl: 5s
  dns: {rfc2136: {server: $DNS_ADDRESS, zone: $DNS_ZONE, key: {file: $DNS_TSIG_FILE}, authorities: ["$DNS_ADDRESS"]}}
YAML
}
