package import DRPKit
package import Foundation

/// Who may serve a domain: the content of the TXT record `_drp.<domain>`, which drp alone writes.
///
/// Text form: `drp=1 client=<uuid> site=<site> epoch=<n>`. The epoch rises at every switch; a side
/// that holds an older one must not start.
package struct OwnerRecord: Hashable, Sendable, Codable, CustomStringConvertible {
    package var client: UUID
    package var site: SiteName
    package var epoch: Int

    package init(client: UUID, site: SiteName, epoch: Int) {
        self.client = client
        self.site = site
        self.epoch = epoch
    }

    /// - Returns: nil if `text` is not exactly what `description` writes.
    package init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.count == 4, words[0] == "drp=1", let client = Self.value(of: "client", in: words[1]),
            let site = Self.value(of: "site", in: words[2]), let epoch = Self.value(of: "epoch", in: words[3]),
            let uuid = UUID(uuidString: client), let name = SiteName(site), let number = Int(epoch)
        else { return nil }
        self.init(client: uuid, site: name, epoch: number)
        guard description == text, number >= 0 else { return nil }
    }

    private static func value(of key: String, in word: String) -> String? {
        word.hasPrefix(key + "=") ? String(word.dropFirst(key.count + 1)) : nil
    }

    package var description: String {
        "drp=1 client=\(client.uuidString.lowercased()) site=\(site) epoch=\(epoch)"
    }
}

/// What the traffic's authority holds for one domain.
package struct TrafficRecord: Hashable, Sendable, Codable, CustomStringConvertible {
    /// IPv4 addresses in dotted form, sorted; empty if the domain has none.
    package var addresses: [String]
    /// Time to live of the addresses in seconds; 0 if there are none.
    package var ttlSeconds: Int
    /// nil if the domain does not bear our mark.
    package var owner: OwnerRecord?

    package init(addresses: [String], ttlSeconds: Int, owner: OwnerRecord?) {
        self.addresses = addresses.sorted()
        self.ttlSeconds = ttlSeconds
        self.owner = owner
    }

    package var description: String {
        let shown = addresses.isEmpty ? "no address" : addresses.joined(separator: ", ")
        return owner.map { "\(shown) (\($0))" } ?? "\(shown) (no mark of drp)"
    }
}

extension TrafficRecord {
    /// What a caller expects who has just read this: a record without our mark is taken over only from the place where the
    /// client is known to live.
    /// - Parameter known: The addresses of that place.
    package func believed(at known: [String]) -> TrafficRecord {
        guard owner == nil, !addresses.isEmpty else { return self }
        return TrafficRecord(addresses: known, ttlSeconds: ttlSeconds, owner: nil)
    }
}

/// What a switch did.
package struct SwitchOutcome: Hashable, Sendable, Codable {
    package enum Change: String, Sendable, Codable {
        /// The records were changed by this call.
        case switched
        /// They already were as asked; nothing was sent that changes anything.
        case alreadyThere
        /// The answer to the change was lost; reading again showed that it had been carried out.
        case settledByReading
    }

    package var change: Change
    /// What was there before: what a way back needs.
    package var before: TrafficRecord
    package var after: TrafficRecord

    package init(change: Change, before: TrafficRecord, after: TrafficRecord) {
        self.change = change
        self.before = before
        self.after = after
    }
}

/// Sends a domain's traffic to a site. May be called from many tasks at once.
package protocol TrafficSwitch: Sendable {
    /// Whether the authority itself compares and sets in one step. Where it does not, somebody who writes in the moment between
    /// reading and writing is overwritten.
    var comparesAndSets: Bool { get }

    /// What the authority holds now.
    /// - Throws: `TrafficError`; `.notOurs` if a mark stands there that is not in our form.
    func read(_ domain: String) async throws -> TrafficRecord

    /// Compares and sets: addresses and mark change together or not at all.
    ///
    /// - Parameters:
    ///   - expected: What the caller believes is there. Its addresses must be those found (or the new ones
    ///     under our mark); its owner, unless nil, must be the one found. A domain without a mark is
    ///     adopted only if its addresses are exactly the expected ones.
    ///   - addresses: IPv4 in dotted form, not empty.
    ///   - owner: The new mark; its epoch must not be older than the one found.
    ///   - ttlSeconds: Of all records written, 1 to 86,400.
    /// - Throws: `TrafficError`, with nothing changed, except `.unreachable` after a second lost answer.
    func switchOver(
        _ domain: String, from expected: TrafficRecord, to addresses: [String], owner: OwnerRecord, ttlSeconds: Int
    ) async throws -> SwitchOutcome
}
