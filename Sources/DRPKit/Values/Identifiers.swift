/// A name that a person chose for a part of the fleet: 1 to 63 of `a-z 0-9 -`, beginning and ending
/// with a letter or digit (the rule of a DNS label, RFC 1123 section 2.1), so that it can stand in a
/// path, a container's name and a record without quoting.
package protocol FleetName: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    var text: String { get }
    init(unchecked text: String)
}

extension FleetName {
    /// - Returns: nil if `text` breaks the rule above.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        func isPlain(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) }
        guard (1...63).contains(bytes.count), isPlain(bytes[0]), isPlain(bytes[bytes.count - 1]),
            bytes.allSatisfy({ isPlain($0) || $0 == 0x2d })
        else { return nil }
        self.init(unchecked: text)
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let name = Self(text) else {
            throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "not a name"))
        }
        self = name
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }

    package var description: String { text }
    package static func < (left: Self, right: Self) -> Bool { left.text < right.text }
}

package struct ClientID: FleetName {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

package struct SiteName: FleetName {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

package struct StoreName: FleetName {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}
