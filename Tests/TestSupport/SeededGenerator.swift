/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same numbers.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }

    /// Half text-like, half random: compresses about as documents do.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            let word = next()
            withUnsafeBytes(of: bytes.count.isMultiple(of: 16) ? word : 0x6574_6f6e_2061_6e61) {
                bytes.append(contentsOf: $0)
            }
        }
        return Array(bytes.prefix(count))
    }
}
