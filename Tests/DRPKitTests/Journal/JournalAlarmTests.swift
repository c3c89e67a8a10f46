import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite struct JournalAlarmTests {
    private let subject = AlarmSubject(
        .vanished, client: ClientID(unchecked: "acme"), store: StoreName(unchecked: "vault"))

    private func events(_ journal: Journal) async throws -> [String] { try await journal.events().map(\.kind) }

    @Test("an alarm is raised once, keeps its time when its text changes, and ends by itself")
    func once() async throws {
        try await withJournal { journal, clock, _ in
            for _ in 0..<3 { try await journal.setAlarm(subject, "1 is gone") }
            let began = clock.now
            clock.advance(60)
            try await journal.setAlarm(subject, "2 are gone")
            let open = try await journal.alarms()
            #expect(open.map(\.text) == ["2 are gone"] && open.map(\.since) == [began])
            try await journal.setAlarm(subject, nil)
            try await journal.setAlarm(subject, nil)
            #expect(try await journal.alarms().isEmpty)
            #expect(try await events(journal) == ["alarm.raised", "alarm.raised", "alarm.ended"])
        }
    }

    @Test("what a person has ended with a reason is not raised again before it has changed")
    func settled() async throws {
        try await withJournal { journal, _, _ in
            try await journal.setAlarm(subject, "1 is gone")
            let number = try #require(try await journal.alarms().first?.id)
            #expect(try await journal.endAlarm(number + 1, reason: "none") == nil)
            #expect(try await journal.endAlarm(number, reason: "it was me")?.text == "1 is gone")
            try await journal.setAlarm(subject, "1 is gone")
            #expect(try await journal.alarms().isEmpty)
            // Another store's is another alarm.
            var other = subject
            other.store = StoreName(unchecked: "attic")
            try await journal.setAlarm(other, "1 is gone")
            try await journal.setAlarm(subject, "2 are gone")
            #expect(try await journal.alarms().map(\.text) == ["1 is gone", "2 are gone"])
            // It went by itself: a new one is new.
            try await journal.setAlarm(subject, nil)
            try await journal.setAlarm(subject, "1 is gone")
            #expect(try await journal.alarms().count == 2)
        }
    }

    @Test("a client's alarms are its own and those of whole stores")
    func ofClient() async throws {
        try await withJournal { journal, _, _ in
            try await journal.setAlarm(subject, "gone")
            try await journal.setAlarm(AlarmSubject(.lifecycle, store: StoreName(unchecked: "vault")), "a rule")
            try await journal.setAlarm(AlarmSubject(.unlocked, client: ClientID(unchecked: "birch")), "no lock")
            #expect(
                try await journal.alarms(client: ClientID(unchecked: "acme")).map(\.kind) == [.vanished, .lifecycle])
            #expect(try await journal.alarms().count == 3)
        }
    }
}
