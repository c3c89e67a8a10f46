#!/usr/bin/env python3
"""The second night: change a share of the documents of a server that mongo.py filled.

    mutate_mongo.py --uri-file FILE --uniform 3%               random documents of all collections are updated
    mutate_mongo.py --uri-file FILE --append 3%                new documents, and updates of the newest ones (2:1)
    mutate_mongo.py --uri-file FILE --hot 3%                   as many updates, but of the same few documents (--hot-set)
    mutate_mongo.py --uri-file FILE --delete 1%                random documents are deleted
    mutate_mongo.py --uri-file FILE --uniform 1% --append 2% --delete 0.5%       in the order shown here

Shares are of each collection's count at the start of the mode (3% or 0.03); what is left of a whole document is
decided by the seed. The same data and the same --seed give the same changes (but for the _id of time series, which
the driver makes); another night needs another seed.
Updates are what a SaaS does: a status, a counter, a text, a list that grows. Where mongo.py has no maker for a
collection it gets {"touched": N}. GridFS: append adds files, delete removes whole files, updates touch fs.files.
Time series: append alone. Capped: append alone. Left alone: views, edge.bson_zoo and edge.id_zoo, users and roles.

Prints JSON: for each collection "count" before, documents "updated", "inserted", "deleted", "operations" sent;
"documentBytes", the BSON size of the documents that differ (updated and inserted ones as they are now, deleted
ones as they were), and "fieldBytes", about the bytes that are new (changed fields, inserted documents).
Needs: pymongo (PyPI) >= 4, mongo.py beside it. Server: 4.4 or newer.
"""
import argparse, collections, json, random, sys, time

import connections
import mongo as gm

if not gm.MISSING:
    import bson
    from bson import Int64
    from pymongo import DeleteMany, DeleteOne, InsertOne, UpdateOne
    from pymongo.errors import BulkWriteError

DATABASES = ("saas_core", "saas_events", "saas_content", "shop", "edge", "user-db-ünï")
APART = {"edge.bson_zoo", "edge.id_zoo", "saas_content.fs.chunks"}
SECONDS = {"saas_events.events": 0.7, "shop.orders": 11, "saas_content.documents": 17, "saas_core.users": 23, "saas_content.comments": 5}

UPDATES = {  # what a SaaS changes in its documents: (world) -> update
    "saas_events.events": lambda w: {"$set": {"processed": False, "durationMs": w.r.randint(1, 4000), "labels": w.r.choices(w.vocab[:80], k=3)}},
    "shop.orders": lambda w: {"$set": {"status": w.r.choice(("paid", "shipped", "delivered")), "updatedAt": w.when(4e7 + w.r.randint(0, 9999)), "note": w.words(w.r.randint(0, 25))}, "$inc": {"version": Int64(1)}},
    "saas_content.documents": lambda w: {"$set": {"body": "\n\n".join(w.words(w.r.randint(20, 120)) for _ in range(w.r.randint(1, 9))), "updatedAt": w.when(5e7 + w.r.randint(0, 9999))}, "$inc": {"stats.views": Int64(w.r.randint(1, 99))}},
    "saas_core.users": lambda w: {"$push": {"logins": {"at": w.when(4e7 + w.r.randint(0, 9999)), "ip": w.ip()}}, "$set": {"prefs.theme": w.r.choice(("light", "dark"))}},
    "saas_core.sessions": lambda w: {"$set": {"data.lastPath": w.r.choice(w.paths), "ip": w.ip()}},
    "saas_core.invoices": lambda w: {"$set": {"state": w.r.choice(("open", "paid", "void")), "memo": w.words(w.r.randint(0, 20))}},
    "saas_content.comments": lambda w: {"$set": {"text": w.words(w.r.randint(3, 60))}},
    "shop.products": lambda w: {"$set": {"price": w.money(), "active": w.r.random() > 0.1}},
    "shop.inventory": lambda w: {"$set": {"stock.berlin": w.r.randint(0, 99), "stock.paris": w.r.randint(0, 99)}},
}


def share(s):
    v = float(s.rstrip("%")) / 100 if s.endswith("%") else float(s)
    if not 0 <= v <= 1:
        raise argparse.ArgumentTypeError("%s is not between 0 and 100%%" % s)
    return v


