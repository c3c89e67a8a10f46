package import Foundation

/// What is wrong with the text of a schedule.
package struct ScheduleError: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String
    init(_ description: String) { self.description = description }
}

/// When a job is due: `daily 02:30 Europe/Paris`, or five fields of cron and a zone (UTC without one),
/// as `30 2 * * mon-fri Europe/Paris`.
///
/// On the nights when clocks change, nothing is lost and nothing runs twice: a time that the clock
/// leaves out is due when the gap ends, a time that comes twice is due the first time. A schedule with
/// a run in every hour follows the face of the clock instead, and is never silent for over 60 minutes.
package struct Schedule: Sendable, Hashable, Codable, CustomStringConvertible {
    /// As it was written.
    package let description: String
    package let timeZone: TimeZone
    private let fields: CronFields

    /// Days to look ahead: a 29 February on a certain day of the week can be 40 years away (2072 to 2112).
    private static let horizon = 366 * 41

    package init(_ text: String) throws(ScheduleError) {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\t" })
        if words.first == "daily" {
            guard words.count == 2 || words.count == 3, let (hour, minute) = Self.timeOfDay(words[1]) else {
                throw ScheduleError("'\(text)' is no schedule: write 'daily 02:30 Europe/Paris'")
            }
            fields = CronFields(hour: hour, minute: minute)
            timeZone = try Self.zone(words.count == 3 ? words[2] : nil)
        } else {
            guard words.count == 5 || words.count == 6 else {
                throw ScheduleError("'\(text)' is no schedule: write 'daily 02:30 Europe/Paris' or '30 2 * * *'")
            }
            fields = try CronFields(Array(words[0..<5]))
            timeZone = try Self.zone(words.count == 6 ? words[5] : nil)
        }
        description = text
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        try self.init(text)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    package static func == (left: Self, right: Self) -> Bool { left.description == right.description }
    package func hash(into hasher: inout Hasher) { hasher.combine(description) }

    /// The first time due after `date`, strictly; in whole seconds.
    package func next(after date: Date) -> Date {
        let after = date.timeIntervalSince1970
        guard let candidate = firstDue(after: after) else { return .distantFuture }
        if fields.isHourly, let last = lastDue(atOrBefore: after), candidate - last > 3600, Double(last + 3600) > after
        {
            return Date(timeIntervalSince1970: Double(last + 3600))
        }
        return Date(timeIntervalSince1970: Double(candidate))
    }

    /// The last time due up to `date`, inclusive.
    package func previous(atOrBefore date: Date) -> Date {
        let before = date.timeIntervalSince1970
        guard let last = lastDue(atOrBefore: before) else { return .distantPast }
        if fields.isHourly, Double(last + 3600) <= before, let next = firstDue(after: Double(last)), next - last > 3600
        {
            return Date(timeIntervalSince1970: Double(last + 3600))
        }
        return Date(timeIntervalSince1970: Double(last))
    }

    private func firstDue(after: Double) -> Int? {
        let today = localDay(of: after)
        for day in (today - 1)...(today + Self.horizon) {
            guard let first = dueTimes(on: day).filter({ Double($0) > after }).min() else { continue }
            // Where clocks go back over midnight, the next day can begin before this one is over.
            return (dueTimes(on: day + 1).filter { Double($0) > after } + [first]).min()
        }
        return nil
    }

    private func lastDue(atOrBefore before: Double) -> Int? {
        let today = localDay(of: before)
        for day in ((today - Self.horizon)...(today + 1)).reversed() {
            guard let last = dueTimes(on: day).filter({ Double($0) <= before }).max() else { continue }
            return (dueTimes(on: day - 1).filter { Double($0) <= before } + [last]).max()
        }
        return nil
    }

    private func localDay(of instant: Double) -> Int {
        let seconds = Int(max(-1e11, min(1e12, instant)).rounded(.down))
        return Int((Double(seconds + offset(at: seconds)) / 86_400).rounded(.down))
    }

    /// The instants, in seconds since 1970, that belong to a day of the calendar of `timeZone`.
    private func dueTimes(on day: Int) -> [Int] {
        guard fields.matches(CivilDate(dayNumber: day)) else { return [] }
        let midnight = day * 86_400
        // Nearly every day: the clock does not change from the day before to the day after. Asking the zone is what costs.
        let (before, after) = (offset(at: midnight - 86_400), offset(at: midnight + 2 * 86_400))
        if before == after { return fields.timesOfDay.map { midnight + $0 - before } }
        // The first second with the later offset.
        var (low, high) = (midnight - 86_400, midnight + 2 * 86_400)
        while high - low > 1 {
            let middle = (low + high) / 2
            if offset(at: middle) == after { high = middle } else { low = middle }
        }
        let change = high
        return fields.timesOfDay.flatMap { time in
            let local = midnight + time
            let real = [local - before].filter { $0 < change } + [local - after].filter { $0 >= change }
            if fields.hasEveryHour { return real }
            // A time that the clock leaves out is due when the gap ends.
            return [real.first ?? change]
        }
    }

    private func offset(at instant: Int) -> Int {
        timeZone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant)))
    }

    static func timeOfDay(_ text: Substring) -> (hour: Int, minute: Int)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2,
            parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), hour < 24, minute < 60
        else { return nil }
        return (hour, minute)
    }

    /// Only names of the IANA database: abbreviations as `CET` mean different things to different people.
    static func zone(_ name: Substring?) throws(ScheduleError) -> TimeZone {
        guard let name, name != "UTC" else { return .gmt }
        let plain = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || [0x5f, 0x2b, 0x2d, 0x2f].contains($0)
        }
        guard plain, name.contains("/"), let zone = TimeZone(identifier: String(name)) else {
            throw ScheduleError("'\(name)' is no time zone: write it as Europe/Paris")
        }
        return zone
    }
}
