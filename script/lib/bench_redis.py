"""What redis-cli and zstd make of the same data as drp: a JSON line a measurement, as of Benchmarks/Baselines.swift.

    bench_redis.py URI-FILE FOLDER
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import urllib.parse


def measure(name, size, command, **more):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"name": name, "seconds": seconds, "bytes": size() if callable(size) else size, "cpu": cpu}))


uri = urllib.parse.urlparse(pathlib.Path(sys.argv[1]).read_text().strip())
rdb = pathlib.Path(sys.argv[2]) / "bare.rdb"
environment = dict(os.environ, REDISCLI_AUTH=urllib.parse.unquote(uri.password))
cli = ["redis-cli", "-h", uri.hostname, "-p", str(uri.port), "--user", uri.username, "--rdb", str(rdb)]
measure("read by redis-cli --rdb", lambda: rdb.stat().st_size, cli, env=environment)
for threads in (1, 2):
    measure("zstd 3 of the RDB, %d threads" % threads, rdb.stat().st_size, ["zstd", "-3", "-q", "-c", "-T%d" % threads, str(rdb)])
