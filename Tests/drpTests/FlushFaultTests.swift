import DRPKit
import Foundation
import Glibc
import TestSupport
import Testing

/// After a flush that failed, the kernel may drop what it could not write and call the next flush a success: what was in
/// the file is lost then, and here it is. A sample; with `DRP_CAMPAIGN=1` every flush.
@Suite("A flush that fails", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct FlushFaultTests {
    private static let seed: UInt64 = 4

    @Test(
        "once: the command says so, nothing half stored is visible, and the next run works by itself",
        arguments: [("backup run", 8), ("prune run", 4), ("keys rotate", 4)])
    func once(command: String, sample: Int) async throws {
        let world = try DemoWorld.current
        try world.keepTwo()
        let words =
            command == "prune run" ? DemoWorld.prune : command.split(separator: " ").map(String.init) + ["acme"]
        var fault = FileFault(calls: FileFault.flushes, deed: .fail(EIO), number: 0)
        for _ in 0..<2 { try await prepare(world) }
        let flushes = try await world.trace(words, like: fault)
        // Half of a sample in the store, which is where backups are. SQLite does not tell of every folder that it flushes.
        let inStore = flushes.indices.filter { flushes[$0].contains(" \(world.store)") }
        let others = flushes.indices.filter {
            !inStore.contains($0) && (Campaign.isFull || !flushes[$0].hasSuffix(" \(world.state)"))
        }
        try #require(!inStore.isEmpty && !others.isEmpty)
        let chosen = [inStore, others].flatMap { Campaign.choose($0, sample: sample / 2, seed: Self.seed) }
        var (failures, unnoticed, unshipped) = (0, 0, 0)
        let repository = try world.repository(of: "acme")
        for index in chosen {
            try await prepare(world)
            let before = try await world.backups()
            fault.number = index + 1
            let log = "\(world.folder)/flushes"
            // None before the first.
            try? FileManager.default.removeItem(atPath: log)
            let ended = try await world.drp(words, fault: fault, log: log)
            // No two runs flush exactly as often.
            guard let path = try path(of: index, log) else { continue }
            let place = "\(command), flush \(index + 1) of \(flushes.count), \(path)"
            // The work was done by then.
            let isUnshipped = ended.status == 0 && ended.stderr.contains("no bootstrap bundle in")
            if isUnshipped {
                unshipped += 1
            } else if ended.status == 0 {
                // A lease that cannot be given back, in journal or store, ends with its process.
                #expect(
                    path == world.state || path.hasPrefix(world.journal) || path == repository,
                    "\(place): \(ended.stdout)")
                unnoticed += 1
            } else {
                failures += 1
                expectNamed(ended, path, place, world)
            }
            let after = try await world.backups()
            let isLate = isUnshipped || path.hasPrefix(world.state) || path.hasSuffix("/backups") || path == repository
            let kept = command == "prune run" ? before.listed.suffix(2) : before.listed[...]
            #expect(Set(after.listed).isSuperset(of: kept), "\(place)")
            // With its name, a whole backup may be there without its word in the journal, as after a kill.
            #expect(isLate || after.listed.allSatisfy(before.listed.contains), "\(place)")
            #expect(DemoWorld.files(below: "\(world.store)/.drp-tmp").isEmpty, "\(place)")
            try await world.expectWhole(readData: true, place)
            let again = try await world.drp(words)
            #expect(again.status == 0, "\(place): \(again.stdout)\(again.stderr)")
            try await world.expectJournalAtRest()
        }
        print(
            "\(command): \(failures) of \(chosen.count) flushes failed it, of \(flushes.count); \(unnoticed) unnoticed, "
                + "\(unshipped) of the bundle")
        #expect(failures + unshipped >= chosen.count { inStore.contains($0) && !flushes[$0].hasSuffix(repository) })
        try await world.backUp()
        try await world.expectWhole()
        #expect(DemoWorld.files(below: "\(world.store)/.drp-tmp").isEmpty)
        #expect(try await world.drp("events", "verify").status == 0)
    }

    /// One error: where, what, and the status of the table.
    private func expectNamed(_ ended: Ended, _ path: String, _ place: String, _ world: DemoWorld) {
        let said = ended.stdout + ended.stderr
        let (status, code, name): (Int32, ErrorCode, String) =
            if path.hasPrefix(world.store) {
                (13, .storeUnreachable, world.store)
            } else if path.contains("/keys") {
                (1, .failed, "\(world.state)/keys/acme")
            } else {
                (1, .journalUnusable, world.journal)
            }
        #expect(ended.status == status && said.contains(code.rawValue), "\(place): \(ended.status), \(said)")
        #expect(said.contains(name) && said.contains("next: "), "\(place): \(said)")
        #expect(said.lowercased().contains("i/o error") || said.contains("Input/output error"), "\(place): \(said)")
        #expect(said.matches(of: /\bE\d{4}\b/).count == 1, "\(place): \(said)")
    }

    /// What the flush was about that met the fault; nil if there were fewer.
    private func path(of index: Int, _ log: String) throws -> String? {
        let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
        guard index < lines.count else { return nil }
        return String(lines[index].split(separator: " ", maxSplits: 1)[1])
    }

    private func prepare(_ world: DemoWorld) async throws {
        try await world.change()
        try await world.backUp()
        try await world.change()
    }
}
