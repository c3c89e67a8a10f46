#!/usr/bin/env python3
"""Write to a MongoDB replica set while it is backed up, so that any restored state can be judged.

    bank_mongo.py run --uri-file FILE --log FILE [--seconds N] [--fresh]    until N seconds passed, or SIGTERM or SIGINT
    bank_mongo.py check --uri-file FILE                                     is what the server shows consistent?
    bank_mongo.py check --uri-file FILE --log FILE                          ... and a state that the bank has ever been in?
    bank_mongo.py check --uri-file FILE --log FILE --at T:I                 ... and exactly the one at that timestamp?
    bank_mongo.py check --uri-file FILE --log FILE --at end                 ... and nothing acknowledged is missing?

What holds at every single point in time, in two databases (--databases, bank_a and bank_b):
  transfers  one transaction each: takes from an account and gives to another (A.accounts, B.accounts), adds a
             document to B.ledger, every third moves a token (deletes it in A.tokens or B.tokens, inserts it in
             the other). The sum is constant, each balance is what the ledger says, each token is in one place.
  pairs      counters in A.pair_a and B.pair_b, updated one after the other, a first, no transaction:
             a - b is 0 or 1.
Every write is majority-acknowledged and then logged, one JSON line: its worker, its number n, "ts" = the
operationTime of the answer, "clusterTime", "after" = the newest cluster time known before the write was sent.
A write sent once has exactly the timestamp "ts" in the oplog. One that needed several tries ("exact": false)
lies after "after" and not after "ts"; between these either state is accepted. Tries are idempotent (_id of the
ledger; a counter moves only from n-1 to n), so step-downs and killed members only slow the bank. A writer that
was killed itself (no "end" line of a worker) may have one write more on the server than in the log.
--at T:I is a timestamp as in the oplog (seconds:increment, inclusive); {"$timestamp": ...} is read too.

check reads one snapshot of a replica set, so it may run beside `run`; --read-at T:I reads the past (within
minSnapshotHistoryWindowInSeconds). It prints a JSON verdict; exit status 0: as it should be, 1: not so,
2: cannot tell (no server, no bank, wrong usage).
Needs: pymongo. Server: a replica set of 4.4 or newer for run; any for check.
"""

import argparse, collections, json, os, random, re, signal, sys, threading, time

import connections

try:
    from bson import Timestamp
    from pymongo import MongoClient, WriteConcern, monitoring
    from pymongo.errors import (
        BulkWriteError,
        ConnectionFailure,
        DuplicateKeyError,
        OperationFailure,
        PyMongoError,
        WTimeoutError,
    )
    from pymongo.read_concern import ReadConcern
except ImportError as e:  # --help works without
    MISSING, monitoring = e, None
else:
    MISSING = None

INITIAL = 1000
# Codes that a member on its way down or a busy one gives, beside those that carry a label.
PASSING = {6, 7, 24, 50, 64, 89, 91, 112, 189, 225, 244, 246, 251, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436}


# ---- timestamps: (t, i) in Python, "t:i" in JSON ----------------------------------------------


def text(ts):
    return None if ts is None else "%d:%d" % ts


def pair(ts):
    return None if ts is None else (ts.time, ts.inc)


def parse(s):
    if s is None or s == "end":
        return (2**32, 0) if s else None
    m = (
        re.fullmatch(r"(\d+)[:,.](\d+)", s)
        or re.search(r'"t":\s*(\d+),\s*"i":\s*(\d+)', s)
        or re.fullmatch(r"Timestamp\((\d+),\s*(\d+)\)", s)
    )
    if not m:
        raise SystemExit("bank_mongo.py: %r is no timestamp T:I" % s)
    return int(m[1]), int(m[2])


# ---- run ---------------------------------------------------------------------------------------


class Sent(monitoring.CommandListener if monitoring else object):
    """How often this thread has sent each command: the driver retries commits on its own."""

    here = threading.local()

    def started(self, event):
        n = self.here.__dict__.setdefault("n", collections.Counter())
        n[event.command_name] += 1

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

    def count(self, name):
        return self.here.__dict__.get("n", {}).get(name, 0)


