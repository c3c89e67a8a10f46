package import DRPKit

/// A digest of a multiset of records: the sum modulo 2^256 of the SHA-256 of each, read as a
/// little-endian number. It does not depend on their order, so that readers in parallel agree.
package struct ContentDigest: Sendable, Hashable, Codable, CustomStringConvertible {
    package private(set) var count: Int64 = 0
    package private(set) var bytes: Int64 = 0
    private var sum: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    package init() {}

    package mutating func add(_ hash: ContentHash, length: Int) {
        count += 1
        bytes += Int64(length)
        add(words: hash.words)
    }

    package mutating func add(_ other: ContentDigest) {
        count += other.count
        bytes += other.bytes
        add(words: other.sum)
    }

    private mutating func add(words: (UInt64, UInt64, UInt64, UInt64)) {
        var carry: UInt64 = 0
        func step(_ left: UInt64, _ right: UInt64) -> UInt64 {
            let (first, overflow) = left.addingReportingOverflow(UInt64(littleEndian: right))
            let (second, overflowAgain) = first.addingReportingOverflow(carry)
            carry = (overflow || overflowAgain) ? 1 : 0
            return second
        }
        sum.0 = step(sum.0, words.0)
        sum.1 = step(sum.1, words.1)
        sum.2 = step(sum.2, words.2)
        sum.3 = step(sum.3, words.3)
    }

    /// The sum as 32 bytes, little-endian.
    package var value: ContentHash {
        ContentHash(words: (sum.0.littleEndian, sum.1.littleEndian, sum.2.littleEndian, sum.3.littleEndian))
    }

    package var description: String { value.description }

    package static func == (left: Self, right: Self) -> Bool {
        left.count == right.count && left.bytes == right.bytes && left.value == right.value
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(value) }

    private enum Key: String, CodingKey { case count, bytes, sum }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        count = try container.decode(Int64.self, forKey: .count)
        bytes = try container.decode(Int64.self, forKey: .bytes)
        let words = try container.decode(ContentHash.self, forKey: .sum).words
        add(words: words)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(count, forKey: .count)
        try container.encode(bytes, forKey: .bytes)
        try container.encode(value, forKey: .sum)
    }
}
