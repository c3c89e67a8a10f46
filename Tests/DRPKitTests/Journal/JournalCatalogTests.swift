import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("The table of backups and the stores")
struct JournalCatalogTests {
    private static let start = Date(timeIntervalSince1970: 1_795_000_000.123)

    /// Backup `number`, begun so many hours after the first.
    private static func backup(_ number: Int, hour: Int? = nil) -> CatalogBackup {
        let begun = start.addingTimeInterval(TimeInterval(hour ?? number) * 3600)
        return CatalogBackup(
            figures: BackupFigures(
                number: number, instant: begun.addingTimeInterval(1), sourceBytes: ByteCount(100),
                newBytes: ByteCount(50), storedBytes: ByteCount(20)),
            started: begun, finished: begun.addingTimeInterval(9))
    }

    @Test("what the store holds is adopted once, with the figures of its manifest, however often it is asked")
    func adoptsOnce() async throws {
        try await withJournal { journal, _, _ in
            let found = [Self.backup(2), Self.backup(1)]
            #expect(try await journal.adoptBackups(client: acme, store: paris, found) == [1, 2])
            let (entries, events) = (try await journal.backups(), try await journal.events())
            #expect(try await journal.adoptBackups(client: acme, store: paris, found) == [])
            let change = try await journal.reconcileBackups(
                client: acme, store: paris, found: found, unreadable: [])
            #expect(change.known == [1, 2] && change.adopted.isEmpty && change.missing.isEmpty)
            #expect(try await journal.backups() == entries)
            #expect(try await journal.events() == events)
            #expect(events.map(\.kind) == ["backup.adopted", "backup.adopted"])
            let entry = entries[1]
            #expect(entry.number == 1 && entry.outcome == .ok && entry.storedBytes == ByteCount(20))
            #expect(entry.started == JournalDate.rounded(Self.backup(1).started))
            #expect(entry.instant == JournalDate.rounded(Self.backup(1).figures.instant))
            #expect(try await journal.verifyEvents().problems.isEmpty)
        }
    }

    @Test("a manifest whose process died finds the entry of its own try, open or closed as failed")
    func findsItsTry() async throws {
        try await withJournal { journal, _, _ in
            for number in 1...3 {
                _ = try await journal.beginBackup(client: acme, store: paris, started: Self.backup(number).started)
                if number == 1 { try await journal.closeAbandonedBackups(client: acme) }
            }
            #expect(
                try await journal.adoptBackups(client: acme, store: paris, [Self.backup(1), Self.backup(2)]) == [1, 2])
            try await journal.closeAbandonedBackups(client: acme)
            let entries = try await journal.backups()
            #expect(entries.map(\.number) == [nil, 2, 1])
            #expect(entries.map(\.outcome) == [.failed, .ok, .ok])
            #expect(entries.allSatisfy { $0.finished != nil } && entries[2].errorCode == nil)
        }
    }

    @Test("what the store lacks is marked, stays, and loses the mark when it is back; what cannot be read is neither")
    func missing() async throws {
        try await withJournal { journal, clock, _ in
            let all = (1...3).map { Self.backup($0) }
            try await journal.adoptBackups(client: acme, store: paris, all)
            try await journal.adoptBackups(client: birch, store: paris, all)
            var change = try await journal.reconcileBackups(
                client: acme, store: paris, found: [all[0]], unreadable: [2])
            #expect(change.known == [1] && change.missing == [3])
            let marked = try await journal.backups(client: acme)
            #expect(marked.map(\.missing) == [JournalDate.rounded(clock.now), nil, nil])
            clock.advance(60)
            _ = try await journal.reconcileBackups(client: acme, store: paris, found: [all[0]], unreadable: [2])
            #expect(try await journal.backups(client: acme) == marked)
            change = try await journal.reconcileBackups(client: acme, store: paris, found: all, unreadable: [])
            #expect(change.known == [1, 2, 3] && change.returned == [3] && change.adopted.isEmpty)
            #expect(try await journal.backups().allSatisfy { $0.missing == nil })
            #expect(
                try await journal.events(client: acme).map(\.kind).suffix(2) == ["backup.missing", "backup.returned"])
        }
    }

    @Test("a repository that was made anew counts from 1 again, and its backups are others")
    func repositoryMadeAnew() async throws {
        try await withJournal { journal, _, _ in
            try await journal.adoptBackups(client: acme, store: paris, [Self.backup(1), Self.backup(2)])
            let change = try await journal.reconcileBackups(
                client: acme, store: paris, found: [Self.backup(1, hour: 50)], unreadable: [])
            #expect(change.adopted == [1] && change.missing == [1, 2])
            #expect(try await journal.backups().count == 3)
            let id = try await journal.beginBackup(client: acme, store: paris)
            try await journal.finishBackup(id, Self.backup(2, hour: 51).figures)
            let gap = try await journal.catalogGap(client: acme, store: paris)
            #expect(gap.known == [1, 2] && !gap.hasOpenEntries)
        }
    }
}
