import DRPKit
import Foundation
import Glibc
import Testing

@Suite("A machine that is lost", .serialized, .needsServices)
struct MachineLostTests {
    private struct Answer: Decodable {
        struct Catalog: Decodable { var adopted: [Int] }
        struct Skipped: Decodable { var bundle: Int }
        struct Head: Decodable {
            var number: Int
            var hash: String
        }

        var bundle: Int?
        var head: Head?
        var catalog: [Catalog]
        var skipped: [Skipped]
        var runs: [String]
        var lacks: [String]
    }

    private static let canary = "canary-of-the-application"

    /// Everything that the machine had is gone; the servers of clients, the store and the identity are elsewhere.
    /// - Parameter placed: whether what a deployment made for drp lay on this machine, too.
    private func lose(_ world: DemoWorld, placed: Bool) throws {
        let files = FileManager.default
        for path in [world.state, world.fleetFile, "\(world.folder)/app.secret", "\(world.folder)/bind/tsig.key"]
        where files.fileExists(atPath: path) { try files.removeItem(atPath: path) }
        for file in DemoWorld.files(below: world.folder) {
            let isSecret = file.hasPrefix("north-") && file.contains("/uri.")
            let isPlaced = placed && file.hasPrefix("sites/") && file.contains("/secrets/")
            if isSecret || isPlaced { try files.removeItem(atPath: "\(world.folder)/\(file)") }
        }
    }

    /// On a machine that has no network, where that can be had, and nothing that is said in variables.
    private func bootstrap(_ world: DemoWorld, _ folder: String, _ more: [String] = [], killedAt point: String? = nil)
        async throws -> Ended
    {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let apart = getuid() == 0 ? ["/usr/bin/unshare", "-n"] : []
        return try await world.shell(
            apart + [
                DemoWorld.binary, "bootstrap", "--store", world.store, "--identity", world.identity, "--to", folder,
            ] + more, environment: Self.nothing.merging(point.map { ["DRP_FAILPOINT": $0] } ?? [:]) { $1 })
    }

    private static let nothing = ["HOME": "/nonexistent", "PATH": "/nonexistent"]

    /// Counts and hashes what a client's servers hold, by Python alone.
    private static func digest(mongo: String, redis: String) -> String {
        """
        import hashlib
        from bson import encode
        out = hashlib.sha256()
        server = mongo("\(mongo)")
        for database in sorted(d for d in server.list_database_names() if d not in ("admin", "config", "local")):
            for name in sorted(server[database].list_collection_names()):
                if name.startswith("system."): continue
                found = sorted(encode(d) for d in server[database][name].find())
                out.update(b"%s.%s %d " % (database.encode(), name.encode(), len(found)) + b"".join(found))
        other = redis("\(redis)")
        read = {"string": ("GET", []), "list": ("LRANGE", [0, -1]), "set": ("SMEMBERS", []), "hash": ("HGETALL", []),
                "zset": ("ZRANGE", [0, -1, "WITHSCORES"]), "stream": ("XRANGE", ["-", "+"])}
        keys = sorted(other.call("KEYS", "*"))
        for key in keys:
            kind = other.call("TYPE", key)
            verb, more = read[kind]
            value = other.call(verb, key, *more)
            if kind == "set": value = sorted(value)
            if kind == "hash": value = sorted(zip(value[::2], value[1::2]))
            out.update(repr((key, kind, value)).encode())
        print(len(keys), out.hexdigest())
        """
    }

    @Test("on a machine without any network but its own empty servers, a bundle and a restore bring the data back")
    func alone() async throws {
        try await DemoWorld.run(DemoWorld.Options(hasAPI: false, hasDNS: false)) { world in
            try await world.backUp()
            let before = try await world.python(Self.digest(mongo: "north-acme-mongo", redis: "north-acme-redis"))
            try #require(!before.hasPrefix("0 "))
            try await world.killNorth()
            try lose(world, placed: true)
            try """
            services:
              mongo: {uri: {file: \(world.folder)/new-mongo/uri.restorer}}
              redis: {uri: {file: \(world.folder)/new-redis/uri.admin}}

            """.write(toFile: "\(world.folder)/new.yaml", atomically: true, encoding: .utf8)
            let connections = """
                import sys
                sys.path.insert(0, "\(DemoWorld.root)/script/data")
                import connections
                from pymongo import MongoClient
                def mongo(name): return MongoClient(connections.first_line("\(world.folder)/%s/uri.admin" % name))
                def redis(name): return connections.Redis(connections.first_line("\(world.folder)/%s/uri.admin" % name), None)

                """
            try (connections + Self.digest(mongo: "new-mongo", redis: "new-redis"))
                .write(toFile: "\(world.folder)/digest.py", atomically: true, encoding: .utf8)
            let home = "\(world.folder)/home"
            let services = "\(DemoWorld.root)/script/services"
            // All of it in one namespace, which ends with its last process.
            let ended = try await world.shell(
                (getuid() == 0 ? ["/usr/bin/unshare", "-n"] : []) + [
                    "/bin/bash", "-euc",
                    """
                    [ "$(id -u)" != 0 ] || ip link set lo up
                    \(services)/mongodb start \(world.folder)/new-mongo >&2
                    \(services)/redis start \(world.folder)/new-redis >&2
                    HOME=/nonexistent \(DemoWorld.binary) bootstrap --store \(world.store) --identity \(world.identity) --to \(home) >&2
                    cd \(home)
                    HOME=/nonexistent \(DemoWorld.binary) restore run acme --target \(world.folder)/new.yaml \
                        --identity \(world.identity) >&2
                    \(DemoWorld.python) \(world.folder)/digest.py
                    """,
                ], environment: ["DRP_SERVICE_OF": world.folder])
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            #expect(ended.stdout == before, "\(ended.stdout)\(ended.stderr)")
        }
    }

