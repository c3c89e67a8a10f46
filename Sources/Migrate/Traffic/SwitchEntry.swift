package import DRPKit
package import Foundation

/// What the journal keeps of a switch of one domain, from before it is made: the way back.
package struct SwitchEntry: Hashable, Sendable, Codable {
    package static let kind = "traffic.switching"

    package var domain: String
    /// What was found.
    package var before: TrafficRecord
    /// What is to stand there.
    package var after: TrafficRecord
    /// The person; nil for a run's.
    package var by: String?
    /// Whether it takes another switch back.
    package var isRollback = false

    package init(
        domain: String, before: TrafficRecord, after: TrafficRecord, by: String?, isRollback: Bool = false
    ) {
        self.domain = domain
        self.before = before
        self.after = after
        self.by = by
        self.isRollback = isRollback
    }
}

/// A switch as the journal tells of it.
package struct JournaledSwitch: Hashable, Sendable {
    package var entry: SwitchEntry
    package var at: Date
    /// nil if it was made by hand.
    package var run: RunID?
}

extension Journal {
    /// Keeps what a switch is about to do.
    package func record(
        _ entry: SwitchEntry, client: ClientID, run: RunID? = nil, step: String? = nil
    ) async throws {
        try await append(
            event: SwitchEntry.kind, client: client, run: run, step: step, payload: try JSONValue(encoding: entry))
    }

    /// The newest switch of each of the client's domains, also one that was not carried out to its end.
    package func newestSwitches(of client: ClientID) async throws -> [String: JournaledSwitch] {
        var newest: [String: JournaledSwitch] = [:]
        for event in try await newestEvents(client: client, kind: SwitchEntry.kind, limit: 10_000) {
            let entry = try event.payload.decode(SwitchEntry.self)
            newest[entry.domain] = JournaledSwitch(entry: entry, at: event.at, run: event.run)
        }
        return newest
    }
}