class Bank:
    def __init__(self, client, databases):
        self.client, (self.a, self.b) = client, databases
        majority = WriteConcern("majority", wtimeout=10000)
        get = lambda db, name: client[db].get_collection(
            name, write_concern=majority, read_concern=ReadConcern("majority")
        )
        self.meta, self.ledger = get(self.a, "bank"), get(self.b, "ledger")
        self.accounts = [get(d, "accounts_%d" % k) for k, d in enumerate((self.a, self.b))]
        self.tokens = [get(d, "tokens_%d" % k) for k, d in enumerate((self.a, self.b))]
        self.pairs = [get(self.a, "pair_a"), get(self.b, "pair_b")]

    def all(self):
        return [self.meta, self.ledger, *self.accounts, *self.tokens, *self.pairs]


class Log:
    def __init__(self, path):
        self.f, self.lock = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), threading.Lock()

    def write(self, **record):
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self.lock:
            os.write(self.f, line)


class GiveUp(Exception):
    pass


class Worker(threading.Thread):
    """One sequence of writes, numbered from 1, each finished before the next begins."""

    def __init__(self, run, name):
        super().__init__(name=name)
        self.run_, self.worker, self.n, self.done, self.tries = run, name, 0, 0, 0
        self.r = random.Random("%s %s" % (run.seed, name))
        self.error = None

    def run(self):
        try:
            with self.run_.bank.client.start_session() as self.session:
                while not self.run_.stop.is_set():
                    self.n += 1
                    self.step()
                    if self.run_.pause:
                        self.run_.stop.wait(self.run_.pause)
            self.run_.log.write(run=self.run_.id, worker=self.worker, kind="end", n=self.n)
        except GiveUp:
            self.error = "%s: write %d had no answer before the end" % (self.worker, self.n)
        except Exception as e:  # whatever it is, the other workers stop and the caller hears of it
            self.error = "%s: write %d: %s: %s" % (self.worker, self.n, type(e).__name__, e)
            self.run_.stop.set()

    def acknowledged(self, kind, command, once):
        """Runs once() until it has an answer, then logs it. once() returns False if the write was found to be there already."""
        sent, before = self.run_.sent.count(command), self.session.cluster_time
        while True:
            try:
                now = once()
                break
            except PyMongoError as e:
                if not passing(e):
                    raise
                self.tries += 1
                self.run_.breathe(self.tries)
        exact = now and self.run_.sent.count(command) == sent + 1  # not so if an earlier try may have been the one
        self.run_.log.write(
            run=self.run_.id,
            worker=self.worker,
            kind=kind,
            n=self.n,
            ts=text(pair(self.session.operation_time)),
            clusterTime=text(pair(self.session.cluster_time["clusterTime"])),
            after=text(pair(before["clusterTime"]) if before else (0, 0)),
            exact=exact,
            wall=round(time.time(), 3),
        )
        self.done += 1


def passing(e):
    if isinstance(e, (ConnectionFailure, WTimeoutError)) or any(
        map(e.has_error_label, ("TransientTransactionError", "UnknownTransactionCommitResult", "RetryableWriteError"))
    ):
        return True
    return isinstance(e, OperationFailure) and e.code in PASSING


