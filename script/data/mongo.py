#!/usr/bin/env python3
"""Fill a MongoDB server with seeded data as a SaaS company has it, for tests, benchmarks and the demo.

    mongo.py --uri-file FILE --size-mb 1000 --seed 1

What it makes (see BULK for how the size is shared out):
  saas_core     tenants, users, subscriptions, invoices, sessions, api_keys, feature_flags, view(s)
  saas_events   events (the big one), audit_log (capped), metrics (time series), webhooks
  saas_content  documents (text index), comments, places (2dsphere), GridFS bucket "fs"
  shop          products (wildcard), orders (nested arrays), inventory (hashed), v1 index
  edge          every BSON type, every _id type, odd values, odd collection names, empty
                collection, clustered collection, collation, stored JavaScript
  user-db-ünï   a database with a non-ASCII name
The same seed and size give the same documents, except what the server itself makes: the _id of time-series buckets,
collection UUIDs, SCRAM salts. Times lie in 2025, TTLs decades away. Needs: pymongo; a server of 4.4 or newer (features
that it lacks are skipped).
"""

import base64, hashlib, math, random, struct, sys, time, zlib
from datetime import datetime, timedelta, timezone

import connections

try:
    import bson
    from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
    from bson.raw_bson import RawBSONDocument
    from pymongo import GEO2D, GEOSPHERE, HASHED, TEXT, IndexModel
    from pymongo.errors import OperationFailure
except ImportError as e:  # --help works without
    MISSING = e
else:
    MISSING = None

BULK = {  # share of --size-mb of each bulk collection
    "saas_events.events": 0.42,
    "shop.orders": 0.22,
    "saas_content.documents": 0.10,
    "saas_content.fs": 0.04,
    "saas_core.users": 0.06,
    "saas_core.sessions": 0.04,
    "saas_core.invoices": 0.05,
    "saas_content.comments": 0.03,
    "shop.products": 0.02,
    "saas_events.metrics": 0.02,
}
FILE_SIZES = (5_000, 60_000, 261_120, 300_001, 1_200_000)
T0 = datetime(2025, 1, 1, tzinfo=timezone.utc)
FIFTY_YEARS = 50 * 365 * 86400


