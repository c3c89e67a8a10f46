import DRPKit
import Foundation
import Testing

@Suite(
    "A restore that must not happen", .serialized, .needsServices,
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct RestoreFaultTests {
    @Test("a target that holds data stays as it is, until it is named to be replaced", arguments: ["mongo", "redis"])
    func targetHoldsData(service: String) async throws {
        let world = try DemoWorld.current
        // To drop databases is more than a restorer may.
        let target = try await world.makeTarget("held-\(service)", mongo: "admin")
        try await world.backUp()
        _ = try await world.python(
            service == "mongo"
                ? "mongo('held-mongo-mongo').precious.things.insert_one({'_id': 1})"
                : "redis('held-redis-redis').call('SET', 'precious', 'thing')")
        let before = try await contents(world, service)
        let refused = try await restore(world, target)
        expectError(refused, status: 31, code: .targetNotEmpty, naming: [service, "--replace", "--confirm"])
        #expect(try await contents(world, service) == before)
        let events = try await world.sqlite("SELECT kind, payload FROM events WHERE kind LIKE 'restore.%' ORDER BY id")
        #expect(events.last?[0] == "restore.failed" && events.last?[1].contains("E3101") == true, "\(events)")
        try await world.expectJournalAtRest()

        let plan = try await world.drp("restore", "plan", "acme", "--target", target, "--identity", world.identity)
        #expect(plan.status == 0 && plan.stdout.contains("refused"), "\(plan.stdout)\(plan.stderr)")
        let unconfirmed = try await restore(world, target, "--replace")
        expectError(unconfirmed, status: 2, code: .confirmationMissing, naming: ["--confirm acme"])
        #expect(try await contents(world, service) == before)

        let replaced = try await restore(world, target, "--replace", "--confirm", "acme")
        #expect(replaced.status == 0, "\(replaced.stdout)\(replaced.stderr)")
        #expect(try await !contents(world, service).contains("precious"))
    }

    @Test("a target's wrong password and its absence are named", arguments: ["mongo", "redis"])
    func targetDenied(service: String) async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let target = try await world.makeTarget("denied-\(service)")
        let scheme = service == "mongo" ? "mongodb" : "redis"
        let uri = try String(contentsOfFile: world.uriFile("acme", service), encoding: .utf8)
        let host = String(uri.split(separator: "@")[1].prefix { $0 != "/" })
        for (address, status, code) in [
            (host, 30 as Int32, ErrorCode.targetDenied), ("127.0.0.1:1", 30, ErrorCode.targetUnreachable),
        ] {
            try "\(scheme)://admin:canary-wrong-password@\(address)/".write(
                toFile: "\(world.folder)/wrong.uri", atomically: true, encoding: .utf8)
            try String(contentsOfFile: target, encoding: .utf8)
                .replacingOccurrences(of: uriFile(target, service), with: "\(world.folder)/wrong.uri")
                .write(toFile: "\(world.folder)/wrong.yaml", atomically: true, encoding: .utf8)
            let ended = try await restore(world, "\(world.folder)/wrong.yaml")
            expectError(ended, status: status, code: code, naming: [address])
            #expect(!(ended.stdout + ended.stderr).contains("canary"))
        }
        try await world.expectJournalAtRest()
    }

    @Test("MongoDB's roles backup and restore are enough for an empty target, whose content others then find equal too")
    func restorerIsEnough() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let target = try await world.makeTarget("fresh")
        let ended = try await restore(world, target)
        #expect(ended.status == 0 && ended.stdout.contains("equal: "), "\(ended.stdout)\(ended.stderr)")
        for kind in ["mongo", "redis"] {
            let compared = try await world.shell([
                "\(DemoWorld.root)/script/compare", kind, world.uriFile("acme", kind),
                "\(world.folder)/fresh-\(kind)/uri.admin",
            ])
            #expect(compared.status == 0, "\(compared.stdout)\(compared.stderr)")
        }
    }

    @Test("a target without a service that the backup holds is refused before anything is written")
    func targetLacksService() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        _ = try await world.makeTarget("half")
        try "services: {redis: {uri: {file: \(world.folder)/half-redis/uri.admin}}}\n".write(
            toFile: "\(world.folder)/half.yaml", atomically: true, encoding: .utf8)
        let ended = try await restore(world, "\(world.folder)/half.yaml")
        expectError(ended, status: 2, code: .usage, naming: ["acme", "mongo", "services"])
        #expect(try await world.python("print(redis('half-redis').databases())") == "{}\n")
    }

    @Test("an identity that is no recipient opens nothing, and a file that is none is named")
    func wrongIdentity() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let target = try await world.makeTarget("unopened")
        #expect(try await world.drp("keys", "init", "--identity", "stranger.key").status == 0)
        let stranger = try await world.drp(
            "restore", "run", "acme", "--target", target, "--identity", "stranger.key")
        expectError(stranger, status: 2, code: .identityInvalid, naming: ["acme"])
        for file in ["none.key", "fleet.yaml"] {
            let ended = try await world.drp("restore", "run", "acme", "--target", target, "--identity", file)
            expectError(ended, status: 2, code: .identityInvalid, naming: [file])
        }
    }

    /// The path of a service's URI in a target file.
    private func uriFile(_ target: String, _ service: String) -> String {
        target.replacingOccurrences(of: ".yaml", with: "-\(service)/uri.\(service == "mongo" ? "restorer" : "admin")")
    }

    private func restore(_ world: DemoWorld, _ target: String, _ more: String...) async throws -> Ended {
        try await world.drp(["restore", "run", "acme", "--target", target, "--identity", world.identity] + more)
    }

    private func contents(_ world: DemoWorld, _ service: String) async throws -> String {
        try await world.python(
            service == "mongo"
                ? """
                m = mongo("held-mongo-mongo")
                print([(d, c, m[d][c].count_documents({})) for d in sorted(m.list_database_names())
                    if d not in ("admin", "local", "config") for c in sorted(m[d].list_collection_names())
                    if not c.startswith("system.")])
                """
                : """
                r = redis("held-redis-redis")
                print(r.databases(), sorted(r.call("KEYS", "*")))
                """)
    }
}
