#!/usr/bin/env python3
"""Describe the logical state of a Redis server as JSON, so that two servers can be compared.

    redis_manifest.py --uri-file FILE [--ca FILE] > manifest.json
    redis_manifest.py --uri-file FILE --compare manifest.json     exits 1 and lists the differences
    redis_manifest.py --manifest FILE --compare manifest.json     the same of two descriptions

All databases are described, whichever the URI names. Per key: db, key (base64; text where it is printable), type,
encoding, expireAtMs (absolute, -1 for none), digest = DEBUG DIGEST-VALUE (depends on neither encoding nor the order of
unordered types, but differs between server versions for sorted sets), and valueSha256, which any client can work out:
SHA-256 over the value's parts, each as its 64-bit little-endian length and its bytes: string: the bytes alone, without
a length; list: elements; set: members in byte order; hash: field, value, in byte order of fields; zset: member, score
(8 bytes of IEEE double, little-endian, without a length), in byte order of members; stream: per entry its ID as text,
then the field count as 64 bits, then fields and values. Streams also have "stream": groups, consumers, pending entries
and counters, which no digest covers. functionLibraries: name, engine and code; digest: DEBUG DIGEST of the whole.
Where the user or the server refuses DEBUG, FUNCTION or OBJECT, the field is null, and --compare leaves out what is
null on one side. Needs: a server of 7.0 or newer; a user who may read everything.
"""

import base64
import hashlib
import json
import struct
import sys

import connections

BATCH_KEYS, BATCH_BYTES = 500, 4_000_000
READS = {  # type -> the command that reads the whole value
    "string": lambda k: ("GET", k),
    "list": lambda k: ("LRANGE", k, 0, -1),
    "set": lambda k: ("SMEMBERS", k),
    "hash": lambda k: ("HGETALL", k),
    "zset": lambda k: ("ZRANGE", k, 0, -1, "WITHSCORES"),
    "stream": lambda k: ("XRANGE", k, "-", "+"),
}


def b64(value):
    return base64.b64encode(value).decode()


def text(value):
    """A reply as text, or None where it is an error."""
    if isinstance(value, connections.Refused):
        return None
    if isinstance(value, list):
        value = value[0]
    return value.decode() if isinstance(value, bytes) else value


def pairs(flat):
    return list(zip(flat[::2], flat[1::2]))


def fields(flat):
    return {text(k): v for k, v in pairs(flat)}


def part(value):
    return struct.pack("<Q", len(value)) + value


