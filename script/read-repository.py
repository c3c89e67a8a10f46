#!/usr/bin/env python3
"""Read a repository of drp without drp, as docs/repository-format.md describes it.

    read-repository.py --store FOLDER --identity FILE [--client NAME] \\
        clients | list | logs | show NUMBER | extract NUMBER --to FOLDER | extract-logs --to FOLDER |
        bundles | bundle NUMBER --to FOLDER

--client takes a name or uuid, and is needed where the identity opens more than one. `extract` writes into a new folder:

    DATABASE/COLLECTION.bson    the documents, one after the other, as mongodump does; odd names escaped as there
    catalog.bson, users.bson    descriptions of collections, and users and roles (see the page)
    oplog.bson                  entries to be replayed over the documents, if there are any
    redis.N.records             records of Redis database N (functions: libraries), each with its length in front
    LOG.FROM-TO.records         `extract-logs`: one for each slice

`bundle` writes what a bootstrap bundle holds: bundle.json, which says what the others are, fleet files, secrets, keys and
journal.sqlite, each readable by its owner alone.

Every hash, tag, id and digest is checked; a file gets its name only when all of it is right. One chunk is in memory at a
time. It shares no code with drp. HPKE and Bech32 are in script/lib/hpke.py. Needs cryptography and zstandard (script/setup
installs them). Exits 1 with one line that names the object.
"""

import argparse
import base64
import hashlib
import hmac
import itertools
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

FORMAT = 1
DERIVATION, ROOT_KEY, PACK_KEY, CHUNK, TRAILER, _, MANIFEST, _, CARD, RECIPIENT, _, TOMBSTONE, _, EPOCH = range(1, 15)
SLICE, GAP, _, VOID = range(16, 20)
DOCUMENTS, REDIS_KEYS, MONGO_CATALOG, MONGO_USERS, REDIS_FUNCTIONS, REDIS_PIECES, OPLOG, REDIS_STREAM = range(1, 9)
LEAST = dict(zip(range(1, 9), (5, 4, 5, 5, 4, 8, 5, 12)))
BUNDLE = 20
LOGS = {"mongo": (1, OPLOG), "redis": (2, REDIS_STREAM)}
MIB = 1 << 20
LARGEST_OBJECT, LARGEST_DOCUMENT, LARGEST_CHUNK = 640 * MIB, 512 * MIB, 513 * MIB
ENTRY = struct.Struct("<32sBHIIII")
HEX64 = re.compile(r"[0-9a-f]{64}\Z")
SEGMENT = re.compile(r"([0-9a-f]{64})(?:-((?:[0-9a-f]{2})+))?\Z")
BUNDLE_NAME = re.compile(r"[0-9]{10}\Z")
# The parts of an object's name, in an archive too.
ENTRY_NAME = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,7}\Z")
LOG = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})(\.gap)?\Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Bad(Exception):  # "the object: what is wrong with it"
    pass


def need(condition, subject, what):
    if not condition:
        raise Bad("%s: %s" % (subject, what))


