# Writes the fleet file of the demo; sourced, not run.
# shellcheck shell=bash
#
# write_fleet FOLDER: writes FOLDER/fleet.yaml for two sites on this machine (each a folder and a loopback address),
# two clients at the first one, a store in a folder of a third site, and DNS by BIND. It reads
#   RECIPIENTS      two recipients, drp1…, separated by a space
#   DNS_ADDRESS DNS_ZONE DNS_TSIG_FILE    of script/services/bind env
#   ACME_MONGO ACME_REDIS BIRCH_MONGO BIRCH_REDIS    files with the URIs of the running services
#   ACME_PORT BIRCH_PORT    of their APIs
#   PYTHON PROGRAMS ROOT    of common.sh
write_fleet() {
    local folder=$1 recipients
    recipients=${RECIPIENTS// /, }
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
  - id: acme
    environment: staging
    site: north
    priority: 1
    services:
      api: {command: [$PYTHON, $ROOT/script/demo-api.py], port: $ACME_PORT}
      mongo: {uri: {file: $ACME_MONGO}}
      redis: {uri: {file: $ACME_REDIS}, role: store}
    domains: [acme.$DNS_ZONE]
    contacts: [ops@acme.example]
  - id: birch
    environment: staging
    site: north
    priority: 2
    services:
      api: {command: [$PYTHON, $ROOT/script/demo-api.py], port: $BIRCH_PORT}
      mongo: {uri: {file: $BIRCH_MONGO}}
      redis: {uri: {file: $BIRCH_REDIS}, role: store}
    domains: [birch.$DNS_ZONE]
    contacts: [ops@birch.example]

traffic:
  site: office
  ttl: 5s
  dns: {rfc2136: {server: $DNS_ADDRESS, zone: $DNS_ZONE, key: {file: $DNS_TSIG_FILE}, authorities: ["$DNS_ADDRESS"]}}
YAML
}