def value_digest(kind, value):
    if kind == "string":
        parts = [value]
    elif kind == "list":
        parts = map(part, value)
    elif kind == "set":
        parts = map(part, sorted(value))
    elif kind == "hash":
        parts = (part(k) + part(v) for k, v in sorted(pairs(value)))
    elif kind == "zset":
        parts = (part(m) + struct.pack("<d", float(score)) for m, score in sorted(pairs(value)))
    else:
        parts = (part(i) + struct.pack("<Q", len(f) // 2) + b"".join(map(part, f)) for i, f in value)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def stream_facts(reply):
    f = fields(reply)
    return {
        "length": f["length"],
        "lastId": text(f["last-generated-id"]),
        "maxDeletedId": text(f.get("max-deleted-entry-id")),
        "entriesAdded": f.get("entries-added"),
        "groups": [group_facts(fields(g)) for g in f["groups"]],
    }


def group_facts(g):
    return {
        "name": b64(g["name"]),
        "lastDelivered": text(g["last-delivered-id"]),
        "entriesRead": g.get("entries-read"),
        "pending": [[text(e[0]), b64(e[1]), e[2], e[3]] for e in g.get("pel", g.get("pending", []))],
        "consumers": [
            {
                "name": b64(c["name"]),
                "seenMs": c.get("seen-time"),
                "activeMs": c.get("active-time"),
                "pending": c.get("pel-count"),
            }
            for c in map(fields, g["consumers"])
        ],
    }


def scan(client):
    cursor = b"0"
    while True:
        cursor, keys = client.call("SCAN", cursor, "COUNT", 1000)
        yield from keys
        if cursor == b"0":
            return


def describe_keys(client, db, keys):
    asked = []
    for key in keys:
        asked += [("TYPE", key), ("PEXPIRETIME", key), ("OBJECT", "ENCODING", key), ("DEBUG", "DIGEST-VALUE", key)]
        asked += [("MEMORY", "USAGE", key, "SAMPLES", 5)]
    got = client.pipeline(asked, strict=False)
    entries, sizes = [], []
    for n, key in enumerate(keys):
        kind, expires, encoding, digest, size = got[5 * n : 5 * n + 5]
        entry = {"db": db, "key": b64(key)}
        try:
            if key.decode().isprintable():
                entry["text"] = key.decode()
        except UnicodeDecodeError:
            pass
        entry.update(type=text(kind), encoding=text(encoding), expireAtMs=expires, digest=text(digest))
        entries.append(entry)
        sizes.append(size if isinstance(size, int) else BATCH_BYTES)
    add_values(client, keys, entries, sizes)
    return entries


def add_values(client, keys, entries, sizes):
    """In batches whose replies stay small: the server drops a client that does not read megabytes of them."""
    begin = 0
    while begin < len(keys):
        end, size = begin, 0
        while end < len(keys) and (end == begin or size + sizes[end] <= BATCH_BYTES):
            size += sizes[end]
            end += 1
        batch = [(k, e) for k, e in zip(keys[begin:end], entries[begin:end]) if e["type"] in READS]
        for (_, entry), value in zip(batch, client.pipeline([READS[e["type"]](k) for k, e in batch])):
            entry["valueSha256"] = value_digest(entry["type"], value)
        streams = [(k, e) for k, e in batch if e["type"] == "stream"]
        asked = [("XINFO", "STREAM", k, "FULL", "COUNT", 0) for k, _ in streams]
        for (_, entry), facts in zip(streams, client.pipeline(asked)):
            entry["stream"] = stream_facts(facts)
        begin = end


def describe(options):
    client = connections.redis_client(options)
    out = {"server": client.info("server")["redis_version"]}
    digest, libraries = client.pipeline([("DEBUG", "DIGEST"), ("FUNCTION", "LIST", "WITHCODE")], strict=False)
    out["digest"] = text(digest)
    if not isinstance(libraries, connections.Refused):
        found = ({k: text(v) for k, v in fields(f).items() if isinstance(v, bytes)} for f in libraries)
        out["functionLibraries"] = sorted(found, key=lambda f: f["library_name"])
    out["keys"] = []
    for db in sorted(client.databases()):
        reader = connections.redis_client(options, db)
        keys = sorted(set(scan(reader)))  # SCAN may give a key twice
        for begin in range(0, len(keys), BATCH_KEYS):
            out["keys"] += describe_keys(reader, db, keys[begin : begin + BATCH_KEYS])
        reader.close()
    return out


def differences(want, got, ignore):
    w, g = ({(k["db"], k["key"]): k for k in m["keys"]} for m in (want, got))
    for key in sorted(set(w) | set(g)):
        name = "db %d %s" % (key[0], (w.get(key) or g.get(key)).get("text", "base64 " + key[1]))
        if key not in g:
            yield "missing  %s" % name
        elif key not in w:
            yield "extra    %s" % name
        else:
            for field in sorted((set(w[key]) | set(g[key])) - ignore):
                a, b = w[key].get(field), g[key].get(field)
                if a != b and not (field in ("encoding", "digest") and None in (a, b)):
                    yield "differs  %s: %s: %s != %s" % (name, field, str(a)[:300], str(b)[:300])
    for field in ("digest", "functionLibraries"):
        a, b = want.get(field), got.get(field)
        if a != b and None not in (a, b):
            yield "differs  %s: %s != %s" % (field, str(a)[:300], str(b)[:300])


def summary(manifest):
    keys = manifest["keys"]
    expiring = sum(k["expireAtMs"] >= 0 for k in keys)
    return "%d databases, %d keys, %d with a TTL, %d function libraries" % (
        len({k["db"] for k in keys}),
        len(keys),
        expiring,
        len(manifest.get("functionLibraries") or []),
    )


def main():
    options = connections.checker(__doc__)
    options.add_argument(
        "--ignore-encoding", action="store_true", help="a list may be packed otherwise, its items equal"
    )
    a = options.parse_args()
    got = connections.manifest(a.manifest) if a.manifest else describe(a)
    if a.compare:
        ignored = {"encoding"} if a.ignore_encoding else set()
        found = list(differences(connections.manifest(a.compare), got, ignored))
        print("\n".join(found) or "equal: " + summary(got))
        sys.exit(bool(found))
    json.dump(got, sys.stdout, indent=0, ensure_ascii=False)
    print()


if __name__ == "__main__":
    connections.run(main)
