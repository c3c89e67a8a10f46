package import DRPKit
internal import Foundation

/// One rule of a policy's `keep`.
package enum RetentionRule: String, Sendable, Hashable, Codable, CaseIterable {
    case last, hourly, daily, weekly, monthly, yearly

    /// How many places the rule has; nil if the policy does not have it.
    package func places(_ keep: Policy.Keep) -> Int? {
        switch self {
        case .last: keep.last
        case .hourly: keep.hourly
        case .daily: keep.daily
        case .weekly: keep.weekly
        case .monthly: keep.monthly
        case .yearly: keep.yearly
        }
    }

    /// The period of the rule in which `instant` lies, as a number that is equal for two instants exactly if they lie in
    /// the same one; nil for `last`, which has none.
    ///
    /// Days, weeks, months and years are those of the calendar in `zone`. Weeks begin on Monday (ISO 8601), and one that
    /// spans two years is one week. An hour that the clock shows twice is two hours.
    func period(of instant: Date, in zone: TimeZone) -> Int? {
        let seconds = Int(max(-1e11, min(1e12, instant.timeIntervalSince1970)).rounded(.down))
        let local = seconds + zone.secondsFromGMT(for: instant)
        let day = Self.floor(local, 86_400)
        switch self {
        case .last: return nil
        case .hourly: return seconds - (local - Self.floor(local, 3600) * 3600)
        case .daily: return day
        // 1970-01-01 was a Thursday.
        case .weekly: return Self.floor(day + 3, 7)
        case .monthly:
            let date = CivilDate(dayNumber: day)
            return date.year * 12 + date.month
        case .yearly: return CivilDate(dayNumber: day).year
        }
    }

    private static func floor(_ number: Int, _ divisor: Int) -> Int {
        number >= 0 ? number / divisor : -((divisor - 1 - number) / divisor)
    }
}
