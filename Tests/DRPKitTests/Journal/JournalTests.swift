import Foundation
import TestSupport
import Testing

@testable import DRPKit

/// A journal in a folder of its own, which is removed afterwards.
func withJournal(_ body: (_ journal: Journal, _ clock: HandClock, _ folder: String) async throws -> Void) async throws {
    let folder = NSTemporaryDirectory() + "drp-journal-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let clock = HandClock()
    try await body(try await Journal.open(folder: folder, clock: clock), clock, folder)
}

let acme = ClientID(unchecked: "acme")
let birch = ClientID(unchecked: "birch")
let paris = StoreName(unchecked: "paris")

@Suite("Journal")
struct JournalTests {
    @Test("folder and file are for the account of drp alone")
    func modes() async throws {
        try await withJournal { journal, _, folder in
            #expect(try mode(folder) == 0o700)
            #expect(try mode(journal.path) == 0o600)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: journal.path)
            _ = try await Journal.open(folder: folder, clock: HandClock())
            #expect(try mode(journal.path) == 0o600)
        }
    }

    @Test("a capture whose process died is closed by the next one, and no other client's")
    func abandonedBackups() async throws {
        try await withJournal { journal, _, _ in
            _ = try await journal.beginBackup(client: acme, store: paris)
            _ = try await journal.beginBackup(client: birch, store: paris)
            try await journal.closeAbandonedBackups(client: acme)
            try await journal.closeAbandonedBackups(client: acme)
            let closed = try #require(try await journal.backups(client: acme).first)
            #expect(closed.outcome == .failed && closed.finished != nil && closed.errorCode == .failed)
            #expect(try await journal.backups(client: birch).first?.finished == nil)
            #expect(try await journal.verifyEvents().problems.isEmpty)
        }
    }

