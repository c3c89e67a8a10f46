internal import Foundation

/// Dates as HTTP servers write them.
enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Wed, 25 Nov 2026 22:53:50 GMT` (RFC 9110, 5.6.7).
    static func parse(_ text: String) -> Date? {
        let parts = text.split(whereSeparator: { $0 == " " || $0 == "," })
        guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(of: String(parts[2])),
            let day = Int(parts[1]), (1...31).contains(day), parts[3].count == 4
        else { return nil }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return iso("\(parts[3])-\(two(month + 1))-\(two(day))T\(parts[4])Z")
    }

    /// The same the other way; a fraction of a second is left out.
    static func text(_ instant: Date) -> String {
        let parts = instant.formatted(.iso8601).split(whereSeparator: { "-TZ".contains($0) })
        let days = Int((instant.timeIntervalSince1970 / 86_400).rounded(.down))
        // The first day of 1970 was a Thursday.
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7 + 7) % 7]
        let month = Int(parts[1]).map { months[$0 - 1] } ?? ""
        return "\(weekday), \(parts[2]) \(month) \(parts[0]) \(parts[3]) GMT"
    }

    /// `2026-11-25T22:53:50.000Z`, with or without a fraction.
    static func iso(_ text: String) -> Date? {
        let plain = Date.ISO8601FormatStyle(includingFractionalSeconds: false)
        let fraction = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        return (try? plain.parse(text)) ?? (try? fraction.parse(text))  // either form
    }
}
