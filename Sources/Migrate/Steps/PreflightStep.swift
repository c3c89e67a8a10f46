internal import Backup
internal import DRPKit
internal import Foundation

/// Asks everything that the later steps rely on, before anything is changed: a backup that opens, a target with room, records
/// that are ours. Says whether the source is alive; a dead one is no obstacle.
package struct PreflightStep: Step {
    package static let kind = "preflight"
    package static let schema = [
        SettingSpec(
            "source", .choice(["alive", "any"]),
            about: "`alive`: a source that cannot be reached ends the run; `any`, without this: it is taken as lost.")
    ]
    package static let rule = StepRule(deadline: .seconds(120), retries: 1)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let facts = try await look(context)
        let alive = facts["sourceAlive"]?.boolean == true
        return StepPlan(
            name: context.step, kind: Self.kind,
            lines: [
                "backup \(facts.integer("backup") ?? 0) in store \(facts.text("store") ?? "?"), of \(facts.text("instant") ?? "?")",
                "source at \(facts.text("source") ?? "?") is \(context.mode == .drill ? "not asked" : alive ? "alive" : "not reachable")",
                "target \(facts.text("target") ?? "?") at \(facts.text("address") ?? "?") has room",
            ])
    }

    package func observe(_ context: StepContext) async throws -> Observation { seen(context) }

    package func apply(_ context: StepContext) async throws -> StepOutcome { try await look(context) }

    package func undo(_ context: StepContext) async throws {}

    private func look(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let site = try world.targetSite(context)
        let place = try await world.place(client)
        guard place.site != site.name || context.mode == .drill else {
            throw StepError(context, .refused, "\(client.id) already lives at \(site.name)")
        }
        let at = context.inputs["at"] ?? "latest"
        let backup = try await world.backup(context, client, at: at)
        if world.identity != nil { _ = try await world.reader(context, backup) }
        try checkRoom(context, site, needed: backup.manifest.counters.source)
        let records = context.mode == .drill ? [] : try await records(context, client, place)
        let epoch = max(place.epoch, records.compactMap { $0.owner?.epoch }.max() ?? 0) + 1
        // A drill leaves production alone, and works as if it were gone.
        let why = context.mode == .drill ? "a drill does not ask it" : await whySourceIsLost(place)
        if context.mode == .real {
            context.progress(why.map { "the source is not reachable: \($0)" } ?? "the source is alive")
        }
        let isAlive = why == nil
        if let why, context.settings.text("source") == "alive" {
            throw StepError(
                context, .refused,
                "the source of \(client.id) cannot be reached, so that what came since its last backup would be lost: \(why)"
            )
        }
        return [
            "backup": .integer(Int64(backup.manifest.number)), "store": .text(backup.store.text),
            "instant": .text(JournalDate.text(backup.manifest.instant)), "source": .text(place.site.text),
            "sourceAlive": .boolean(isAlive), "uuid": .text(backup.manifest.client.uuidString.lowercased()),
            "epoch": .integer(Int64(epoch)), "target": .text(site.name.text),
            "address": .text(site.frontends[0].address),
        ]
    }

    /// Twice the source's bytes: data and indexes, and the oplog that writing them makes.
    private func checkRoom(_ context: StepContext, _ site: Site, needed: Int64) throws {
        guard let folder = site.folder else { return }
        var existing = URL(fileURLWithPath: folder)
        while !FileManager.default.fileExists(atPath: existing.path), existing.path != "/" {
            existing.deleteLastPathComponent()
        }
        let attributes = try FileManager.default.attributesOfFileSystem(forPath: existing.path)
        guard let free = (attributes[.systemFreeSize] as? NSNumber)?.int64Value else { return }
        guard free > needed * 2 else {
            throw StepError(
                context, .refused,
                "site \(site.name) has \(ByteCount(free)) free in \(folder), and the restore needs about \(ByteCount(needed * 2))"
            )
        }
    }

    /// The records must be ours to change: marked with the client's uuid, or unmarked and pointing at the place where it lives.
    private func records(_ context: StepContext, _ client: Client, _ place: ClientPlace) async throws -> [TrafficRecord]
    {
        guard !client.domains.isEmpty else { return [] }
        let traffic = try world.requireTraffic(context)
        let uuid = try world.writerKeys(client).client
        let known = world.fleet.site(place.site)?.frontends.map(\.address).sorted() ?? []
        var records: [TrafficRecord] = []
        for domain in client.domains {
            let record = try await traffic.records.read(domain)
            if let owner = record.owner, owner.client != uuid {
                throw StepError(context, .refused, "\(domain) bears the mark of another client: \(record)")
            }
            if record.owner == nil, !record.addresses.isEmpty, record.addresses != known {
                throw StepError(
                    context, .refused,
                    "\(domain) points to \(record), not to \(place.site) (\(known.joined(separator: ", "))): whose is it?"
                )
            }
            records.append(record)
        }
        return records
    }

    /// - Returns: nil if it answers.
    private func whySourceIsLost(_ place: ClientPlace) async -> String? {
        do {
            var databases = try await ClientDatabases(
                place.services, side: .source, resolver: world.resolver,
                way: world.reach.way(into: place.site, host: place.host))
            if databases.mongo != nil {
                databases.mongo?.selectionTimeout = .seconds(2)
                databases.mongo?.connectTimeout = .seconds(2)
            }
            if let settings = databases.mongo { try await MongoPreflight.ping(settings: settings, side: .source) }
            if let settings = databases.redis { try await RedisServer.ping(settings) }
            return nil
        } catch {
            return Fault(error).text
        }
    }
}
