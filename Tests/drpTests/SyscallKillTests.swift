import DRPKit
import Foundation
import Glibc
import TestSupport
import Testing

/// SIGKILL of the real binary before a call that changes files. Here a seeded sample; with `DRP_CAMPAIGN=1`, as
/// `script/campaign` sets it, every call, and of the many at which a verification reads, 300.
@Suite("Killed at a system call", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct SyscallKillTests {
    struct Command: CustomTestStringConvertible, Sendable {
        var testDescription: String
        /// Kills when it is a sample.
        var sample: Int

        init(_ name: String, sample: Int) {
            testDescription = name
            self.sample = sample
        }
    }

    static let commands = [
        Command("backup run", sample: 26), Command("prune run", sample: 22), Command("keys rotate", sample: 14),
        Command("keys add", sample: 6), Command("backup verify", sample: 14), Command("catalog rebuild", sample: 14),
    ]
    private static let seed: UInt64 = 20_261_125

    @Test(
        "nothing older is lost, the same command works by itself afterwards, and no garbage stays", arguments: commands)
    func killed(command: Command) async throws {
        let world = try DemoWorld.current
        try world.keepTwo()
        // What does not change lies in a pack of its own.
        try await world.backUp()
        try await world.change()
        try await world.pruneAll()
        let size = world.storedBytes()
        let arguments = try await arguments(command, world)
        try await prepare(command, arguments, world)
        // What only reads is killed while it reads, too.
        let kill = FileFault(
            calls: FileFault.changes + (command.testDescription == "backup verify" ? ",open,pread" : ""), number: 0)
        let calls = try await world.trace(arguments, like: kill).count
        try #require(calls > 0, "\(command.testDescription) makes no such call")
        let chosen = Campaign.choose(Array(1...calls), sample: command.sample, most: 300, seed: Self.seed)
        var kills = 0
        for (cycle, number) in chosen.enumerated() {
            let place = "\(command.testDescription), call \(number) of \(calls)"
            try await prepare(command, arguments, world)
            let before = try await world.backups()
            var fault = kill
            fault.number = number
            let ended = try await world.drp(arguments, fault: fault)
            // No two runs make exactly as many.
            guard ended.status != 0 else { continue }
            try #require(ended.status == 137, "\(place): \(ended.stdout)\(ended.stderr)")
            kills += 1
            let after = try await world.backups()
            // The policy keeps the last two; nothing but prune takes any away.
            let kept = command.testDescription == "prune run" ? before.listed.suffix(2) : before.listed[...]
            #expect(Set(after.listed).isSuperset(of: kept), "\(place): \(before) -> \(after)")
            try await world.expectWhole(readData: cycle.isMultiple(of: 6), place)
            let now = world.now
            let again = try await world.drp(arguments)
            #expect(again.status == 0, "\(place): \(again.stdout)\(again.stderr)")
            if command.testDescription == "backup run" { world.expectSwept(since: now, place) }
            try await world.expectJournalAtRest()
        }
        print("\(command.testDescription): killed at \(kills) of \(calls) calls")
        #expect(kills >= chosen.count * 9 / 10)
        let after = try await world.backups()
        #expect(after.open == 0 && after.listed == after.files)
        if command.testDescription == "catalog rebuild" { #expect(after.succeeded == after.listed) }
        try await world.expectWhole()
        try await world.change()
        try await world.pruneAll()
        let grown = world.storedBytes() - size
        print("\(command.testDescription): the store has grown by \(grown) bytes")
        // Epochs of keys stay, the begun ones too; of 50 kB of new content a time, nothing.
        #expect(grown <= 20_000 + kills * (command.testDescription == "keys rotate" ? 4_000 : 0))
    }

    private func arguments(_ command: Command, _ world: DemoWorld) async throws -> [String] {
        switch command.testDescription {
        case "prune run": return DemoWorld.prune
        case "keys rotate": return ["keys", "rotate", "acme"]
        case "keys add":
            let made = try await world.drp("keys", "init", "--identity", "drill.key")
            let recipient = try #require(made.stdout.firstMatch(of: /drp1[a-z0-9]+/).map { String($0.0) })
            return ["keys", "add", "acme", "--recipient", recipient, "--identity", world.identity]
        // A share is the only one that writes to the journal.
        case "backup verify":
            return ["backup", "verify", "acme", "--sample", "50%", "--read-data", "--identity", world.identity]
        case "catalog rebuild": return ["catalog", "rebuild", "acme"]
        default: return ["backup", "run", "acme"]
        }
    }

    /// So that the command has something to do.
    private func prepare(_ command: Command, _ arguments: [String], _ world: DemoWorld) async throws {
        switch command.testDescription {
        case "backup run": try await world.change()
        case "prune run", "keys rotate":
            try await world.change()
            try await world.backUp()
        case "keys add":
            // Not there the first time, and after some of the kills.
            _ = try await world.drp("keys", "remove", "acme", "--recipient", arguments[4])
        case "catalog rebuild": try await world.writeJournal("DELETE FROM backups")
        default: break
        }
    }
}

extension DemoWorld {
    /// Seconds by the clock of file systems.
    fileprivate var now: Int { Int(SystemClock().now.timeIntervalSince1970) }

    /// Temporary files of a minute ago are gone since the last backup; a younger one may be another machine's.
    fileprivate func expectSwept(since begun: Int, _ place: String, sourceLocation: SourceLocation = #_sourceLocation) {
        for name in Self.files(below: "\(store)/.drp-tmp") {
            var status = stat()
            guard stat("\(store)/.drp-tmp/\(name)", &status) == 0 else { continue }
            let age = begun - status.st_ctim.tv_sec
            #expect(age <= 61, "\(place): \(name) has stayed for \(age) s", sourceLocation: sourceLocation)
        }
    }
}