class World:
    """Seeded source of realistic values."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        r = self.r
        syl = "an be ca do er fi go hu in ja ke lo ma ne or pa qui ra se ti un ver wo xe yo zi tion ing ment al".split()
        seen = set()
        while len(seen) < 4000:
            seen.add("".join(r.choices(syl, k=r.choice((1, 2, 2, 3, 3, 4)))))
        self.vocab = sorted(seen)
        r.shuffle(self.vocab)
        acc, cum = 0.0, []
        for i in range(len(self.vocab)):
            acc += 1 / (i + 2.7)
            cum.append(acc)
        self.cum = cum
        self.machine = r.getrandbits(40).to_bytes(5, "big")
        self.ctr = r.getrandbits(20)
        self.first = [w.capitalize() for w in self.vocab[200:420]]
        self.last = [w.capitalize() for w in self.vocab[420:900]]
        self.domains = ["%s.example" % w for w in self.vocab[900:960]]
        self.agents = [
            "Mozilla/5.0 (%s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.%d.%d Safari/537.36"
            % (
                r.choice(
                    (
                        "Windows NT 10.0; Win64; x64",
                        "Macintosh; Intel Mac OS X 10_15_7",
                        "X11; Linux x86_64",
                        "Linux; Android 14; Pixel 8",
                    )
                ),
                r.randint(100, 131),
                r.randint(1000, 6999),
                r.randint(0, 199),
            )
            for _ in range(60)
        ]
        self.paths = ["/%s/%s/%s" % tuple(r.choices(self.vocab[:300], k=3)) for _ in range(400)]
        self.ips = ["10.%d.%d.%d" % (r.randint(0, 31), r.randint(0, 255), r.randint(1, 254)) for _ in range(900)]
        self.builds = [
            {
                "service": s,
                "version": "2025.%d.%d" % (m, r.randint(0, 9)),
                "instance": "%s-%06x" % (s, r.getrandbits(24)),
            }
            for s in ("gateway", "billing", "editor", "auth")
            for m in range(1, 7)
        ]
        self.tenants = [self.oid(86400 * i) for i in range(120)]
        self.tcum = []
        a = 0.0
        for i in range(120):
            a += 1 / (i + 1)
            self.tcum.append(a)

    def oid(self, sec):
        self.ctr = (self.ctr + 1) & 0xFFFFFF
        return ObjectId(struct.pack(">I", 1735689600 + int(sec)) + self.machine + self.ctr.to_bytes(3, "big"))

    def words(self, n):
        return " ".join(self.r.choices(self.vocab, cum_weights=self.cum, k=n))

    def tenant(self):
        return self.r.choices(self.tenants, cum_weights=self.tcum)[0]

    def when(self, sec):
        return T0 + timedelta(milliseconds=int(sec * 1000))

    def email(self):
        r = self.r
        return "%s.%s%d@%s" % (
            r.choice(self.first).lower(),
            r.choice(self.last).lower(),
            r.randint(1, 999),
            r.choice(self.domains),
        )

    def ip(self):
        return self.r.choice(self.ips)

    def money(self, hi=900):
        return Decimal128("%d.%02d" % (self.r.randint(1, hi), self.r.randint(0, 99)))

    def raw(self, n):
        return self.r.randbytes(n)


# ---- document makers: (world, i) -> dict -------------------------------------------------------


def mk_event(w, i):
    r = w.r
    t = i * 0.7
    kind = r.choices(
        ("page.viewed", "api.request", "document.updated", "user.login", "invoice.paid", "export.finished"),
        weights=(45, 30, 12, 8, 3, 2),
    )[0]
    d = {
        "_id": w.oid(t),
        "tenantId": w.tenant(),
        "type": kind,
        "at": w.when(t),
        "actor": {"id": w.r.choice(w.tenants), "kind": "user", "ip": w.ip()},
        "context": {
            "userAgent": r.choice(w.agents),
            "path": r.choice(w.paths),
            "region": r.choice(("eu-central", "us-east", "ap-south")),
            "session": {
                "authenticated": True,
                "mfa": r.random() > 0.5,
                "plan": r.choice(("free", "team", "enterprise")),
                "client": "web",
            },
        },
        "schemaVersion": 3,
        "source": r.choice(w.builds),
        "retention": {"policy": "standard", "days": 400},
        "processed": True,
        "durationMs": r.randint(1, 4000),
        "ok": r.random() > 0.03,
        "labels": r.choices(w.vocab[:80], k=r.randint(0, 5)),
    }
    if kind == "api.request":
        d["http"] = {
            "method": r.choice(("GET", "POST", "PUT", "DELETE")),
            "status": r.choices((200, 201, 204, 400, 404, 500), weights=(70, 10, 8, 6, 5, 1))[0],
            "requestId": "%016x" % r.getrandbits(64),
            "bytes": Int64(r.randint(100, 300000)),
        }
    elif kind == "document.updated":
        d["changes"] = [
            {"field": r.choice(w.vocab[:60]), "from": w.words(r.randint(1, 10)), "to": w.words(r.randint(1, 10))}
            for _ in range(r.randint(1, 6))
        ]
    elif kind == "page.viewed":
        d["page"] = {
            "title": w.words(r.randint(3, 9)),
            "referrer": "https://%s%s" % (r.choice(w.domains), r.choice(w.paths)),
            "scroll": round(r.random(), 3),
        }
    return d


def mk_order(w, i):
    r = w.r
    t = i * 11
    items = [
        {
            "sku": "SKU-%05d" % int(r.paretovariate(1.1) * 10 % 100000),
            "title": w.words(r.randint(3, 7)),
            "qty": r.randint(1, 6),
            "unitPrice": w.money(),
            "tax": {"rate": r.choice((0.07, 0.19)), "included": True, "jurisdiction": "EU"},
            "fulfilment": {"warehouse": "berlin-1", "carrier": r.choice(("dhl", "ups")), "state": "pending"},
            "discounts": [],
            "options": {"colour": r.choice(("red", "blue", "green", "black")), "size": r.choice("SMLX")},
        }
        for _ in range(min(12, 1 + int(r.expovariate(0.5))))
    ]
    addr = {
        "name": "%s %s" % (r.choice(w.first), r.choice(w.last)),
        "street": "%s %d" % (r.choice(w.last), r.randint(1, 220)),
        "city": r.choice(w.last),
        "zip": "%05d" % r.randint(1000, 99998),
        "country": r.choice(("DE", "FR", "US", "IN", "BR", "JP")),
    }
    return {
        "_id": w.oid(t),
        "number": "ORD-2025-%08d" % i,
        "tenantId": w.tenant(),
        "customer": {"email": w.email(), "address": addr},
        "status": r.choice(("new", "paid", "packed", "shipped", "delivered", "returned")),
        "items": items,
        "total": w.money(9000),
        "currency": "EUR",
        "history": [
            {"at": w.when(t + 3600 * k), "state": s, "by": r.choice(("system", "warehouse", "customer"))}
            for k, s in enumerate(("new", "paid", "packed", "shipped")[: r.randint(1, 4)])
        ],
        "note": w.words(r.randint(0, 25)),
        "createdAt": w.when(t),
        "updatedAt": w.when(t + r.randint(1, 300000)),
        "version": Int64(r.randint(1, 9)),
    }


def mk_document(w, i):
    r = w.r
    t = i * 17
    return {
        "_id": w.oid(t),
        "tenantId": w.tenant(),
        "title": w.words(r.randint(3, 9)).capitalize(),
        "slug": "-".join(r.choices(w.vocab[:900], k=4)) + "-%d" % i,
        "body": "\n\n".join(w.words(r.randint(20, 120)).capitalize() + "." for _ in range(r.randint(1, 9))),
        "blocks": [
            {
                "id": "%08x" % r.getrandbits(32),
                "type": r.choice(("p", "h2", "li", "code", "img")),
                "text": w.words(r.randint(2, 30)),
                "marks": r.choices(("b", "i", "u"), k=r.randint(0, 2)),
            }
            for _ in range(r.randint(0, 8))
        ],
        "tags": r.choices(w.vocab[:120], k=r.randint(0, 7)),
        "authors": [w.r.choice(w.tenants) for _ in range(r.randint(1, 3))],
        "published": r.random() > 0.4,
        "stats": {"views": Int64(int(r.paretovariate(1.2) * 10)), "likes": r.randint(0, 300), "score": r.random() * 5},
        "createdAt": w.when(t),
        "updatedAt": w.when(t + 999),
    }


def mk_user(w, i):
    r = w.r
    t = i * 23
    f, l = r.choice(w.first), r.choice(w.last)
    return {
        "_id": w.oid(t),
        "tenantId": w.tenant(),
        "email": "%s.%s.%d@%s" % (f.lower(), l.lower(), i, r.choice(w.domains)),
        "name": {"first": f, "last": l},
        "passwordHash": Binary(w.raw(32)),
        "roles": r.choices(("owner", "admin", "member", "viewer"), k=r.randint(1, 2)),
        "prefs": {
            "locale": r.choice(("de_DE", "en_US", "pt_BR", "ja_JP")),
            "tz": r.choice(("Europe/Berlin", "America/New_York", "Asia/Tokyo")),
            "theme": r.choice(("light", "dark")),
            "mail": {"weekly": True, "product": r.random() > 0.5},
        },
        "logins": [{"at": w.when(t + 7200 * k), "ip": w.ip()} for k in range(r.randint(0, 6))],
        "bio": w.words(r.randint(0, 30)) if r.random() > 0.4 else None,
        "createdAt": w.when(t),
        "deletedAt": w.when(t + 90000) if r.random() < 0.05 else None,
        "flags": Int64(r.getrandbits(20)),
    }


def mk_session(w, i):
    r = w.r
    return {
        "_id": base64.urlsafe_b64encode(w.raw(24)).decode(),
        "userId": r.choice(w.tenants),
        "token": Binary(w.raw(48), 0),
        "device": Binary(w.raw(16), 4),
        "ip": w.ip(),
        "userAgent": r.choice(w.agents),
        "createdAt": w.when(i * 3),
        "expiresAt": datetime(2099, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=i % 86400),
        "data": {
            "csrf": "%032x" % r.getrandbits(128),
            "cart": r.choices(w.vocab[:50], k=r.randint(0, 4)),
            "lastPath": r.choice(w.paths),
        },
    }


def mk_invoice(w, i):
    r = w.r
    t = i * 61
    lines = [
        {
            "description": w.words(r.randint(4, 12)),
            "quantity": r.randint(1, 40),
            "amount": w.money(5000),
            "period": {"from": w.when(t), "to": w.when(t + 2592000)},
        }
        for _ in range(r.randint(1, 9))
    ]
    return {
        "_id": Int64(100000 + i),
        "tenantId": w.tenant(),
        "number": "INV-%07d" % i,
        "state": r.choice(("draft", "open", "paid", "void")),
        "lines": lines,
        "total": w.money(40000),
        "tax": w.money(4000),
        "currency": r.choice(("EUR", "USD")),
        "issuedAt": w.when(t),
        "dueAt": w.when(t + 1209600),
        "memo": w.words(r.randint(0, 20)),
    }


def mk_comment(w, i):
    r = w.r
    return {
        "_id": w.oid(i * 5),
        "docId": r.choice(w.tenants),
        "author": {"id": r.choice(w.tenants), "name": "%s %s" % (r.choice(w.first), r.choice(w.last))},
        "text": w.words(r.randint(3, 60)),
        "at": w.when(i * 5),
        "reactions": {e: r.randint(1, 9) for e in r.choices(("👍", "🎉", "❤️", "👀"), k=r.randint(0, 3))},
        "path": [r.randint(0, 30) for _ in range(r.randint(0, 5))],
    }


def mk_product(w, i):
    r = w.r
    return {
        "_id": "SKU-%06d" % i,
        "title": w.words(r.randint(3, 8)),
        "description": w.words(r.randint(10, 80)),
        "price": w.money(),
        "attributes": {
            r.choice(w.vocab[:40]): r.choice((w.words(2), r.randint(1, 99), True)) for _ in range(r.randint(2, 9))
        },
        "categories": r.choices(w.vocab[:50], k=3),
        "dimensions": [r.random() * 100, r.random() * 100, r.random() * 100],
        "barcode": Int64(r.randint(4 * 10**12, 5 * 10**12)),
        "active": r.random() > 0.1,
    }


MAKERS = {
    "saas_events.events": mk_event,
    "shop.orders": mk_order,
    "saas_content.documents": mk_document,
    "saas_core.users": mk_user,
    "saas_core.sessions": mk_session,
    "saas_core.invoices": mk_invoice,
    "saas_content.comments": mk_comment,
    "shop.products": mk_product,
}


def fill(client, ns, maker, target, w, batch_bytes=4_000_000):
    dbn, cn = ns.split(".", 1)
    coll = client[dbn].get_collection(cn)
    done = n = size = 0
    buf = []
    while done < target:
        raw = bson.encode(maker(w, n))
        buf.append(RawBSONDocument(raw))
        size += len(raw)
        done += len(raw)
        n += 1
        if size >= batch_bytes or len(buf) >= 5000:
            coll.insert_many(buf, ordered=False)
            buf, size = [], 0
    if buf:
        coll.insert_many(buf, ordered=False)
    return n, done


def try_(what, f):
    try:
        return f()
    except OperationFailure as e:
        print("  skipped %s: %s" % (what, str(e)[:100]), file=sys.stderr)


def gridfs(client, target, w):
    db = client["saas_content"]
    db["fs.files"].create_index([("filename", 1), ("uploadDate", 1)])
    db["fs.chunks"].create_index([("files_id", 1), ("n", 1)], unique=True)
    done = k = 0
    while done < target:
        n = min(max(3000, target - done), w.r.choice(FILE_SIZES))
        done += gridfs_file(db, w, k, n)
        k += 1
    return k, done


def gridfs_file(db, w, k, n):
    """The file of number k, n bytes long; returns its length."""
    half = zlib.compress(w.words(n // 5).encode(), 1)[: n // 2] or b"x"
    data = (half + w.words((n - len(half)) // 4 + 1).encode())[:n]  # half already-packed, half text
    fid = w.oid(k * 100)
    chunks = [
        {"_id": w.oid(k * 100 + 1), "files_id": fid, "n": j, "data": Binary(data[o : o + 261120])}
        for j, o in enumerate(range(0, len(data), 261120))
    ]
    db["fs.files"].insert_one(
        {
            "_id": fid,
            "length": Int64(len(data)),
            "chunkSize": 261120,
            "uploadDate": w.when(k * 100),
            "filename": "uploads/%s-%d.bin" % (w.words(1), k),
            "metadata": {
                "tenantId": w.tenant(),
                "contentType": "application/octet-stream",
                "sha256": hashlib.sha256(data).hexdigest(),
            },
        }
    )
    for c in range(0, len(chunks), 30):
        db["fs.chunks"].insert_many(chunks[c : c + 30])
    return len(data)


def timeseries(client, target, w):
    db = client["saas_events"]
    n = max(200, int(target / 55))  # about 55 bytes a measurement once packed into buckets
    hosts = ["host-%02d" % i for i in range(12)]
    buf = []
    for i in range(n):
        buf.append(
            {
                "t": w.when(i * 5),
                "m": {"host": hosts[i % 12], "dc": "eu-1"},
                "cpu": round(w.r.random() * 100, 2),
                "mem": Int64(w.r.randint(10**9, 10**10)),
                "err": w.r.randint(0, 3),
            }
        )
        if len(buf) == 5000:
            db["metrics"].insert_many(buf, ordered=False)
            buf = []
    if buf:
        db["metrics"].insert_many(buf, ordered=False)
    return n


def el(t, name, payload):
    return bytes([t]) + name.encode() + b"\0" + payload


def cstr(s):
    b = s.encode()
    return struct.pack("<i", len(b) + 1) + b + b"\0"


def doc(*els):
    b = b"".join(els)
    return struct.pack("<i", len(b) + 5) + b + b"\0"


def edge(client, w):
    """Every BSON type, odd values and odd names: small, and the same whatever the size."""
    db = client["edge"]
    z = db["bson_zoo"]
    o = w.oid(1)
    docs = [
        {"_id": "double", "v": [1.5, -0.0, 1e308, 5e-324, math.inf, -math.inf, math.nan]},
        {"_id": "string", "v": ["", "x", "ünï ☃ 😀", "a\0b embedded NUL", "\u202ertl", "é vs e\u0301", "x" * 70000]},
        {
            "_id": "int",
            "v": [0, -1, 2**31 - 1, -(2**31), Int64(0), Int64(2**63 - 1), Int64(-(2**63)), Int64(2**53 + 1)],
        },
        {
            "_id": "decimal",
            "v": [
                Decimal128(s)
                for s in (
                    "0",
                    "-0",
                    "0E-6176",
                    "NaN",
                    "sNaN",
                    "Infinity",
                    "-Infinity",
                    "1.000",
                    "1E+3",
                    "9.999999999999999999999999999999999E+6144",
                    "1E-6176",
                    "123456789012345678901234567890.1234",
                )
            ],
        },
        {
            "_id": "binary",
            "v": [Binary(bytes(range(256)), s) for s in (0, 1, 3, 4, 5, 6, 128, 255)]
            + [Binary(b""), Binary(bytes(16), 4)],
        },
        {
            "_id": "date",
            "v": [
                datetime(1970, 1, 1, tzinfo=timezone.utc),
                datetime(1, 1, 1, tzinfo=timezone.utc),
                datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc),
            ],
        },
        {"_id": "regex", "v": [Regex("^a.*b$", "imsux"), Regex("", ""), Regex("/slash/", "i")]},
        {"_id": "code", "v": [Code("function(){return 1}"), Code("return x", {"x": 1}), Code("")]},
        {
            "_id": "misc",
            "v": [
                None,
                True,
                False,
                MinKey(),
                MaxKey(),
                o,
                Timestamp(1700000000, 7),
                Timestamp(0, 0),
                Timestamp(4294967295, 4294967295),
            ],
        },
        {"_id": "dbref", "v": [DBRef("users", o), DBRef("users", o, "saas_core")]},
        {"_id": "nested_empty", "v": [{}, [], [[]], {"a": {}}, {"": ""}]},
        {"_id": "dotted_names", "v": {"a.b": 1, "a$b": 2, "x.$y": 3, "": 4, "ключ": 5, "k" * 300: 6}},
    ]
    deep = {"leaf": 1}
    for _ in range(90):
        deep = {"d": deep}
    docs.append({"_id": "deep", "v": deep})
    raws = [bson.encode(d) for d in docs]
    date = lambda ms: struct.pack("<q", ms)
    raws += [  # things that drivers will not make
        doc(
            el(2, "_id", cstr("deprecated")),
            el(6, "undefined", b""),
            el(0x0E, "symbol", cstr("sym")),
            el(0x0C, "dbpointer", cstr("db.c") + o.binary),
        ),
        doc(el(2, "_id", cstr("dup_keys")), el(0x10, "a", b"\1\0\0\0"), el(0x10, "a", b"\2\0\0\0")),
        doc(
            el(2, "_id", cstr("far_dates")),
            el(9, "min", date(-(2**63))),
            el(9, "max", date(2**63 - 1)),
            el(9, "neg", date(-1)),
        ),
        doc(el(2, "_id", cstr("old_binary")), el(5, "v", struct.pack("<iB", 8, 2) + struct.pack("<i", 4) + b"abcd")),
        doc(
            el(2, "_id", cstr("sparse_array")), el(4, "v", doc(el(0x10, "5", b"\1\0\0\0"), el(0x10, "x", b"\2\0\0\0")))
        ),
        doc(
            el(2, "_id", cstr("nan_payload")),
            el(1, "v", bytes.fromhex("010000000000f87f")),
            el(1, "neg", bytes.fromhex("000000000000f8ff")),
        ),
        doc(el(2, "_id", cstr("true_is_1")), el(8, "v", b"\1"), el(8, "w", b"\0")),
    ]
    z.insert_many([RawBSONDocument(x) for x in raws])
    # A top-level zero timestamp is replaced by the server on insert, so it is put there by a pipeline update.
    z.insert_one({"_id": "zero_ts", "ts": 1})
    try_(
        "zero_ts",
        lambda: z.update_one(
            {"_id": "zero_ts"}, [{"$replaceRoot": {"newRoot": {"$literal": {"_id": "zero_ts", "ts": Timestamp(0, 0)}}}}]
        ),
    )

    ids = db["id_zoo"]
    ids.insert_many(
        [
            {"_id": v, "n": k}
            for k, v in enumerate(
                [
                    1,
                    Int64(2**40),
                    2.5,
                    "s",
                    "",
                    o,
                    Binary(b"\0\1\2"),
                    Binary(bytes(16), 4),
                    True,
                    False,
                    None,
                    T0,
                    Timestamp(5, 6),
                    MinKey(),
                    MaxKey(),
                    Decimal128("7.70"),
                    {"a": 1, "b": {"c": 2}},
                    {"b": {"c": 2}, "a": 1},
                    {},
                    Code("x"),
                    math.nan,
                    -math.inf,
                    DBRef("c", 1),
                ]
            )
        ]
    )

    # names
    for name in (
        "logs.2025.01",
        "has space",
        "percent%20name",
        "100%",
        "ünïcödé-コレクション-😀",
        "semi;colon",
        "quote\"s'",
        "back\\slash",
        "slash/name",
        "UPPER",
        "upper",
        "..dots..".strip("."),
        "trailing.dot.x",
        "system_not",
        "metadata.json",
        "x.bson",
        "-dash",
        "tab\tname",
        "new\nline",
        "*star?",
        "long_" + "n" * 190,
    ):
        db[name].insert_many([{"_id": i, "name": name, "v": w.words(3)} for i in range(3)])

    # '$' inside a collection name: drivers refuse, servers may accept
    def dollar():
        db.command({"create": "dollar$inside"})
        db.command({"insert": "dollar$inside", "documents": [{"_id": 1, "v": "dollar"}]})

    try_("collection name with $", dollar)
    client["user-db-ünï"]["c"].insert_many([{"_id": i} for i in range(5)])

    # options
    db.create_collection("empty")
    db.create_collection("empty_with_index")
    db["empty_with_index"].create_index([("a", 1)])
    db.create_collection(
        "strict",
        validator={
            "$jsonSchema": {
                "bsonType": "object",
                "required": ["name", "year"],
                "properties": {
                    "name": {"bsonType": "string"},
                    "year": {"bsonType": "int", "minimum": 2000, "maximum": 2100},
                },
            }
        },
        validationLevel="strict",
        validationAction="error",
    )
    db["strict"].insert_many([{"_id": i, "name": "n%d" % i, "year": 2000 + i} for i in range(20)])
    # documents older than the validator: they break it, a restore must take them all the same
    db["grandfathered"].insert_many([{"_id": i} for i in range(4)])
    db.command(
        {
            "collMod": "grandfathered",
            "validator": {"must": {"$exists": True}},
            "validationLevel": "moderate",
            "validationAction": "error",
        }
    )
    db.create_collection("german", collation={"locale": "de", "strength": 2, "numericOrdering": True})
    db["german"].insert_many([{"_id": x, "w": x} for x in ("apfel", "Äpfel", "zebra", "Öl", "item10", "item9")])
    db["german"].create_index([("w", 1)], name="w_inherit")
    db["german"].create_index([("w", 1)], name="w_simple", collation={"locale": "simple"})
    db.create_collection("capped_small", capped=True, size=65536, max=100)
    db["capped_small"].insert_many(
        [{"_id": i, "v": w.words(4)} for i in range(150)]
    )  # wraps: 100 are left, insertion order matters
    try_(
        "clustered",
        lambda: db.create_collection(
            "clustered", clusteredIndex={"key": {"_id": 1}, "unique": True, "name": "by id"}
        ).insert_many([{"_id": i, "v": i} for i in range(10)]),
    )
    try_(
        "pre-images",
        lambda: db.create_collection("with_preimages", changeStreamPreAndPostImages={"enabled": True}).insert_many(
            [{"_id": i} for i in range(3)]
        ),
    )
    db.create_collection("engine_opts", storageEngine={"wiredTiger": {"configString": "block_compressor=zstd"}})
    db["engine_opts"].insert_one({"_id": 1})
    db["system.js"].insert_one({"_id": "addOne", "value": Code("function(x){return x+1}")})
    db.create_collection(
        "view_simple", viewOn="strict", pipeline=[{"$match": {"year": {"$gt": 2005}}}, {"$project": {"name": 1}}]
    )
    db.create_collection("view_on_view", viewOn="view_simple", pipeline=[{"$sort": {"_id": -1}}, {"$limit": 3}])
    db.create_collection(
        "view_collated",
        viewOn="german",
        pipeline=[],
        collation={"locale": "de", "strength": 2, "numericOrdering": True},
    )
    db.create_collection(
        "view_missing",
        viewOn="no_such_collection",
        pipeline=[{"$lookup": {"from": "strict", "localField": "a", "foreignField": "_id", "as": "j"}}],
    )

    # indexes
    ix = db["indexes"]
    ix.insert_many(
        [
            {
                "_id": i,
                "a": i,
                "b": i % 7,
                "s": "k%d" % i,
                "loc": {"type": "Point", "coordinates": [i % 90, i % 45]},
                "flat": [i % 90, i % 45],
                "t": w.when(i),
                "txt": w.words(6),
                "sub": {"x": i, "y": {"z": w.words(1)}},
                "arr": [i, i + 1],
            }
            for i in range(200)
        ]
    )
    specs = [
        ([("a", 1)], {"unique": True, "name": "a unique"}),
        ([("a", -1), ("b", 1)], {}),
        ([("b", 1)], {"partialFilterExpression": {"a": {"$gt": 100}}, "name": "b_partial"}),
        ([("s", 1)], {"sparse": True, "unique": True}),
        ([("t", 1)], {"expireAfterSeconds": FIFTY_YEARS}),
        ([("txt", TEXT), ("s", TEXT)], {"weights": {"txt": 5, "s": 2}, "default_language": "german", "name": "txt_s"}),
        ([("loc", GEOSPHERE)], {}),
        ([("flat", GEO2D)], {"bits": 20, "min": -100, "max": 100}),
        ([("s", HASHED)], {}),
        ([("arr", 1)], {"name": "multi key ☃"}),
        ([("$**", 1)], {"wildcardProjection": {"sub": 1}, "name": "wild_all"}),
        ([("sub.$**", 1)], {}),
        ([("s", 1), ("b", 1)], {"collation": {"locale": "fr", "strength": 3, "backwards": True}, "name": "s_fr"}),
        ([("b", -1)], {"hidden": True, "name": "b_hidden"}),
        ([("sub.y.z", 1), ("loc", GEOSPHERE)], {}),
        ([("b", 1), ("sub.x", HASHED)], {}),
        ([("s", 1), ("t", 1)], {"storageEngine": {"wiredTiger": {"configString": ""}}, "name": "s_t_engine"}),
    ]
    for keys, kw in specs:
        try_("index %s" % (kw.get("name") or keys), lambda: ix.create_index(keys, **kw))
    try_(
        "float index",
        lambda: db.command(
            {"createIndexes": "indexes", "indexes": [{"key": {"a": 1.0, "t": -1.0}, "name": "float_keys"}]}
        ),
    )
    try_(
        "v1 index",
        lambda: db.command(
            {"createIndexes": "indexes", "indexes": [{"key": {"a": 1, "_id": 1}, "name": "old_v1", "v": 1}]}
        ),
    )


def schema(client):
    """Options and indexes of the bulk collections."""
    core, ev, ct, shop = client["saas_core"], client["saas_events"], client["saas_content"], client["shop"]
    core.create_collection(
        "users",
        validator={"$jsonSchema": {"required": ["email", "tenantId"], "properties": {"email": {"bsonType": "string"}}}},
        validationLevel="moderate",
    )
    core["users"].create_indexes(
        [
            IndexModel([("email", 1)], unique=True, collation={"locale": "en", "strength": 2}),
            IndexModel([("tenantId", 1), ("createdAt", -1)]),
            IndexModel([("deletedAt", 1)], partialFilterExpression={"deletedAt": {"$type": "date"}}),
        ]
    )
    core["sessions"].create_indexes([IndexModel([("expiresAt", 1)], expireAfterSeconds=0), IndexModel([("userId", 1)])])
    core["invoices"].create_indexes(
        [IndexModel([("number", 1)], unique=True), IndexModel([("tenantId", 1), ("state", 1)])]
    )
    core["tenants"].create_index([("slug", 1)], unique=True)
    core["api_keys"].create_index([("hash", 1)], unique=True)
    ev["events"].create_indexes([IndexModel([("tenantId", 1), ("at", -1)]), IndexModel([("type", 1), ("at", 1)])])
    ev.create_collection("audit_log", capped=True, size=16 * 1024 * 1024)
    try_(
        "time series",
        lambda: ev.create_collection(
            "metrics",
            timeseries={"timeField": "t", "metaField": "m", "granularity": "seconds"},
            expireAfterSeconds=FIFTY_YEARS,
        ),
    )
    try_("time series index", lambda: ev["metrics"].create_index([("m.host", 1), ("t", 1)]))
    ct["documents"].create_indexes(
        [IndexModel([("title", TEXT), ("body", TEXT)], weights={"title": 10}), IndexModel([("slug", 1)], unique=True)]
    )
    ct["comments"].create_index([("docId", 1), ("at", 1)])
    ct["places"].create_index([("loc", GEOSPHERE)])
    shop["products"].create_index([("attributes.$**", 1)])
    shop["orders"].create_indexes(
        [IndexModel([("number", 1)], unique=True), IndexModel([("items.sku", 1)]), IndexModel([("tenantId", HASHED)])]
    )
    shop["inventory"].create_index([("sku", HASHED)])
    core.create_collection(
        "active_users", viewOn="users", pipeline=[{"$match": {"deletedAt": None}}, {"$project": {"passwordHash": 0}}]
    )


def small(client, w):
    core, ev, ct, shop = client["saas_core"], client["saas_events"], client["saas_content"], client["shop"]
    core["tenants"].insert_many(
        [
            {
                "_id": t,
                "slug": "t-%03d" % i,
                "name": w.words(2).title(),
                "plan": w.r.choice(("free", "team", "enterprise")),
                "limits": {"seats": w.r.randint(1, 500), "storage": Int64(w.r.randint(1, 99) * 10**9)},
                "createdAt": w.when(i * 86400),
            }
            for i, t in enumerate(w.tenants)
        ]
    )
    core["subscriptions"].insert_many(
        [
            {
                "_id": w.oid(i),
                "tenantId": t,
                "price": w.money(),
                "renewsAt": w.when(i * 90000),
                "items": [{"seat": k} for k in range(i % 4)],
            }
            for i, t in enumerate(w.tenants)
        ]
    )
    core["api_keys"].insert_many(
        [
            {
                "_id": w.oid(i),
                "hash": Binary(w.raw(32), 0),
                "scopes": w.r.choices(("read", "write", "admin"), k=2),
                "tenantId": w.tenant(),
            }
            for i in range(80)
        ]
    )
    core["feature_flags"].insert_many(
        [
            {"_id": "flag_%s" % v, "on": w.r.random() > 0.5, "rules": [{"attr": "plan", "in": ["team"]}]}
            for v in w.vocab[:30]
        ]
    )
    ev["audit_log"].insert_many(
        [{"_id": w.oid(i), "seq": Int64(i), "who": w.email(), "did": w.words(4)} for i in range(400)]
    )
    ev["webhooks"].insert_many(
        [
            {
                "_id": w.oid(i),
                "url": "https://%s%s" % (w.r.choice(w.domains), w.r.choice(w.paths)),
                "secret": Binary(w.raw(24)),
            }
            for i in range(40)
        ]
    )
    ct["places"].insert_many(
        [
            {
                "_id": i,
                "name": w.words(2),
                "loc": {"type": "Point", "coordinates": [w.r.uniform(-179, 179), w.r.uniform(-85, 85)]},
                "area": {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [0, 0]]]},
            }
            for i in range(150)
        ]
    )
    shop["inventory"].insert_many(
        [
            {"_id": i, "sku": "SKU-%06d" % i, "stock": {"berlin": w.r.randint(0, 99), "paris": w.r.randint(0, 99)}}
            for i in range(300)
        ]
    )


def accounts(client):
    """Users and roles; the passwords are public, these are test data."""
    a, c = client["admin"], client["saas_core"]
    c.command(
        {
            "createRole": "invoiceReader",
            "privileges": [
                {"resource": {"db": "saas_core", "collection": "invoices"}, "actions": ["find", "listIndexes"]}
            ],
            "roles": [],
        }
    )
    c.command(
        {
            "createRole": "accountant",
            "privileges": [
                {"resource": {"db": "saas_core", "collection": "invoices"}, "actions": ["insert", "update"]}
            ],
            "roles": ["invoiceReader"],
            "authenticationRestrictions": [{"clientSource": ["127.0.0.1/32"]}],
        }
    )
    a.command(
        {
            "createRole": "clusterWatcher",
            "privileges": [{"resource": {"cluster": True}, "actions": ["serverStatus"]}],
            "roles": [{"role": "clusterMonitor", "db": "admin"}],
        }
    )
    c.command(
        {
            "createUser": "app",
            "pwd": "fixture-app",
            "roles": [{"role": "readWrite", "db": "saas_core"}, {"role": "read", "db": "shop"}],
            "customData": {"team": "core"},
        }
    )
    c.command({"createUser": "kim", "pwd": "fixture-kim", "roles": ["accountant"], "mechanisms": ["SCRAM-SHA-256"]})
    client["shop"].command({"createUser": "app", "pwd": "fixture-shop", "roles": ["dbOwner"]})
    a.command(
        {
            "createUser": "ops",
            "pwd": "fixture-ops",
            "roles": ["clusterWatcher", {"role": "backup", "db": "admin"}, {"role": "restore", "db": "admin"}],
        }
    )


def main():
    ap = connections.parser(__doc__)
    ap.add_argument("--size-mb", type=float, default=2)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument(
        "--drop", action="store_true", help="first drop the databases that this script makes, its users and its roles"
    )
    ap.add_argument("--no-accounts", action="store_true", help="make no users and roles")
    ap.add_argument("--no-edge", action="store_true", help="leave out the databases of odd names and values")
    a = ap.parse_args()
    if MISSING:
        sys.exit("mongo.py needs pymongo (script/setup installs it): %s" % MISSING)
    client = connections.mongo_client(a)
    client.admin.command("ping")
    if a.drop:
        for d in ("saas_core", "saas_events", "saas_content", "shop", "edge", "user-db-ünï"):
            for cmd in ("dropAllUsersFromDatabase", "dropAllRolesFromDatabase"):
                client[d].command(cmd)
            client.drop_database(d)
        for c in ({"dropUser": "ops"}, {"dropRole": "clusterWatcher"}):
            try:
                client.admin.command(c)
            except OperationFailure:
                pass
    w = World(a.seed)
    t = time.time()
    total = int(a.size_mb * 1_000_000)
    schema(client)
    small(client, w)
    if not a.no_edge:
        edge(client, w)
    if not a.no_accounts:
        accounts(client)
    for ns, share in BULK.items():
        n = None
        if ns == "saas_content.fs":
            n, b = gridfs(client, int(total * share), w)
        elif ns == "saas_events.metrics":
            if client.server_info()["versionArray"][0] >= 5:
                n, b = timeseries(client, int(total * share), w), int(total * share)
        else:
            n, b = fill(client, ns, MAKERS[ns], int(total * share), w)
        if n is not None:
            print("%-26s %9d documents %8.1f MB" % (ns, n, b / 1e6), flush=True)
    print("done in %.0f s" % (time.time() - t))


if __name__ == "__main__":
    main()
