internal import Backup
internal import DRPKit
internal import Foundation
internal import Logging

/// Sends the client's domains to the target: compare and set on our own records, until every authority serves them. Then the
/// journal says that the client lives there.
package struct SwitchStep: Step {
    package static let kind = "switch"
    package static let schema: [SettingSpec] = []
    package static let rule = StepRule(deadline: .seconds(300), retries: 2)
    package static let changesProduction = true

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let client = try world.client(context)
        let site = try world.targetSite(context)
        let addresses = site.frontends.map(\.address).joined(separator: ", ")
        var lines: [String] = []
        if world.frontends(site) != nil, !client.domains.isEmpty {
            lines.append(
                "each HAProxy of \(site.name) leads \(client.id)/\(Frontends.server) to the new API; dead ones are left out"
            )
        }
        for domain in client.domains {
            let record = try await world.requireTraffic(context).records.read(domain)
            lines.append("\(domain): \(record) -> \(addresses)")
        }
        return StepPlan(name: context.step, kind: Self.kind, lines: lines.isEmpty ? ["no domains"] : lines)
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        let client = try world.client(context)
        let site = try world.targetSite(context)
        let owner = try owner(context, site)
        var domains: [JSONValue] = []
        guard let addresses = try await addressesFound(context, client, site) else { return .notDone }
        for domain in client.domains {
            let record = try await world.requireTraffic(context).records.read(domain)
            guard record.owner == owner, record.addresses == addresses else { return .notDone }
            domains.append(
                try Self.line(domain, before: context.notes["before \(domain)"], after: record, site, asked: 0))
        }
        guard let placement = try await world.journal.placement(of: client.id), placement.run == context.run else {
            return .notDone
        }
        // What the authorities said stands in what `apply` returned; the records alone do not tell it.
        return .done(context.applied ?? ["domains": .list(domains)])
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let site = try world.targetSite(context)
        let deployment = try world.deployment(context)
        let owner = try owner(context, site)
        guard context.outcomes["verify"]?.text("summary") != nil else {
            throw StepError(context, .refused, "the target was not compared: traffic is never sent to such a one")
        }
        // Whoever opened the source meanwhile has made it differ from what was compared.
        // One that cannot be asked any more has not been opened by us.
        if context.outcomes["freeze"]?.text("frozen") != nil, context.notes["writes"] == nil,
            let isFrozen = try? await world.sourceBlock(context).isOn(), !isFrozen
        {
            throw StepError(
                context, .refused,
                "the source takes writes again, so that the target is behind: take the run back, or begin at `freeze`")
        }
        if context.notes["writes"] == nil {
            let writes = try await WriteCount.begin(try await world.databases(deployment))
            try await context.note("writes", try JSONValue(encoding: writes))
        }
        let frontends = try await lead(context, client, site, deployment)
        let addresses =
            try frontends.map { try Frontends.leading($0, client.id) } ?? Self.addresses(site, deployment)
        var domains: [JSONValue] = []
        for domain in client.domains {
            let traffic = try world.requireTraffic(context)
            let found = try await traffic.records.read(domain)
            let ttl = traffic.ttlSeconds
            // Kept before the change, and not overwritten by what a second attempt finds: the way back.
            if context.notes["before \(domain)"] == nil {
                try await context.note("before \(domain)", try JSONValue(encoding: found))
                let after = TrafficRecord(addresses: addresses, ttlSeconds: ttl, owner: owner)
                try await world.journal.record(
                    SwitchEntry(domain: domain, before: found, after: after, by: nil), client: client.id,
                    run: context.run, step: context.step)
            }
            // A dead frontend may have been left out, and be back at the next attempt.
            try await context.note("to \(domain)", .list(addresses.map { .text($0) }))
            let outcome = try await traffic.records.switchOver(
                domain, from: try await expected(client, found), to: addresses, owner: owner, ttlSeconds: ttl)
            Failpoint.hit("switch.switched")
            context.progress("\(domain): \(Self.shown(outcome.before)) -> \(Self.shown(outcome.after))")
            let answers = try await traffic.authorities.ask(domain, until: addresses, deadline: .seconds(60))
            try AuthorityCheck.requireAgreement(answers, domain: domain)
            let change = ResolverCheck.Change(at: world.clock.now, oldTTLSeconds: found.ttlSeconds)
            for line in try await traffic.resolvers.ask(domain, serving: addresses, ttlSeconds: ttl, since: change)
                .compactMap(\.complaint)
            {
                context.progress("\(domain): \(line)")
            }
            let before = try context.notes["before \(domain)"] ?? JSONValue(encoding: found)
            domains.append(try Self.line(domain, before: before, after: outcome.after, site, asked: answers.count))
        }
        let services = PlacedServices(
            mongo: client.services.mongo == nil ? nil : deployment.secretFiles.mongoForDRP,
            redis: client.services.redis == nil ? nil : deployment.secretFiles.redisForDRP)
        try await world.journal.place(
            client: client.id, site: site.name, epoch: Int64(owner.epoch), services: try JSONValue(encoding: services),
            run: context.run)
        Failpoint.hit("switch.placed")
        var outcome: StepOutcome = ["domains": .list(domains)]
        if let frontends { outcome["frontends"] = try JSONValue(encoding: frontends) }
        return outcome
    }

    /// Leads each of the site's HAProxies to the new API; those that are dead or do not find it are named, and left out of DNS.
    /// - Returns: nil for a site without such frontends.
    private func lead(
        _ context: StepContext, _ client: Client, _ site: Site, _ deployment: Deployment
    ) async throws -> [FrontendAnswer]? {
        guard let frontends = world.frontends(site), !client.domains.isEmpty else { return nil }
        let answers = try await frontends.lead(
            client.id, to: HostPort(host: deployment.address, port: deployment.ports.api))
        for complaint in answers.compactMap(\.complaint) {
            context.progress(complaint)
            world.logger.warning("a frontend is left out", metadata: ["client": "\(client.id)", "why": "\(complaint)"])
        }
        try await context.note("frontends", try JSONValue(encoding: answers))
        return answers
    }

    /// - Returns: What the records should hold; nil if the site's HAProxies do not all lead as the step has left them.
    private func addressesFound(_ context: StepContext, _ client: Client, _ site: Site) async throws -> [String]? {
        let deployment = try world.deployment(context)
        guard let frontends = world.frontends(site), !client.domains.isEmpty else {
            return Self.addresses(site, deployment)
        }
        guard let note = context.notes["frontends"] else { return nil }
        let led = try note.decode([FrontendAnswer].self).filter(\.leads)
        let now = try await frontends.look(client.id)
        return led.allSatisfy(now.contains) ? led.map(\.address).sorted() : nil
    }

    /// Puts back what stood there before, as a change of its own with a higher epoch: nothing that others wrote is touched.
    package func undo(_ context: StepContext) async throws {
        let client = try world.client(context)
        let site = try world.targetSite(context)
        let owner = try owner(context, site)
        for domain in client.domains {
            guard let note = context.notes["before \(domain)"] else { continue }
            let before = try note.decode(TrafficRecord.self)
            let traffic = try world.requireTraffic(context)
            let found = try await traffic.records.read(domain)
            let back = OwnerRecord(
                client: owner.client, site: before.owner?.site ?? client.site, epoch: owner.epoch + 1)
            // Never changed, or taken back already.
            if found == before || found.owner == back { continue }
            let ours = context.notes["to \(domain)"]?.list?.compactMap(\.text)
            guard found.owner == owner, ours == nil || found.addresses == ours?.sorted() else {
                throw StepError(
                    context, .refused,
                    "the records of \(domain) are not as this run left them (\(found)): put them right by hand first")
            }
            guard !before.addresses.isEmpty else {
                context.progress("\(domain): it had no address before, and keeps this one")
                continue
            }
            _ = try await traffic.records.switchOver(
                domain, from: found, to: before.addresses, owner: back, ttlSeconds: max(1, before.ttlSeconds))
            context.progress("\(domain): back to \(before.addresses.joined(separator: ", "))")
        }
        if let frontends = world.frontends(try world.targetSite(context)), context.notes["frontends"] != nil {
            _ = try await frontends.withdraw(client.id)
        }
        guard try await world.journal.placement(of: client.id)?.run == context.run else { return }
        let before = try await world.journal.placement(of: client.id, before: context.run)
        try await world.journal.place(
            client: client.id, site: before?.site ?? client.site, epoch: Int64(owner.epoch) + 1,
            services: before?.services ?? .null, run: context.run)
    }

    /// What clients wrote at the target since it was switched to.
    package func losses(_ context: StepContext) async throws -> [String] {
        guard let note = context.notes["writes"] else { return [] }
        do {
            let databases = try await world.databases(try world.deployment(context))
            return try await note.decode(WriteCount.self).since(databases)
        } catch {
            return ["what was written at the target since the switch: it cannot be asked (\(Fault(error).text))"]
        }
    }

    private func expected(_ client: Client, _ found: TrafficRecord) async throws -> TrafficRecord {
        let place = try await world.place(client)
        return found.believed(at: world.fleet.site(place.site)?.frontends.map(\.address) ?? [])
    }

    private func owner(_ context: StepContext, _ site: Site) throws -> OwnerRecord {
        guard let facts = context.outcomes["preflight"], let text = facts.text("uuid"),
            let uuid = UUID(uuidString: text),
            let epoch = facts.integer("epoch")
        else { throw StepError(context, .order, "it needs the outcome of a step 'preflight' before it") }
        return OwnerRecord(client: uuid, site: site.name, epoch: Int(epoch))
    }

    /// A stack of containers has one of the frontends to itself.
    private static func addresses(_ site: Site, _ deployment: Deployment) -> [String] {
        site.docker == nil ? site.frontends.map(\.address).sorted() : [deployment.address]
    }

    private static func shown(_ record: TrafficRecord) -> String {
        record.addresses.isEmpty ? "no address" : record.addresses.joined(separator: ", ")
    }

    private static func line(
        _ domain: String, before: JSONValue?, after: TrafficRecord, _ site: Site, asked: Int
    ) throws -> JSONValue {
        let before = try before?.decode(TrafficRecord.self)
        return [
            "domain": .text(domain), "before": .list((before?.addresses ?? []).map { .text($0) }),
            "after": .list(after.addresses.map { .text($0) }), "ttl": .integer(Int64(after.ttlSeconds)),
            "authorities": .integer(Int64(asked)),
        ]
    }
}
