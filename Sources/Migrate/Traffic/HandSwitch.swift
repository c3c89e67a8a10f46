package import DRPKit
package import Foundation

/// Sends a client's domains elsewhere because a person says so, and back again. Records alone change: where the client lives
/// is what the journal says, before and after.
package struct HandSwitch: Sendable {
    /// Where the client lives.
    package struct Place: Sendable {
        package var site: SiteName
        /// Of its frontends.
        package var addresses: [String]
        package var epoch: Int

        package init(site: SiteName, addresses: [String], epoch: Int) {
            self.site = site
            self.addresses = addresses
            self.epoch = epoch
        }
    }

    /// What is to be done to one domain.
    package struct Change: Hashable, Sendable, Codable {
        package var domain: String
        package var found: TrafficRecord
        package var wanted: TrafficRecord
        /// What must be there, or nothing is done.
        package var expected: TrafficRecord
        /// What a way back leads to.
        package var before: TrafficRecord
        package var isRollback: Bool
    }

    /// What became of one domain.
    package struct Result: Hashable, Sendable, Codable {
        package var domain: String
        package var change: SwitchOutcome.Change
        package var before: TrafficRecord
        package var after: TrafficRecord
        /// Those that did not agree in time do not fail the switch, which is made; they are an error of the command.
        package var authorities: [AuthorityAnswer]
        package var resolvers: [ResolverAnswer]
        /// Until every authority agreed, or none was waited for any more.
        package var seconds: Double
    }

    private let zone: TrafficZone
    private let journal: Journal
    private let clock: any WallClock

    package init(zone: TrafficZone, journal: Journal, clock: any WallClock) {
        self.zone = zone
        self.journal = journal
        self.clock = clock
    }

    // MARK: Planning

    /// - Parameters:
    ///   - uuid: Of the client's repositories, which its marks bear.
    ///   - site: What the new mark names.
    /// - Returns: One change a domain; none if all records are as wanted already.
    /// - Throws: `TrafficError`: `.notOurs`, `.changed` for records that a switch would refuse.
    package func plan(
        _ client: Client, uuid: UUID, at place: Place, to addresses: [String], site: SiteName
    ) async throws -> [Change] {
        let newest = try await journal.newestSwitches(of: client.id)
        let found = try await read(client)
        let epoch = epoch(found, place)
        let wanted = TrafficRecord(
            addresses: addresses, ttlSeconds: zone.ttlSeconds,
            owner: OwnerRecord(client: uuid, site: site, epoch: epoch))
        let changes = found.map { domain, record in
            // An earlier attempt that ended half way knows better what stood there before it.
            let last = newest[domain].map(\.entry)
            let isRepeated = last?.after.addresses == wanted.addresses && record.addresses == wanted.addresses
            return Change(
                domain: domain, found: record, wanted: wanted, expected: record.believed(at: place.addresses),
                before: isRepeated ? last?.before ?? record : record, isRollback: false)
        }
        for change in changes { try Self.decide(change) }
        let isThere = changes.allSatisfy {
            $0.found.addresses == wanted.addresses && $0.found.owner?.client == uuid && $0.found.owner?.site == site
        }
        return isThere ? [] : changes
    }

    /// The way back from the last switch that was made by hand.
    /// - Throws: as `plan`; `.refused` if there is no such switch, or a run has made the last one.
    package func planRollback(_ client: Client, uuid: UUID, at place: Place) async throws -> [Change] {
        let newest = try await journal.newestSwitches(of: client.id)
        let found = try await read(client)
        let epoch = epoch(found, place)
        var changes: [Change] = []
        for (domain, record) in found {
            guard let last = newest[domain] else { continue }
            if let run = last.run {
                throw TrafficError(
                    .refused(advice: "Take that run back: `drp runs rollback \(run)`."), domain,
                    "its last switch was made by a run, not by hand")
            }
            let entry = last.entry
            // A way back that ended half way goes on to where it led.
            let (from, to) = entry.isRollback ? (entry.before, entry.after) : (entry.after, entry.before)
            let isBack = record.addresses == to.addresses && (entry.isRollback || record.owner == to.owner)
            if isBack { continue }
            guard !to.addresses.isEmpty else {
                throw TrafficError(
                    .refused(advice: "Send it to a site: `drp traffic switch \(client.id) --to SITE`."), domain,
                    "before its last switch it had no address that it could get back")
            }
            let owner = OwnerRecord(client: uuid, site: to.owner?.site ?? place.site, epoch: epoch)
            let wanted = TrafficRecord(addresses: to.addresses, ttlSeconds: max(1, to.ttlSeconds), owner: owner)
            let change = Change(
                domain: domain, found: record, wanted: wanted, expected: from, before: from, isRollback: true)
            try Self.decide(change)
            changes.append(change)
        }
        guard !changes.isEmpty else {
            throw TrafficError(
                .refused(advice: "See `drp traffic show \(client.id)`, and `drp runs list` for switches by runs."),
                client.id.text, "there is no switch by hand that could be taken back")
        }
        return changes
    }

    // MARK: Acting

    /// Makes the changes, each kept in the journal before it is made, and asks every authority until it serves them.
    /// - Parameters:
    ///   - by: The person, for the record.
    ///   - patience: How long authorities get for each domain.
    /// - Throws: `TrafficError`; the domains before the one that is named were switched, and a second call goes on.
    package func make(
        _ changes: [Change], of client: ClientID, by: String, patience: Duration,
        progress: (_ text: String) -> Void = { _ in }
    ) async throws -> [Result] {
        var results: [Result] = []
        for change in changes {
            guard let owner = change.wanted.owner else { preconditionFailure("a switch without an owner") }
            let began = clock.now
            try await journal.record(
                SwitchEntry(
                    domain: change.domain, before: change.before, after: change.wanted, by: by,
                    isRollback: change.isRollback), client: client)
            Failpoint.hit("traffic.recorded")
            let outcome = try await zone.records.switchOver(
                change.domain, from: change.expected, to: change.wanted.addresses, owner: owner,
                ttlSeconds: change.wanted.ttlSeconds)
            Failpoint.hit("traffic.switched")
            progress("\(change.domain): \(outcome.before) -> \(outcome.after)")
            let authorities = try await zone.authorities.ask(
                change.domain, until: change.wanted.addresses, deadline: patience)
            let seconds = clock.now.timeIntervalSince(began)
            let since = ResolverCheck.Change(at: clock.now, oldTTLSeconds: change.found.ttlSeconds)
            let resolvers = try await zone.resolvers.ask(
                change.domain, serving: change.wanted.addresses, ttlSeconds: change.wanted.ttlSeconds, since: since)
            let result = Result(
                domain: change.domain, change: outcome.change, before: outcome.before, after: outcome.after,
                authorities: authorities, resolvers: resolvers, seconds: seconds)
            try await journal.append(
                event: "traffic.switched", client: client, payload: try JSONValue(encoding: result))
            results.append(result)
        }
        return results
    }

    // MARK: -

    private func read(_ client: Client) async throws -> [(domain: String, record: TrafficRecord)] {
        guard !client.domains.isEmpty else {
            throw TrafficError(
                .refused(advice: "Write `domains:` at the client in the fleet file."), client.id.text,
                "it has no domains")
        }
        var found: [(String, TrafficRecord)] = []
        for domain in client.domains { found.append((domain, try await zone.records.read(domain))) }
        return found
    }

    private func epoch(_ found: [(domain: String, record: TrafficRecord)], _ place: Place) -> Int {
        max(place.epoch, found.compactMap { $0.record.owner?.epoch }.max() ?? 0) + 1
    }

    private static func decide(_ change: Change) throws(TrafficError) {
        _ = try SwitchDecision.decide(
            change.domain, found: change.found, expected: change.expected, wanted: change.wanted)
    }
}
