import DRPKit
import Foundation
import Testing

@Suite("Keys", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false, hasKeys: false)))
struct KeysCommandTests {
    @Test("an identity is for its owner's eyes, and is never overwritten")
    func identityStays() async throws {
        let world = try DemoWorld.current
        let made = try await world.drp("keys", "init", "--identity", "third.key")
        #expect(made.status == 0 && made.stdout.contains("third.key") && made.stdout.contains("drp1"))
        let path = "\(world.folder)/third.key"
        #expect(try mode(path) == 0o600)
        let content = try Data(contentsOf: URL(fileURLWithPath: path))
        let secret = try #require(String(decoding: content, as: UTF8.self).split(separator: "\n").last)
        #expect(!made.stdout.contains(secret), "the identity itself is never shown")
        let again = try await world.drp("keys", "init", "--identity", "third.key")
        expectError(again, status: 2, code: .usage, naming: ["third.key"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == content)
        let nowhere = try await world.drp("keys", "init", "--identity", "no/such/folder.key")
        expectError(nowhere, status: 2, code: .usage, naming: ["no/such/folder.key"])
    }

    @Test("killed at any object, it makes the keys the next time; made twice, it changes nothing")
    func madeOnce() async throws {
        let world = try DemoWorld.current
        for number in 1...3 {
            let killed = try await world.drp(
                "keys", "init", "acme", environment: ["DRP_FAILPOINT": "store.placed:\(number)"])
            #expect(killed.status == 137)
            let backup = try await world.drp("backup", "run", "acme")
            expectError(backup, status: 10, code: .repositoryMissing, naming: ["acme", "keys init"])
        }
        let made = try await world.drp("keys", "init", "acme")
        #expect(made.status == 0 && made.stdout.contains("made"), "\(made.stderr)")
        let keys = "\(world.state)/keys"
        #expect(try mode(world.state) == 0o700 && mode(keys) == 0o700 && mode("\(keys)/acme") == 0o600)
        #expect(try mode(world.journal) == 0o600)
        let content = try Data(contentsOf: URL(fileURLWithPath: "\(keys)/acme"))
        let stored = DemoWorld.files(below: world.store)
        for arguments in [["acme"], ["--all"]] {
            let again = try await world.drp(["keys", "init"] + arguments)
            #expect(again.status == 0 && again.stdout.contains("was there"), "\(again.stderr)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(keys)/acme")) == content)
        #expect(DemoWorld.files(below: world.store) == stored)
        #expect(try await world.sqlite("SELECT client FROM events WHERE kind = 'keys.made'") == [["acme"]])
        try await world.backUp()
        try await world.expectWhole()
    }

    private func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int) & 0o777
    }
}

