"""Prints the table of script/bench from the files of its run.

    bench_report.py mongo|redis FOLDER
"""

import json
import os
import pathlib
import sys

kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
answers = {name: json.loads((folder / ("answer." + name)).read_text()) for name in ("first", "second", "restore")}
times = {name: [float(x) for x in (folder / ("times." + name)).read_text().split()] for name in answers}
bare = [json.loads(line) for line in (folder / "bare.json").read_text().splitlines()]
first, second = (answers[name]["backups"][0]["counters"] for name in ("first", "second"))
source = first["source"]
stored, stored_twice = (int((folder / ("stored." + name)).read_text()) for name in ("first", "second"))


def row(name, seconds, size, cpu, peak, more=""):
    rate = "%8.0f" % (size / seconds / 1e6)
    print("%-40s %7.2f s %s MB/s %6.2f CPU s/GB  %6s  %s" % (name, seconds, rate, cpu / (size / 1e9), peak, more))
    return size / seconds


model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
print("%s, %d cores; %.0f MB of %s data" % (model, os.cpu_count(), source / 1e6, kind))
rates = {}
for one in bare:
    rates[one["name"]] = row("bare: " + one["name"], one["seconds"], one["bytes"], one["cpu"], "")
for name, label in (("first", "drp: capture"), ("second", "drp: capture of unchanged data"), ("restore", "drp: restore, then compare")):
    wall, user, system, peak = times[name]
    more = ""
    if name == "first":
        more = "stored %.1f MB, ratio %.2f" % (stored / 1e6, source / stored)
    if name == "second":
        more = "added %.2f %%" % (100 * (stored_twice - stored) / stored)
    rates[name] = row(label, wall, source, user + system, "%.0f MB" % (peak * 1024 / 1e6), more)
restored = answers["restore"]
rates["restore alone"] = source / restored["restoreSeconds"]
print("%-40s %7.2f s %8.0f MB/s" % ("drp: restore alone", restored["restoreSeconds"], rates["restore alone"] / 1e6))
print()


def ratio(text, one, other, goal):
    other = next((value for name, value in rates.items() if name.startswith(other)), None)
    if other:
        print("%-64s %.2f (goal %s)" % (text, rates[one] / other, goal))


ratio("capture / bare zstd 3 with two threads", "first", "zstd 3, 2" if kind == "mongo" else "zstd 3 of the RDB, 2", "0.40")
if kind == "mongo":
    ratio("restore / bare inserts with the same indexes", "restore alone", "insert", "0.50")
else:
    ratio("capture / redis-cli --rdb", "first", "read", "-")
peaks = {name: values[3] * 1024 / 1e6 for name, values in times.items()}
if max(peaks.values()) > 400:
    sys.exit("more than 400 MB of memory: %s" % peaks)
