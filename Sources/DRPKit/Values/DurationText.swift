/// The text form of durations in files and on the command line: a whole number and one of `s m h d`,
/// as `30s 5m 1h 7d`; several may follow each other from large to small, as `1h30m`.
package enum DurationText {
    private static let units: [(suffix: Character, seconds: Int64)] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]

    /// - Returns: nil unless `text` has the form above and is at most 36,500 days.
    package static func parse(_ text: String) -> Duration? {
        var total: Int64 = 0
        var digits = ""
        var smallest = Int64.max
        for character in text {
            if ("0"..."9").contains(character), character.isASCII {
                digits.append(character)
                guard digits.count <= 10 else { return nil }
            } else {
                guard let unit = units.first(where: { $0.suffix == character }), unit.seconds < smallest,
                    let number = Int64(digits)
                else { return nil }
                total += number * unit.seconds
                smallest = unit.seconds
                digits = ""
            }
        }
        guard smallest != .max, digits.isEmpty, total <= 36_500 * 86_400 else { return nil }
        return .seconds(total)
    }

    /// The form that `parse` reads, with at most two units: `1h30m`, `7d`; below a second, `0s`.
    package static func format(_ duration: Duration) -> String {
        var rest = max(0, duration.components.seconds)
        guard let first = units.firstIndex(where: { rest >= $0.seconds }) else { return "0s" }
        var text = ""
        for unit in units[first...].prefix(2) where rest >= unit.seconds {
            text += "\(rest / unit.seconds)\(unit.suffix)"
            rest %= unit.seconds
        }
        return text
    }
}