@Suite("Who can open backups", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct KeysSharingTests {
    @Test("a drill host is let in and out again, a new epoch begins, and every backup opens to whom it should")
    func share() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let made = try await world.drp("keys", "init", "--identity", "drill.key")
        let drill = "\(world.folder)/drill.key"
        let recipient = try #require(made.stdout.firstMatch(of: /drp1[a-z0-9]+/).map { String($0.0) })

        let stranger = try await world.drp("keys", "verify", "--identity", drill)
        expectError(stranger, status: 2, code: .identityInvalid, naming: ["acme", "vault", recipient])
        let added = try await world.drp(
            "keys", "add", "acme", "--recipient", recipient, "--identity", world.identity)
        #expect(
            added.status == 0 && added.stdout.contains("drill") && !added.stdout.contains("CANNOT"), "\(added.stderr)")
        for identity in [drill, world.identity] {
            let opens = try await world.drp("keys", "verify", "--identity", identity)
            #expect(opens.status == 0 && opens.stdout.contains("opens"), "\(opens.stdout)\(opens.stderr)")
        }
        #expect(try await verify(world, drill) == 0)

        // Killed at each object, the rotation leaves the epoch of before in use.
        // Three wraps and the link.
        for number in 1...4 {
            let ended = try await world.drp(
                "keys", "rotate", "acme", environment: ["DRP_FAILPOINT": "store.placed:\(number)"])
            #expect(ended.status == 137, "\(ended.stdout)\(ended.stderr)")
            try await world.backUp()
            try await world.expectWhole()
        }
        // What it places next is the bundle: the new epoch has begun.
        let ended = try await world.drp("keys", "rotate", "acme", environment: ["DRP_FAILPOINT": "store.placed:5"])
        #expect(ended.status == 137, "\(ended.stdout)\(ended.stderr)")
        let epochs = try await shown(world).epochs
        #expect(epochs.count == 2 && epochs[0].epoch == 1 && epochs[1].epoch > 1)
        #expect(epochs[0].fingerprint != epochs[1].fingerprint)
        try await world.backUp()
        #expect(try await verify(world, drill) == 0)

        let removed = try await world.drp("keys", "remove", "acme", "--recipient", recipient)
        #expect(removed.status == 0 && !removed.stdout.contains(recipient), "\(removed.stdout)\(removed.stderr)")
        #expect(try await world.drp("keys", "rotate", "acme").status == 0)
        try await world.backUp()
        let out = try await world.drp("keys", "verify", "acme", "--identity", drill)
        expectError(out, status: 2, code: .identityInvalid, naming: ["acme"])
        #expect(try await verify(world, world.identity) == 0)
        let target = try await world.makeTarget("back")
        for number in [1, try #require(await world.backups().files.last)] {
            let plan = try await world.drp(
                "restore", "plan", "acme", "--at", "\(number)", "--target", target, "--identity", world.identity)
            #expect(plan.status == 0, "\(plan.stdout)\(plan.stderr)")
        }
        let kinds = try await world.sqlite("SELECT kind FROM events WHERE kind LIKE 'keys.%' ORDER BY id").map { $0[0] }
        #expect(kinds == ["keys.made", "keys.added", "keys.rotated", "keys.removed", "keys.rotated"])
        try await world.expectJournalAtRest()
    }

    @Test("a recovery recipient cannot be removed, an unknown one neither, and one new in the fleet file comes first")
    func refusals() async throws {
        let world = try DemoWorld.current
        let recovery = try #require(try await shown(world).holders.first?.recipient)
        let kept = try await world.drp("keys", "remove", "acme", "--recipient", recovery)
        expectError(kept, status: 2, code: .usage, naming: [recovery, "fleet file"])
        let third = try await world.drp("keys", "init", "--identity", "third.key")
        let recipient = try #require(third.stdout.firstMatch(of: /drp1[a-z0-9]+/).map { String($0.0) })
        let unknown = try await world.drp("keys", "remove", "acme", "--recipient", recipient)
        expectError(unknown, status: 2, code: .usage, naming: [recipient, "keys show"])
        let wrong = try await world.drp("keys", "remove", "acme", "--recipient", "drp1nonsense")
        expectError(wrong, status: 2, code: .usage, naming: ["drp1nonsense"])
        try world.editFleet("recovery: [", "recovery: [\(recipient), ")
        let early = try await world.drp("keys", "rotate", "acme")
        expectError(early, status: 2, code: .usage, naming: [recipient, "keys add acme"])
        #expect(try await shown(world).holders.contains { $0.recipient == recipient && $0.missing.first == 1 })
    }

    private struct Shown: Decodable {
        struct Epoch: Decodable { var epoch: Int; var fingerprint: String }
        struct Holder: Decodable { var recipient: String; var role: String; var missing: [Int] }
        struct Keys: Decodable { var epochs: [Epoch]; var holders: [Holder] }
        var keys: [Keys]
    }

    private func shown(_ world: DemoWorld) async throws -> Shown.Keys {
        let ended = try await world.drp("keys", "show", "acme", "--json")
        return try #require(try JSONDecoder().decode(Shown.self, from: Data(ended.stdout.utf8)).keys.first)
    }

    private func verify(_ world: DemoWorld, _ identity: String) async throws -> Int32 {
        let ended = try await world.drp("backup", "verify", "acme", "--read-data", "--identity", identity)
        #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        return ended.status
    }
}
