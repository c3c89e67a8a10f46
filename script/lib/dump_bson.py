"""Writes every collection of a server into a file of its own, as BSON: what a file backup beside drp gets to read.

    dump_bson.py URI-FILE FOLDER
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "data"))
import connections

from pymongo import MongoClient

folder = pathlib.Path(sys.argv[2])
folder.mkdir(exist_ok=True)
began, size = time.time(), 0
client = MongoClient(connections.first_line(sys.argv[1]))
for database in client.list_database_names():
    if database in ("admin", "config", "local"):
        continue
    for info in client[database].list_collections():
        # Time series are read as what they show.
        if info["type"] == "view" or info["name"].startswith("system."):
            continue
        with open(folder / ("%s.%s.bson" % (database, info["name"].replace("/", "%2F"))), "wb") as file:
            for batch in client[database][info["name"]].find_raw_batches({}):
                size += file.write(batch)
print('{"seconds": %.2f, "bytes": %d}' % (time.time() - began, size))
