"""Prints the table of script/bench stores from the files of its run.

    bench_stores_report.py FOLDER
"""

import json
import os
import pathlib
import statistics
import sys

folder = pathlib.Path(sys.argv[1])


def times(name):
    """Median seconds, CPU seconds and peak MB of the runs of that name; None without any."""
    path = folder / ("times." + name)
    if not path.exists():
        return None
    rows = [[float(x) for x in line.split()] for line in path.read_text().splitlines()]
    walls = [row[0] for row in rows]
    return statistics.median(walls), statistics.median(row[1] + row[2] for row in rows), max(row[3] for row in rows) / 1e3, walls


def number(name):
    return int((folder / name).read_text())


source = json.loads((folder / "answer.first.gateway").read_text())["backups"][0]["counters"]["source"]
model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
print("%s, %d cores; %.0f MB of MongoDB data; medians of all rounds" % (model, os.cpu_count(), source / 1e6))
found = {}
labels = [("first.folder", "first night, folder"), ("first.gateway", "first night, gateway"),
          ("first.three", "first night, folder + gateway + folder"), ("first.restic", "restic: first night, gateway"),
          ("second.folder", "second night, folder"), ("second.gateway", "second night, gateway"),
          ("second.three", "second night, all three"), ("second.restic", "restic: second night, gateway"),
          ("first.slow", "first night, folder + gateway at 1 MiB/s"),
          ("restore.folder", "restore and compare, folder"), ("restore.gateway", "restore and compare, gateway")]
for name, label in labels:
    found[name] = times(name)
    if found[name]:
        wall, cpu, peak, walls = found[name]
        print("%-42s %7.2f s %6.0f MB/s  CPU %6.2f s  peak %4.0f MB  (%s)" % (
            label, wall, source / wall / 1e6, cpu, peak, ", ".join("%.2f" % w for w in walls)))
limits = [json.loads(line) for line in (folder / "limits.json").read_text().splitlines()]
put, get = (statistics.median(l["bytes"] / l[k] / 1e6 for l in limits) for k in ("putSeconds", "getSeconds"))
stored = limits[-1]["bytes"]
print("%-42s %7.0f MB/s PUT, %.0f MB/s GET, in objects of 16 MiB, four at a time" % ("the gateway's own limits", put, get))
shipping = number("size.gateway.first") / found["first.gateway"][0] / 1e6
print("%-42s %7.1f MB/s of packs" % ("shipped by the first night", shipping))
print()
print("first night, gateway / folder          %.2f (goal 1.25, or %.0f %% of the PUT limit: goal 90 %%)" % (
    found["first.gateway"][0] / found["first.folder"][0], 100 * shipping / put))
print("first night, three stores / gateway    %.2f (goal under 1.5)" % (found["first.three"][0] / found["first.gateway"][0]))
if found["first.restic"]:
    dump = json.loads((folder / "dump.json").read_text())["seconds"]
    print("first night, drp / restic              %.2f (goal 1; restic reads files that were dumped before, in %.1f s)" % (
        found["first.gateway"][0] / found["first.restic"][0], dump))
    added = {k: number("size.%s.second" % k) - number("size.%s.first" % k) for k in ("gateway", "restic")}
    print("second night, bytes added, drp / restic  %.2f (%.1f and %.1f MB; goal 1)" % (
        added["gateway"] / added["restic"], added["gateway"] / 1e6, added["restic"] / 1e6))
peak = max(value[2] for name, value in found.items() if value and "restic" not in name)
print("most memory                            %.0f MB (goal under 400)" % peak)
if peak > 400:
    sys.exit(1)