def check_format(subject, found):
    need(found == FORMAT, subject, "its format %s is %s" % (found, "newer than this program" if found else "too old"))


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
    def __init__(self, data, epoch, subject):
        self.data, self.at, self.epoch, self.subject = data, 0, epoch, subject

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
    magic, form, epoch = Cursor(data, None, subject).unpack("4sHI")
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
        before, _, public = Cursor(link[10:54], None, subject).unpack("IQ32s")
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

    def open_json(self, data, letter, purpose, extra, subject):
        plain, epoch = data if letter == "S" else self.open_document(data, letter, purpose, extra, subject)
        try:
            document = json.loads(plain)
            check_format(subject, document["format"])
            need(uuid.UUID(document["client"]) == self.client, subject, "it is of another client")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Bad("%s: it is not the JSON of such an object" % subject) from None
        return document, epoch

    def read(self, name):
        path = os.path.join(self.root, name)
        need(os.path.isfile(path) and os.path.getsize(path) <= LARGEST_OBJECT, name, "it is not there, or too large")
        return open(path, "rb").read()

    def names(self, folder):
        path = os.path.join(self.root, folder)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def load_packs(self):
        """Trailers say where chunks are; a pack without a good one holds nothing. Indexes are caches: not needed."""
        for name in (n for folder in self.names("packs") for n in self.names("packs/" + folder) if n[:2] == folder):
            try:
                if HEX64.match(name):
                    pack = "packs/%s/%s" % (name[:2], name)
                    self.load_trailer(pack, "T", TRAILER, b"", b"DRPPACK1")
            except Bad as e:
                print("warning: %s" % e, file=sys.stderr)

    def load_trailer(self, subject, letter, purpose, extra, ending):
        """Learns the chunks of a pack or slice; gives what stands before their table, and how many bytes they take."""
        with open(os.path.join(self.root, subject), "rb") as f:
            size = f.seek(0, os.SEEK_END)
            need(12 <= size <= LARGEST_OBJECT, subject, "%d bytes" % size)
            f.seek(size - 12)
            length, magic = struct.unpack("<I8s", f.read(12))
            content = size - 12 - length
            need(magic == ending and content >= 0, subject, "it does not end as such an object does")
            f.seek(content)
            extra += struct.pack("<Q", content)
            cursor = Cursor(*self.open_document(f.read(length), letter, purpose, extra, subject), subject)
        head = cursor.take(cursor.unpack("I")[0]) if letter == "S" else b""
        keys = [cursor.take(80) for _ in range(cursor.unpack("H")[0])]
        entries = list(ENTRY.iter_unpack(cursor.take(cursor.unpack("I")[0] * ENTRY.size)))
        cursor.finish()
        for chunk, kind, key, offset, sealed, plain, prints in entries:
            fits = key < len(keys) and sealed >= 28 and offset + sealed + prints <= content and plain <= LARGEST_CHUNK
            need(fits and kind in LEAST, subject, "chunk %s does not fit" % chunk.hex())
        self.packs[subject] = (cursor.epoch, keys)
        self.chunks.update((entry[0], (subject, *entry[1:])) for entry in entries)
        return head, content

    def load(self, chunk, kind):
        """The plain bytes of a chunk and the hashes of its records, all checked."""
        subject = "chunk " + chunk.hex()
        need(chunk in self.chunks, subject, "no readable pack holds it")
        pack, its_kind, key, offset, sealed_length, plain_length, _ = self.chunks[chunk]
        need(its_kind == kind, subject, "it is of kind %d instead of %d" % (its_kind, kind))
        epoch, keys = self.packs[pack]
        if (pack, key) not in self.pack_keys:
            self.pack_keys[pack, key] = open_wrap(keys[key], epoch.private, epoch.binding(PACK_KEY), pack)
        with open(os.path.join(self.root, pack), "rb") as f:
            if pack not in self.hashed:
                right = hashlib.file_digest(f, "sha256").hexdigest() == pack[-64:] or pack.startswith("logs/")
                need(right, pack, "its bytes do not have its name's hash")
                self.hashed.add(pack)
            f.seek(offset)
            sealed = f.read(sealed_length)
        associated = epoch.binding(CHUNK, bytes([kind]) + chunk)
        frame = unseal(self.pack_keys[pack, key], sealed, associated, "%s in %s" % (subject, pack))
        plain = open_frame(frame, LARGEST_CHUNK, subject, exactly=plain_length)
        hashes = [hashlib.sha256(record).digest() for record in records(plain, kind, subject)]
        right = hmac256(epoch.id_key, bytes([kind]) + b"".join(hashes)) == chunk
        need(right, subject, "its records are not those that its id names")
        return plain, hashes

    def numbers(self):
        return [int(n) for n in self.names("backups") if re.match(r"[0-9]{10}\Z", n) and int(n)]

    def manifest(self, number):
        """None for a void."""
        subject = "backups/%010d" % number
        data = self.read(subject)
        letter, purpose = ("V", VOID) if data[3:4] == b"V" else ("M", MANIFEST)
        manifest, epoch = self.open_json(data, letter, purpose, struct.pack("<Q", number), subject)
        need(manifest.get("number") == number, subject, "it is of something else")
        if number > 1:
            self.need_before(number - 1, manifest.get("previous"), subject)
        if letter == "V":
            return None
        whose = manifest.get("name"), manifest.get("epoch")
        need(whose == (self.name, epoch.number), subject, "it is of something else")
        return manifest

    def need_before(self, number, claimed, subject):
        """The object before it in the chain, or the tombstone in its place."""
        before, stone = "backups/%010d" % number, "tombstones/%010d" % number
        if number in self.numbers():
            found = hashlib.sha256(self.read(before)).hexdigest()
        elif os.path.exists(os.path.join(self.root, stone)):
            found = self.open_json(self.read(stone), "B", TOMBSTONE, struct.pack("<Q", number), stone)[0].get("hash")
        else:  # lost: no reason not to read what is there
            return print("warning: %s: it is missing" % before, file=sys.stderr)
        need(found == claimed, subject, "%s before it is not what was there when it was written" % before)

    def logs(self):
        """Each slice and gap, in order: log, name, its document."""
        for log, (number, _) in LOGS.items():
            end, before = None, None
            for name in self.names("logs/" + log):
                match, subject = LOG.match(name), "logs/%s/%s" % (log, name)
                need(match and match[1] < match[2], subject, "no such object belongs to a repository")
                extra = struct.pack("<BQQ", number, int(match[1], 16), int(match[2], 16))
                data = self.read(subject)
                if match[3]:
                    found, _ = self.open_json(data, "G", GAP, extra + bytes(8), subject)
                else:
                    head, content = self.load_trailer(subject, "S", SLICE, extra, b"DRPSLICE")
                    found, _ = self.open_json((head, None), "S", SLICE, extra, subject)
                    right = hashlib.sha256(data[:content]).hexdigest() == found["content"]
                    need(right, subject, "its bytes do not have the hash that it names")
                same = (found["log"], found["from"], found["to"]) == (log, match[1], match[2])
                need(same and end in (None, match[1]), subject, "it does not follow the one before it")
                need(before in (None, found.get("previous")), subject, "the one before it was another one")
                end, before = match[2], hashlib.sha256(data).hexdigest()
                yield log, name, found

    def extract(self, number, folder):
        manifest = self.manifest(number)
        need(manifest, "backup %d" % number, "it is a void: its writer never came to its end")
        self.load_packs()
        make_empty(folder)
        mongo, redis = manifest.get("mongo"), manifest.get("redis")
        if mongo:
            self.write(folder, "catalog.bson", mongo["catalog"], MONGO_CATALOG)
            self.write(folder, "users.bson", mongo["users"], MONGO_USERS)
            for c in mongo["collections"]:
                name = os.path.join(escaped_database(c["database"]), escaped_collection(c["collection"]) + ".bson")
                self.write(folder, name, c["segments"], DOCUMENTS, c["digest"])
            if mongo.get("oplog"):
                self.write(folder, "oplog.bson", mongo["oplog"]["chunks"], OPLOG)
        if redis:
            self.write(folder, "redis.functions.records", redis["functions"], REDIS_FUNCTIONS)
            for d in redis["databases"]:
                name, pieces = "redis.%d.records" % d["database"], d.get("pieces", [])
                self.write(folder, name, d["segments"], REDIS_KEYS, d["digest"], pieces)

    def segment(self, text, kind, subject):
        """The records of a chunk, but for those that the segment leaves out, and their hashes."""
        match = SEGMENT.match(text)
        need(match, subject, "a segment is not 64 hex digits and perhaps a bitmap")
        plain, hashes = self.load(bytes.fromhex(match[1]), kind)
        if not match[2]:
            return plain, hashes
        bits = int.from_bytes(bytes.fromhex(match[2]), "little")
        fits = len(match[2]) // 2 == -(-len(hashes) // 8) and 0 < bits < 1 << len(hashes)
        need(fits, subject, "what is left out of chunk %s does not fit it" % match[1])
        kept = [(r, h) for i, (r, h) in enumerate(zip(records(plain, kind, subject), hashes)) if not bits >> i & 1]
        return b"".join(r for r, _ in kept), [h for _, h in kept]

    def value(self, chunks, subject):
        """One Redis key that is stored in pieces."""
        loaded = (self.load(bytes.fromhex(c), REDIS_PIECES)[0] for c in chunks)
        pieces = [r for plain in loaded for r in records(plain, REDIS_PIECES, subject)]
        right = [int.from_bytes(p[4:8], "little") for p in pieces] == list(range(len(pieces)))
        need(right, subject, "pieces are missing")
        plain = b"".join(p[8:] for p in pieces)
        need(sum(1 for _ in records(plain, REDIS_KEYS, subject)) == 1, subject, "its pieces are not one key")
        return plain, [hashlib.sha256(plain).digest()]

    def write(self, folder, name, segments, kind, digest=None, pieces=()):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        part, count, size, total = path + ".part", 0, 0, 0
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                parts = (self.segment(text, kind, name) for text in segments)
                for plain, hashes in itertools.chain(parts, (self.value(chunks, name) for chunks in pieces)):
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


