/// The machine's randomness, for what needs no seed: waits that must not coincide.
package enum Randomness {
    /// From 0 to 1.
    package static func share() -> Double { Double.random(in: 0...1) }
}
