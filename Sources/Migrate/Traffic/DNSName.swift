/// A domain name: labels of bytes, compared without regard to ASCII case (RFC 1035 2.3.3, RFC 4343).
package struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Lower case, without the empty label of the root; each 1 to 63 bytes, 255 with lengths in all.
    package let labels: [[UInt8]]

    package static let root = DNSName(checked: [])

    private init(checked labels: [[UInt8]]) { self.labels = labels }

    /// - Returns: nil if a label is empty or longer than 63 bytes, or the name is longer than 255.
    package init?(labels: [[UInt8]]) {
        guard labels.allSatisfy({ (1...63).contains($0.count) }),
            labels.reduce(1, { $0 + $1.count + 1 }) <= 255
        else { return nil }
        self.init(checked: labels.map { $0.map { (0x41...0x5a).contains($0) ? $0 + 0x20 : $0 } })
    }

    /// Reads a host's name as people write it, with or without the final dot: letters, digits, `-`, `_`.
    package init?(_ text: String) {
        let trimmed = text.hasSuffix(".") ? String(text.dropLast()) : text
        guard !trimmed.isEmpty else { return nil }
        let labels = trimmed.utf8.split(separator: 0x2e, omittingEmptySubsequences: false).map { Array($0) }
        func isPlain(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x5f: true
            default: false
            }
        }
        guard labels.allSatisfy({ $0.allSatisfy(isPlain) }) else { return nil }
        self.init(labels: labels)
    }

    package func isEqualToOrBelow(_ zone: DNSName) -> Bool {
        labels.count >= zone.labels.count && labels.suffix(zone.labels.count) == zone.labels[...]
    }

    package func child(_ label: String) -> DNSName? { DNSName(labels: [Array(label.utf8)] + labels) }

    /// Uncompressed; this is also the canonical form that TSIG signs, since labels are lower case.
    package var wire: [UInt8] { labels.flatMap { [UInt8($0.count)] + $0 } + [0] }

    /// Master file form; bytes other than printable ASCII as `\DDD` (RFC 1035 5.1).
    package var description: String {
        labels.isEmpty ? "." : labels.map { $0.map(Self.escaped).joined() }.joined(separator: ".")
    }

    private static func escaped(_ byte: UInt8) -> String {
        switch byte {
        case 0x2e, 0x5c, 0x22: "\\" + String(UnicodeScalar(byte))
        case 0x21...0x7e: String(UnicodeScalar(byte))
        default: "\\" + String(repeating: "0", count: 3 - String(byte).count) + String(byte)
        }
    }
}