def open_bundle(data, identity, subject):
    """The archive in a bundle: what a new machine needs beside repositories."""
    need(header(data, "F", subject) == 0, subject, "it is of an epoch")
    cursor = Cursor(data, None, subject)
    cursor.take(10)
    (count,) = cursor.unpack("H")
    need(1 <= count <= 100, subject, "it has %d recipients" % count)
    wraps = [(cursor.take(32), cursor.take(80)) for _ in range(count)]
    mine = identity.public_key().public_bytes_raw()
    wrapped = dict(wraps).get(mine)
    need(wrapped, subject, "the identity is none of its recipients")
    info = b"drp" + struct.pack("<BH16sI", BUNDLE, FORMAT, bytes(16), 0)
    key = open_wrap(wrapped, identity, info, subject)
    return open_frame(unseal(key, data[cursor.at :], data[: cursor.at], subject), LARGEST_DOCUMENT, subject)


def entries(archive, subject):
    """Of the archive, POSIX ustar in the one form that the page names: nothing else has to be told apart from harm."""
    at, seen = 0, set()
    while True:
        head = archive[at : at + 512]
        need(len(head) == 512, subject, "its archive ends too early")
        if not any(head):
            break
        name, size = head[:100].rstrip(b"\0").decode("ascii", "replace"), head[124:135]
        need(ENTRY_NAME.match(name) and name not in seen, subject, "a name in its archive is odd, or stands twice")
        need(re.match(rb"[0-7]{11}\Z", size), subject, "a size in its archive is odd")
        want = bytearray(512)
        for offset, text in ((0, name.encode()), (100, b"0000600"), (108, b"0000000"), (116, b"0000000"), (124, size),
                             (136, b"0" * 11), (148, b" " * 8), (156, b"0"), (257, b"ustar"), (263, b"00")):  # fmt: skip
            want[offset : offset + len(text)] = text
        want[148:155] = b"%06o\0" % sum(want)
        size = int(size, 8)
        need(want == head and size <= len(archive) - at - 512, subject, "the header of %s is odd" % name)
        yield name, archive[at + 512 : at + 512 + size]
        seen.add(name)
        at += 512 + (size + 511) // 512 * 512
    need(len(archive) == at + 1024 and not any(archive[at:]), subject, "its archive does not end as it should")


