package import Foundation

/// When a client works, in its own time zone: `Mon-Fri 08:00-19:00`, several with commas between them
/// (`Mon-Fri 08:00-19:00, Sat 09:00-12:30`). The end does not belong to it; 24:00 is the end of the day.
package struct BusinessHours: Sendable, Hashable, CustomStringConvertible {
    private struct Span: Sendable, Hashable {
        /// 0 is Sunday.
        var days: Set<Int>
        /// Minutes of the day.
        var minutes: Range<Int>
    }

    /// As it was written.
    package let description: String
    package let zone: TimeZone
    private let spans: [Span]

    private static let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    package init(_ text: String, zone: TimeZone) throws(ScheduleError) {
        var spans: [Span] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let words = part.split(separator: " ")
            guard words.count == 2, let days = Self.days(words[0]), let minutes = Self.minutes(words[1]) else {
                throw ScheduleError("'\(text)' are no hours: write 'Mon-Fri 08:00-19:00'")
            }
            spans.append(Span(days: days, minutes: minutes))
        }
        self.spans = spans
        self.zone = zone
        description = text
    }

    package func contains(_ date: Date) -> Bool {
        let local = Int(date.timeIntervalSince1970.rounded(.down)) + zone.secondsFromGMT(for: date)
        let day = local >= 0 ? local / 86_400 : (local - 86_399) / 86_400
        let minute = (local - day * 86_400) / 60
        let weekday = CivilDate(dayNumber: day).weekday
        return spans.contains { $0.days.contains(weekday) && $0.minutes.contains(minute) }
    }

    /// `Mon`, `Mon-Fri`, and over the end of the week `Sat-Mon`.
    private static func days(_ text: Substring) -> Set<Int>? {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map {
            names.firstIndex(of: $0.lowercased())
        }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1] else { return nil }
        return Set((0...((last - first + 7) % 7)).map { (first + $0) % 7 })
    }

    private static func minutes(_ text: Substring) -> Range<Int>? {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map(minute)
        guard ends.count == 2, let from = ends[0], let to = ends[1], from < to else { return nil }
        return from..<to
    }

    private static func minute(_ text: Substring) -> Int? {
        if text == "24:00" { return 1440 }
        guard let (hour, minute) = Schedule.timeOfDay(text) else { return nil }
        return hour * 60 + minute
    }
}
