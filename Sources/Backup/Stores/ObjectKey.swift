/// The name of an object or folder in a store: a relative path of 1 to 8 parts, each 1 to 128 of
/// `A-Z a-z 0-9 . _ -` and not beginning with a dot. So no name out of a store leaves its root, hides,
/// or needs quoting.
package struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let text: String

    /// - Returns: nil if `text` breaks the rule above.
    package init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard (1...8).contains(parts.count), parts.allSatisfy({ Self.isPart($0) }) else { return nil }
        self.text = text
    }

    /// - Precondition: `text` keeps the rule: for names made by this program alone.
    init(own text: String) {
        guard let key = Self(text) else { preconditionFailure("not a key: \(text)") }
        self = key
    }

    /// - Precondition: `part` keeps the rule for one part.
    func appending(_ part: String) -> ObjectKey { ObjectKey(own: text + "/" + part) }

    package var parts: [String] { text.split(separator: "/").map(String.init) }
    package var name: String { parts[parts.count - 1] }
    package var description: String { text }

    package static func < (left: Self, right: Self) -> Bool { left.text < right.text }

    /// Whether `text` may be one part of a key.
    package static func isPart(_ text: String) -> Bool { isPart(text.utf8) }

    private static func isPart(_ part: some Collection<UInt8>) -> Bool {
        guard (1...128).contains(part.count), part.first != UInt8(ascii: ".") else { return false }
        return part.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
            default: false
            }
        }
    }
}
