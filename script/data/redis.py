#!/usr/bin/env python3
"""Fill a Redis server with seeded data of every type and encoding, for tests, benchmarks and the demo.

    redis.py --uri-file FILE [--ca FILE] --size-mb 500 --seed 1 [--flush]

Databases 0 to 3: bulk data in db 0 and 1 (--size-mb of payload: JSON sessions with TTL, cached blobs, user hashes,
leaderboards, queues, tag sets, event streams), small but odd things in db 2 and 3 (every encoding, binary and odd key
names, streams with groups and pending entries, HyperLogLogs, geo sets, bitmaps, functions). The same seed and size
give the same data, but for delivery times in streams. TTLs end in 2099. The user must be allowed all commands (DEBUG
and FUNCTION are skipped where they are refused); plain list nodes want `enable-debug-command` in the server.
"""

import json, random, sys, time

import connections

END = 4070908800000  # 2099-01-01 in ms


class Gen:
    def __init__(self, a):
        self.r = random.Random(a.seed)
        syl = "an be ca do er fi go hu in ja ke lo ma ne or pa qui ra se ti un ver wo xe yo zi tion ing ment al".split()
        self.vocab = sorted({"".join(self.r.choices(syl, k=self.r.choice((1, 2, 2, 3, 3)))) for _ in range(4000)})
        self.r.shuffle(self.vocab)
        acc, self.cum = 0.0, []
        for i in range(len(self.vocab)):
            acc += 1 / (i + 2.7)
            self.cum.append(acc)
        self.a, self.dbs, self.refused = a, {}, connections.Refused

    def db(self, n):
        if n not in self.dbs:
            self.dbs[n] = connections.redis_client(self.a, n)
        return self.dbs[n]

    def words(self, n):
        return " ".join(self.r.choices(self.vocab, cum_weights=self.cum, k=n))


def session(g, i):
    r = g.r
    return json.dumps(
        {
            "sid": "%032x" % r.getrandbits(128),
            "user": {
                "id": r.randint(1, 10**6),
                "name": g.words(2),
                "roles": r.choices(("owner", "admin", "member"), k=2),
            },
            "csrf": "%040x" % r.getrandbits(160),
            "cart": [
                {"sku": "SKU-%05d" % r.randint(0, 9999), "qty": r.randint(1, 5), "title": g.words(4)}
                for _ in range(r.randint(0, 4))
            ],
            "locale": "en_US",
            "theme": "dark",
            "seen": 1735689600 + i,
        }
    ).encode()


class Bulk:
    def __init__(self, g, n):
        self.client, self.waiting, self.k, self.bytes = g.db(n), [], 0, 0

    def add(self, size, *cmd):
        self.waiting.append(cmd)
        self.bytes += size
        self.k += 1
        if len(self.waiting) == 500:
            self.flush()

    def flush(self):
        self.client.pipeline(self.waiting)
        self.waiting = []

    def end(self, what):
        self.flush()
        print("%-14s %9d commands %8.1f MB" % (what, self.k, self.bytes / 1e6), flush=True)


