import Foundation
import Testing

@testable import DRPKit

@Suite("BusinessHours")
struct BusinessHoursTests {
    private static let paris = TimeZone(identifier: "Europe/Paris")!

    private static func at(_ text: String) -> Date { JournalDate.parse(text)! }

    @Test(
        "hours are those of the client's zone, also when its clocks have changed",
        arguments: [
            // A Thursday in winter: Paris is an hour ahead.
            ("2026-11-26T06:59:59.000Z", false), ("2026-11-26T07:00:00.000Z", true),
            ("2026-11-26T17:59:59.000Z", true), ("2026-11-26T18:00:00.000Z", false),
            // In summer two.
            ("2026-07-02T06:00:00.000Z", true), ("2026-07-02T17:00:00.000Z", false),
            // Saturday morning, and Sunday.
            ("2026-11-28T09:00:00.000Z", true), ("2026-11-28T12:00:00.000Z", false),
            ("2026-11-29T09:00:00.000Z", false),
        ])
    func contains(time: String, isInside: Bool) throws {
        let hours = try BusinessHours("Mon-Fri 08:00-19:00, Sat 09:00-12:30", zone: Self.paris)
        #expect(hours.contains(Self.at(time)) == isInside)
    }

    @Test("days may go over the end of the week, and a day to its end")
    func overTheEnd() throws {
        let hours = try BusinessHours("sat-mon 00:00-24:00", zone: .gmt)
        let days = (22...28).map { Self.at("2026-11-\($0)T23:59:59.000Z") }
        #expect(days.map(hours.contains) == [true, true, false, false, false, false, true])
        #expect(
            try BusinessHours("Mon 08:00-09:00", zone: .gmt).contains(Date(timeIntervalSince1970: -259_200 + 30_000)))
    }

    @Test(
        "what is no time of work is refused",
        arguments: [
            "", "Mon", "08:00-19:00", "Mon-Fri 19:00-08:00", "Mon-Fri 8-19", "Mon-Fri 08:00-24:01", "Mo 08:00-09:00",
            "Mon-Fri 08:00-19:00,",
        ])
    func refused(text: String) { #expect(throws: ScheduleError.self) { try BusinessHours(text, zone: .gmt) } }
}
