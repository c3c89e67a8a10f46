import DRPKit
import Foundation
import Glibc
import TestSupport
import Testing

/// A small disk of its own for a test: a tmpfs.
private enum SmallDisk {
    static let isAllowed = getuid() == 0 && DemoWorld.isPossible && tryMount()

    /// - Parameter options: as `size=64m`; of a mounted one, `size` and `nr_inodes` may change.
    static func mount(_ path: String, _ options: String, flags: Int = 0) throws {
        guard Glibc.mount("tmpfs", path, "tmpfs", UInt(flags), options) == 0 else {
            throw WorldError("cannot mount \(path) with \(options): \(String(cString: strerror(errno)))")
        }
    }

    static func resize(_ path: String, _ options: String) throws { try mount(path, options, flags: MS_REMOUNT) }

    /// Bytes and files that are used.
    static func used(_ path: String) throws -> (bytes: Int, files: Int) {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw WorldError("no statvfs of \(path)") }
        return (
            Int(status.f_blocks - status.f_bfree) * Int(status.f_frsize), Int(status.f_files - status.f_ffree)
        )
    }

    private static func tryMount() -> Bool {
        guard let folder = try? TemporaryFolder() else { return false }
        guard (try? mount(folder.path, "size=1m,mode=700")) != nil else { return false }
        return umount(folder.path) == 0
    }
}

/// Store and state folder on disks of their own, which become full, run out of files, or can be read only. Fillings are a
/// seeded sample; with `DRP_CAMPAIGN=1` there are more.
@Suite(
    "A disk that fails", .serialized, .needsServices,
    .enabled(if: SmallDisk.isAllowed, "only root may mount the small disks"),
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false, hasKeys: false)))
struct DiskFaultTests {
    private static let room = "size=64m,nr_inodes=10000,mode=700"
    private static let seed: UInt64 = 64
    private static let fillings = Campaign.isFull ? 10 : 4

    @Test("a store that is full at any filling: E1302, older backups whole, and with room the next run works")
    func storeFull() async throws {
        let world = try await prepared()
        let need = try await need(world) { try SmallDisk.used(world.store).bytes }
        var random = SeededGenerator(seed: Self.seed)
        var failures = 0
        for filling in 0..<Self.fillings {
            try await world.change(kilobytes: 2000)
            // Half of them where the last objects are: the index and the manifest.
            let low = filling.isMultiple(of: 2) ? 0 : max(0, need - 16_384)
            let left = Int.random(in: low...need, using: &random) / 4096 * 4096
            let ended = try await failing(
                world, "size=\(try SmallDisk.used(world.store).bytes + left)", of: world.store,
                "\(left) of \(need) bytes left", status: 13, code: .storeFull, naming: ["vault", "No space left"])
            if ended != 0 { failures += 1 }
        }
        print("a full store: \(failures) of \(Self.fillings) backups failed, which need \(need) bytes")
        #expect(failures >= Self.fillings / 2)
    }

    @Test("a store without room for another file: E1302, and the same promise")
    func storeWithoutFiles() async throws {
        let world = try await prepared()
        try await world.change(kilobytes: 100)
        let need = try await need(world) { try SmallDisk.used(world.store).files }
        try #require(need >= 2)
        for left in 0..<need {
            try await world.change(kilobytes: 100)
            let ended = try await failing(
                world, "nr_inodes=\(try SmallDisk.used(world.store).files + left)", of: world.store,
                "\(left) of \(need) files left", status: 13, code: .storeFull, naming: ["vault", "No space left"])
            #expect(left > 0 || ended != 0)
        }
        print("a store without room for files: 0 to \(need - 1) left of the \(need) that a backup needs")
    }

    @Test("a state folder that is full at any filling: E5001, older backups whole, and with room the next run works")
    func stateFull() async throws {
        let world = try await prepared()
        var random = SeededGenerator(seed: Self.seed)
        var failures = 0
        for filling in 0..<Self.fillings {
            try await world.change(kilobytes: 100)
            let left = filling == 0 ? 0 : Int.random(in: 0...12, using: &random) * 4096
            let ended = try await failing(
                world, "size=\(try SmallDisk.used(world.state).bytes + left)", of: world.state, "\(left) bytes left",
                status: 1, code: .journalUnusable, naming: [world.journal, "full", "state folder"])
            if ended != 0 { failures += 1 }
        }
        print("a full state folder: \(failures) of \(Self.fillings) backups failed")
        #expect(failures >= 1)
    }