class Transfers(Worker):
    def step(self):
        run, bank, r, s = self.run_, self.run_.bank, self.r, self.session
        who = "%s/%s/%d" % (run.id, self.worker, self.n)
        src, dst = r.sample(range(run.accounts), 2)
        amount, token, at = r.randint(1, 50), r.randrange(run.tokens) if self.n % 3 == 0 else None, time.time()

        def body():
            bank.ledger.insert_one(
                {"_id": who, "from": src, "to": dst, "amount": amount, "token": token, "wall": at}, session=s
            )
            bank.accounts[src % 2].update_one({"_id": src}, {"$inc": {"balance": -amount, "moves": 1}}, session=s)
            bank.accounts[dst % 2].update_one({"_id": dst}, {"$inc": {"balance": amount, "moves": 1}}, session=s)
            if token is not None:
                old = bank.tokens[0].find_one_and_delete({"_id": token}, session=s)
                here = 1 if old else 0
                old = old or bank.tokens[1].find_one_and_delete({"_id": token}, session=s)
                bank.tokens[here].insert_one({"_id": token, "moves": old["moves"] + 1, "by": who}, session=s)

        self.acknowledged(
            "transfer",
            "commitTransaction",
            lambda: transaction(run, s, body, lambda: bank.ledger.find_one({"_id": who}, session=s)),
        )


def transaction(run, s, body, there):
    """True if it was committed now, False if an earlier try turns out to have been."""
    s.start_transaction(ReadConcern("snapshot"), WriteConcern("majority", wtimeout=10000))
    try:
        body()
    except (DuplicateKeyError, BulkWriteError):
        s.abort_transaction()
        if there():
            return False
        raise
    except BaseException:
        s.abort_transaction()
        raise
    tries = 0
    while True:
        try:
            s.commit_transaction()
            return True
        except PyMongoError as e:
            if not e.has_error_label("UnknownTransactionCommitResult"):
                raise
            tries += 1
            run.breathe(tries)


class Pairs(Worker):
    def step(self):
        for kind, coll in zip(("pair-a", "pair-b"), self.run_.bank.pairs):
            self.acknowledged(kind, "update", lambda: self.move(coll))

    def move(self, coll):
        who, s = "%s/%s" % (self.run_.id, self.worker), self.session
        if coll.update_one({"_id": who, "n": self.n - 1}, {"$set": {"n": self.n}}, session=s).matched_count:
            return True
        # An earlier try got through. It counts once a majority has it, which a majority read can tell.
        end = time.monotonic() + 10
        while True:
            found = coll.find_one({"_id": who}, session=s)
            if found and found["n"] == self.n:
                return False
            if time.monotonic() > end:
                raise RuntimeError("%s is %s, wanted %d or %d" % (who, found, self.n - 1, self.n))
            self.run_.breathe(1)


