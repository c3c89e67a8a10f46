import DRPKit
import Foundation
import Testing

@Suite("Two clients' backups in one store", .serialized, .needsServices)
struct ForeignBackupTests {
    /// Ways in which the folders of acme (A) and birch (B) get mixed up.
    enum MixUp: String, CaseIterable, Sendable {
        case swappedFolders, renamedFolder, copiedManifest, copiedEverythingInside, swappedKeys, relabelledKeys
    }

    @Test("one client's backup is never restored as another's")
    func neverMixed() async throws {
        let options = DemoWorld.Options(clients: ["acme", "birch"], hasAPI: false, hasDNS: false)
        try await DemoWorld.run(options) { world in
            #expect(try await world.drp("backup", "run", "--all").status == 0)
            let target = try await world.makeTarget("new")
            let empty = try await contents(world)
            for mixUp in MixUp.allCases {
                let undo = try mix(mixUp, world)
                let ended = try await world.drp(
                    "restore", "run", "acme", "--target", target, "--identity", world.identity)
                #expect((10...11).contains(ended.status), "\(mixUp): \(ended.status) \(ended.stdout)\(ended.stderr)")
                #expect(ended.stderr.contains("next: "), "\(mixUp): \(ended.stderr)")
                #expect(try await contents(world) == empty, "\(mixUp) wrote into the target")
                let backup = try await world.drp("backup", "run", "acme")
                if mixUp != .copiedManifest {
                    #expect((10...11).contains(backup.status), "\(mixUp): \(backup.status) \(backup.stderr)")
                }
                let verify = try await world.drp("backup", "verify", "acme")
                #expect(verify.status != 0, "\(mixUp): \(verify.stdout)")
                try undo()
            }
            try await world.expectWhole("acme")
            try await world.expectWhole("birch")
            let ended = try await world.drp("restore", "run", "acme", "--target", target, "--identity", world.identity)
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        }
    }

    private func contents(_ world: DemoWorld) async throws -> String {
        try await world.python(
            """
            m = mongo("new-mongo")
            print([(d, sorted(m[d].list_collection_names())) for d in sorted(m.list_database_names())
                if d not in ("admin", "local", "config")], redis("new-redis").databases())
            """)
    }

    /// - Returns: what puts everything back.
    private func mix(_ mixUp: MixUp, _ world: DemoWorld) throws -> () throws -> Void {
        let (a, b) = (try world.repository(of: "acme"), try world.repository(of: "birch"))
        let files = FileManager.default
        func swap(_ one: String, _ other: String) throws {
            try files.moveItem(atPath: one, toPath: "\(world.folder)/aside")
            try files.moveItem(atPath: other, toPath: one)
            try files.moveItem(atPath: "\(world.folder)/aside", toPath: other)
        }
        func write(_ text: String, _ path: String) throws {
            try text.write(toFile: path, atomically: false, encoding: .utf8)
        }
        switch mixUp {
        case .swappedFolders:
            try swap(a, b)
            return { try swap(a, b) }
        case .renamedFolder:
            try files.moveItem(atPath: a, toPath: "\(world.folder)/kept")
            try files.moveItem(atPath: b, toPath: a)
            return {
                try files.moveItem(atPath: a, toPath: b)
                try files.moveItem(atPath: "\(world.folder)/kept", toPath: a)
            }
        case .copiedManifest:
            try files.copyItem(atPath: "\(b)/backups/0000000001", toPath: "\(a)/backups/0000000002")
            return {
                for name in try files.contentsOfDirectory(atPath: "\(a)/backups") where name != "0000000001" {
                    try files.removeItem(atPath: "\(a)/backups/\(name)")
                }
            }
        case .copiedEverythingInside:
            try files.copyItem(atPath: a, toPath: "\(world.folder)/kept")
            for name in try files.contentsOfDirectory(atPath: b) {
                try files.removeItem(atPath: "\(a)/\(name)")
                try files.copyItem(atPath: "\(b)/\(name)", toPath: "\(a)/\(name)")
            }
            return {
                try files.removeItem(atPath: a)
                try files.moveItem(atPath: "\(world.folder)/kept", toPath: a)
            }
        case .swappedKeys:
            let keys = "\(world.state)/keys"
            try swap("\(keys)/acme", "\(keys)/birch")
            return { try swap("\(keys)/acme", "\(keys)/birch") }
        case .relabelledKeys:
            let keys = "\(world.state)/keys/acme"
            let kept = try String(contentsOfFile: keys, encoding: .utf8)
            let other = try String(contentsOfFile: "\(world.state)/keys/birch", encoding: .utf8)
            try write(other.replacingOccurrences(of: "birch", with: "acme"), keys)
            return { try write(kept, keys) }
        }
    }
}