    @Test("prune works on a store that is full to its last byte, and makes room")
    func pruneOnFullStore() async throws {
        let world = try await prepared()
        try world.keepTwo()
        for _ in 0..<4 {
            try await world.change(kilobytes: 1000)
            try await world.backUp()
        }
        let used = try SmallDisk.used(world.store).bytes
        try SmallDisk.resize(world.store, "size=\(used)")
        let backup = try await world.drp("backup", "run", "acme")
        expectError(backup, status: 13, code: .storeFull, naming: ["vault"])
        for phase in ["mark", "delete"] {
            let ended = try await world.drp(DemoWorld.prune)
            #expect(ended.status == 0, "\(phase): \(ended.stdout)\(ended.stderr)")
        }
        let freed = used - (try SmallDisk.used(world.store).bytes)
        print("prune on a full store: freed \(freed) of \(used) bytes")
        #expect(freed > 1_500_000)
        try await world.expectWhole()
        try await world.backUp()
        try SmallDisk.resize(world.store, Self.room)
        try await world.backUp()
        try await world.expectWhole()
        try await world.expectJournalAtRest()
    }

    @Test("a store that can be read only: E1002 for what writes, while verify and restore work")
    func storeReadOnly() async throws {
        let world = try await prepared()
        let target = try await world.makeTarget("readonly")
        let before = try await world.backups()
        try SmallDisk.mount(world.store, Self.room, flags: MS_REMOUNT | MS_RDONLY)
        let backup = try await world.drp("backup", "run", "acme")
        let prune = try await world.drp(DemoWorld.prune)
        let rotate = try await world.drp("keys", "rotate", "acme")
        try await world.expectWhole()
        let restored = try await world.drp("restore", "run", "acme", "--target", target, "--identity", world.identity)
        try SmallDisk.resize(world.store, Self.room)
        for ended in [backup, prune, rotate] {
            expectError(ended, status: 10, code: .repositoryDenied, naming: ["Read-only file system"])
        }
        #expect(restored.status == 0, "\(restored.stdout)\(restored.stderr)")
        #expect(try await world.backups().listed == before.listed)
        try await expectMended(world, before)
    }

    @Test("a state folder that can be read only: E5001, and the same promise")
    func stateReadOnly() async throws {
        let world = try await prepared()
        let before = try await world.backups()
        try SmallDisk.mount(world.state, Self.room, flags: MS_REMOUNT | MS_RDONLY)
        var all: [Ended] = []
        for arguments in [["backup", "run", "acme"], DemoWorld.prune, ["keys", "rotate", "acme"]] {
            all.append(try await world.drp(arguments))
        }
        try SmallDisk.resize(world.state, Self.room)
        for ended in all {
            expectError(ended, status: 1, code: .journalUnusable, naming: [world.journal, "read only"])
        }
        try await expectMended(world, before)
    }

    // MARK: -

    /// The world with both disks mounted, keys and a backup.
    private func prepared() async throws -> DemoWorld {
        let world = try DemoWorld.current
        if !FileManager.default.fileExists(atPath: "\(world.state)/keys/acme") {
            for path in [world.store, world.state] { try SmallDisk.mount(path, Self.room) }
            let made = try await world.drp("keys", "init", "acme")
            try #require(made.status == 0, "\(made.stderr)")
        }
        for path in [world.store, world.state] { try SmallDisk.resize(path, Self.room) }
        try await world.backUp()
        return world
    }

    /// What one more backup takes.
    private func need(_ world: DemoWorld, of measure: () throws -> Int) async throws -> Int {
        try await world.change(kilobytes: 2000)
        let before = try measure()
        try await world.backUp()
        return try measure() - before
    }

    /// Backs up on a disk with little room, then with enough.
    /// - Returns: the status of the first.
    private func failing(
        _ world: DemoWorld, _ options: String, of disk: String, _ place: String, status: Int32, code: ErrorCode,
        naming words: [String]
    ) async throws -> Int32 {
        let before = try await world.backups()
        try SmallDisk.resize(disk, options)
        let ended = try await world.drp("backup", "run", "acme")
        try SmallDisk.resize(disk, Self.room)
        if ended.status != 0 {
            expectError(ended, status: status, code: code, naming: words)
            #expect((ended.stdout + ended.stderr).matches(of: /\bE\d{4}\b/).count == 1, "\(place): \(ended.stderr)")
        }
        let after = try await world.backups()
        // Without its word in the journal, a whole backup may be there, as after a kill.
        let isLate = ended.status == 0 || disk == world.state
        #expect(
            after.listed.starts(with: before.listed) && after.listed.count <= before.listed.count + (isLate ? 1 : 0))
        #expect(DemoWorld.files(below: "\(world.store)/.drp-tmp").isEmpty, "\(place)")
        try await expectMended(world, before)
        return ended.status
    }

    private func expectMended(_ world: DemoWorld, _ before: BackupState) async throws {
        try await world.expectWhole()
        try await world.backUp()
        let after = try await world.backups()
        #expect(after.listed.starts(with: before.listed) && after.listed.count > before.listed.count)
        #expect(after.open == 0)
        try await world.expectJournalAtRest()
    }
}