class Run:
    def __init__(self, a):
        self.sent = Sent()
        # The driver's own retries of single writes are off, so that each try is counted here.
        client = MongoClient(
            connections.first_line(a.uri_file),
            retryWrites=False,
            event_listeners=[self.sent],
            serverSelectionTimeoutMS=3000,
            socketTimeoutMS=20000,
        )
        self.bank, self.log = Bank(client, a.databases), Log(a.log)
        self.seed, self.accounts, self.tokens = a.seed, a.accounts, a.tokens
        self.id = "%x" % int(time.time() * 1000)
        self.pause = (a.workers + a.pairs) / a.rate if a.rate else 0
        self.stop, self.deadline, self.grace = threading.Event(), None, a.grace
        self.workers = [Transfers(self, "t%d" % k) for k in range(a.workers)] + [
            Pairs(self, "p%d" % k) for k in range(a.pairs)
        ]

    def breathe(self, tries):
        """Waits a little between tries; gives up once --grace seconds passed since the end was asked for."""
        if self.stop.is_set():
            self.deadline = self.deadline or time.monotonic() + self.grace
            if time.monotonic() > self.deadline:
                raise GiveUp
        time.sleep(min(0.5, 0.02 * tries))

    def set_up(self, fresh):
        """The bank, and this run's pairs, in one transaction each: no point in time shows half of it."""
        bank = self.bank
        hello = bank.client.admin.command("hello")
        if "setName" not in hello:
            raise SystemExit("bank_mongo.py: run needs a replica set (transactions, operationTime); this is none")
        if fresh:
            for c in bank.all():
                c.drop()
        for c in bank.all():
            try:
                c.database.create_collection(c.name)
            except OperationFailure as e:
                if e.code != 48:  # it exists
                    raise

        def body():
            if not bank.meta.find_one({"_id": "bank"}, session=s):
                bank.meta.insert_one(
                    {"_id": "bank", "accounts": self.accounts, "initial": INITIAL, "tokens": self.tokens}, session=s
                )
                for k in (0, 1):
                    bank.accounts[k].insert_many(
                        [{"_id": i, "balance": INITIAL, "moves": 0} for i in range(k, self.accounts, 2)], session=s
                    )
                bank.tokens[0].insert_many([{"_id": i, "moves": 0} for i in range(self.tokens)], session=s)
            for w in self.workers:
                if isinstance(w, Pairs):
                    for c in bank.pairs:
                        c.insert_one({"_id": "%s/%s" % (self.id, w.worker), "n": 0}, session=s)

        with bank.client.start_session() as s:
            transaction(self, s, body, lambda: False)
            meta = bank.meta.find_one({"_id": "bank"}, session=s)
            self.accounts, self.tokens = meta["accounts"], meta["tokens"]
            self.log.write(
                run=self.id,
                worker="",
                kind="setup",
                n=0,
                ts=text(pair(s.operation_time)),
                after="0:0",
                exact=False,
                workers=[w.worker for w in self.workers],
                wall=round(time.time(), 3),
            )

    def go(self, seconds):
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: self.stop.set())
        began = time.time()
        for w in self.workers:
            w.start()
        self.stop.wait(seconds)
        self.stop.set()
        for w in self.workers:
            w.join()
        errors = [w.error for w in self.workers if w.error]
        print(
            json.dumps(
                {
                    "run": self.id,
                    "seconds": round(time.time() - began, 1),
                    "transfers": sum(w.done for w in self.workers if isinstance(w, Transfers)),
                    "pairWrites": sum(w.done for w in self.workers if isinstance(w, Pairs)),
                    "retries": sum(w.tries for w in self.workers),
                    "errors": errors,
                }
            )
        )
        return 1 if errors else 0


def run(a):
    bank = Run(a)
    bank.set_up(a.fresh)
    return bank.go(a.seconds)


# ---- check -------------------------------------------------------------------------------------


class Reader:
    """All collections at one point in time, where the server can do that."""

    def __init__(self, client, at):
        self.client, self.at = client, at and Timestamp(*at)
        hello = client.admin.command("hello")
        self.snapshots = "setName" in hello and hello["maxWireVersion"] >= 13
        if at and not self.snapshots:
            raise SystemExit("bank_mongo.py: --read-at needs a replica set of 5.0 or newer")

    def rows(self, coll):
        db, command = coll.database, {"find": coll.name, "batchSize": 5000}
        if self.snapshots:
            command["readConcern"] = {"level": "snapshot", **({"atClusterTime": self.at} if self.at else {})}
        with self.client.start_session(causal_consistency=False) as s:
            cursor = db.command(command, session=s)["cursor"]
            if self.snapshots and not self.at:
                self.at = cursor["atClusterTime"]
            found = cursor["firstBatch"]
            while cursor["id"]:
                cursor = db.command({"getMore": cursor["id"], "collection": coll.name, "batchSize": 5000}, session=s)[
                    "cursor"
                ]
                found += cursor["nextBatch"]
        return {d["_id"]: d for d in found}


