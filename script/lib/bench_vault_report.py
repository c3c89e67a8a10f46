"""Prints the table of `script/bench vault` from the files of its run.

    bench_vault_report.py FOLDER
"""

import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])


def load(name):
    lines = (folder / (name + ".json")).read_text().splitlines()
    return {one["name"]: one for one in map(json.loads, lines)}


for name, cores in (("one", "one core"), ("two", "two cores")):
    found = load(name)
    for label, one in found.items():
        rate = one["bytes"] / one["seconds"]
        cpu = one["cpu"] / (one["bytes"] / 1e9)
        print("%-10s %-22s %7.2f s %6.0f MB/s %6.2f CPU s/GB" % (cores, label, one["seconds"], rate / 1e6, cpu))
    seconds = {label: one["seconds"] for label, one in found.items()}
    print("%-10s seal / bare zstd 3                 %.2f (goal 0.70)" % (cores, seconds["zstd 3"] / seconds["seal"]))
    print(
        "%-10s open / bare decompression        %.2f (goal 0.33 or 0.7 GB/s a core)"
        % (cores, seconds["bare decompression"] / seconds["open, ids checked"])
    )
many = load("many")["open and list"]
peak = int((folder / "many.time").read_text()) * 1024 / 1e6
print("100,000 chunks: open and list %.2f s, %.0f MB peak (goal 2 s, 150 MB)" % (many["seconds"], peak))
