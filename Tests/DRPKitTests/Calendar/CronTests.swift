import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite struct CronTests {
    @Test(
        "lists, ranges, steps and names mean what crontab(5) says",
        arguments: [
            ("*/15 * * * *", ["01-01 00:15", "01-01 00:30", "01-01 00:45", "01-01 01:00"]),
            ("5/20 3 * * *", ["01-01 03:05", "01-01 03:25", "01-01 03:45", "01-02 03:05"]),
            ("0 8-12/2,22 * * *", ["01-01 08:00", "01-01 10:00", "01-01 12:00", "01-01 22:00"]),
            ("0 0 1 * *", ["02-01 00:00", "03-01 00:00", "04-01 00:00", "05-01 00:00"]),
            ("0 0 31 * *", ["01-31 00:00", "03-31 00:00", "05-31 00:00", "07-31 00:00"]),
            ("0 0 * feb,Jul-AUG/1 MON", ["02-02 00:00", "02-09 00:00", "02-16 00:00", "02-23 00:00"]),
            ("0 6 * * mon-fri", ["01-01 06:00", "01-02 06:00", "01-05 06:00", "01-06 06:00"]),
            ("0 6 * * sat-sun", ["01-03 06:00", "01-04 06:00", "01-10 06:00", "01-11 06:00"]),
            ("0 6 * * 6-7", ["01-03 06:00", "01-04 06:00", "01-10 06:00", "01-11 06:00"]),
            ("0 6 * * 0", ["01-04 06:00", "01-11 06:00", "01-18 06:00", "01-25 06:00"]),
            ("0 6 * * 7", ["01-04 06:00", "01-11 06:00", "01-18 06:00", "01-25 06:00"]),
            // Both days restricted: either of them.
            ("0 0 13 * fri", ["01-02 00:00", "01-09 00:00", "01-13 00:00", "01-16 00:00"]),
            // One begins with a star: both of them.
            ("0 0 */10 * fri", ["05-01 00:00", "07-31 00:00", "08-21 00:00", "09-11 00:00"]),
            ("\t0   6 * * *  Etc/UTC ", ["01-01 06:00", "01-02 06:00", "01-03 06:00", "01-04 06:00"]),
        ])
    func reads(line: String, wanted: [String]) throws {
        let schedule = try Schedule(line)
        var date = try Date("2026-01-01T00:00:00Z", strategy: .iso8601)
        for text in wanted {
            date = schedule.next(after: date)
            #expect(date == (try Date("2026-\(text.replacing(" ", with: "T")):00Z", strategy: .iso8601)), "\(text)")
        }
    }

    @Test(
        "what is no schedule is refused with words that say what would be right",
        arguments: [
            "", " ", "daily", "daily 2:30", "daily 24:00", "daily 02:60", "daily 02:30:00", "daily ٠٢:٣٠",
            "Daily 02:30",
            "daily 02:30 CET", "daily 02:30 Paris", "daily 02:30 Europe/Nowhere", "daily 02:30 ../../etc/passwd",
            "daily 02:30 /etc/localtime", "daily 02:30 Europe/Paris x", "@daily", "* * * *", "* * * * * Europe/Paris x",
            "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 8", "-1 * * * *",
            "5-1 * * * *", "1-2-3 * * * *", "1- * * * *", "*-5 * * * *", "** * * * *", "1/ * * * *", "*/0 * * * *",
            "*/-1 * * * *", "*/+5 * * * *", "*/60 * * * *", "*/1/1 * * * *", "1,,2 * * * *", ", * * * *", "1, * * * *",
            "a * * * *", "mon * * * *", "* * * mon *", "* * * * jan", "* * * * monday", "٣ * * * *", "1.5 * * * *",
            "99999999999999999999 * * * *", "0 0 30 2 *", "0 0 31 apr,jun *", "0 0 31 2 *",
        ])
    func refuses(line: String) throws {
        let error = #expect(throws: ScheduleError.self) { try Schedule(line) }
        let text = error?.description ?? ""
        #expect(["write", " to ", "does not exist"].contains { text.contains($0) }, "\(text)")
    }

    @Test("no line of seeded fields traps, and one that is read is due again and again")
    func survivesAnything() {
        let seed: UInt64 = 0x5eed_0012
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("0123456789*/-,+ jansumo:")
        func number() -> Int { Int.random(in: 0...Int.random(in: 1...70, using: &random), using: &random) }
        func field() -> String {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: "\(number())"
            case 1: "\(number())-\(number())"
            case 2: "*/\(number())"
            case 3: "\(number()),\(number())-\(number())/\(number())"
            case 4: String((0..<3).map { _ in alphabet.randomElement(using: &random) ?? "x" })
            default: "*"
            }
        }
        var read = 0
        for _ in 0..<4000 {
            let line = (0..<5).map { _ in field() }.joined(separator: " ")
            guard let schedule = try? Schedule(line) else { continue }
            read += 1
            let start = Date(timeIntervalSince1970: 1_767_225_600)
            let next = schedule.next(after: start)
            #expect(next > start && next < Date.distantFuture, "\(schedule), seed \(seed)")
            #expect(schedule.previous(atOrBefore: next) == next, "\(schedule), seed \(seed)")
        }
        #expect(read > 100, "\(read)")
    }
}