def invariants(meta, accounts, tokens, ledger, pairs, bad):
    """What must hold whenever; returns figures."""
    balance, moves, token_moves = (
        {i: meta["initial"] for i in range(meta["accounts"])},
        collections.Counter(),
        collections.Counter(),
    )
    for d in ledger.values():
        balance[d["from"]] -= d["amount"]
        balance[d["to"]] += d["amount"]
        moves[d["from"]] += 1
        moves[d["to"]] += 1
        if d["token"] is not None:
            token_moves[d["token"]] += 1
    found = {**accounts[0], **accounts[1]}
    if set(found) != set(balance) or any(i % 2 != k for k in (0, 1) for i in accounts[k]):
        bad("accounts: %d there, %d expected" % (len(found), len(balance)))
    total = sum(d["balance"] for d in found.values())
    if total != meta["accounts"] * meta["initial"]:
        bad("sum of balances: %d, expected %d" % (total, meta["accounts"] * meta["initial"]))
    for i, d in sorted(found.items()):
        if d["balance"] != balance.get(i) or d["moves"] != moves[i]:
            bad(
                "account %d: balance %d after %d moves, the ledger says %s after %d"
                % (i, d["balance"], d["moves"], balance.get(i), moves[i])
            )
    for i in range(meta["tokens"]):
        places = [t[i] for t in tokens if i in t]
        if len(places) != 1:
            bad("token %d is in %d places" % (i, len(places)))
        elif places[0]["moves"] != token_moves[i]:
            bad("token %d moved %d times, the ledger says %d" % (i, places[0]["moves"], token_moves[i]))
    for who in sorted(set(pairs[0]) | set(pairs[1])):
        n = [p[who]["n"] if who in p else None for p in pairs]
        if None in n or n[0] - n[1] not in (0, 1):
            bad("pair %s: a is %s, b is %s" % (who, *n))
    return {
        "accounts": len(found),
        "sum": total,
        "transfers": len(ledger),
        "tokens": sum(map(len, tokens)),
        "pairs": len(pairs[0]),
    }


def read_log(path):
    """Writes and the workers that ended in order; a torn last line is what a kill leaves."""
    writes, setups, ended = [], {}, set()
    with open(path, "rb") as f:
        lines = f.read().split(b"\n")
    for k, line in enumerate(lines):
        if not line:
            continue
        try:
            d = json.loads(line)
        except ValueError:
            if k == len(lines) - 1:
                continue
            raise SystemExit("bank_mongo.py: line %d of the log is no JSON" % (k + 1))
        if d["kind"] == "end":
            ended.add((d["run"], d["worker"]))
        elif d["kind"] == "setup":
            setups[d["run"]] = d
        else:
            d["ts"], d["after"] = parse(d["ts"]), parse(d["after"])
            writes.append(d)
    return writes, setups, ended


def against_log(path, at, ledger, pairs, bad):
    writes, setups, ended = read_log(path)
    last = collections.defaultdict(int)  # of each worker and kind, in the log
    present, missing, gone, beyond, open_ = [], [], 0, 0, 0
    shown = lambda d: (
        "%(run)s/%(worker)s/%(n)d" % d in ledger
        if d["kind"] == "transfer"
        else pairs[d["kind"] == "pair-b"].get("%(run)s/%(worker)s" % d, {"n": -1})["n"] >= d["n"]
    )
    for d in writes:
        key = d["run"], d["worker"], d["kind"]
        last[key] = max(last[key], d["n"])
        there = shown(d)
        (present if there else missing).append(d)
        if at:
            if d["ts"] <= at and not there:
                gone += 1
                bad("missing: %(kind)s %(run)s/%(worker)s/%(n)d at " % d + text(d["ts"]))
            elif there and d["after"] >= at or there and d["exact"] and d["ts"] > at:
                beyond += 1
                bad("beyond: %(kind)s %(run)s/%(worker)s/%(n)d at " % d + text(d["ts"]))
    # What the server shows and the log does not know: at most the one write in flight of a killed writer.
    strange = [("transfer", *i.rsplit("/", 2)) for i in ledger]
    strange += [(kind, *i.rsplit("/", 1), d["n"]) for kind, p in zip(("pair-a", "pair-b"), pairs) for i, d in p.items()]
    for kind, r, w, n in strange:
        n, known = int(n), last.get((r, w, kind), 0)
        if n <= known:
            continue
        if r in setups and (r, w) not in ended and n == known + 1:
            open_ += 1
        else:
            beyond += 1
            bad("not in the log: %s %s/%s/%d" % (kind, r, w, n))
    # A point in time of the bank: all that is shown may lie before all that is not.
    newest = max(((d["ts"] if d["exact"] else d["after"]) for d in present), default=None)
    oldest = min((d["ts"] for d in missing), default=None)
    if newest and oldest and newest >= oldest:
        bad("no point in time: a write at %s is shown, one at %s is not" % (text(newest), text(oldest)))
    return {
        "acknowledged": len(writes),
        "shown": len(present),
        "missing": gone if at else None,
        "beyond": beyond,
        "unacknowledged": open_,
        "inexact": sum(not d["exact"] for d in writes),
        "newestShown": text(newest),
        "oldestNotShown": text(oldest),
    }


