/// The machine's randomness, for what needs no seed: waits that must not coincide, marks that nobody may guess.
package enum Randomness {
    /// From 0 to 1.
    package static func share() -> Double { Double.random(in: 0...1) }

    /// 32 hexadecimal digits that nobody can guess.
    package static func token() -> String {
        var text = ""
        for _ in 0..<2 {
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            text += String(repeating: "0", count: 16 - digits.count) + digits
        }
        return text
    }
}
