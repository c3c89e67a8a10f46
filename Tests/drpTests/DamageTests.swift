import DRPKit
import Foundation
import TestSupport
import Testing

@Suite(
    "A damaged repository", .serialized, .needsServices,
    .world(DemoWorld.Options(megabytes: 2, hasAPI: false, hasDNS: false)))
struct DamageTests {
    @Test("100 random flips of bytes: verify exits 11 and names the object every time")
    func randomFlips() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        try await world.backUp()
        let repository = try world.repository(of: "acme")
        let files = DemoWorld.files(below: repository)
        var random = SeededGenerator(seed: 100)
        var unnoticed: [String] = []
        for _ in 0..<100 {
            let file = files[Int.random(in: files.indices, using: &random)]
            let undo = try damage("\(repository)/\(file)", at: Double.random(in: 0..<1, using: &random))
            let ended = try await world.drp("backup", "verify", "acme", "--read-data", "--identity", world.identity)
            if ended.status != 11 || !ended.stdout.contains(file) {
                unnoticed.append("\(file), seed 100: \(ended.status) \(ended.stdout)\(ended.stderr)")
            }
            try undo()
        }
        print("drp backup verify: 100 flips in \(files.count) objects, \(unnoticed.count) unnoticed")
        #expect(unnoticed.isEmpty, "\(unnoticed.prefix(3).joined(separator: "\n"))")
        try await world.expectWhole()
    }

    @Test("a restore of a damaged backup writes nothing, into an empty target or over one that holds data")
    func restoreWritesNothing() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let target = try await world.makeTarget("spared", mongo: "admin")
        let empty = try await contents(world)
        let repository = try world.repository(of: "acme")
        // The one of the first backup, nearly all of which is chunks that the newest one needs too.
        let packs = DemoWorld.files(below: repository).filter {
            $0.hasPrefix("packs/")
                && FileManager.default.contents(atPath: "\(repository)/\($0)")?.count ?? 0 > 1_000_000
        }
        #expect(packs.count == 1)
        let restore = ["restore", "run", "acme", "--target", target, "--identity", world.identity]
        for pack in packs {
            for place in [0.01, 0.3, 0.7, 0.95] {
                let undo = try damage("\(repository)/\(pack)", at: place)
                let ended = try await world.drp(restore)
                expectError(ended, status: 11, code: .repositoryDamaged, naming: ["chunk "])
                #expect(try await contents(world) == empty, "\(pack) at \(place)")
                try undo()
            }
        }
        #expect(try await world.drp(restore).status == 0)
        let full = try await contents(world)
        #expect(full != empty)
        let undo = try damage("\(repository)/\(packs[0])", at: 0.3)
        let ended = try await world.drp(restore + ["--replace", "--confirm", "acme"])
        expectError(ended, status: 11, code: .repositoryDamaged, naming: ["chunk "])
        #expect(try await contents(world) == full)
        try undo()
        try await world.expectJournalAtRest()
    }

    @Test("nothing in the state folder opens a chunk, tried as every kind of key")
    func stateCannotRead() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let ended = try await world.shell([
            DemoWorld.python, "\(DemoWorld.root)/script/lib/hunt_keys.py", "--store", world.store, "--identity",
            world.identity, "--client", "acme", "--folder", world.state,
        ])
        print(ended.stdout, terminator: "")
        #expect(ended.status == 0 && ended.stdout.hasSuffix("none opens a chunk\n"), "\(ended.stdout)\(ended.stderr)")
    }

    /// Flips one byte.
    /// - Parameter place: where in the file, from 0 to below 1.
    /// - Returns: what puts it back.
    private func damage(_ path: String, at place: Double) throws -> () throws -> Void {
        let url = URL(fileURLWithPath: path)
        let whole = try Data(contentsOf: url)
        var damaged = whole
        damaged[Int(place * Double(whole.count))] ^= 0x10
        try damaged.write(to: url)
        return { try whole.write(to: url) }
    }

    private func contents(_ world: DemoWorld) async throws -> String {
        try await world.python(
            """
            m, r = mongo("spared-mongo"), redis("spared-redis")
            print([(d, c, m[d][c].count_documents({})) for d in sorted(m.list_database_names())
                if d not in ("admin", "local", "config") for c in sorted(m[d].list_collection_names())
                if not c.startswith("system.")])
            print(sorted(u["user"] for u in m.admin.system.users.find()), r.databases(), sorted(r.call("KEYS", "*")))
            """)
    }
}
