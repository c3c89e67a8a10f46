import DRPKit
import Foundation
import Testing

@Suite("Erase", .serialized, .needsServices)
struct EraseCommandTests {
    private struct Answer: Decodable {
        struct Receipt: Decodable {
            struct Store: Decodable {
                var store: String
                var wraps: Int
                var objects: Int
            }
            var repository: String
            var stores: [Store]
        }
        var receipt: Receipt
        var isComplete: Bool
        var isReadable: Bool
    }

    private static var options: DemoWorld.Options {
        var options = DemoWorld.Options(clients: ["acme", "birch"], hasAPI: false, hasDNS: false)
        options.moreStores = ["attic"]
        return options
    }

    /// Files of a client below a store, but its tombstone.
    private func left(_ world: DemoWorld, _ uuid: String, in store: String) -> [String] {
        DemoWorld.files(below: "\(world.folder)/\(store)/\(uuid)").filter { $0 != "erased" }
    }

    @Test("the name is wanted, a hold refuses, then one client is gone from every store and nobody else is touched")
    func erases() async throws {
        try await DemoWorld.run(Self.options) { world in
            for client in ["acme", "birch"] { try await world.backUp(client) }
            let uuid = try world.repository(of: "acme").split(separator: "/").last.map(String.init) ?? ""
            let stored = world.repositoryFiles()
            let plan = try await world.drp("erase", "plan", "acme")
            #expect(plan.status == 0 && plan.stdout.contains("attic"), "\(plan.stdout)\(plan.stderr)")
            expectError(
                try await world.drp("erase", "run", "acme"), status: 2, code: .confirmationMissing,
                naming: ["acme", "--confirm acme"])
            expectError(
                try await world.drp("erase", "run", "acme", "--confirm", "birch"), status: 2,
                code: .confirmationMissing,
                naming: ["acme"])
            #expect(try await world.drp("hold", "set", "acme", "--reason", "audit").status == 0)
            for verb in [["plan", "acme"], ["run", "acme", "--confirm", "acme"]] {
                expectError(try await world.drp(["erase"] + verb), status: 1, code: .held, naming: ["acme", "audit"])
            }
            #expect(try await world.drp("hold", "release", "acme", "--confirm", "acme").status == 0)
            #expect(world.repositoryFiles() == stored, "nothing was changed so far")

            let ended = try await world.drp("erase", "run", "acme", "--confirm", "acme", "--json")
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8))
            #expect(answer.isComplete && !answer.isReadable && answer.receipt.stores.map(\.wraps) == [2, 2])
            #expect(answer.receipt.repository.lowercased() == uuid)
            for store in ["store", "attic"] {
                #expect(left(world, uuid, in: store).isEmpty)
                #expect(FileManager.default.fileExists(atPath: "\(world.folder)/\(store)/\(uuid)/erased"))
            }
            #expect(!FileManager.default.fileExists(atPath: "\(world.state)/keys/acme"))

            for command in [
                ["backup", "run", "acme"], ["keys", "init", "acme"], ["catalog", "rebuild", "acme"],
                ["store", "sync", "acme"], ["check", "acme"],
            ] {
                let refused = try await world.drp(command)
                #expect(refused.status != 0, "\(command)")
                #expect((refused.stdout + refused.stderr).contains("E1403"), "\(command): \(refused.stderr)")
            }
            for store in ["store", "attic"] { #expect(left(world, uuid, in: store).isEmpty) }
            let text = try await world.drp("erase", "run", "acme", "--confirm", "acme")
            #expect(text.status == 0 && text.stdout.contains("nobody can read its backups any more"), "\(text.stdout)")
            let kinds = try await world.sqlite("SELECT kind FROM events WHERE kind LIKE 'erase.%' ORDER BY id")
            #expect(kinds == [["erase.begun"], ["erase.done"], ["erase.done"]])

            try await world.backUp("birch")
            try await world.expectWhole("birch")
            #expect(try await world.drp("events", "verify").status == 0)
            try await world.expectJournalAtRest()
        }
    }

    @Test("killed at any point and run again it ends right; a bundle of before does not bring the client back")
    func killed() async throws {
        try await DemoWorld.run(Self.options) { world in
            try await world.backUp("acme")
            let uuid = try world.repository(of: "acme").split(separator: "/").last.map(String.init) ?? ""
            let bundles = try FileManager.default.contentsOfDirectory(atPath: "\(world.store)/bootstrap").sorted()
            let run = ["erase", "run", "acme", "--confirm", "acme"]
            for point in [
                "erase.begun", "erase.marked", "erase.deleted", "erase.deleted:3", "erase.marked:2", "erase.erased",
            ] {
                let killed = try await world.drp(run, environment: ["DRP_FAILPOINT": point])
                #expect(killed.status == 137, "\(point): \(killed.stdout)\(killed.stderr)")
                let backup = try await world.drp("backup", "run", "acme")
                #expect((backup.stdout + backup.stderr).contains("E1403"), "\(point): \(backup.stderr)")
            }
            let ended = try await world.drp(run)
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            for store in ["store", "attic"] { #expect(left(world, uuid, in: store).isEmpty) }

            // All that the machine had is lost, and of the bundles only those of before are left.
            for store in ["store", "attic"] {
                for name in try FileManager.default.contentsOfDirectory(atPath: "\(world.folder)/\(store)/bootstrap")
                where !bundles.contains(name) {
                    try FileManager.default.removeItem(atPath: "\(world.folder)/\(store)/bootstrap/\(name)")
                }
            }
            for path in [world.state, world.fleetFile] { try FileManager.default.removeItem(atPath: path) }
            let home = "\(world.folder)/home"
            let boot = try await world.drp(
                "bootstrap", "--store", world.store, "--identity", world.identity, "--to", home)
            #expect(boot.status == 0 && boot.stdout.contains("client acme was erased"), "\(boot.stdout)\(boot.stderr)")
            #expect(!FileManager.default.fileExists(atPath: "\(home)/state/keys/acme"))
            #expect(FileManager.default.fileExists(atPath: "\(home)/state/keys/birch"))
            for command in [["backup", "run", "acme"], ["store", "sync", "acme"], ["keys", "init", "acme"]] {
                let refused = try await world.drp(command + ["--fleet", "\(home)/fleet.yaml"])
                #expect((refused.stdout + refused.stderr).contains("E1403"), "\(command): \(refused.stderr)")
            }
        }
    }
}