    @Test("from a bucket alone: a file that says where it is, an identity, and the data are there again")
    func bucket() async throws {
        try await DemoWorld.run(DemoWorld.Options(hasAPI: false, hasDNS: false)) { world in
            let bucket = try await world.moveToBucket()
            try world.editFleet("stores: [vault]", "stores: [vault]\n    lock: 1h")
            try FileManager.default.removeItem(atPath: "\(world.state)/keys")
            let keys = try await world.drp("keys", "init", "acme")
            try #require(keys.status == 0, "\(keys.stderr)")
            for _ in 0..<2 { try await world.backUp() }
            let before = try await world.python(Self.digest(mongo: "north-acme-mongo", redis: "north-acme-redis"))
            let target = try await world.makeTarget("new")
            try await world.killNorth()
            try lose(world, placed: true)
            try "\(try world.bucketSettings(bucket))\n".write(
                toFile: "\(world.folder)/bucket.yaml", atomically: true, encoding: .utf8)
            let home = "\(world.folder)/home"
            let ended = try await world.shell(
                [
                    DemoWorld.binary, "bootstrap", "--store", "\(world.folder)/bucket.yaml", "--identity",
                    world.identity, "--to", home, "--json",
                ], environment: Self.nothing)
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8))
            #expect((answer.bundle ?? 0) >= 3 && answer.lacks.isEmpty && answer.skipped.isEmpty)
            // Its keys too came out of the bundle.
            let fleet = try String(contentsOfFile: "\(home)/fleet.yaml", encoding: .utf8)
            #expect(fleet.contains("access: {file: \(home)/secrets/"), "\(fleet)")
            let restored = try await world.drp([
                "restore", "run", "acme", "--target", target, "--identity", world.identity, "--fleet",
                "\(home)/fleet.yaml",
            ])
            #expect(restored.status == 0 && restored.stdout.contains("equal: "), "\(restored.stdout)\(restored.stderr)")
            let after = try await world.python(Self.digest(mongo: "new-mongo", redis: "new-redis"))
            #expect(after == before)
        }
    }

    @Test("state, fleet and secrets gone: a new machine gets them back from store and identity, and restores")
    func comesBack() async throws {
        try await DemoWorld.run { world in
            try Self.canary.write(toFile: "\(world.folder)/app.secret", atomically: true, encoding: .utf8)
            chmod("\(world.folder)/app.secret", 0o600)
            try world.editFleet(
                "port: \(world.port(of: "acme"))}",
                "port: \(world.port(of: "acme")), secrets: {jwt: {command: [/bin/cat, \(world.folder)/app.secret]}}}")
            try await world.backUp()
            let moved = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
            try #require(moved.status == 0, "\(moved.stdout)\(moved.stderr)")
            try await world.backUp()
            let check = try await world.drp("check")
            #expect(check.stdout.contains("bundle in vault"), "\(check.stdout)")
            // One more backup, of which neither journal nor bundle know any more.
            let last = try await world.backups().listed.last ?? 0
            _ = try await world.drp("backup", "run", "acme", environment: ["DRP_FAILPOINT": "backup.committed"])
            let runs = try await world.sqlite("SELECT id FROM runs")
            let target = try await world.makeTarget("new")
            let sampler = ProcessSampler(folder: world.folder)
            defer { sampler.stop() }
            try lose(world, placed: true)

            let home = "\(world.folder)/home"
            let ended = try await bootstrap(world, home, ["--json"])
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8))
            #expect(answer.catalog.map(\.adopted) == [[last + 1]] && answer.lacks.isEmpty && answer.skipped.isEmpty)

            let fleet = ["--fleet", "\(home)/fleet.yaml"]
            let config = try await world.drp(["config", "check"] + fleet)
            #expect(config.status == 0, "\(config.stdout)\(config.stderr)")
            let checked = try await world.drp(["check"] + fleet)
            #expect(checked.status == 0, "\(checked.stdout)\(checked.stderr)")
            #expect(checked.stdout.contains("it lives at south since a switch"), "\(checked.stdout)")
            let listed = try await world.drp(["runs", "list", "--json"] + fleet)
            #expect(listed.stdout.contains(runs[0][0]))
            let head = try #require(answer.head)
            let proven = try await world.drp(["events", "verify", "--head", "\(head.number):\(head.hash)"] + fleet)
            #expect(proven.status == 0, "\(proven.stdout)")

            let restored = try await world.drp(
                ["restore", "run", "acme", "--target", target, "--identity", world.identity] + fleet)
            #expect(
                restored.status == 0 && restored.stdout.contains("\(last + 1)"), "\(restored.stdout)\(restored.stderr)")
            let count = try await world.python(
                """
                server = mongo("new-mongo")
                print(sum(server[d][c].count_documents({}) for d in server.list_database_names()
                          if d not in ("admin", "config", "local")
                          for c in server[d].list_collection_names(filter={"type": "collection"})
                          if not c.startswith("system.")))
                """)
            #expect(Int(count.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0 >= 200, "\(count)")
            let again = try await world.drp(["backup", "run", "acme"] + fleet)
            #expect(again.status == 0, "\(again.stdout)\(again.stderr)")

            #expect(sampler.sightings(of: Self.canary).isEmpty)
            expectHidden(world, home)
        }
    }

    /// The canary is where the new machine keeps secrets, readable by its owner alone, and nowhere else.
    private func expectHidden(_ world: DemoWorld, _ home: String) {
        var places: [String] = []
        for file in DemoWorld.files(below: world.folder) where !file.contains("/data/") {
            let path = "\(world.folder)/\(file)"
            let bytes = FileManager.default.contents(atPath: path) ?? Data()
            guard bytes.range(of: Data(Self.canary.utf8)) != nil else { continue }
            places.append(file)
            var status = stat()
            #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600, "\(file)")
        }
        #expect(places == ["home/secrets/0002-cat"] || places.allSatisfy { $0.hasPrefix("home/secrets/") }, "\(places)")
        #expect(places.count == 1, "\(places)")
    }

    @Test(
        "killed at any point and run again, it ends right; damage falls back, and a run that was active can be resumed")
    func interrupted() async throws {
        try await DemoWorld.run(DemoWorld.Options(hasAPI: true)) { world in
            try await world.backUp()
            // A move that dies, and a machine that ships once more before it is lost: its run was active.
            let died = try await world.drp(
                ["migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme"],
                environment: ["DRP_FAILPOINT": "restore.restored"])
            #expect(died.status == 137, "\(died.stdout)\(died.stderr)")
            try await world.backUp()
            try await world.backUp()
            let bundles = try FileManager.default.contentsOfDirectory(atPath: "\(world.store)/bootstrap").sorted()
            try lose(world, placed: false)

            let home = "\(world.folder)/home"
            for point in ["bootstrap.staged", "bootstrap.moving:1", "bootstrap.moving:2", "bootstrap.moving:3"] {
                let killed = try await bootstrap(world, home, killedAt: point)
                #expect(killed.status == 137, "\(point): \(killed.stdout)\(killed.stderr)")
                #expect(!FileManager.default.fileExists(atPath: "\(home)/fleet.yaml"), "\(point)")
            }
            // The newest is damaged.
            let newest = "\(world.store)/bootstrap/\(bundles.last ?? "")"
            var bytes = try Data(contentsOf: URL(fileURLWithPath: newest))
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: URL(fileURLWithPath: newest))
            let ended = try await bootstrap(world, home, ["--json"])
            #expect(ended.status == 3, "\(ended.stdout)\(ended.stderr)")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8))
            #expect(answer.skipped.map(\.bundle) == [bundles.count] && answer.bundle == bundles.count - 1)
            #expect(answer.catalog.map(\.adopted) == [[3]])
            try #require(answer.runs.count == 1)

            let again = try await bootstrap(world, home)
            expectError(again, status: 31, code: .targetNotEmpty, naming: ["home/state", "nothing is overwritten"])
            let fleet = ["--fleet", "\(home)/fleet.yaml"]
            let shown = try await world.drp(["runs", "show", answer.runs[0]] + fleet)
            #expect(shown.stdout.contains("paused") || shown.stdout.contains("waits"), "\(shown.stdout)")
            let resumed = try await world.drp(
                ["runs", "resume", answer.runs[0], "--identity", world.identity] + fleet)
            #expect(resumed.status == 0, "\(resumed.stdout)\(resumed.stderr)")
            #expect(try await world.addresses(of: "acme") == [world.south])
        }
    }

    @Test("a reader that shares no code with drp opens a bundle")
    func otherReader() async throws {
        try await DemoWorld.run(DemoWorld.Options(hasAPI: false, hasDNS: false)) { world in
            try await world.backUp()
            let reader = [
                DemoWorld.python, "\(DemoWorld.root)/script/read-repository.py", "--store", world.store, "--identity",
                world.identity,
            ]
            let listed = try await world.shell(reader + ["bundles"])
            #expect(listed.stdout == "bundle 1\nbundle 2\n", "\(listed.stdout)\(listed.stderr)")
            let out = "\(world.folder)/out"
            let ended = try await world.shell(reader + ["bundle", "2", "--to", out])
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            let fleet = try Data(contentsOf: URL(fileURLWithPath: world.fleetFile))
            #expect(FileManager.default.contents(atPath: "\(out)/fleet/0001-fleet.yaml") == fleet)
            #expect(try await world.sqlite("PRAGMA integrity_check", "\(out)/journal.sqlite") == [["ok"]])
        }
    }
}
