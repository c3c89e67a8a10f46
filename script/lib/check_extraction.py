#!/usr/bin/env python3
"""Judge what read-repository.py extracted by what the servers themselves say.

    check_extraction.py --extraction FOLDER --mongo-uri-file FILE --redis-uri-file FILE

MongoDB is read by pymongo as raw BSON: for each collection the multiset of SHA-256 of its documents must be that of the
file, and there must be no other files; catalog and accounts likewise. Redis is asked key by key: type, expiry and
value, by the rules in the head of redis_manifest.py; of streams the type and expiry alone. Prints "equal: ..." and exits
0, or each difference and exits 1.
"""

import argparse
import hashlib
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data"))
import connections
import redis_manifest

TYPES = {0: "string", 1: "list", 2: "set", 4: "hash", 5: "zset", 21: "stream", 26: "stream"}
found = []


def records(path):
    """Runs of bytes that begin with their own length, as BSON does."""
    with open(path, "rb") as f:
        data = f.read()
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        assert 4 <= length <= len(data) - at, "%s: a record of %d bytes at %d" % (path, length, at)
        yield data[at : at + length]
        at += length


def compare(what, want, got):
    """Two multisets of runs of bytes."""
    want, got = (sorted(hashlib.sha256(r).digest() for r in some) for some in (want, got))
    if want != got:
        found.append("%s: %d on the server, %d in the file, which differ" % (what, len(want), len(got)))
    return len(got)


def check_mongo(options):
    from bson import decode
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument
    from pymongo import MongoClient
    from urllib.parse import quote

    raw = CodecOptions(document_class=RawBSONDocument)
    client = MongoClient(connections.first_line(options.mongo_uri_file), serverSelectionTimeoutMS=10000)
    expected, catalog, count = {"catalog.bson", "users.bson"}, {}, 0
    for name in client.list_database_names():
        if name in ("local", "config"):
            continue
        database = client[name]
        for info in database.list_collections():
            collection, kind = info["name"], info["type"]
            own = collection.startswith("system.") and collection != "system.js"
            if not own:
                # At most 64, all in the first batch.
                asked = kind != "view" and database.command("listIndexes", collection, codec_options=raw)
                indexes = sorted(bytes(i.raw) for i in asked["cursor"]["firstBatch"]) if asked else []
                catalog[name, collection] = kind, info["options"], indexes
            if kind in ("view", "timeseries") or (own and not collection.startswith("system.buckets.")):
                continue
            file = "%s/%s.bson" % (name, quote(collection, safe="-_.~$&+=:@"))
            expected.add(file)
            path = os.path.join(options.extraction, file)
            if os.path.exists(path):
                documents = (bytes(d.raw) for d in database.get_collection(collection, raw).find({}))
                count += compare("%s.%s" % (name, collection), documents, records(path))
    files = {
        os.path.relpath(os.path.join(folder, f), options.extraction)
        for folder, _, names in os.walk(options.extraction)
        for f in names
        if f.endswith(".bson") or not f.endswith(".records")
    }
    found.extend("%s: only on one side" % f for f in sorted(files ^ expected))
    got = {}
    for record in records(os.path.join(options.extraction, "catalog.bson")):
        entry, opened = decode(record), decode(record, raw)
        indexes = sorted(bytes(i.raw) for i in opened["indexes"])
        got[entry["db"], entry["name"]] = entry["type"], entry["options"], indexes
    found.extend("catalog: %s.%s" % n for n in sorted(set(catalog) | set(got)) if catalog.get(n) != got.get(n))
    accounts = []
    for kind in ("users", "roles"):
        for document in client.admin.get_collection("system." + kind, raw).find({}):
            if (document.get("customData") or {}).get("managedBy") != "drp":
                accounts.append(kind[:-1].encode() + bytes(document.raw))
    opened = (decode(r, raw) for r in records(os.path.join(options.extraction, "users.bson")))
    accounts_found = compare("accounts", accounts, (d["kind"].encode() + bytes(d["document"].raw) for d in opened))
    return "%d collections, %d documents, %d accounts" % (len(expected) - 2, count, accounts_found)


class RDB:
    """Lengths and plain strings."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def length(self):
        first = self.take(1)[0]
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self.take(1)[0]
        return int.from_bytes(self.take({0x80: 4, 0x81: 8}[first]), "big")

    def string(self):
        return self.take(self.length())

    def value(self, kind):
        """As the command that reads the whole value replies."""
        if kind == 0:
            return self.string()
        out = []
        for _ in range(self.length() * (2 if kind == 4 else 1)):
            out.append(self.string())
            if kind == 5:
                out.append(struct.unpack("<d", self.take(8))[0])
        return out


def check_redis(options):
    server = connections.Redis(connections.first_line(options.redis_uri_file))
    count, numbers = 0, server.databases()
    files = {f for f in os.listdir(options.extraction) if f.endswith(".records")}
    for file in sorted(files ^ ({"redis.%d.records" % n for n in numbers} | {"redis.functions.records"})):
        found.append("%s: only on one side" % file)
    for number in numbers:
        reader = connections.Redis(connections.first_line(options.redis_uri_file), db=number)
        seen = set()
        for record in records(os.path.join(options.extraction, "redis.%d.records" % number)):
            _, database, expiry, length = struct.unpack_from("<IIqI", record)
            key, kind, name = record[20 : 20 + length], record[20 + length], TYPES.get(record[20 + length])
            where = "Redis database %d, key %r" % (number, key)
            if database != number or key in seen:
                found.append("%s: in the wrong place, or twice" % where)
            seen.add(key)
            if (reader.call("TYPE", key), reader.call("PEXPIRETIME", key)) != (name, expiry):
                found.append("%s: another type or expiry" % where)
            elif name != "stream":
                rdb = RDB(record[21 + length :])
                want = redis_manifest.value_digest(name, reader.call(*redis_manifest.READS[name](key)))
                if redis_manifest.value_digest(name, rdb.value(kind)) != want or rdb.at != len(rdb.data):
                    found.append("%s: another value" % where)
        found.extend("Redis database %d, key %r is missing" % (number, k) for k in set(redis_manifest.scan(reader)) - seen)
        count += len(seen)
    libraries = (redis_manifest.fields(f)["library_code"] for f in server.call("FUNCTION", "LIST", "WITHCODE"))
    functions = (r[4:] for r in records(os.path.join(options.extraction, "redis.functions.records")))
    libraries = compare("functions", libraries, functions)
    return "%d databases, %d keys, %d function libraries" % (len(numbers), count, libraries)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--extraction", "--mongo-uri-file", "--redis-uri-file"):
        ap.add_argument(name, required=True)
    options = ap.parse_args()
    said = "%s; %s" % (check_mongo(options), check_redis(options))
    print("\n".join(found) or "equal: " + said)
    sys.exit(bool(found))


if __name__ == "__main__":
    connections.run(main)