class Night:
    def __init__(self, a, modes):
        self.client, self.w = connections.mongo_client(a), gm.World(a.seed)
        # Modes asked for one by one do not meet the same documents with the same values.
        self.r, self.hot_set = random.Random("night %d %s" % (a.seed, modes)), a.hot_set
        self.found = collections.defaultdict(collections.Counter)

    def collections(self):
        """(namespace, collection, kind), sorted: the order decides what the seed does."""
        for db in DATABASES:
            for info in sorted(self.client[db].list_collections(), key=lambda i: i["name"]):
                name, ns = info["name"], db + "." + info["name"]
                if info["type"] == "view" or name.startswith("system.") or ns in APART:
                    continue
                kind = ("gridfs" if ns == "saas_content.fs.files" else "timeseries" if info["type"] == "timeseries" else
                        "capped" if info["options"].get("capped") else "plain")
                yield ns, self.client[db][name], kind

    def number(self, count, part):
        n = count * part
        return int(n) + (self.r.random() < n % 1)

    def pick(self, coll, n, newest=False):
        """_ids of n random documents, or of n among the newest, without holding all of them."""
        count = coll.count_documents({})
        n = min(n, count)
        if not n:
            return []
        if newest:  # of the last 4n by _id; _ids grow with time where mongo.py makes many
            last = [d["_id"] for d in coll.find({}, {"_id": 1}).sort("_id", -1).limit(4 * n)]
            return self.r.sample(last, n)
        wanted, ids = set(self.r.sample(range(count), n)), []
        for k, d in enumerate(coll.find({}, {"_id": 1}).sort("_id", 1).batch_size(20000)):
            if k in wanted:
                ids.append(d["_id"])
        return ids

    def size(self, coll, ids):
        total = 0
        for k in range(0, len(ids), 1000):
            for d in coll.aggregate([{"$match": {"_id": {"$in": ids[k:k + 1000]}}}, {"$group": {"_id": None, "b": {"$sum": {"$bsonSize": "$$ROOT"}}}}]):
                total += d["b"]
        return total

    def write(self, coll, ops, ordered=False):
        done = collections.Counter()
        for k in range(0, len(ops), 1000):
            res = coll.bulk_write(ops[k:k + 1000], ordered=ordered)
            done.update(updated=res.modified_count, inserted=res.inserted_count, deleted=res.deleted_count)
        return done

    def change(self, ns, k):
        make = UPDATES.get(ns)
        return make(self.w) if make else {"$set": {"touched": self.r.getrandbits(31)}}

    def update(self, ns, coll, ids, ordered=False):
        ops, new = [], 0
        for k, i in enumerate(ids):
            u = self.change(ns, k)
            new += sum(len(bson.encode(part)) - 5 for part in u.values())
            ops.append(UpdateOne({"_id": {"$eq": i}}, u))
        self.write(coll, ops, ordered)
        distinct = list({bson.encode({"": i}): i for i in ids}.values())
        self.found[ns].update(operations=len(ops), updated=len(distinct), documentBytes=self.size(coll, distinct), fieldBytes=new)

    def insert(self, ns, coll, docs):
        for k in range(0, len(docs), 1000):
            coll.insert_many(docs[k:k + 1000], ordered=True)
        b = sum(len(bson.encode(d)) for d in docs)  # afterwards: the driver gives measurements an _id
        self.found[ns].update(operations=len(docs), inserted=len(docs), documentBytes=b, fieldBytes=b)

    # -- modes: each gets one collection --

    def uniform(self, ns, coll, kind, part):
        if kind in ("plain", "gridfs"):
            self.update(ns, coll, self.pick(coll, self.number(coll.count_documents({}), part)))

    def hot(self, ns, coll, kind, part):
        if kind in ("plain", "gridfs"):
            n = self.number(coll.count_documents({}), part)
            ids = self.pick(coll, min(self.hot_set, n))
            self.update(ns, coll, [ids[k % len(ids)] for k in range(n)], ordered=True)

    def append(self, ns, coll, kind, part):
        count = coll.count_documents({})
        n = self.number(count, part)
        if kind == "timeseries":
            last = coll.find_one(sort=[("t", -1)])
            t = (last["t"].replace(tzinfo=gm.timezone.utc) - gm.T0).total_seconds() if last else 0
            self.insert(ns, coll, [{"t": self.w.when(t + 5 * (k + 1)), "m": {"host": "host-%02d" % (k % 12), "dc": "eu-1"}, "cpu": round(self.w.r.random() * 100, 2), "mem": Int64(self.w.r.randint(10**9, 10**10)), "err": self.w.r.randint(0, 3)} for k in range(n)])
        elif kind == "capped" and ns == "saas_events.audit_log":
            self.insert(ns, coll, [{"_id": self.w.oid(4e7 + k), "seq": Int64(count + k), "who": self.w.email(), "did": self.w.words(4)} for k in range(n)])
        elif kind == "gridfs":
            self.add_files(ns, n)
        elif kind == "plain" and ns in gm.MAKERS:
            new = n - n // 3
            first = self.next_number(ns, coll, count)
            old = self.pick(coll, n // 3, newest=True)
            self.insert(ns, coll, [gm.MAKERS[ns](self.w, first + k) for k in range(new)])
            self.update(ns, coll, old)

    def next_number(self, ns, coll, count):
        """The maker's number after the newest document: its _id, or its time, tells it."""
        if ns == "saas_core.sessions":
            return count
        last = coll.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        if not last:
            return 0
        i = last["_id"]
        if ns == "saas_core.invoices":
            return int(i) - 100000 + 1
        if ns == "shop.products":
            return int(i.split("-")[1]) + 1
        return int((i.generation_time - gm.T0).total_seconds() / SECONDS[ns]) + 2

    def add_files(self, ns, n):
        files, chunks = self.client["saas_content"]["fs.files"], self.client["saas_content"]["fs.chunks"]
        before = {c.name: c.count_documents({}) for c in (files, chunks)}
        old = {d["_id"] for d in files.find({}, {"_id": 1})}
        for k in range(n):
            gm.gridfs_file(self.client["saas_content"], self.w, before["fs.files"] + k, self.w.r.choice(gm.FILE_SIZES))
        new = [d["_id"] for d in files.find({}, {"_id": 1}) if d["_id"] not in old]
        parts = [d["_id"] for d in chunks.find({"files_id": {"$in": new}}, {"_id": 1})]
        for name, coll, ids in ((ns, files, new), ("saas_content.fs.chunks", chunks, parts)):
            b = self.size(coll, ids)
            self.found[name]["count"] = self.found[name]["count"] or before[coll.name]
            self.found[name].update(operations=len(ids), inserted=len(ids), documentBytes=b, fieldBytes=b)

    def delete(self, ns, coll, kind, part):
        if kind not in ("plain", "gridfs"):
            return
        ids = self.pick(coll, self.number(coll.count_documents({}), part))
        gone = self.size(coll, ids)
        done = self.write(coll, [DeleteOne({"_id": {"$eq": i}}) for i in ids])
        self.found[ns].update(operations=len(ids), deleted=done["deleted"], documentBytes=gone)
        if kind == "gridfs" and ids:
            chunks = self.client["saas_content"]["fs.chunks"]
            parts = [d["_id"] for d in chunks.find({"files_id": {"$in": ids}}, {"_id": 1})]
            self.found["saas_content.fs.chunks"]["count"] = self.found["saas_content.fs.chunks"]["count"] or chunks.count_documents({})
            gone = self.size(chunks, parts)
            done = self.write(chunks, [DeleteMany({"files_id": i}) for i in ids])
            self.found["saas_content.fs.chunks"].update(operations=len(ids), deleted=done["deleted"], documentBytes=gone)


def main():
    ap = connections.parser(__doc__.replace("%", "%%"))
    ap.add_argument("--seed", type=int, default=2, help="not the one that the data were made with (2)")
    modes = ("uniform", "append", "hot", "delete")
    for m in modes:
        ap.add_argument("--" + m, type=share, default=0, metavar="SHARE")
    ap.add_argument("--hot-set", type=int, default=10, help="documents of each collection that --hot updates (10)")
    a = ap.parse_args()
    asked = {m: getattr(a, m) for m in modes if getattr(a, m)}
    if not asked:
        ap.error("nothing to do: give --uniform, --append, --hot or --delete")
    if gm.MISSING:
        ap.exit(2, "mutate_mongo.py needs pymongo (pip install pymongo): %s\n" % gm.MISSING)
    night, began = Night(a, sorted(asked.items())), time.time()
    all_ = list(night.collections())
    if "saas_events.events" not in {ns for ns, _, _ in all_}:
        ap.exit(2, "mutate_mongo.py: no saas_events.events here; fill the server with mongo.py first\n")
    for ns, coll, _ in all_:
        night.found[ns]["count"] = coll.count_documents({})
    for m, part in asked.items():
        for ns, coll, kind in all_:
            getattr(night, m)(ns, coll, kind, part)
    fields = ("count", "operations", "updated", "inserted", "deleted", "documentBytes", "fieldBytes")
    row = lambda c: {f: c[f] for f in fields}
    total = sum(night.found.values(), collections.Counter())
    json.dump({"seed": a.seed, "modes": asked, "seconds": round(time.time() - began, 1), "total": row(total),
               "collections": {ns: row(c) for ns, c in sorted(night.found.items()) if c["operations"]}}, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
