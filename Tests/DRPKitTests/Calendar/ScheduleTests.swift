import Foundation
import TestSupport
import Testing

@testable import DRPKit

/// `2026-03-29T01:00Z`, the form of all tables here.
private func instant(_ text: String) throws -> Date {
    try #require(try? Date(text.replacing("Z", with: ":00Z"), strategy: .iso8601), "\(text)")
}

/// The next times due, in the form of the tables.
private func due(_ schedule: String, after: String, count: Int) throws -> [String] {
    let schedule = try Schedule(schedule)
    var date = try instant(after)
    return (0..<count).map { _ in
        date = schedule.next(after: date)
        return date.formatted(.iso8601).replacing(":00Z", with: "Z")
    }
}

@Suite struct ScheduleTests {
    private static let zones = ["Europe/Paris", "Europe/Oslo", "America/New_York"]
    /// Zones with changes of half an hour, with changes at midnight, and with offsets of quarters.
    private static let oddZones = ["Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "America/St_Johns"]

    @Test(
        "a time that the clock leaves out is due when the gap ends; one that comes twice, the first time",
        arguments: [
            (
                "daily 02:30 Europe/Paris", "2026-03-27T12:00Z",
                ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]
            ),
            (
                "daily 02:30 Europe/Oslo", "2026-03-27T12:00Z",
                ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]
            ),
            (
                "daily 02:30 Europe/Paris", "2026-10-23T12:00Z",
                ["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"]
            ),
            (
                "daily 02:30 Europe/Oslo", "2026-10-23T12:00Z",
                ["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"]
            ),
            (
                "daily 02:30 America/New_York", "2026-03-06T12:00Z",
                ["2026-03-07T07:30Z", "2026-03-08T07:00Z", "2026-03-09T06:30Z"]
            ),
            (
                "daily 01:30 America/New_York", "2026-10-30T12:00Z",
                ["2026-10-31T05:30Z", "2026-11-01T05:30Z", "2026-11-02T06:30Z"]
            ),
            (
                "30 1-3 * * * Europe/Paris", "2026-03-28T23:00Z",
                ["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"]
            ),
            (
                "*/20 2 * * * Europe/Oslo", "2026-03-28T23:00Z",
                ["2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T00:20Z"]
            ),
            (
                "*/30 2 * * * Europe/Oslo", "2026-10-24T20:00Z",
                ["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-26T01:00Z"]
            ),
            // Here clocks go from 00:00 to 01:00, and back from 24:00 to 23:00.
            (
                "daily 00:30 Africa/Cairo", "2026-04-23T12:00Z",
                ["2026-04-23T22:00Z", "2026-04-24T21:30Z", "2026-04-25T21:30Z"]
            ),
            (
                "daily 23:30 Africa/Cairo", "2026-10-29T12:00Z",
                ["2026-10-29T20:30Z", "2026-10-30T21:30Z", "2026-10-31T21:30Z"]
            ),
        ])
    func clockChanges(schedule: String, after: String, wanted: [String]) throws {
        #expect(try due(schedule, after: after, count: wanted.count) == wanted)
    }

    @Test(
        "a run in every hour follows the face of the clock, and is never silent for over an hour",
        arguments: [
            (
                "30 * * * * Europe/Paris", "2026-03-28T23:40Z",
                ["2026-03-29T00:30Z", "2026-03-29T01:30Z", "2026-03-29T02:30Z"]
            ),
            (
                "30 * * * * Europe/Paris", "2026-10-24T23:40Z",
                ["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"]
            ),
            (
                "15 * * * * America/New_York", "2026-11-01T04:20Z",
                ["2026-11-01T05:15Z", "2026-11-01T06:15Z", "2026-11-01T07:15Z"]
            ),
            // The gap is half an hour, and 02:15 falls into it.
            (
                "15 * * * * Australia/Lord_Howe", "2026-10-03T14:00Z",
                ["2026-10-03T14:45Z", "2026-10-03T15:45Z", "2026-10-03T16:15Z"]
            ),
            (
                "15 * * * * Australia/Lord_Howe", "2026-04-04T14:00Z",
                ["2026-04-04T14:15Z", "2026-04-04T15:15Z", "2026-04-04T15:45Z"]
            ),
        ])
    func everyHour(schedule: String, after: String, wanted: [String]) throws {
        #expect(try due(schedule, after: after, count: wanted.count) == wanted)
    }

    @Test("29 February is a day like others, and the only one of a schedule that names it")
    func leapDays() throws {
        #expect(
            try due("daily 12:00", after: "2028-02-28T00:00Z", count: 3) == [
                "2028-02-28T12:00Z", "2028-02-29T12:00Z", "2028-03-01T12:00Z",
            ])
        #expect(
            try due("0 12 29 2 *", after: "2026-01-01T00:00Z", count: 2) == ["2028-02-29T12:00Z", "2032-02-29T12:00Z"])
        // 2100 is no leap year.
        #expect(try due("0 12 29 2 *", after: "2096-03-01T00:00Z", count: 1) == ["2104-02-29T12:00Z"])
        // A Sunday as well: 40 years on.
        #expect(
            try due("0 12 29 2 */7", after: "2026-01-01T00:00Z", count: 4).map { $0.prefix(4) } == [
                "2032", "2060", "2088", "2128",
            ])
    }

    @Test(
        "daily at any hour, each day of a change has one run: at the first moment that shows the time or later",
        arguments: zones + ["Africa/Cairo", "Australia/Lord_Howe"])
    func everyTimeOfDay(zone: String) throws {
        let timeZone = try #require(TimeZone(identifier: zone))
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = timeZone
        var transition = try instant("2026-01-01T00:00Z")
        for _ in 0..<2 {
            transition = try #require(timeZone.nextDaylightSavingTimeTransition(after: transition))
            let start = transition.addingTimeInterval(-48 * 3600)
            // By local day, each half hour from its beginning.
            var days: [Int: [(shown: Int, at: Date)]] = [:]
            for step in 0..<(2 * 96) {
                let at = start.addingTimeInterval(Double(step) * 1800)
                let shown = calendar.dateComponents([.day, .hour, .minute], from: at)
                days[shown.day ?? 0, default: []].append(((shown.hour ?? 0) * 60 + (shown.minute ?? 0), at))
            }
            for half in 0..<48 {
                let text = String(format: "daily %02d:%02d \(zone)", half / 2, half % 2 * 30)
                let schedule = try Schedule(text)
                // The first and the last of these days may not be whole.
                for day in days.values.sorted(by: { $0[0].at < $1[0].at }).dropFirst().dropLast() {
                    // After a clock that goes back over midnight, a day stands in two pieces.
                    guard let wanted = day.first(where: { $0.shown >= half * 30 }) else { continue }
                    #expect(schedule.next(after: wanted.at.addingTimeInterval(-1)) == wanted.at, "\(text) \(wanted.at)")
                    #expect(schedule.previous(atOrBefore: wanted.at) == wanted.at, "\(text) \(wanted.at)")
                }
            }
        }
    }

    @Test("daily runs 365 times in 2026, once a day, wherever", arguments: zones + oddZones)
    func countsDays(zone: String) throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: zone))
        func newYear(_ year: Int) throws -> Date {
            try #require(calendar.date(from: DateComponents(year: year, month: 1, day: 1)))
        }
        for time in ["00:00", "00:30", "01:59", "02:30", "23:59"] {
            let schedule = try Schedule("daily \(time) \(zone)")
            var days: Set<Int> = []
            var count = 0
            let end = try newYear(2027)
            var date = schedule.next(after: try newYear(2026).addingTimeInterval(-1))
            while date < end {
                count += 1
                days.insert(try #require(calendar.ordinality(of: .day, in: .year, for: date)))
                date = schedule.next(after: date)
            }
            #expect(count == 365 && days.count == 365, "\(schedule)")
        }
    }

    @Test(
        "hourly runs are never more than 60 minutes apart, through every change of the clock",
        arguments: zones + oddZones)
    func neverSilent(zone: String) throws {
        let timeZone = try #require(TimeZone(identifier: zone))
        var transition = try instant("2026-01-01T00:00Z")
        for _ in 0..<2 {
            guard let next = timeZone.nextDaylightSavingTimeTransition(after: transition) else { return }
            transition = next
            for minute in ["0", "1", "15", "29", "30", "45", "59", "10,50"] {
                let schedule = try Schedule("\(minute) * * * * \(zone)")
                var date = transition.addingTimeInterval(-12 * 3600)
                while date < transition.addingTimeInterval(12 * 3600) {
                    let later = schedule.next(after: date)
                    #expect(later > date && later.timeIntervalSince(date) <= 3600, "\(schedule) after \(date)")
                    #expect(schedule.previous(atOrBefore: later) == later, "\(schedule) at \(later)")
                    date = later
                }
            }
        }
    }

    @Test("the next time is strictly after, the previous one not; between the two there is none")
    func properties() throws {
        let seed: UInt64 = 0x5eed_0011
        var random = SeededGenerator(seed: seed)
        let texts = [
            "daily 02:30", "30 2 * * mon-fri", "*/7 1-3 * * *", "0 0 1 * *", "15 * * * *", "0 12 29 2 *",
            "5,35 2 13 * fri", "59 23 31 12 *",
        ]
        for text in texts {
            for zone in Self.zones + Self.oddZones {
                let schedule = try Schedule("\(text) \(zone)")
                for _ in 0..<12 {
                    let date = Date(timeIntervalSince1970: Double.random(in: 1.767e9...1.8e9, using: &random))
                    let (next, last) = (schedule.next(after: date), schedule.previous(atOrBefore: date))
                    let point = "\(schedule) at \(date), seed \(seed)"
                    #expect(next > date && last <= date, "\(point)")
                    #expect(schedule.next(after: last) == next, "\(point)")
                    #expect(schedule.previous(atOrBefore: next) == next, "\(point)")
                    #expect(schedule.previous(atOrBefore: next.addingTimeInterval(-0.001)) == last, "\(point)")
                    #expect(next.timeIntervalSince1970.truncatingRemainder(dividingBy: 60) == 0, "\(point)")
                }
            }
        }
    }

    @Test("a schedule is stored as it was written, and one without a zone is in UTC")
    func storesText() throws {
        let schedule = try Schedule("30 2 * * mon-fri Europe/Paris")
        let data = try JSONEncoder().encode([schedule])
        #expect(String(decoding: data, as: UTF8.self) == #"["30 2 * * mon-fri Europe\/Paris"]"#)
        #expect(try JSONDecoder().decode([Schedule].self, from: data) == [schedule])
        #expect(throws: (any Error).self) { try JSONDecoder().decode([Schedule].self, from: Data(#"["x"]"#.utf8)) }
        #expect(try due("daily 02:30", after: "2026-07-01T00:00Z", count: 1) == ["2026-07-01T02:30Z"])
        #expect(try due("daily 02:30 UTC", after: "2026-07-01T00:00Z", count: 1) == ["2026-07-01T02:30Z"])
    }
}
