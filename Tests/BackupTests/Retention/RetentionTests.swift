import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct RetentionTests {
    private static let paris = TimeZone(identifier: "Europe/Paris")!

    private static func date(_ text: String) throws -> Date { try Date(text, strategy: .iso8601) }

    /// - Parameter times: of backups 1, 2, …
    /// - Returns: what `RetentionDecision.text` says, by number.
    private func texts(
        _ keep: Policy.Keep?, _ times: [String], bad: Set<Int> = [], zone: TimeZone = paris,
        now: String = "2030-01-01T00:00:00Z", lastDrilled: Int? = nil, isHeld: Bool = false
    ) throws -> [Int: String] {
        let backups = try times.enumerated().map {
            RetentionCandidate(
                number: $0.offset + 1, instant: try Self.date($0.element), isGood: !bad.contains($0.offset + 1))
        }
        let retention = Retention(keep: keep, zone: zone, isHeld: isHeld, lastDrilled: lastDrilled)
        let decisions = retention.decisions(backups, now: try Self.date(now))
        #expect(decisions.count == backups.count)
        return Dictionary(uniqueKeysWithValues: decisions.map { ($0.backup.number, $0.text) })
    }

    @Test("without `keep`, or with an empty one, nothing is ever dropped")
    func noRules() throws {
        let times = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z", "2025-01-01T00:00:00Z"]
        for keep in [nil, Policy.Keep()] {
            #expect(
                try texts(keep, times) == [
                    1: "the policy has no rules", 2: "the policy has no rules",
                    3: "newest good, the policy has no rules",
                ])
        }
    }

    @Test("the newest of each day has the day's place; a day without backups costs none")
    func daily() throws {
        let times = [
            "2026-11-01T12:00:00Z", "2026-11-05T08:00:00Z", "2026-11-05T22:59:00Z", "2026-11-05T23:01:00Z",
            "2026-11-09T12:00:00Z",
        ]
        // 22:59 UTC is 23:59 in Paris, 23:01 is the next day there.
        #expect(
            try texts(Policy.Keep(daily: 3), times) == [
                1: "no rule keeps it", 2: "no rule keeps it", 3: "daily 3 of 3", 4: "daily 2 of 3",
                5: "newest good, daily 1 of 3",
            ])
        #expect(try texts(Policy.Keep(daily: 3), times, zone: .gmt)[4] == "daily 2 of 3")
        #expect(try texts(Policy.Keep(daily: 3), times, zone: .gmt)[3] == "no rule keeps it")
    }

    @Test("several rules: a backup stays for each of its reasons")
    func several() throws {
        let times = ["2025-06-30T02:00:00Z", "2026-10-31T02:00:00Z", "2026-11-30T02:00:00Z", "2026-12-01T02:00:00Z"]
        #expect(
            try texts(Policy.Keep(last: 2, monthly: 2, yearly: 5), times) == [
                1: "yearly 2 of 5", 2: "no rule keeps it", 3: "last 2 of 2, monthly 2 of 2",
                4: "newest good, last 1 of 2, monthly 1 of 2, yearly 1 of 5",
            ])
    }

    @Test("weeks are those of ISO 8601: Monday begins them, and one that spans New Year is one week")
    func weeks() throws {
        // 2026 has a week 53, from Monday 28 December to Sunday 3 January.
        let times = [
            "2026-12-27T12:00:00Z", "2026-12-28T12:00:00Z", "2026-12-31T12:00:00Z", "2027-01-01T12:00:00Z",
            "2027-01-03T22:30:00Z", "2027-01-03T23:30:00Z",
        ]
        #expect(
            try texts(Policy.Keep(weekly: 9), times) == [
                1: "weekly 3 of 9", 2: "no rule keeps it", 3: "no rule keeps it", 4: "no rule keeps it",
                5: "weekly 2 of 9", 6: "newest good, weekly 1 of 9",
            ])
        #expect(try texts(Policy.Keep(monthly: 9), times)[3] == "monthly 2 of 9")
        #expect(try texts(Policy.Keep(yearly: 9), times)[3] == "yearly 2 of 9")
        // 2021-01-03 ends week 53 of 2020; 2024-12-30 begins week 1 of 2025.
        #expect(
            try texts(Policy.Keep(weekly: 9), ["2020-12-28T12:00:00Z", "2021-01-03T12:00:00Z", "2021-01-04T12:00:00Z"])
                == [1: "no rule keeps it", 2: "weekly 2 of 9", 3: "newest good, weekly 1 of 9"])
        #expect(
            try texts(Policy.Keep(weekly: 9), ["2024-12-29T12:00:00Z", "2024-12-30T12:00:00Z", "2025-01-05T12:00:00Z"])
                == [1: "weekly 2 of 9", 2: "no rule keeps it", 3: "newest good, weekly 1 of 9"])
    }

    @Test("where the clock goes back, an hour that comes twice is two hours, and the day of 25 hours is one")
    func autumn() throws {
        // Paris, 2026-10-25: 02:30 comes at 00:30 UTC and at 01:30 UTC.
        let times = ["2026-10-24T22:10:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T22:50:00Z"]
        #expect(
            try texts(Policy.Keep(hourly: 3), times) == [
                1: "no rule keeps it", 2: "hourly 3 of 3", 3: "hourly 2 of 3", 4: "newest good, hourly 1 of 3",
            ])
        #expect(try texts(Policy.Keep(daily: 2), times)[1] == "no rule keeps it")
    }

    @Test("where the clock goes forward, the day of 23 hours ends when its own midnight comes")
    func spring() throws {
        // Paris, 2026-03-29: from 23:00 UTC of the 28th to 22:00 UTC of the 29th.
        let times = ["2026-03-28T22:59:00Z", "2026-03-28T23:01:00Z", "2026-03-29T21:59:00Z", "2026-03-29T22:01:00Z"]
        #expect(
            try texts(Policy.Keep(daily: 9), times) == [
                1: "daily 3 of 9", 2: "no rule keeps it", 3: "daily 2 of 9", 4: "newest good, daily 1 of 9",
            ])
    }

    @Test("hours are those of zones that are off by half an hour too")
    func halfHours() throws {
        let kolkata = try #require(TimeZone(identifier: "Asia/Kolkata"))
        let times = ["2026-05-01T00:20:00Z", "2026-05-01T00:40:00Z", "2026-05-01T01:20:00Z"]
        #expect(
            try texts(Policy.Keep(hourly: 2), times, zone: kolkata) == [
                1: "hourly 2 of 2", 2: "no rule keeps it", 3: "newest good, hourly 1 of 2",
            ])
    }

    @Test("one that is not good takes no place from one that is, and stays as long as if it were")
    func notGood() throws {
        let times = ["2026-11-01T02:00:00Z", "2026-11-02T02:00:00Z", "2026-11-03T02:00:00Z", "2026-11-04T02:00:00Z"]
        #expect(
            try texts(Policy.Keep(daily: 2), times, bad: [2, 4]) == [
                1: "daily 2 of 2", 2: "no rule keeps it", 3: "newest good, daily 1 of 2",
                4: "newest, daily 1 of 2",
            ])
        #expect(try texts(Policy.Keep(last: 1), times, bad: [1, 2, 3, 4])[4] == "newest, last 1 of 1")
        #expect(try texts(Policy.Keep(last: 1), times, bad: [2, 3, 4])[1] == "newest good, last 1 of 1")
    }

    @Test("a backup from the future stays, and takes no place from the others")
    func future() throws {
        let times = ["2026-11-01T02:00:00Z", "2026-11-02T02:00:00Z", "2036-11-02T02:00:00Z"]
        #expect(
            try texts(Policy.Keep(last: 1), times) == [
                1: "no rule keeps it", 2: "newest good, last 1 of 1", 3: "from the future",
            ])
        // A source's clock that is a little ahead is none.
        #expect(try texts(Policy.Keep(last: 1), times, now: "2036-11-02T01:56:00Z")[3] == "newest good, last 1 of 1")
    }

    @Test("after a clock was set back, the newest by time and the newest by number both stay")
    func clockSetBack() throws {
        let times = ["2026-11-05T02:00:00Z", "2026-11-04T02:00:00Z", "2026-11-03T02:00:00Z"]
        #expect(
            try texts(Policy.Keep(last: 1), times) == [
                1: "newest good, last 1 of 1", 2: "no rule keeps it", 3: "newest good",
            ])
    }

    @Test("a hold keeps all, and the last drilled backup stays")
    func pins() throws {
        let times = ["2026-11-01T02:00:00Z", "2026-11-02T02:00:00Z", "2026-11-03T02:00:00Z"]
        #expect(try texts(Policy.Keep(last: 1), times, lastDrilled: 1)[1] == "last drilled")
        #expect(try texts(Policy.Keep(last: 1), times, lastDrilled: 1)[2] == "no rule keeps it")
        #expect(try texts(Policy.Keep(last: 1), times, isHeld: true).values.allSatisfy { $0.hasPrefix("held") })
    }

    // MARK: Properties

    private struct World {
        var retention: Retention
        var backups: [RetentionCandidate]
        var now: Date

        init(_ random: inout SeededGenerator) {
            let zones = ["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "GMT"]
            func count() -> Int? { Bool.random(using: &random) ? Int.random(in: 1...9, using: &random) : nil }
            retention = Retention(
                keep: Policy.Keep(
                    last: count(), hourly: count(), daily: count(), weekly: count(), monthly: count(),
                    yearly: count()),
                zone: TimeZone(identifier: zones.randomElement(using: &random)!)!,
                isHeld: Int.random(in: 0..<20, using: &random) == 0, lastDrilled: count())
            var instant = Date(timeIntervalSince1970: Double.random(in: 0..<3e9, using: &random).rounded())
            let longest = [900.0, 7200, 90_000, 3e6].randomElement(using: &random)!
            backups = (0..<Int.random(in: 0..<60, using: &random)).map { index in
                // Now and then a clock goes back.
                instant += Double.random(in: -longest / 20..<longest, using: &random).rounded()
                return RetentionCandidate(
                    number: index + 1, instant: instant, isGood: Int.random(in: 0..<6, using: &random) > 0)
            }
            now = instant - (Int.random(in: 0..<5, using: &random) == 0 ? longest : -60)
        }

        func kept(_ backups: [RetentionCandidate]) -> [RetentionCandidate] {
            retention.decisions(backups, now: now).filter(\.isKept).map(\.backup)
        }
    }

    @Test("2,000 histories: the newest stay; a second plan drops nothing more; order does not matter")
    func properties() {
        var dropped = 0
        for seed in UInt64(0)..<2000 {
            var random = SeededGenerator(seed: seed)
            let world = World(&random)
            let kept = world.kept(world.backups)
            dropped += world.backups.count - kept.count
            for newest in [
                world.backups.last,
                world.backups.last { $0.isGood && $0.instant <= world.now + Retention.clockTolerance },
            ] {
                if let newest { #expect(kept.contains(newest), "seed \(seed)") }
            }
            #expect(world.kept(kept) == kept, "seed \(seed)")
            #expect(world.kept(world.backups.shuffled(using: &random)) == kept, "seed \(seed)")
        }
        #expect(dropped > 10_000, "or nothing was tested")
    }

    @Test("2,000 histories: rules that are more generous keep all that the others keep")
    func generous() {
        for seed in UInt64(0)..<2000 {
            var random = SeededGenerator(seed: seed)
            var world = World(&random)
            guard RetentionRule.allCases.contains(where: { $0.places(world.retention.keep!) != nil }) else { continue }
            let kept = Set(world.kept(world.backups))
            let fields: [WritableKeyPath<Policy.Keep, Int?>] = [
                \.last, \.hourly, \.daily, \.weekly, \.monthly, \.yearly,
            ]
            world.retention.keep![keyPath: fields.randomElement(using: &random)!, default: 0] += 1
            #expect(kept.isSubset(of: world.kept(world.backups)), "seed \(seed)")
        }
    }
}

extension Policy.Keep {
    fileprivate subscript(keyPath path: WritableKeyPath<Policy.Keep, Int?>, default value: Int) -> Int {
        get { self[keyPath: path] ?? value }
        set { self[keyPath: path] = newValue }
    }
}
