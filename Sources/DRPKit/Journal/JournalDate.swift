package import Foundation

/// Instants as the journal writes them: ISO 8601 in UTC with milliseconds, `2026-11-25T09:30:12.345Z`; the order of
/// the texts is the order of the instants.
package enum JournalDate {
    package static func text(_ date: Date) -> String {
        let (seconds, thousandths) = split(date)
        let whole = Date(timeIntervalSince1970: TimeInterval(seconds)).formatted(.iso8601)
        let digits = String(thousandths)
        return "\(whole.dropLast()).\(String(repeating: "0", count: 3 - digits.count))\(digits)Z"
    }

    /// - Returns: nil unless `text` has exactly the form above.
    package static func parse(_ text: String) -> Date? {
        let bytes = Array(text.utf8)
        guard bytes.count == 24, bytes[19] == 0x2e, bytes[23] == 0x5a,
            let thousandths = Int(String(decoding: bytes[20..<23], as: UTF8.self)), thousandths >= 0,
            // Any other text is no date: nil says so.
            let whole = try? Date(String(decoding: bytes[..<19], as: UTF8.self) + "Z", strategy: .iso8601)
        else { return nil }
        return Date(timeIntervalSince1970: whole.timeIntervalSince1970 + TimeInterval(thousandths) / 1000)
    }

    /// `date` with the precision that the journal keeps.
    package static func rounded(_ date: Date) -> Date {
        let (seconds, thousandths) = split(date)
        return Date(timeIntervalSince1970: TimeInterval(seconds) + TimeInterval(thousandths) / 1000)
    }

    private static func split(_ date: Date) -> (seconds: Int64, thousandths: Int64) {
        let all = Int64((date.timeIntervalSince1970 * 1000).rounded())
        let thousandths = ((all % 1000) + 1000) % 1000
        return ((all - thousandths) / 1000, thousandths)
    }
}
