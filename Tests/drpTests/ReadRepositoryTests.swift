import Foundation
import Testing

/// `script/read-repository.py` shares no code with drp and was written from `docs/repository-format.md`: what it extracts is
/// held against what the servers say, which `script/lib/check_extraction.py` asks without it.
@Suite("A reader that was written from the page of the format", .serialized, .needsServices)
struct ReadRepositoryTests {
    @Test("it extracts what the servers hold, and refuses what is damaged, newer or another's")
    func extracts() async throws {
        let options = DemoWorld.Options(clients: ["acme", "birch"], megabytes: 3, hasAPI: false, hasDNS: false)
        try await DemoWorld.run(options) { world in
            try await fillOddly(world)
            try await world.backUp("birch")
            try await world.backUp()
            // The second backup shares chunks with the first, and lies in packs of both.
            _ = try await world.python(
                """
                mongo("north-acme-mongo").shop.late.insert_many([{"_id": n, "late": "x" * n} for n in range(300)])
                redis("north-acme-redis").call("SET", "late", "value")
                """)
            try await world.backUp()

            let clients = try await reader(world, ["clients"])
            #expect(clients.status == 0 && clients.stdout.contains("acme  epoch 1, 2 backups"), "\(clients)")
            let list = try await reader(world, ["--client", "acme", "list"])
            #expect(list.status == 0 && list.stdout.split(separator: "\n").count == 2, "\(list)")
            let shown = try await reader(world, ["--client", "acme", "show", "2"])
            #expect(shown.status == 0 && shown.stdout.contains("\"odd/name"), "\(shown)")

            for number in [1, 2] {
                let extracted = try await extract(world, number, to: "out-\(number)")
                #expect(extracted.status == 0, "\(extracted)")
            }
            let judged = try await judge(world, "out-2")
            #expect(judged.status == 0, "\(judged.stdout)\(judged.stderr)")
            print("read-repository.py: \(judged.stdout)", terminator: "")
            // The judge can tell the difference.
            let older = try await judge(world, "out-1")
            #expect(older.status == 1 && older.stdout.contains("late"), "\(older.stdout)\(older.stderr)")
            try await refuses(world)
        }
    }

    @Test("it reads all that the frozen example holds: records left out, keys in pieces, an oplog, slices, gaps, voids")
    func example() async throws {
        try await DemoWorld.run(DemoWorld.Options(clients: [], hasAPI: false, hasDNS: false, hasKeys: false)) { world in
            let example = "\(DemoWorld.root)/Tests/Fixtures/repositories/format-1"
            func read(_ arguments: [String]) async throws -> String {
                let ended = try await world.shell(
                    [
                        DemoWorld.python, "\(DemoWorld.root)/script/read-repository.py", "--store", "\(example)/store",
                        "--identity", "\(example)/identity",
                    ] + arguments)
                #expect(ended.status == 0, "\(ended)")
                return ended.stdout
            }
            #expect(try await read(["list"]).contains("acme/4  void"))
            #expect(try await read(["logs"]).contains("gap  the oplog had rolled over"))
            for number in [1, 2, 3, 5] {
                _ = try await read(["extract", "\(number)", "--to", "\(world.folder)/\(number)"])
            }
            _ = try await read(["extract-logs", "--to", "\(world.folder)/logs"])
            // What it wrote, against what the example was made of.
            let judged = try await world.shell([
                DemoWorld.python, "-c", Self.judge, "\(example)/contents.json", world.folder,
            ])
            #expect(judged.status == 0 && judged.stdout == "28 equal\n", "\(judged)")
        }
    }

    /// Digests of files of records, by the names that `contents.json` has for them.
    private static let judge = """
        import hashlib, json, os, struct, sys
        want, folder, equal = json.load(open(sys.argv[1])), sys.argv[2], 0
        files = {"catalog": "catalog.bson", "users": "users.bson", "oplog": "oplog.bson", "shop.orders": "shop/orders.bson",
                 "redis 0": "redis.0.records", "functions": "redis.functions.records"}
        for name, digest in want.items():
            number, _, what = name.partition(" ")
            path = os.path.join(number, files[what]) if what else "logs/%s.records" % name.replace("/", ".")
            data, at, total, count = open(os.path.join(folder, path), "rb").read(), 0, 0, 0
            while at < len(data):
                length = struct.unpack_from("<I", data, at)[0]
                total += int.from_bytes(hashlib.sha256(data[at:at + length]).digest(), "little")
                at, count = at + length, count + 1
            found = {"count": count, "bytes": len(data), "sum": (total % 2**256).to_bytes(32, "little").hex()}
            assert found == digest, (name, found, digest)
            equal += 1
        print(equal, "equal")
        """

    @Test("its HPKE and Bech32 agree with published vectors")
    func vectors() async throws {
        try await DemoWorld.run(DemoWorld.Options(clients: [], hasAPI: false, hasDNS: false, hasKeys: false)) { world in
            let ended = try await world.shell([
                DemoWorld.python, "\(DemoWorld.root)/script/lib/hpke.py",
                "\(DemoWorld.root)/Tests/Fixtures/hpke-vectors.json",
            ])
            #expect(ended.status == 0 && ended.stdout == "ok: 1 vectors, 8 messages\n", "\(ended)")
        }
    }

