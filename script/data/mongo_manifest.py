#!/usr/bin/env python3
"""Describe the logical state of a MongoDB server as JSON, so that two servers can be compared.

    mongo_manifest.py --uri-file FILE [--db NAME ...] > manifest.json
    mongo_manifest.py --uri-file FILE --compare manifest.json      exits 1 and lists the differences
    mongo_manifest.py --manifest FILE --compare manifest.json      the same of two descriptions

Per namespace: type, options, index specs, count, bytes, and docsSha256 = SHA-256 over the SHA-256 of each raw BSON
document, ordered bytewise by (type byte of _id + value bytes of _id). A time series is described twice: itself (count
only) and its system.buckets collection (raw buckets). A capped collection also has orderSha256: the same over the
documents in natural order. Users and roles are entries of their own, USER@DB and ROLE@DB, credentials included; those
that belong to a deployment and not to its data (customData.managedBy) are left out. Extended JSON v2 canonical
throughout. Needs: pymongo; a user who may read everything.
"""

import hashlib
import json
import struct
import sys

import connections

ACCOUNTS = {"system.users": "user", "system.roles": "role"}
FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}


def canonical(x):
    from bson import json_util

    return json.loads(json_util.dumps(x, json_options=json_util.CANONICAL_JSON_OPTIONS))


def value_length(raw, kind, at):
    if kind in FIXED:
        return FIXED[kind]
    if kind == 0x0B:  # regular expression: two C strings
        return raw.index(b"\0", raw.index(b"\0", at) + 1) + 1 - at
    (length,) = struct.unpack_from("<i", raw, at)
    return length + {0x02: 4, 0x0D: 4, 0x0E: 4, 0x03: 0, 0x04: 0, 0x0F: 0, 0x05: 5, 0x0C: 16}[kind]


def id_key(raw):
    """Type byte and value bytes of _id, straight from the BSON; nothing for a document without one."""
    at = 4
    while raw[at]:
        kind, end = raw[at], raw.index(b"\0", at + 1)
        value = end + 1
        after = value + value_length(raw, kind, value)
        if raw[at + 1 : end] == b"_id":
            return bytes([kind]) + raw[value:after]
        at = after
    return b""


def content(collection, capped):
    size, documents = 0, []
    for document in collection.find({}, batch_size=2000).sort("$natural", 1):
        raw = bytes(document.raw)
        size += len(raw)
        documents.append((id_key(raw), hashlib.sha256(raw).digest()))
    found = {"count": len(documents), "bytes": size}
    if capped:
        found["orderSha256"] = hashlib.sha256(b"".join(digest for _, digest in documents)).hexdigest()
    documents.sort()
    found["docsSha256"] = hashlib.sha256(b"".join(digest for _, digest in documents)).hexdigest()
    return found


def namespace(db, info, raw_options):
    name, kind = info["name"], info["type"]
    entry = {"type": kind, "options": canonical({k: v for k, v in info["options"].items() if k != "uuid"})}
    if kind == "view":
        return entry
    if not name.startswith("system.buckets."):
        entry["indexes"] = sorted((canonical(i) for i in db[name].list_indexes()), key=lambda i: i["name"])
        for index in entry["indexes"]:
            index.pop("ns", None)  # servers before 4.4
    if kind == "timeseries":
        entry["count"] = db[name].count_documents({})
    else:
        entry.update(content(db.get_collection(name, codec_options=raw_options), info["options"].get("capped")))
    return entry


def accounts(collection, kind):
    for document in collection.find({}):
        if "managedBy" in (document.get("customData") or {}):
            continue
        document.pop("_id")
        document.pop("userId", None)  # made by the server
        credentials = document.pop("credentials", None)
        entry = dict(canonical(document), type=kind)
        entry["roles"] = sorted(entry.get("roles", []), key=json.dumps)
        if credentials:
            entry["credentialsSha256"] = hashlib.sha256(
                json.dumps(canonical(credentials), sort_keys=True).encode()
            ).hexdigest()
        yield "%s@%s" % (document.get("user", document.get("role")), document["db"]), entry


def describe(client, only):
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument

    raw_options, out = CodecOptions(document_class=RawBSONDocument), {}
    for name in sorted(client.list_database_names()):
        if name in ("local", "config") or (only and name not in only):
            continue
        for info in sorted(client[name].list_collections(), key=lambda i: i["name"]):
            collection = info["name"]
            if collection in ("system.views", "system.profile"):
                continue
            if name == "admin" and collection.startswith("system."):
                if collection in ACCOUNTS:
                    out.update(accounts(client.admin[collection], ACCOUNTS[collection]))
                continue
            out["%s.%s" % (name, collection)] = namespace(client[name], info, raw_options)
    return {"server": client.server_info()["version"], "namespaces": out}


def short(value):
    return json.dumps(value, ensure_ascii=False)[:400]


def differences(want, got, skip=()):
    for name in sorted(set(want) | set(got)):
        if name in skip:
            continue
        if name not in got:
            yield "missing  %s" % name
        elif name not in want:
            yield "extra    %s" % name
        else:
            for field in sorted(set(want[name]) | set(got[name])):
                w, g = want[name].get(field), got[name].get(field)
                if w != g:
                    yield "differs  %s: %s: %s != %s" % (name, field, short(w), short(g))


def summary(namespaces):
    count = lambda *kinds: sum(e["type"] in kinds for e in namespaces.values())
    documents = sum(e.get("count", 0) for e in namespaces.values() if e["type"] != "timeseries")
    return "%d collections, %d documents, %d views, %d users and roles" % (
        count("collection", "timeseries"),
        documents,
        count("view"),
        count("user", "role"),
    )


def main():
    options = connections.checker(__doc__)
    options.add_argument("--db", action="append", help="this database only (again for more)")
    options.add_argument("--skip", action="append", default=[], help="namespace to leave out of --compare")
    a = options.parse_args()
    got = connections.manifest(a.manifest) if a.manifest else describe(connections.mongo_client(a), a.db)
    if a.compare:
        want = connections.manifest(a.compare)
        found = list(differences(want["namespaces"], got["namespaces"], a.skip))
        print("\n".join(found) or "equal: " + summary(got["namespaces"]))
        sys.exit(bool(found))
    json.dump(got, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    connections.run(main)
