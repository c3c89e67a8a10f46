internal import DRPKit

/// A domain, and the name of its mark.
struct MarkedName: Sendable, Hashable {
    let domain: DNSName
    let mark: DNSName

    /// - Throws: `.settings` for what is no domain of the zone.
    init(_ domain: String, in zone: DNSName) throws(TrafficError) {
        guard let name = DNSName(domain), let mark = name.child("_drp") else {
            throw TrafficError(.settings, domain, "it is no domain name")
        }
        guard name.isEqualToOrBelow(zone) else {
            throw TrafficError(.settings, domain, "it does not lie in the zone \(zone)")
        }
        self.domain = name
        self.mark = mark
    }

    /// Reads what stands at the mark's name.
    /// - Parameter texts: Each record's text, without quotes.
    /// - Returns: nil for none.
    /// - Throws: `.notOurs` for more than one, and for a text that drp did not write.
    func owner(_ texts: [String]) throws(TrafficError) -> OwnerRecord? {
        guard let text = texts.first else { return nil }
        if texts.count == 1, let owner = OwnerRecord(text) { return owner }
        let shown = texts.prefix(3).map { "\"\(AnswerText.shown($0))\"" }.joined(separator: ", ")
        throw TrafficError(.notOurs, "\(mark)", "a mark that drp did not write: \(shown)")
    }

    /// - Parameter type: Of a record that resolvers follow instead of addresses, or beside them.
    func foreign(_ type: String) -> TrafficError {
        TrafficError(.notOurs, "\(domain)", "it has \(type) records, which a switch of A records would leave behind")
    }
}

/// What strangers say, for people.
enum AnswerText {
    /// Printable ASCII, at most 120 characters.
    static func shown(_ text: String) -> String {
        String(decoding: text.utf8.prefix(120).map { (0x20...0x7e).contains($0) ? $0 : 0x3f }, as: UTF8.self)
    }
}

/// The course of every switch, whatever the authority speaks: read, decide, write, and read again after a lost answer.
struct SwitchCourse: Sendable {
    let domain: String
    let expected: TrafficRecord
    let wanted: TrafficRecord
    private let owner: OwnerRecord

    /// - Throws: `.settings` for addresses that are none or the same, and for a TTL out of bounds.
    init(
        _ domain: String, from expected: TrafficRecord, to addresses: [String], owner: OwnerRecord, ttlSeconds: Int
    ) throws(TrafficError) {
        guard !addresses.isEmpty, addresses.allSatisfy({ IPv4($0) != nil }), Set(addresses).count == addresses.count
        else {
            throw TrafficError(.settings, domain, "the new addresses are not different IPv4 addresses: \(addresses)")
        }
        guard (1...86_400).contains(ttlSeconds) else {
            throw TrafficError(.settings, domain, "a TTL of \(ttlSeconds) s is not within 1 s and 1 day")
        }
        self.domain = domain
        self.expected = expected
        self.owner = owner
        wanted = TrafficRecord(addresses: addresses, ttlSeconds: ttlSeconds, owner: owner)
    }

    /// - Parameters:
    ///   - look: What the authority holds now.
    ///   - write: Puts `wanted` in place of what was found. Throws `.unreachable` if nobody knows whether it was done, and
    ///     `.changed`, with nothing done, if something else stands there by now. A second call must be harmless.
    func run<Found>(
        look: () async throws -> Found, record: (Found) -> TrafficRecord, write: (Found) async throws -> Void
    ) async throws -> SwitchOutcome {
        var lost: TrafficError?
        var first: TrafficRecord?
        for _ in 0..<2 {
            let found = try await look()
            let before = first ?? record(found)
            first = before
            let decision = try SwitchDecision.decide(domain, found: record(found), expected: expected, wanted: wanted)
            if decision == .alreadyThere {
                return SwitchOutcome(
                    change: lost == nil ? .alreadyThere : .settledByReading, before: before, after: record(found))
            }
            do {
                try await write(found)
                return SwitchOutcome(change: .switched, before: before, after: wanted)
            } catch let error as TrafficError where error.reason == .unreachable {
                lost = error
            } catch let error as TrafficError where error.reason == .changed {
                let now = record(try await look())
                throw TrafficError(.changed, domain, "\(error.text); now found \(now)")
            }
        }
        let found = record(try await look())
        if found.owner == owner, found.addresses == wanted.addresses {
            return SwitchOutcome(change: .settledByReading, before: first ?? found, after: found)
        }
        throw lost ?? TrafficError(.unreachable, domain, "no answer")
    }
}
