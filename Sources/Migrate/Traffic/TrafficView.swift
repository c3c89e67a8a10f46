package import DRPKit
package import Foundation

/// Where one domain leads: what the zone holds, what every authority and resolver says, and what is not as the journal has it.
package struct DomainView: Hashable, Sendable, Codable {
    package var domain: String
    /// nil if the zone could not be read.
    package var record: TrafficRecord?
    package var authorities: [AuthorityAnswer] = []
    package var resolvers: [ResolverAnswer] = []
    /// What somebody must look into.
    package var differences: [String] = []
    /// What an operator should know, and what may well be meant so.
    package var notes: [String] = []
    /// Why the zone could not be read.
    package var problem: String?
    package var code: ErrorCode?

    package init(domain: String) { self.domain = domain }
}

/// What the records of a client should be.
package struct ExpectedTraffic: Hashable, Sendable, Codable {
    /// Where the client lives.
    package var site: SiteName
    /// Of that site's frontends; empty if they are not known.
    package var addresses: [String]
    /// Whether each client has one of the addresses to itself.
    package var isOneEach: Bool
    /// What the site's HAProxies do for the client; nil where its frontends are none.
    package var frontends: [FrontendAnswer]?
    /// The owner epoch of the last switch by a run; 0 before it.
    package var epoch: Int
    /// nil before the client's keys are made.
    package var uuid: UUID?

    package init(
        site: SiteName, addresses: [String], isOneEach: Bool, frontends: [FrontendAnswer]? = nil, epoch: Int,
        uuid: UUID?
    ) {
        self.site = site
        self.addresses = addresses.sorted()
        self.isOneEach = isOneEach
        self.frontends = frontends
        self.epoch = epoch
        self.uuid = uuid
    }

    /// - Returns: What differs, and what is merely worth knowing.
    package func compare(_ record: TrafficRecord) -> (differences: [String], notes: [String]) {
        var differences: [String] = []
        var notes: [String] = []
        if record.addresses.isEmpty {
            differences.append("it has no address")
        } else if !addresses.isEmpty {
            let foreign = record.addresses.filter { !addresses.contains($0) }
            let absent = isOneEach ? [] : addresses.filter { !record.addresses.contains($0) }
            if !foreign.isEmpty {
                differences.append(
                    "it leads to \(foreign.joined(separator: ", ")), which is no frontend of \(site), where the client lives"
                )
            } else if !absent.isEmpty {
                notes.append("left out of its addresses: \(absent.joined(separator: ", "))")
            }
            for answer in frontends ?? [] where !answer.leads && record.addresses.contains(answer.address) {
                differences.append(
                    "it names the frontend \(answer.address), which does not lead there: \(answer.problem ?? "")")
            }
            if isOneEach, record.addresses.count > 1 {
                differences.append("it has several addresses, and a client has one at \(site)")
            }
        }
        if record.ttlSeconds > 60 {
            differences.append(
                "its TTL is \(record.ttlSeconds) s: a switch is seen as late as that; write 60 s or less")
        }
        guard let owner = record.owner else {
            notes.append("no mark of drp yet: the first switch adopts it if it leads to \(site)")
            return (differences, notes)
        }
        if let uuid, owner.client != uuid { differences.append("its mark is another client's") }
        if owner.site != site { differences.append("its mark names \(owner.site), and the client lives at \(site)") }
        if owner.epoch < epoch { differences.append("its mark has epoch \(owner.epoch), the last switch had \(epoch)") }
        return (differences, notes)
    }
}

extension TrafficZone {
    /// Asks everybody once; what cannot be asked is said in the view and is no error.
    /// - Parameter last: The domain's newest switch.
    /// - Throws: `CancellationError`.
    package func view(
        _ domain: String, expected: ExpectedTraffic, last: JournaledSwitch?
    ) async throws -> DomainView {
        var view = DomainView(domain: domain)
        do {
            let record = try await records.read(domain)
            view.record = record
            (view.differences, view.notes) = expected.compare(record)
            view.authorities = try await authorities.ask(domain, until: record.addresses, deadline: .zero)
            view.differences += view.authorities.filter { !$0.agrees }.map { answer in
                let said = answer.addresses.isEmpty ? "no address" : answer.addresses.joined(separator: ", ")
                return
                    "authority \(answer.authority) \(answer.problem.map { "could not be asked: \($0)" } ?? "says \(said)")"
            }
            let change = last.map { ResolverCheck.Change(at: $0.at, oldTTLSeconds: $0.entry.before.ttlSeconds) }
            view.resolvers = try await resolvers.ask(
                domain, serving: record.addresses, ttlSeconds: record.ttlSeconds, since: change)
            view.notes += view.resolvers.compactMap(\.complaint)
        } catch let error as TrafficError {
            view.problem = error.message
            view.code = error.code
        }
        return view
    }
}