@Suite("Rights and handles", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct RightsFaultTests {
    @Test("rights on the store that are lost at any moment: E1002, and the next run works once they are back")
    func rightsLost() async throws {
        let world = try DemoWorld.current
        try world.keepTwo()
        let calls = "open,mkdir,link,rename"
        var failures: [String: Int] = [:]
        for arguments in [["backup", "run", "acme"], DemoWorld.prune, ["keys", "rotate", "acme"]] {
            var fault = FileFault(calls: calls, deed: .fail(EACCES), number: 0, lasts: true, below: [world.store])
            try await world.change()
            try await world.backUp()
            try await world.change()
            let count = try await world.trace(arguments, like: fault).count
            for number in Campaign.choose(Array(1...count), sample: 4, seed: 13) {
                try await world.change()
                let before = try await world.backups()
                fault.number = number
                let ended = try await world.drp(arguments, fault: fault)
                let place = "\(arguments[0]) \(arguments[1]), call \(number) of \(count)"
                // The last ones are of what a sweep only tries.
                if ended.status != 0 {
                    failures[arguments[0], default: 0] += 1
                    expectError(ended, status: 10, code: .repositoryDenied, naming: ["Permission denied"])
                }
                let kept = arguments[0] == "prune" ? before.listed.suffix(2) : before.listed[...]
                #expect(Set(try await world.backups().listed).isSuperset(of: kept), "\(place)")
                try await world.expectWhole(readData: true, place)
                let again = try await world.drp(arguments)
                #expect(again.status == 0, "\(place): \(again.stdout)\(again.stderr)")
                try await world.expectJournalAtRest()
            }
        }
        print("rights lost: \(failures.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }) failed")
        #expect(failures.count == 3)
    }

    @Test("a store that may not be read is denied, and not called damaged")
    func notReadable() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        var fault = FileFault(calls: "open", deed: .fail(EACCES), number: 1, lasts: true, below: [world.store])
        let verify = ["backup", "verify", "acme", "--read-data", "--identity", world.identity]
        for arguments in [verify, ["backup", "list", "acme"], ["backup", "show", "acme/latest"]] {
            expectError(
                try await world.drp(arguments, fault: fault), status: 10, code: .repositoryDenied,
                naming: ["Permission denied", world.store])
        }
        let count = try await world.trace(verify, like: fault).count
        let numbers = Campaign.choose(Array(1...count), sample: 4, seed: 14)
        for number in numbers {
            fault.number = number
            let ended = try await world.drp(verify, fault: fault)
            // Two packs are read at once, so that no two runs open in the same order; each opens as many.
            expectError(ended, status: 10, code: .repositoryDenied, naming: ["Permission denied", world.store])
        }
        print("backup verify: denied \(numbers.count) times, of \(count) files and folders that it opens")
    }

    @Test("64 file handles are enough for every command, or the error says that they are not")
    func fewHandles() async throws {
        let world = try DemoWorld.current
        let target = try await world.makeTarget("handles")
        try await world.backUp()
        let before = try await world.backups()
        let identity = ["--identity", world.identity]
        for arguments in [
            ["backup", "run", "acme"], ["backup", "verify", "acme", "--read-data"] + identity,
            ["restore", "run", "acme", "--target", target] + identity, DemoWorld.prune, ["keys", "rotate", "acme"],
            ["backup", "run", "acme"],
        ] {
            let ended = try await world.shell(["/usr/bin/prlimit", "--nofile=64:64", DemoWorld.binary] + arguments)
            #expect(ended.status == 0, "\(arguments): \(ended.status) \(ended.stdout)\(ended.stderr)")
        }
        // Too few for a backup, said by name. Below about 14, SwiftNIO ends the process while it starts.
        let few = try await world.shell(
            ["/usr/bin/prlimit", "--nofile=16:16", DemoWorld.binary, "backup", "run", "acme"])
        // Whichever comes first, a file or a connection.
        #expect(
            [13, 20].contains(few.status) && few.stderr.contains("Too many open files"), "\(few.status): \(few.stderr)")
        #expect(few.stderr.matches(of: /\bE\d{4}\b/).count == 1, "\(few.stderr)")
        #expect(Set(try await world.backups().listed).isSuperset(of: before.listed.suffix(1)))
        try await world.expectWhole()
        try await world.backUp()
        try await world.expectJournalAtRest()
    }
}
