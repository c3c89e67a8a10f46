#!/usr/bin/env python3
"""Read a repository of drp without drp, as docs/repository-format.md describes it.

    read-repository.py --store FOLDER --identity FILE [--client NAME] clients|list|show NUMBER|extract NUMBER --to FOLDER

--client takes a name or uuid, and is needed where the identity opens more than one. `extract` writes into a new folder:

    DATABASE/COLLECTION.bson    the documents, one after the other, as mongodump does; odd names escaped as there
    catalog.bson, users.bson    descriptions of collections, and users and roles (see the page)
    redis.N.records             the records of Redis database N, each with its own length in front (see the page)
    redis.functions.records     function libraries, likewise

Every hash, tag, id and digest on the way is checked; a file gets its name only when all of it is right, and what else
came out stays if something is wrong. One chunk is in memory at a time. Written from that page alone, so that the page is
known to be enough; it shares no code with drp. HPKE and Bech32 are in script/lib/hpke.py.
Needs: cryptography and zstandard (script/setup installs both). Exits 1 with one line that names the object.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import urllib.parse
import uuid

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from hpke import bech32, expand, hmac256, unbech32, unwrap  # noqa: E402

FORMAT = 0
DERIVATION, ROOT_KEY, PACK_KEY, CHUNK, TRAILER, INDEX, MANIFEST, _, CARD, RECIPIENT = range(1, 11)
EPOCH = 14
DOCUMENTS, REDIS_KEYS, MONGO_CATALOG, MONGO_USERS, REDIS_FUNCTIONS = range(1, 6)
LEAST = {DOCUMENTS: 5, REDIS_KEYS: 4, MONGO_CATALOG: 5, MONGO_USERS: 5, REDIS_FUNCTIONS: 4}
MIB = 1 << 20
LARGEST_OBJECT, LARGEST_DOCUMENT, LARGEST_CHUNK = 640 * MIB, 512 * MIB, 513 * MIB
ENTRY = struct.Struct("<32sBHIII")
HEX64 = re.compile(r"[0-9a-f]{64}\Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Bad(Exception):  # "the object: what is wrong with it"
    pass


def need(condition, subject, what):
    if not condition:
        raise Bad("%s: %s" % (subject, what))


def check_format(subject, found):
    need(found == FORMAT, subject, "its format %s is newer than this program" % found)


def open_wrap(wrapped, private, info, subject):
    try:
        return unwrap(wrapped, private, info)
    except (InvalidTag, ValueError):
        raise Bad("%s: its wrapped key does not open" % subject) from None


def open_frame(frame, limit, subject, exactly=None):
    """One zstd frame with its content size."""
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        need(size <= limit and exactly in (None, size), subject, "its frame is not of the length it must be")
        opened = zstandard.ZstdDecompressor().decompressobj()
        plain = opened.decompress(frame)
    except zstandard.ZstdError as e:
        raise Bad("%s: its frame does not decode: %s" % (subject, e)) from None
    need(opened.eof and not opened.unused_data and len(plain) == size, subject, "it is not one frame")
    return plain


def unseal(key, sealed, associated, subject):
    need(len(sealed) >= 28, subject, "%d bytes" % len(sealed))
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    except InvalidTag:
        raise Bad("%s: it does not authenticate" % subject) from None


class Cursor:
    def __init__(self, data, subject):
        self.data, self.at, self.subject = data, 0, subject

    def take(self, count):
        left = len(self.data) - self.at
        need(count <= left, self.subject, "%d bytes wanted, %d left" % (count, left))
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def finish(self):
        need(self.at == len(self.data), self.subject, "bytes are left over")


def header(data, letter, subject):
    """The epoch of an object that must be of one kind."""
    magic, form, epoch = Cursor(data, subject).unpack("4sHI")
    need(magic == b"DRP" + letter.encode(), subject, "it does not begin as such an object does")
    check_format(subject, form)
    return epoch


class Epoch:
    """The keys of one epoch, out of a wrapped root key."""

    def __init__(self, client, number, wrap, identity, recipient, subject):
        self.client, self.number = client, number
        need(len(wrap) == 122 and header(wrap, "K", subject) == number, subject, "it is no wrapped key of this epoch")
        root = open_wrap(wrap[10:90], identity, self.binding(ROOT_KEY), subject)
        prk = hmac256(self.binding(DERIVATION), root)
        self.private = X25519PrivateKey.from_private_bytes(expand(prk, b"x25519", 32))
        self.id_key, self.catalog_key = expand(prk, b"id", 32), expand(prk, b"catalog", 32)
        self.mark_key = expand(hmac256(self.binding(DERIVATION), self.catalog_key), b"mark", 32)
        self.need_mark(wrap[90:], RECIPIENT, recipient.encode() + wrap[:90], subject)

    def binding(self, purpose, extra=b""):
        return b"drp" + struct.pack("<BH16sI", purpose, FORMAT, self.client.bytes, self.number) + extra

    def need_mark(self, claimed, purpose, data, subject):
        mark = hmac256(self.mark_key, self.binding(purpose, data))
        need(hmac.compare_digest(mark, claimed), subject, "the mark of its writer is wrong")


class Repository:
    def __init__(self, store, name, identity):
        self.root, self.client = os.path.join(store, name), uuid.UUID(name)
        self.packs, self.chunks, self.hashed, self.pack_keys, self.epochs = {}, {}, set(), {}, {}
        text = self.read("drp.json")
        try:
            card = json.loads(text)
            check_format("drp.json", card["format"])
            canonical = json.dumps(card, sort_keys=True, indent=2, separators=(",", " : "), ensure_ascii=False)
            need(text == canonical.encode() + b"\n", "drp.json", "it is not in canonical form")
            self.name, first, mark = card["name"], card["epoch"], bytes.fromhex(card["mark"])
            need(card["client"] == name.upper(), "drp.json", "it is of another client")
            need(type(first) is int and 0 < first < 1 << 32, "drp.json", "its epoch is out of range")
            signed = ("%s\n%s" % (self.name, card["created"])).encode()
        except (ValueError, KeyError, TypeError) as e:
            raise Bad("drp.json: it is not the JSON of a repository (%s)" % type(e).__name__) from None
        self.epochs[first] = self.unlock(first, identity)  # if its wrap is not there, the identity is no recipient
        self.epochs[first].need_mark(mark, CARD, signed, "drp.json")
        for number in sorted(int(n) for n in self.names("keys") if re.match(r"[1-9][0-9]{0,9}\Z", n)):
            try:
                if number > first:
                    self.epochs[number] = self.linked(self.unlock(number, identity))
            except Bad as e:  # half begun, or a stranger's
                print("warning: %s" % e, file=sys.stderr)

    def unlock(self, number, identity):
        recipient = bech32("drp", identity.public_key().public_bytes_raw())
        subject = "keys/%d/%s" % (number, recipient)
        return Epoch(self.client, number, self.read(subject), identity, recipient, subject)

    def linked(self, epoch):
        """An epoch is ours if the writer of one that is ours began it."""
        subject = "epochs/%d" % epoch.number
        link = self.read(subject)
        need(len(link) == 118 and header(link, "E", subject) == epoch.number, subject, "it is no link of this epoch")
        before, _, public = Cursor(link[10:54], subject).unpack("IQ32s")
        need(before in self.epochs and before < epoch.number, subject, "it follows epoch %d" % before)
        need(public == epoch.private.public_key().public_bytes_raw(), subject, "it is of another key")
        self.epochs[before].need_mark(link[54:86], EPOCH, link[:54], subject)
        epoch.need_mark(link[86:], EPOCH, link[:54], subject)
        return epoch

    def open_document(self, data, letter, purpose, extra, subject):
        epoch = self.epochs.get(header(data, letter, subject))
        need(epoch, subject, "it is of an epoch that does not open")
        frame = unseal(epoch.catalog_key, data[10:], epoch.binding(purpose, extra), subject)
        return open_frame(frame, LARGEST_DOCUMENT, subject), epoch

    def read(self, name):
        path = os.path.join(self.root, name)
        need(os.path.isfile(path) and os.path.getsize(path) <= LARGEST_OBJECT, name, "it is not there, or too large")
        return open(path, "rb").read()

    def names(self, folder):
        path = os.path.join(self.root, folder)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def load_packs(self):
        """Trailers say where chunks are; a pack without a good one holds nothing. Indexes are caches: not needed."""
        packs = (n for folder in self.names("packs") for n in self.names("packs/" + folder) if n[:2] == folder)
        work = [(self.load_trailer, n) for n in packs] + [(self.check_index, n) for n in self.names("indexes")]
        for step, name in work:
            try:
                if HEX64.match(name):
                    step(name)
            except Bad as e:
                print("warning: %s" % e, file=sys.stderr)

    def load_trailer(self, name):
        subject = "packs/%s/%s" % (name[:2], name)
        with open(os.path.join(self.root, subject), "rb") as f:
            size = f.seek(0, os.SEEK_END)
            need(12 <= size <= LARGEST_OBJECT, subject, "%d bytes" % size)
            f.seek(size - 12)
            length, magic = struct.unpack("<I8s", f.read(12))
            need(magic == b"DRPPACK0", subject, "it does not end as a pack does")
            content = size - 12 - length
            need(content >= 0, subject, "a trailer of %d bytes in %d" % (length, size))
            f.seek(content)
            trailer, epoch = self.open_document(f.read(length), "T", TRAILER, struct.pack("<Q", content), subject)
        cursor = Cursor(trailer, subject)
        keys = [cursor.take(80) for _ in range(cursor.unpack("H")[0])]
        (count,) = cursor.unpack("I")
        entries = list(ENTRY.iter_unpack(cursor.take(count * ENTRY.size)))
        cursor.finish()
        for chunk, kind, key, offset, sealed, plain in entries:
            fits = key < len(keys) and sealed >= 28 and offset + sealed <= content and plain <= LARGEST_CHUNK
            need(fits and kind in LEAST, subject, "chunk %s does not fit" % chunk.hex())
        self.packs[name] = (size, trailer, epoch, keys)
        self.chunks.update((entry[0], (name, *entry[1:])) for entry in entries)

    def check_index(self, name):
        subject = "indexes/" + name
        data = self.read(subject)
        need(hashlib.sha256(data).hexdigest() == name, subject, "its bytes do not have its name's hash")
        cursor = Cursor(self.open_document(data, "I", INDEX, b"", subject)[0], subject)
        for _ in range(cursor.unpack("I")[0]):
            pack, epoch, size, length = cursor.unpack("32sIQI")
            trailer = cursor.take(length)
            known = self.packs.get(pack.hex())
            same = known is None or (known[0], known[1], known[2].number) == (size, trailer, epoch)
            need(same, subject, "it contradicts the trailer of a pack")
        cursor.finish()

    def load(self, chunk, kind):
        """The plain bytes of a chunk and the hashes of its records, all checked."""
        subject = "chunk " + chunk.hex()
        need(chunk in self.chunks, subject, "no readable pack holds it")
        name, its_kind, key, offset, sealed_length, plain_length = self.chunks[chunk]
        need(its_kind == kind, subject, "it is of kind %d instead of %d" % (its_kind, kind))
        pack = "packs/%s/%s" % (name[:2], name)
        epoch, keys = self.packs[name][2:]
        if (name, key) not in self.pack_keys:
            self.pack_keys[name, key] = open_wrap(keys[key], epoch.private, epoch.binding(PACK_KEY), pack)
        with open(os.path.join(self.root, pack), "rb") as f:
            if name not in self.hashed:
                right = hashlib.file_digest(f, "sha256").hexdigest() == name
                need(right, pack, "its bytes do not have its name's hash")
                self.hashed.add(name)
            f.seek(offset)
            sealed = f.read(sealed_length)
        associated = epoch.binding(CHUNK, bytes([kind]) + chunk)
        frame = unseal(self.pack_keys[name, key], sealed, associated, "%s in %s" % (subject, pack))
        plain = open_frame(frame, LARGEST_CHUNK, subject, exactly=plain_length)
        hashes = [hashlib.sha256(record).digest() for record in records(plain, kind, subject)]
        right = hmac256(epoch.id_key, bytes([kind]) + b"".join(hashes)) == chunk
        need(right, subject, "its records are not those that its id names")
        return plain, hashes

    def numbers(self):
        return [int(n) for n in self.names("backups") if re.match(r"[0-9]{10}\Z", n) and int(n)]

    def manifest(self, number):
        subject = "backups/%010d" % number
        plain, epoch = self.open_document(self.read(subject), "M", MANIFEST, struct.pack("<Q", number), subject)
        try:
            manifest = json.loads(plain)
            check_format(subject, manifest["format"])
            whose = uuid.UUID(manifest["client"]), manifest["name"], manifest["epoch"], manifest["number"]
            previous = manifest.get("previous")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Bad("%s: it is not the JSON of a manifest" % subject) from None
        need(whose == (self.client, self.name, epoch.number, number), subject, "it is of something else")
        if number - 1 in self.numbers():
            before = "backups/%010d" % (number - 1)
            right = hashlib.sha256(self.read(before)).hexdigest() == previous
            need(right, subject, "%s before it is not what was there when it was written" % before)
        return manifest

    def extract(self, number, folder):
        manifest = self.manifest(number)
        self.load_packs()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        need(not os.listdir(folder), folder, "it is not empty")
        mongo, redis = manifest.get("mongo"), manifest.get("redis")
        if mongo:
            self.write(folder, "catalog.bson", mongo["catalog"], MONGO_CATALOG)
            self.write(folder, "users.bson", mongo["users"], MONGO_USERS)
            for c in mongo["collections"]:
                name = os.path.join(escaped_database(c["database"]), escaped_collection(c["collection"]) + ".bson")
                self.write(folder, name, c["chunks"], DOCUMENTS, c["digest"])
        if redis:
            self.write(folder, "redis.functions.records", redis["functions"], REDIS_FUNCTIONS)
            for d in redis["databases"]:
                check = RedisCheck(d["database"])
                self.write(folder, "redis.%d.records" % d["database"], d["chunks"], REDIS_KEYS, d["digest"], check)
                need(check.volatile == d["volatileKeys"], "Redis database %d" % d["database"], "its keys with expiry")

    def write(self, folder, name, chunks, kind, digest=None, check=lambda record, subject: None):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        part, count, size, total = path + ".part", 0, 0, 0
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                for text in chunks:
                    need(HEX64.match(text), name, "a chunk's id is not 64 hex digits")
                    plain, hashes = self.load(bytes.fromhex(text), kind)
                    for record in records(plain, kind, name):
                        check(record, "chunk " + text)
                    f.write(plain)
                    size, count = size + len(plain), count + len(hashes)
                    total += sum(int.from_bytes(h, "little") for h in hashes)
            found = {"count": count, "bytes": size, "sum": (total % (1 << 256)).to_bytes(32, "little").hex()}
            need(digest in (None, found), name, "its digest is not that of the manifest")
            need(not os.path.lexists(path), name, "it stands twice in the manifest")
            os.rename(part, path)
        finally:
            if os.path.lexists(part):
                os.unlink(part)


def records(plain, kind, subject):
    at, view = 0, memoryview(plain)
    while at < len(view):
        need(len(view) - at >= 4, subject, "bytes are left over after its last record")
        (length,) = struct.unpack_from("<I", view, at)
        need(LEAST[kind] <= length <= len(view) - at, subject, "a record of %d bytes at byte %d" % (length, at))
        yield view[at : at + length]
        at += length


class RedisCheck:
    """Frame of Redis records: those of one database, and how many have a time to live."""

    def __init__(self, database):
        self.database, self.volatile = database, 0

    def __call__(self, record, subject):
        cursor = Cursor(record, subject)
        _, database, expiry, length = cursor.unpack("IIqI")
        cursor.take(length + 1)  # key and type
        need(database == self.database, subject, "a key of database %d in %d" % (database, self.database))
        self.volatile += expiry != -1


def escaped_collection(name):
    """As mongodump's EscapeCollectionName and outputPath do: percent encoding of a path's segment, long names cut."""
    text = urllib.parse.quote(name, safe="-_.~$&+=:@")
    if len(text) > 238:
        digest = hashlib.sha1(name.encode()).digest()
        text = text[:208] + "%24" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return text


def escaped_database(name):
    """Their names hold no dot on any server: so none can climb, nor stand where a file of ours does."""
    need(name, "a database", "it has no name")
    return urllib.parse.quote(name, safe="-_~$&+=:@").replace(".", "%2E")


def read_identity(path):
    with open(path) as f:
        keys = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    need(len(keys) == 1, path, "%d keys instead of one" % len(keys))
    secret = unbech32("drp-secret-key-", keys[0])
    need(secret is not None and len(secret) == 32, path, "its key is not DRP-SECRET-KEY-1... with a right checksum")
    return X25519PrivateKey.from_private_bytes(secret)


def find(options, identity):
    """The only repository that opens, or the one that was named."""
    found, refused = [], []
    for name in sorted(filter(UUID.match, os.listdir(options.store))):
        try:
            found.append(Repository(options.store, name, identity))
        except Bad as e:
            refused.append("%s/%s" % (name, e))
    if options.command == "clients":
        return found, refused
    found = [r for r in found if options.client in (None, r.name, str(r.client))]
    need(len(found) == 1, options.store, "%d open; %s" % (len(found), "; ".join(refused) or "see --client"))
    return found[0], refused


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--store", metavar="FOLDER", required=True)
    ap.add_argument("--identity", metavar="FILE", required=True)
    ap.add_argument("--client", metavar="NAME")
    ap.add_argument("command", choices=("clients", "list", "show", "extract"))
    ap.add_argument("number", nargs="?", type=int)
    ap.add_argument("--to", metavar="FOLDER")
    options = ap.parse_args()
    if options.command in ("show", "extract") and not 0 < (options.number or 0) < 10**10:
        ap.error("%s needs the number of a backup" % options.command)
    if (options.command == "extract") != bool(options.to):
        ap.error("extract, and nothing else, needs --to FOLDER")
    repository, refused = find(options, read_identity(options.identity))
    if options.command == "clients":
        for r in repository:
            print("%s  %s  epoch %d, %d backups" % (r.client, r.name, max(r.epochs), len(r.numbers())))
        for text in refused:
            print("cannot be opened: %s" % text)
    elif options.command == "list":
        for number in repository.numbers():
            m = repository.manifest(number)
            print("%s/%d  instant %d ms, %d bytes" % (repository.name, number, m["instant"], m["counters"]["source"]))
    elif options.command == "show":
        print(json.dumps(repository.manifest(options.number), indent=1))
    else:
        repository.extract(options.number, options.to)
        print("extracted %s/%d to %s" % (repository.name, options.number, options.to))


if __name__ == "__main__":
    try:
        main()
    except (Bad, OSError) as e:
        sys.exit("error: %s" % " ".join(str(e).split()))
