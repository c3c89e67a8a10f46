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
