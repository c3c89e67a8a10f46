/// The five fields of a cron line as sets of bits, after crontab(5).
///
/// Fields: `*`, numbers, names (`jan`, `mon`), ranges `1-5`, steps `*/5` `1-10/3` `5/10`, lists of these.
/// Sunday is 0 or 7, and 7 where a range ends with it (`sat-sun`). If both day fields are restricted, either of them suffices.
struct CronFields: Sendable, Hashable {
    private(set) var minutes: UInt64 = 0
    private(set) var hours: UInt64 = 0
    private(set) var days: UInt64 = 0
    private(set) var months: UInt64 = 0
    private(set) var weekdays: UInt64 = 0
    private(set) var anyDay = false
    private(set) var anyWeekday = false
    /// Seconds after midnight, on the face of a clock, in order. Stored, since every question walks through it.
    private(set) var timesOfDay: [Int] = []

    private static let monthNames = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let weekdayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    private static let longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

    /// Each day at one time.
    init(hour: Int, minute: Int) {
        minutes = 1 << minute
        hours = 1 << hour
        days = Self.bits(1...31)
        months = Self.bits(1...12)
        weekdays = Self.bits(0...6)
        (anyDay, anyWeekday) = (true, true)
        timesOfDay = [hour * 3600 + minute * 60]
    }

    /// - Parameter fields: exactly five.
    init(_ fields: [Substring]) throws(ScheduleError) {
        precondition(fields.count == 5, "a cron line has five fields")
        minutes = try Self.parse(fields[0], 0...59, "minute")
        hours = try Self.parse(fields[1], 0...23, "hour")
        days = try Self.parse(fields[2], 1...31, "day of the month")
        months = try Self.parse(fields[3], 1...12, "month", names: Self.monthNames, firstName: 1)
        weekdays = try Self.parse(fields[4], 0...7, "day of the week", names: Self.weekdayNames, firstName: 0)
        timesOfDay = Self.timesOfDay(hours: hours, minutes: minutes)
        if weekdays & 1 << 7 != 0 { weekdays = weekdays & ~(1 << 7) | 1 }
        // crontab(5): a field that begins with a star counts as unrestricted.
        anyDay = fields[2].hasPrefix("*")
        anyWeekday = fields[4].hasPrefix("*")
        if anyWeekday || !anyDay {
            let possible = (1...12).contains { month in
                months & 1 << month != 0 && days & Self.bits(1...Self.longestMonths[month - 1]) != 0
            }
            guard possible || (!anyDay && !anyWeekday) else {
                throw ScheduleError("the day \(fields[2]) does not exist in the month \(fields[3])")
            }
        }
    }

    /// Every hour of every day, so that two runs are never more than 60 minutes apart.
    var isHourly: Bool {
        hours == Self.bits(0...23) && days == Self.bits(1...31) && months == Self.bits(1...12)
            && weekdays == Self.bits(0...6)
    }

    /// Whether a run is due in each hour of a day that matches.
    var hasEveryHour: Bool { hours == Self.bits(0...23) }

    func matches(_ date: CivilDate) -> Bool {
        guard months & 1 << date.month != 0 else { return false }
        let (byDay, byWeekday) = (days & 1 << date.day != 0, weekdays & 1 << date.weekday != 0)
        return anyDay || anyWeekday ? byDay && byWeekday : byDay || byWeekday
    }

    private static func timesOfDay(hours: UInt64, minutes: UInt64) -> [Int] {
        (0...23).filter { hours & 1 << $0 != 0 }.flatMap { hour in
            (0...59).filter { minutes & 1 << $0 != 0 }.map { hour * 3600 + $0 * 60 }
        }
    }

    private static func bits(_ range: ClosedRange<Int>) -> UInt64 { range.reduce(0) { $0 | 1 << UInt64($1) } }

    private static func parse(
        _ text: Substring, _ range: ClosedRange<Int>, _ name: String, names: [String] = [], firstName: Int = 0
    ) throws(ScheduleError) -> UInt64 {
        func wrong() -> ScheduleError {
            ScheduleError(
                "'\(text)' is no \(name): \(range.lowerBound) to \(range.upperBound), lists, ranges and steps")
        }
        func number(_ text: Substring) throws(ScheduleError) -> Int {
            if let index = names.firstIndex(of: text.lowercased()) { return index + firstName }
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text), range.contains(number)
            else { throw wrong() }
            return number
        }
        var result: UInt64 = 0
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let ends = halves[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            var (from, to) = (range.lowerBound, range.upperBound)
            if halves[0] != "*" {
                from = try number(ends[0])
                to = ends.count == 2 ? try number(ends[1]) : halves.count == 2 ? range.upperBound : from
                // `sat-sun`: at the end of a range, Sunday is 7.
                if ends.count == 2, to == 0, range.upperBound == 7 { to = 7 }
            }
            var step = 1
            if halves.count == 2 {
                guard let given = Int(halves[1]), given > 0, given <= range.upperBound, !halves[1].hasPrefix("+")
                else { throw wrong() }
                step = given
            }
            guard from <= to else { throw wrong() }
            for value in stride(from: from, through: to, by: step) { result |= 1 << UInt64(value) }
        }
        return result
    }
}

/// A day of the Gregorian calendar, counted from 1970-01-01 (proleptic).
package struct CivilDate: Sendable, Hashable {
    package var year: Int
    package var month: Int
    package var day: Int
    /// 0 is Sunday.
    package var weekday: Int

    /// After H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    package init(dayNumber: Int) {
        let shifted = dayNumber + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        // 1970-01-01 was a Thursday.
        weekday = ((dayNumber + 4) % 7 + 7) % 7
    }
}
