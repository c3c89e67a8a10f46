package import Foundation

/// The name of a run: `20261125-093012-acme-migrate-4f2a` (when it was declared in UTC, client, runbook, four hex
/// digits), so that a list of names tells the story and a person can say it on the telephone.
package struct RunID: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    package let text: String

    /// - Returns: nil unless `text` is 1 to 160 of `a-z 0-9 -`: it becomes part of a lease's name and of a file's.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (1...160).contains(bytes.count),
            bytes.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d })
        else { return nil }
        self.text = text
    }

    /// - Parameter salt: makes two runs of one second differ; its low 16 bits count.
    package init(declared: Date, client: ClientID, runbook: String, salt: UInt16) {
        let digits = JournalDate.text(declared).filter(\.isNumber)
        let hex = Hex.encode([UInt8(salt >> 8), UInt8(salt & 255)])
        let name = runbook.lowercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }.prefix(40)
        text = "\(digits.prefix(8))-\(digits.dropFirst(8).prefix(6))-\(client.text)-\(name)-\(hex)"
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let id = Self(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not the name of a run"))
        }
        self = id
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }

    package var description: String { text }
    package static func < (left: Self, right: Self) -> Bool { left.text < right.text }
}
