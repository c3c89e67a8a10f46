/// Whether a domain may be switched, from values alone.
package enum SwitchDecision: Hashable, Sendable {
    case alreadyThere
    case change

    /// - Parameters:
    ///   - found: What the authority holds.
    ///   - expected: What the caller believes it to hold; an owner of nil believes nothing.
    ///   - wanted: What is to be there; its owner is not nil.
    /// - Throws: `.notOurs` or `.changed`, naming what was found.
    package static func decide(
        _ domain: String, found: TrafficRecord, expected: TrafficRecord, wanted: TrafficRecord
    ) throws(TrafficError) -> SwitchDecision {
        guard let owner = wanted.owner else { preconditionFailure("a switch without an owner") }
        func changed(_ why: String) -> TrafficError { TrafficError(.changed, domain, "\(why); found \(found)") }

        guard let mark = found.owner else {
            if let believed = expected.owner { throw changed("the mark \"\(believed)\" is gone") }
            guard found.addresses == expected.addresses else {
                throw changed("it bears no mark and points not where expected (\(list(expected.addresses)))")
            }
            return .change
        }
        guard mark.client == owner.client else {
            throw TrafficError(.notOurs, domain, "it belongs to another client; found \(found)")
        }
        if mark == owner, found.addresses == wanted.addresses { return .alreadyThere }
        if let believed = expected.owner, believed != mark { throw changed("the mark is not \"\(believed)\"") }
        guard mark.epoch < owner.epoch || mark == owner else {
            throw changed("a switch of epoch \(mark.epoch) is there, ours has epoch \(owner.epoch)")
        }
        guard found.addresses == expected.addresses || found.addresses == wanted.addresses else {
            throw changed("it points neither where expected (\(list(expected.addresses))) nor to the new site")
        }
        return .change
    }

    private static func list(_ addresses: [String]) -> String {
        addresses.isEmpty ? "no address" : addresses.joined(separator: ", ")
    }
}
