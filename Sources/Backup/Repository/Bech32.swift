/// Text form of keys: BIP 173, without its limit of 90 characters (as age does).
enum Bech32 {
    private static let alphabet = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)

    /// - Parameter prefix: lower-case; what stands before the last `1`.
    static func encode(prefix: String, _ bytes: [UInt8]) -> String {
        let values = regroup(bytes, from: 8, to: 5, padding: true) ?? []
        let check = checksum(prefix, values)
        return prefix + "1" + String(decoding: (values + check).map { alphabet[Int($0)] }, as: UTF8.self)
    }

    /// - Returns: nil unless prefix, checksum, padding and case (all of one) are right.
    static func decode(prefix: String, _ text: String) -> [UInt8]? {
        let lower = text.lowercased()
        guard text == lower || text == text.uppercased(), lower.hasPrefix(prefix + "1") else { return nil }
        var values: [UInt8] = []
        for digit in lower.utf8.dropFirst(prefix.utf8.count + 1) {
            guard let value = alphabet.firstIndex(of: digit) else { return nil }
            values.append(UInt8(value))
        }
        guard values.count >= 6 else { return nil }
        let data = Array(values.dropLast(6))
        guard checksum(prefix, data) == Array(values.suffix(6)) else { return nil }
        return regroup(data, from: 5, to: 8, padding: false)
    }

    private static func checksum(_ prefix: String, _ values: [UInt8]) -> [UInt8] {
        let expanded = prefix.utf8.map { $0 >> 5 } + [0] + prefix.utf8.map { $0 & 31 }
        let sum = polymod(expanded + values + [UInt8](repeating: 0, count: 6)) ^ 1
        return (0..<6).map { UInt8(sum >> (5 * (5 - UInt32($0))) & 31) }
    }

    private static func polymod(_ values: [UInt8]) -> UInt32 {
        let generator: [UInt32] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
        var sum: UInt32 = 1
        for value in values {
            let top = sum >> 25
            sum = (sum & 0x1ff_ffff) << 5 ^ UInt32(value)
            for bit in 0..<5 where top >> UInt32(bit) & 1 == 1 { sum ^= generator[bit] }
        }
        return sum
    }

    /// Cuts a string of bits anew; nil if what is left over is a whole group or not all zero.
    private static func regroup(_ values: [UInt8], from: UInt32, to: UInt32, padding: Bool) -> [UInt8]? {
        var rest: UInt32 = 0
        var bits: UInt32 = 0
        var groups: [UInt8] = []
        let mask = (UInt32(1) << to) - 1
        for value in values {
            rest = (rest << from | UInt32(value)) & 0xfff
            bits += from
            while bits >= to {
                bits -= to
                groups.append(UInt8(rest >> bits & mask))
            }
        }
        if padding {
            if bits > 0 { groups.append(UInt8(rest << (to - bits) & mask)) }
        } else if bits >= from || rest << (to - bits) & mask != 0 {
            return nil
        }
        return groups
    }
}
