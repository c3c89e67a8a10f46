/// A block of IPv4 addresses, as `10.213.0.16/28`.
package struct Subnet: Sendable, Hashable, CustomStringConvertible {
    package let base: UInt32
    package let length: Int

    package init(base: UInt32, length: Int) {
        self.base = base
        self.length = length
    }

    /// - Returns: nil unless it is four numbers and a length, with nothing set behind the length.
    package init?(_ text: String) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let length = Int(halves[1]), (1...32).contains(length) else { return nil }
        let parts = halves[0].split(separator: ".", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { UInt8($0) }
        guard parts.count == 4, numbers.count == 4 else { return nil }
        let base = numbers.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard length == 32 || base << length == 0 else { return nil }
        self.init(base: base, length: length)
    }

    private var last: UInt32 { base | (length == 32 ? 0 : UInt32.max >> length) }

    func overlaps(_ other: Subnet) -> Bool { base <= other.last && other.base <= last }

    /// The address with that number in it; 1 is the host's own on a bridge of Docker.
    func address(_ number: UInt32) -> String { Self.dotted(base + number) }

    /// The blocks of a length inside this one, lowest first, that meet none of `taken`.
    func blocks(ofLength wanted: Int, besides taken: [Subnet]) -> some Sequence<Subnet> {
        let step = UInt64(1) << (32 - wanted)
        let end = UInt64(last)
        return sequence(state: UInt64(base)) { (next: inout UInt64) -> Subnet? in
            while next <= end {
                let block = Subnet(base: UInt32(next), length: wanted)
                next += step
                if !taken.contains(where: block.overlaps) { return block }
            }
            return nil
        }
    }

    package var description: String { "\(Self.dotted(base))/\(length)" }

    private static func dotted(_ address: UInt32) -> String {
        [24, 16, 8, 0].map { "\(address >> UInt32($0) & 255)" }.joined(separator: ".")
    }
}
