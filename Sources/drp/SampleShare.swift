internal import ArgumentParser

/// A share on the command line: `5%`, `0.5%`, `100%`; more than nothing, with at most four decimals.
struct SampleShare: ExpressibleByArgument, CustomStringConvertible {
    /// 1 to 1,000,000.
    let millionths: Int

    init?(argument: String) {
        guard argument.hasSuffix("%") else { return nil }
        let parts = argument.dropLast().split(separator: ".", omittingEmptySubsequences: false)
        func isNumber(_ text: Substring) -> Bool {
            !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        }
        guard parts.count <= 2, parts.allSatisfy(isNumber), let whole = Int(parts[0]), whole <= 100 else { return nil }
        var millionths = whole * 10_000
        if parts.count == 2 {
            guard parts[1].count <= 4,
                let fraction = Int(String(parts[1]) + String(repeating: "0", count: 4 - parts[1].count))
            else { return nil }
            millionths += fraction
        }
        guard (1...1_000_000).contains(millionths) else { return nil }
        self.millionths = millionths
    }

    /// `0.5%`
    var description: String {
        let fraction = String(10_000 + millionths % 10_000).dropFirst()
        let digits = fraction.reversed().drop { $0 == "0" }.reversed()
        return "\(millionths / 10_000)" + (digits.isEmpty ? "" : "." + String(digits)) + "%"
    }
}