def bundles(store):
    """Numbers, lowest first."""
    folder = os.path.join(store, "bootstrap")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(name) for name in names if BUNDLE_NAME.match(name))


def extract_bundle(store, number, identity, folder):
    subject = "bootstrap/%010d" % number
    with open(os.path.join(store, subject), "rb") as f:
        data = f.read(LARGEST_OBJECT + 1)
    need(len(data) <= LARGEST_OBJECT, subject, "it is larger than an object may be")
    found = list(entries(open_bundle(data, identity, subject), subject))
    need(found and found[0][0] == "bundle.json", subject, "it does not begin with bundle.json")
    check_format(subject, json.loads(found[0][1])["format"])
    make_empty(folder)
    for name, content in found:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(content)
    return len(found)


def make_empty(folder):
    os.makedirs(folder, mode=0o700, exist_ok=True)
    need(not os.listdir(folder), folder, "it is not empty")


def records(plain, kind, subject):
    at, view = 0, memoryview(plain)
    while at < len(view):
        need(len(view) - at >= 4, subject, "bytes are left over after its last record")
        (length,) = struct.unpack_from("<I", view, at)
        need(LEAST[kind] <= length <= len(view) - at, subject, "a record of %d bytes at byte %d" % (length, at))
        yield view[at : at + length]
        at += length


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
        folder = os.path.join(options.store, name)
        # What is left of a client that was erased.
        if os.path.exists(os.path.join(folder, "erased")) and not os.path.exists(os.path.join(folder, "drp.json")):
            refused.append("%s: its client was erased" % name)
            continue
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
    ap.add_argument("command", choices=("clients", "list", "logs", "show", "extract", "extract-logs", "bundles", "bundle"))
    ap.add_argument("number", nargs="?", type=int)
    ap.add_argument("--to", metavar="FOLDER")
    options = ap.parse_args()
    command, number, identity = options.command, options.number, read_identity(options.identity)
    if command in ("show", "extract", "bundle") and not 0 < (number or 0) < 10**10:
        ap.error("%s needs a number" % command)
    if (command.startswith("extract") or command == "bundle") != bool(options.to):
        ap.error("extract, extract-logs and bundle, and nothing else, need --to FOLDER")
    if command == "bundles":
        for number in bundles(options.store):
            print("bundle %d" % number)
        return
    if command == "bundle":
        count = extract_bundle(options.store, number, identity, options.to)
        print("extracted %d files of bundle %d to %s" % (count, number, options.to))
        return
    repository, refused = find(options, identity)
    if command == "clients":
        for r in repository:
            print("%s  %s  epoch %d, %d backups" % (r.client, r.name, max(r.epochs), len(r.numbers())))
        for text in refused:
            print("cannot be opened: %s" % text)
    elif command == "list":
        for number in repository.numbers():
            m = repository.manifest(number)
            what = "instant %d ms, %d bytes" % (m["instant"], m["counters"]["source"]) if m else "void"
            print("%s/%d  %s" % (repository.name, number, what))
    elif command == "logs":
        for log, name, found in repository.logs():
            print("%s  %s  %s" % (log, name, found.get("reason") or "%(count)d records" % found["digest"]))
    elif command == "show":
        print(json.dumps(repository.manifest(number), indent=1))
    elif command == "extract-logs":
        make_empty(options.to)
        for log, name, found in repository.logs():
            if "chunks" in found:
                name = "%s.%s.records" % (log, name)
                repository.write(options.to, name, found["chunks"], LOGS[log][1], found["digest"])
    else:
        repository.extract(number, options.to)
        print("extracted %s/%d to %s" % (repository.name, number, options.to))


if __name__ == "__main__":
    try:
        main()
    except (Bad, OSError) as e:
        sys.exit("error: %s" % " ".join(str(e).split()))
