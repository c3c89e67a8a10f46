#!/usr/bin/env python3
"""Fills one client's MongoDB and Redis with believable data, both at once.

    demo-data.py --mongo-uri-file FILE --redis-uri-file FILE [--mongo-mb 100] [--redis-mb 50] [--seed 1]

The same sizes and seed give the same data. Prints one line; what the generators say is shown if one fails.
"""

import argparse
import pathlib
import subprocess
import sys
import time

DATA = pathlib.Path(__file__).resolve().parent / "data"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mongo-uri-file", required=True)
    ap.add_argument("--redis-uri-file", required=True)
    ap.add_argument("--mongo-mb", type=float, default=100)
    ap.add_argument("--redis-mb", type=float, default=50)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    began = time.monotonic()
    running = [
        generator("mongo.py", a.mongo_uri_file, a.mongo_mb, a.seed),
        generator("redis.py", a.redis_uri_file, a.redis_mb, a.seed),
    ]
    failed = False
    for process in running:
        said, _ = process.communicate()
        if process.returncode != 0:
            sys.stderr.write(said)
            failed = True
    if failed:
        sys.exit("demo-data.py: the data could not be made")
    print("%g MB of MongoDB and %g MB of Redis in %.0f s" % (a.mongo_mb, a.redis_mb, time.monotonic() - began))


def generator(name, uri_file, megabytes, seed):
    command = [
        sys.executable,
        str(DATA / name),
        "--uri-file",
        uri_file,
        "--size-mb",
        str(megabytes),
        "--seed",
        str(seed),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    main()
