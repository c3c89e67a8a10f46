internal import Foundation

/// The chain of hashes over the events: evidence that was edited shows.
///
/// Hash of a row = SHA-256 over the hash of the row before (32 zero bytes for the first) and the row's fields
/// `id, at, kind, client, run, step, payload` as they stand in the file, each as text: one byte 1, the length in
/// bytes as 8 bytes little-endian, the bytes; an absent field is one byte 0. It is no signature: who can write the
/// file can build a whole new chain, so a report names the newest hash, which then stands outside the file too.
enum EventChain {
    static let start = ContentHash(words: (0, 0, 0, 0))

    static func hash(after previous: ContentHash, fields: [String?]) -> ContentHash {
        var bytes = previous.bytes
        for field in fields {
            guard let field else {
                bytes.append(0)
                continue
            }
            bytes.append(1)
            withUnsafeBytes(of: UInt64(field.utf8.count).littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: field.utf8)
        }
        return ContentHash(hashing: bytes)
    }
}

/// What `Journal.verifyEvents` found.
package struct EventVerdict: Sendable, Codable, Hashable {
    /// How many events there are.
    package var count: Int64
    /// The hash of the newest event; keep it elsewhere to tell later that nothing before it was changed.
    package var head: ContentHash
    /// The first event that does not follow from the one before it.
    package var firstBroken: Int64?
    /// The event that a noted hash proves: nothing up to it was changed since the hash was noted.
    package var proven: Int64?
    /// One sentence each, the first break first; empty if the chain is whole. After a break only holes are reported.
    package var problems: [String]
}

/// The hash of an event, noted earlier outside of the machine: `HASH`, or `NUMBER:HASH` with the event's number.
package struct NotedHead: Sendable, Hashable {
    package var number: Int64?
    package var hash: ContentHash

    /// - Returns: nil for any other text.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let hash = parts.last.flatMap({ ContentHash(hex: String($0)) }) else { return nil }
        self.hash = hash
        guard parts.count == 2 else { return }
        guard let number = Int64(parts[0]), number > 0 else { return nil }
        self.number = number
    }

    func fits(_ id: Int64, _ hash: ContentHash) -> Bool { self.hash == hash && (number ?? id) == id }

    /// What it means that no event of the unbroken chain fits.
    var absence: String {
        let event = number.map { "event \($0)" } ?? "any event"
        return "the noted hash \(hash) is not that of \(event) up to which the chain is whole:"
            + " the journal was changed since it was noted, or is an older copy"
    }
}