    @Test("a folder in which everybody may write, and a journal that is a link, are refused")
    func hostileFolder() async throws {
        try await withJournal { journal, clock, folder in
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
            await #expect(throws: JournalError.self) { try await Journal.open(folder: folder, clock: clock) }
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder)
            try FileManager.default.moveItem(atPath: journal.path, toPath: folder + "/other")
            try FileManager.default.createSymbolicLink(atPath: journal.path, withDestinationPath: folder + "/other")
            let error = await #expect(throws: JournalError.self) {
                try await Journal.open(folder: folder, clock: clock)
            }
            #expect(error?.reason == .denied)
        }
    }

    @Test("a backup is on record from its start, with its figures or its error at its end")
    func backups() async throws {
        try await withJournal { journal, clock, _ in
            let started = clock.now
            let good = try await journal.beginBackup(client: acme, store: paris)
            #expect(try await journal.backups()[0].finished == nil)
            clock.advance(10)
            let figures = BackupFigures(
                number: 7, instant: started, sourceBytes: ByteCount(100), newBytes: ByteCount(50),
                storedBytes: ByteCount(20))
            try await journal.finishBackup(good, figures)
            let bad = try await journal.beginBackup(client: birch, store: paris)
            try await journal.failBackup(bad, JournalError(.full, "/x"))
            let entries = try await journal.backups()
            #expect(entries.map(\.id) == [bad, good])
            #expect(entries[1].instant == JournalDate.rounded(started))
            #expect(entries[1].finished == JournalDate.rounded(started.addingTimeInterval(10)))
            #expect(entries[1].storedBytes == ByteCount(20))
            #expect(entries[1].outcome == .ok)
            #expect(entries[0].outcome == .failed)
            #expect(entries[0].errorCode == .journalUnusable)
            #expect(entries[0].error == "the disk of the journal /x is full")
            #expect(try await journal.backups(client: acme).map(\.id) == [good])
            await #expect(throws: JournalError.self) { try await journal.finishBackup(bad, figures) }
            let kinds = try await journal.events().map(\.kind)
            #expect(kinds == ["backup.started", "backup.finished", "backup.started", "backup.failed"])
        }
    }

    @Test("the text of an error that is not ours never reaches the journal")
    func foreignErrors() async throws {
        struct Foreign: Error, CustomStringConvertible { var description: String { "mongodb://u:canary@h" } }
        try await withJournal { journal, _, _ in
            let id = try await journal.beginBackup(client: acme, store: paris)
            try await journal.failBackup(id, Foreign())
            #expect(try await journal.backups()[0].error == "an unexpected error of type Foreign")
            #expect(try !Data(contentsOf: URL(fileURLWithPath: journal.path)).contains(Data("canary".utf8)))
        }
    }

    @Test("the scheduler gets the job of each client and kind that was started last, also after the clock was set back")
    func jobs() async throws {
        try await withJournal { journal, clock, _ in
            let due = JournalDate.rounded(clock.now)
            let first = try await journal.beginJob(client: acme, kind: "backup", due: due)
            try await journal.finishJob(first)
            let second = try await journal.beginJob(client: acme, kind: "backup", due: due.addingTimeInterval(86_400))
            let third = try await journal.beginJob(client: birch, kind: "backup", due: due)
            try await journal.finishJob(third, error: JournalError(.busy, "x"))
            let last = try await journal.lastJobs()
            #expect(last.map(\.id) == [second, third])
            #expect(last[0].due == due.addingTimeInterval(86_400))
            #expect(last.map(\.outcome) == [nil, .failed])
            #expect(try await journal.jobs(client: acme).count == 2)
            let fourth = try await journal.beginJob(client: acme, kind: "backup", due: due.addingTimeInterval(-9000))
            #expect(try await journal.lastJobs().map(\.id) == [fourth, third])
        }
    }

    @Test("the latest placement wins, its epoch rises at each switch, and a run places its client once")
    func placements() async throws {
        try await withJournal { journal, _, _ in
            let (dc3, dc5) = (SiteName(unchecked: "dc3"), SiteName(unchecked: "dc5"))
            let run = RunID("20261125-093012-acme-migrate-4f2a")
            #expect(try await journal.placement(of: acme) == nil)
            try await journal.place(client: acme, site: dc5, services: ["mongo": "127.0.0.12:27017"], run: run)
            try await journal.place(client: acme, site: dc5, services: [:], run: run)
            try await journal.place(client: birch, site: dc5, services: [:], run: nil)
            #expect(try await journal.placement(of: acme)?.epoch == 1)
            try await journal.place(client: acme, site: dc3, services: [:], run: nil)
            let latest = try await journal.placements()
            #expect(latest.map(\.site) == [dc3, dc5])
            #expect(latest.map(\.epoch) == [2, 1])
        }
    }

    @Test("dates keep their milliseconds and sort as text", arguments: [0, 0.001, 0.9996, -0.001, 1_795_599_012.345])
    func dates(seconds: TimeInterval) {
        let date = Date(timeIntervalSince1970: seconds)
        let text = JournalDate.text(date)
        #expect(JournalDate.parse(text) == JournalDate.rounded(date))
        #expect(JournalDate.text(date.addingTimeInterval(0.002)) > text)
    }

    @Test(
        "only the written form of a date is read",
        arguments: [
            "", "2026-11-25", "2026-11-25T09:30:12Z", "2026-11-25T09:30:12.345+", "2026-13-25T09:30:12.345Z",
            "2026-11-25T09:30:12.-45Z", "2026-11-25T09:30:12,345Z",
        ])
    func badDates(text: String) {
        #expect(JournalDate.parse(text) == nil)
        #expect(JournalDate.text(Date(timeIntervalSince1970: 1_795_599_012.345)) == "2026-11-25T09:30:12.345Z")
    }

    @Test("a run's name tells when, who and what, and nothing else can be one")
    func runNames() {
        let id = RunID(declared: HandClock().now, client: acme, runbook: "migrate", salt: 0x4f2a)
        #expect(id.text == "20261125-093012-acme-migrate-4f2a")
        #expect(RunID(id.text) == id)
        for text in ["", "../x", "A", "a b", String(repeating: "a", count: 161)] { #expect(RunID(text) == nil) }
    }

    private func mode(_ path: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0
    }
}