def bulk(g, total):
    r = g.r
    b, i = Bulk(g, 0), 0
    while b.bytes < total * 0.30:
        v = session(g, i)
        b.add(len(v) + 20, "SET", "sess:%010d" % i, v, *(["PXAT", END + i * 1000] if g.pxat else []))
        if not g.pxat:
            b.add(0, "PEXPIREAT", "sess:%010d" % i, END + i * 1000)
        i += 1
    b.end("sessions")
    b, i = Bulk(g, 1), 0
    pool = [g.r.randbytes(30000) for _ in range(50)]
    while b.bytes < total * 0.20:
        n = min(30000, int(r.paretovariate(0.9) * 900))
        v = pool[i % 50][:n] if i % 4 == 0 else ("<div>" + g.words(n // 7) + "</div>").encode()
        b.add(len(v) + 25, "SET", "cache:page:%d:%s" % (i, g.vocab[i % 900]), v)
        i += 1
    b.end("cache blobs")
    b, i = Bulk(g, 0), 0
    while b.bytes < total * 0.20:
        f = [
            "name",
            g.words(2),
            "email",
            "u%d@%s.example" % (i, g.vocab[i % 300]),
            "plan",
            r.choice(("free", "team")),
            "credits",
            str(r.randint(0, 9999)),
            "bio",
            g.words(r.randint(2, 25)),
            "updated",
            str(1735689600 + i),
        ]
        b.add(sum(map(len, f)) + 12, "HSET", "user:%d" % i, *f)
        i += 1
    b.end("user hashes")
    b, i = Bulk(g, 0), 0
    while b.bytes < total * 0.10:
        n = 8 if i % 3 else 120
        f = [x for k in range(n) for x in (repr(round(r.random() * 1e6, 2)), "player:%d" % r.randint(1, 10**7))]
        b.add(sum(map(len, f)), "ZADD", "board:%d:%d" % (i % 97, i // 40), *f)
        i += 1
    b.end("leaderboards")
    b, i = Bulk(g, 0), 0
    while b.bytes < total * 0.07:
        f = [json.dumps({"job": k, "id": r.getrandbits(40), "args": g.words(6)}) for k in range(40)]
        b.add(sum(map(len, f)), "RPUSH", "queue:%d" % (i // 25), *f)
        i += 1
    b.end("queues")
    b, i = Bulk(g, 0), 0
    while b.bytes < total * 0.05:
        f = [str(r.randint(0, 10**9)) for _ in range(60)] if i % 2 else r.choices(g.vocab, k=25)
        b.add(sum(map(len, f)), "SADD", "tags:%d" % i, *f)
        i += 1
    b.end("sets")
    b, i = Bulk(g, 1), 0
    while b.bytes < total * 0.08:
        f = [
            "type",
            r.choice(("view", "click", "buy")),
            "user",
            str(r.randint(1, 10**6)),
            "path",
            "/%s/%s" % (r.choice(g.vocab[:200]), r.choice(g.vocab[:200])),
            "ms",
            str(r.randint(1, 999)),
        ]
        b.add(sum(map(len, f)) + 10, "XADD", "events:%d" % (i % 20), "%d-%d" % (1735689600000 + i // 3, i % 3), *f)
        i += 1
    b.end("streams")


def edge(g):
    def go(n, *cmds):
        for c in cmds:
            try:
                g.db(n).call(*c)
            except g.refused as e:
                print("  skipped %s: %s" % (" ".join(map(str, c))[:50], e), file=sys.stderr)

    rnd = random.Random(99)
    allb = bytes(range(256))
    # strings: integer forms at the edges of each width, embedded, raw, compressible, incompressible
    ints = [
        0,
        1,
        -1,
        127,
        128,
        -128,
        -129,
        32767,
        32768,
        -32768,
        -32769,
        2**31 - 1,
        2**31,
        -(2**31),
        -(2**31) - 1,
        2**63 - 1,
        -(2**63),
    ]
    go(2, *[("SET", "int:%d" % v, v) for v in ints])
    go(
        2,
        ("SET", "str:empty", b""),
        ("SET", "str:binary", allb * 3),
        ("SET", "str:embstr44", "x" * 44),
        ("SET", "str:raw45", "y" * 45),
        ("SET", "str:lzf", "abcdefgh" * 1500),
        ("SET", "str:nolzf", rnd.randbytes(20000)),
        ("SET", "str:63", "q" * 63),
        ("SET", "str:64", rnd.randbytes(64)),
        ("SET", "str:16383", rnd.randbytes(16383)),
        ("SET", "str:16384", rnd.randbytes(16384)),
        ("SET", "str:big", rnd.randbytes(150000) + b"z" * 150000),
        ("SET", "str:notint", "007"),
        ("SET", "str:float", "3.14"),
        ("SETBIT", "bitmap", 100000, 1),
        ("PFADD", "hll:sparse", *range(20)),
        ("PFADD", "hll:dense", *range(20000)),
    )
    # odd key names
    for k in (
        b"",
        b"\0",
        b"nul\0in",
        b"line\r\nbreak",
        b"space key",
        allb,
        "ünï☃😀".encode(),
        b"glob*?[a]",
        b"{tag}:k",
        b"x" * 5000,
        b"quote\"'",
        b"\xff\xfe invalid utf8",
    ):
        go(2, ("SET", k, b"v"))
    # TTLs
    go(
        2,
        ("SET", "ttl:str", "v"),
        ("PEXPIREAT", "ttl:str", END + 1),
        ("RPUSH", "ttl:list", 1),
        ("PEXPIREAT", "ttl:list", END + 2),
        ("SADD", "ttl:set", 1),
        ("PEXPIREAT", "ttl:set", END + 3),
        ("ZADD", "ttl:zset", 1, "a"),
        ("PEXPIREAT", "ttl:zset", END + 4),
        ("HSET", "ttl:hash", "a", 1),
        ("PEXPIREAT", "ttl:hash", END + 5),
        ("XADD", "ttl:stream", "1-1", "a", "b"),
        ("PEXPIREAT", "ttl:stream", END + 6),
        ("SET", "ttl:far", "v"),
        ("PEXPIREAT", "ttl:far", 2**53),
    )
    # lists
    go(
        2,
        ("RPUSH", "list:small", "a", 1, -1, 127, 12345, 2**31, 2**62, "", allb, "x" * 60, "y" * 5000),
        ("RPUSH", "list:many", *["item-%d" % i for i in range(4000)]),
        ("RPUSH", "list:ints", *range(-50, 3000, 7)),
    )
    go(
        2,
        ("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "1000B"),
        ("RPUSH", "list:plain", "s", "p" * 5000, rnd.randbytes(3000), "t"),
        ("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0"),
    )
    # sets
    go(
        2,
        ("SADD", "set:int16", *range(-20, 20)),
        ("SADD", "set:int32", 1, 2, 100000),
        ("SADD", "set:int64", 1, 2**40, -(2**62)),
        ("SADD", "set:small", "a", "b", allb, "", 12),
        ("SADD", "set:hash", *["member:%d" % i for i in range(700)]),
        ("SADD", "set:manyints", *range(0, 3000, 3)),
        ("SADD", "set:long", "L" * 300, "M" * 70),
    )
    # hashes
    go(
        2,
        ("HSET", "hash:small", "f", "v", "n", 12, "", "", allb, allb, "neg", -5),
        ("HSET", "hash:table", *[x for i in range(300) for x in ("f%d" % i, "v%d" % (i * i))]),
        ("HSET", "hash:bigval", "f", "w" * 4000),
        ("HSET", "hash:1", "only", "one"),
    )
    # sorted sets
    go(
        2,
        (
            "ZADD",
            "zset:small",
            1,
            "a",
            2.5,
            "b",
            "-inf",
            "ninf",
            "+inf",
            "pinf",
            0,
            "zero",
            "-0.0",
            "negzero",
            1e-300,
            "tiny",
            1.7976931348623157e308,
            "huge",
            3.141592653589793,
            "pi",
            9007199254740993,
            "2^53+1",
            5e-324,
            "denormal",
        ),
        ("ZADD", "zset:skip", *[x for i in range(400) for x in (i * 0.1, "m%d" % i)]),
        ("ZADD", "zset:samescore", *[x for i in range(200) for x in (0, "lex:%03d" % i)]),
        ("ZADD", "zset:binary", 1, allb, 2, ""),
        ("ZADD", "zset:longmember", 1, "z" * 200),
    )
    go(2, ("GEOADD", "geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    # streams
    for i in range(350):
        go(3, ("XADD", "stream:big", "%d-%d" % (1000 + i // 4, i % 4 + 1), "temp", i, "text", "reading number %d" % i))
    go(
        3,
        *[
            (
                "XADD",
                "stream:varied",
                "%d-0" % (5000 + i),
                *[x for k in range(i % 5 + 1) for x in ("k%d" % k, "v%d-%d" % (i, k))],
            )
            for i in range(60)
        ],
    )
    go(
        3,
        ("XDEL", "stream:big", "1001-2", "1002-3", "1087-2"),
        ("XTRIM", "stream:varied", "MAXLEN", 50),
        ("XADD", "stream:binary", "1-1", allb, allb),
        ("XADD", "stream:maxid", "18446744073709551615-18446744073709551614", "a", "b"),
        ("XGROUP", "CREATE", "stream:emptygroup", "g", "0", "MKSTREAM"),
        ("XADD", "stream:emptied", "7-7", "a", "b"),
        ("XDEL", "stream:emptied", "7-7"),
        ("XGROUP", "CREATE", "stream:big", "workers", "0"),
        ("XGROUP", "CREATE", "stream:big", "auditors", "1050-1"),
        ("XGROUP", "CREATE", "stream:big", "latest", "$"),
        ("XGROUP", "CREATE", "stream:big", b"bin\0group", "0"),
        ("XREADGROUP", "GROUP", "workers", "alice", "COUNT", 12, "STREAMS", "stream:big", ">"),
        ("XREADGROUP", "GROUP", "workers", "bob", "COUNT", 30, "STREAMS", "stream:big", ">"),
        ("XACK", "stream:big", "workers", "1000-1", "1000-2", "1005-1"),
        ("XGROUP", "CREATECONSUMER", "stream:big", "workers", "idle"),
        ("XREADGROUP", "GROUP", "auditors", "carol", "COUNT", 5, "NOACK", "STREAMS", "stream:big", ">"),
        ("XCLAIM", "stream:big", "workers", "bob", 0, "1001-1", "TIME", 1735689600000, "RETRYCOUNT", 7, "FORCE"),
    )
    go(
        0,
        (
            "FUNCTION",
            "LOAD",
            "REPLACE",
            "#!lua name=fixturelib\nredis.register_function('fixture_hello', function(keys, args) return 'hello ' .. (args[1] or '') end)\n",
        ),
    )
    go(3, ("SET", "only-in-db3", "1"))
    # what only newer servers have
    go(2, ("HSET", "hash:fieldttl", "a", 1, "b", 2, "c", 3), ("HPEXPIREAT", "hash:fieldttl", END + 9, "FIELDS", 1, "b"))
    go(
        2,
        ("HSET", "hash:fieldttlbig", *[x for i in range(700) for x in ("f%d" % i, i)]),
        ("HPEXPIREAT", "hash:fieldttlbig", END + 8, "FIELDS", 2, "f7", "f8"),
        ("HPEXPIREAT", "hash:fieldttlbig", END + 7000, "FIELDS", 1, "f9"),
    )


def main():
    ap = connections.parser(__doc__)
    ap.add_argument("--size-mb", type=float, default=1)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--flush", action="store_true", help="FLUSHALL and FUNCTION FLUSH first")
    ap.add_argument("--no-edge", action="store_true", help="leave out the small and odd things")
    a = ap.parse_args()
    g = Gen(a)
    g.pxat = tuple(map(int, g.db(0).info("server")["redis_version"].split(".")[:2])) >= (6, 2)
    if a.flush:
        g.db(0).pipeline([("FLUSHALL",), ("FUNCTION", "FLUSH")])
    t = time.time()
    if not a.no_edge:
        edge(g)
    bulk(g, int(a.size_mb * 1_000_000))
    print("done in %.0f s, %d keys" % (time.time() - t, sum(g.db(0).databases().values())))


if __name__ == "__main__":
    main()
