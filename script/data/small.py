#!/usr/bin/env python3
"""Fills one client's MongoDB and Redis with little data of every kind, in a blink.

    small.py --mongo-uri-file FILE --redis-uri-file FILE [--ca FILE] [--documents 200] [--mb 0] [--seed 1]

MongoDB: shop.users with two indexes, shop.orders, the capped collection shop.log, the view shop.rich; with --mb also
shop.blobs, whose documents nothing can compress. Redis: database 0 with a key of each type, some that expire in a day;
database 3 with one. The same numbers give the same data, but for what expires.
"""

import argparse
import datetime
import random

import connections


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mongo-uri-file", required=True)
    ap.add_argument("--redis-uri-file", required=True)
    ap.add_argument("--ca", help="PEM file with the only CA to trust (Redis with TLS)")
    ap.add_argument("--documents", type=int, default=200)
    ap.add_argument("--mb", type=float, default=0)
    ap.add_argument("--seed", type=int, default=1)
    options = ap.parse_args()
    fill_redis(options)
    fill_mongo(options)


def fill_mongo(options):
    from pymongo import MongoClient

    draw = random.Random(options.seed)
    shop = MongoClient(connections.first_line(options.mongo_uri_file), serverSelectionTimeoutMS=10000).shop
    when = datetime.datetime(2026, 11, 1)
    users = [
        {"_id": n, "email": "u%d-%d@acme.example" % (options.seed, n), "score": draw.random(), "tags": ["a", n % 7]}
        for n in range(options.documents)
    ]
    orders = [
        {"_id": n, "number": n, "createdAt": when + datetime.timedelta(minutes=n), "total": draw.randrange(10000)}
        for n in range(options.documents // 2)
    ]
    shop.users.insert_many(users)
    shop.users.create_index("email", unique=True)
    shop.users.create_index([("tags", 1), ("score", -1)])
    shop.orders.insert_many(orders)
    shop.create_collection("log", capped=True, size=1 << 20, max=1000)
    shop.log.insert_many([{"_id": n, "line": n} for n in range(50)])
    shop.create_collection("rich", viewOn="users", pipeline=[{"$match": {"score": {"$gt": 0.5}}}])
    for mb in range(int(options.mb)):
        shop.blobs.insert_many([{"_id": 100 * mb + n, "bytes": draw.randbytes(10_000)} for n in range(100)])


def fill_redis(options):
    redis = connections.Redis(connections.first_line(options.redis_uri_file), options.ca)
    day, s = 86400, options.seed
    commands = [
        ("SET", "session:%d:1" % s, "one"),
        ("SET", "session:%d:2" % s, "two", "EX", day),
        ("SET", "counter", 42 + s),
        ("SET", "blob", random.Random(s).randbytes(5000)),
        ("RPUSH", "list", *range(300)),
        ("SADD", "numbers", *range(100)),
        ("SADD", "words", "red", "green", "blue"),
        ("HSET", "hash", "name", "acme", "seed", s),
        ("HSET", "hash:big", *[x for n in range(600) for x in ("field%d" % n, n)]),
        ("ZADD", "scores", 1.5, "ann", 2, "bob"),
        ("ZADD", "scores:big", *[x for n in range(400) for x in (n / 3, "member%d" % n)]),
        ("XADD", "stream", "1-1", "kind", "login"),
        ("XADD", "stream", "2-1", "kind", "logout"),
        ("XGROUP", "CREATE", "stream", "workers", "0"),
        ("EXPIRE", "words", day),
        ("SELECT", 3),
        ("SET", "other", "database"),
    ]
    redis.pipeline(commands)
    redis.close()


if __name__ == "__main__":
    main()