    /// Names that would leave their folder, a time series, users and roles, every type that Redis has.
    private func fillOddly(_ world: DemoWorld) async throws {
        _ = try await world.python(
            """
            m, r = mongo("north-acme-mongo"), redis("north-acme-redis")
            for name in ["odd/name", "/up/name", "a b%2F", "système", "x" * 150]:
                m.shop[name].insert_many([{"n": n} for n in range(20)])
            m.shop.create_collection("empty")
            m.shop.create_collection("series", timeseries={"timeField": "at"})
            import datetime
            m.shop.series.insert_many([{"at": datetime.datetime(2026, 1, n), "v": n} for n in range(1, 9)])
            m.other.things.insert_one({"_id": {"deep": [1, None, 2.5]}})
            m.other.things.create_index("v", expireAfterSeconds=10**6)
            m.other.command("createRole", "reader", privileges=[], roles=["read"])
            m.other.command("createUser", "ann", pwd="canary-of-ann", roles=["reader"])
            r.call("FUNCTION", "LOAD", "#!lua name=lib\\nredis.register_function('one', function() return 1 end)")
            r.call("SET", "large", b"\\0" * 3000000)
            r.call("SET", "expires", "later", "PXAT", 4000000000123)
            r.call("SADD", b"odd\\xff\\0key", b"\\xfe", "")
            """)
    }

    private func refuses(_ world: DemoWorld) async throws {
        let repository = try world.repository(of: "acme")
        func refuses(_ object: String, naming words: [String], _ change: (inout Data) -> Void) async throws {
            let whole = try Data(contentsOf: URL(fileURLWithPath: "\(repository)/\(object)"))
            var other = whole
            change(&other)
            try other.write(to: URL(fileURLWithPath: "\(repository)/\(object)"))
            let folder = "refused-\(UUID().uuidString)"
            let ended = try await extract(world, 2, to: folder)
            #expect(ended.status == 1, "\(object): \(ended)")
            for word in words { #expect(ended.stderr.contains(word), "\(object): \(ended.stderr)") }
            #expect(!ended.stderr.contains("Traceback"), "\(object): \(ended.stderr)")
            #expect(!DemoWorld.files(below: "\(world.folder)/\(folder)").contains { $0.hasSuffix(".part") })
            try whole.write(to: URL(fileURLWithPath: "\(repository)/\(object)"))
        }
        let files = DemoWorld.files(below: repository)
        for pack in files.filter({ $0.hasPrefix("packs/") }) {
            try await refuses(pack, naming: [pack]) { $0[$0.count / 3] ^= 1 }
            try await refuses(pack, naming: [pack]) { $0[$0.count - 14] ^= 1 }
        }
        try await refuses("backups/0000000002", naming: ["backups/0000000002"]) { $0[40] ^= 1 }
        try await refuses("backups/0000000002", naming: ["backups/0000000002", "format 2 is newer"]) { $0[4] = 2 }
        try await refuses("backups/0000000001", naming: ["backups/0000000002", "before it"]) { $0[40] ^= 1 }
        let wrap = "keys/1/\(try recipient(world))"
        for position in [4, 20, 60, 100] {
            try await refuses(wrap, naming: [wrap]) { $0[position] ^= 1 }
        }
        try await refuses("drp.json", naming: ["drp.json"]) { $0[$0.count - 30] ^= 1 }
        try await refuses("drp.json", naming: ["drp.json", "format 9 is newer"]) {
            $0 = Data(String(decoding: $0, as: UTF8.self).replacingOccurrences(of: "t\" : 1", with: "t\" : 9").utf8)
        }
        // Another client's manifest in the place of ours.
        let foreign = try Data(
            contentsOf: URL(fileURLWithPath: "\(try world.repository(of: "birch"))/backups/0000000001"))
        try await refuses("backups/0000000002", naming: ["backups/0000000002"]) { $0 = foreign }
        #expect(try await world.drp("keys", "init", "--identity", "stranger.key").status == 0)
        let stranger = try await reader(world, ["--client", "acme", "list"], identity: "stranger.key")
        #expect(stranger.status == 1 && stranger.stderr.contains("keys/1/drp1"), "\(stranger)")
        let again = try await extract(world, 2, to: "again")
        #expect(again.status == 0, "\(again)")
    }

    private func recipient(_ world: DemoWorld) throws -> String {
        let text = try String(contentsOfFile: world.identity, encoding: .utf8)
        return String(text.split(separator: "\n").first { $0.hasPrefix("# recipient: ") }?.dropFirst(13) ?? "none")
    }

    private func reader(_ world: DemoWorld, _ arguments: [String], identity: String? = nil) async throws -> Ended {
        try await world.shell(
            [
                DemoWorld.python, "\(DemoWorld.root)/script/read-repository.py", "--store", world.store, "--identity",
                identity ?? world.identity,
            ] + arguments)
    }

    private func extract(_ world: DemoWorld, _ number: Int, to folder: String) async throws -> Ended {
        try await reader(world, ["--client", "acme", "extract", "\(number)", "--to", folder])
    }

    private func judge(_ world: DemoWorld, _ folder: String) async throws -> Ended {
        try await world.shell([
            DemoWorld.python, "\(DemoWorld.root)/script/lib/check_extraction.py", "--extraction", folder,
            "--mongo-uri-file", world.uriFile("acme", "mongo"), "--redis-uri-file", world.uriFile("acme", "redis"),
        ])
    }
}