def check(a):
    at = parse(a.at)
    if at and not a.log:
        raise SystemExit("bank_mongo.py: --at needs --log")
    problems = []
    client = connections.mongo_client(a)
    bank, reader = Bank(client, a.databases), Reader(client, parse(a.read_at))
    meta = reader.rows(bank.meta).get("bank")
    verdict = {"consistent": False}
    if not meta and not a.log:
        raise SystemExit("bank_mongo.py: no bank in %s on this server" % " and ".join(a.databases))
    if not meta:
        first = min((parse(s["ts"]) for s in read_log(a.log)[1].values()), default=None)
        verdict.update(consistent=True, exact=not first or bool(at) and at < first, note="no bank on this server")
        if not verdict["exact"]:
            problems.append("no bank on this server; it was set up at %s" % text(first))
    else:
        ledger, pairs = reader.rows(bank.ledger), [reader.rows(c) for c in bank.pairs]
        verdict.update(
            invariants(
                meta,
                [reader.rows(c) for c in bank.accounts],
                [reader.rows(c) for c in bank.tokens],
                ledger,
                pairs,
                problems.append,
            )
        )
        verdict["consistent"] = not problems
        if a.log:
            verdict["log"] = against_log(a.log, at, ledger, pairs, problems.append)
            verdict["exact" if at else "pointInTime"] = not problems
    verdict.update(readAt=text(pair(reader.at)), at=a.at, problemCount=len(problems), problems=problems[:20])
    print(json.dumps(verdict, indent=1))
    return 1 if problems else 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = ap.add_subparsers(dest="verb", required=True)
    r, c = verbs.add_parser("run", help="write until stopped"), verbs.add_parser(
        "check", help="judge what a server shows"
    )
    for p in (r, c):
        connections.add_server(p)
        p.add_argument("--databases", nargs=2, default=["bank_a", "bank_b"], metavar=("A", "B"), help="may be the same")
    r.add_argument("--log", required=True, help="JSON lines of acknowledged writes, appended to")
    r.add_argument("--seconds", type=float)
    r.add_argument("--fresh", action="store_true", help="drop the bank first (begin a new log, too)")
    r.add_argument("--seed", type=int, default=1)
    r.add_argument("--workers", type=int, default=4, help="concurrent transfers (4)")
    r.add_argument("--pairs", type=int, default=2, help="concurrent pairs of counters (2)")
    r.add_argument("--accounts", type=int, default=50)
    r.add_argument("--tokens", type=int, default=20)
    r.add_argument(
        "--rate", type=float, default=100, help="writes a second at most, all together; 0: as fast as it goes (100)"
    )
    r.add_argument(
        "--grace",
        type=float,
        default=30,
        help="seconds after the end in which an open write may still be answered (30)",
    )
    c.add_argument("--log")
    c.add_argument("--at", metavar="T:I", help="timestamp that the state should show, or `end`")
    c.add_argument("--read-at", metavar="T:I", help="read the server's own past")
    a = ap.parse_args()
    if MISSING:
        ap.exit(2, "bank_mongo.py needs pymongo (script/setup installs it): %s\n" % MISSING)
    try:
        return run(a) if a.verb == "run" else check(a)
    except SystemExit as e:
        ap.exit(2, "%s\n" % e.code)
    except (PyMongoError, OSError) as e:
        ap.exit(2, "bank_mongo.py: %s\n" % e)


if __name__ == "__main__":
    sys.exit(main())
