package import DRPKit
internal import Foundation

/// Prunes one client's repositories in all stores of its policy.
package struct PruneJob: Sendable {
    private let fleet: Fleet
    private let journal: Journal
    private let clock: any WallClock
    private let open: StoreOpener

    /// - Parameter open: makes the store that the settings describe.
    package init(
        fleet: Fleet, journal: Journal, clock: any WallClock,
        open: @escaping StoreOpener
    ) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.open = open
    }

    /// What became of one store.
    package struct Outcome<Value: Sendable>: Sendable {
        package var store: StoreName
        package var result: Result<Value, any Error>
    }

    /// What a run would do now; changes nothing.
    package func plan(_ client: Client, grace: Duration) async throws -> [Outcome<PrunePlan>] {
        let isHeld = try await journal.hold(of: client.id) != nil
        let alarm = try await alarm(for: client)
        return await eachStore(client) { repository, settings in
            let isHeldThere = try await repository.isHeld()
            var plan = try await prune(repository, client, settings.name, grace, isHeld: isHeld || isHeldThere)
                .plan(now: clock.now)
            if let alarm { plan.block(alarm.text) }
            return plan
        }
    }

    /// - Parameter isConfirmed: whether the client's name was given.
    /// - Throws: `JournalError.leased` while a backup, a restore or a migration of the client runs, `PruneError.held`;
    ///   `PruneError.alarmed` while an alarm is open that stops retention.
    package func run(_ client: Client, grace: Duration, isConfirmed: Bool) async throws -> [Outcome<PruneReport>] {
        // Under the lease of backups, so that none of this journal runs beside.
        try await journal.holding("client/\(client.id)") { lease in
            try await journal.requireNoHold(client.id)
            if let alarm = try await alarm(for: client) {
                throw PruneError(.alarmed(number: alarm.id, alarm.text), "\(client.id)")
            }
            return await eachStore(client) { repository, settings in
                try await run(repository, client, settings.name, grace, isConfirmed: isConfirmed, lease)
            }
        }
    }

    private func run(
        _ repository: Repository, _ client: Client, _ store: StoreName, _ grace: Duration, isConfirmed: Bool,
        _ lease: LeaseEntry
    ) async throws -> PruneReport {
        let history = try await journal.lastPrune(of: client.id, in: store)
        let report = try await prune(repository, client, store, grace, isHeld: false).run(
            clock: clock, isConfirmed: isConfirmed,
            mayDelete: {
                try await journal.beat(lease)
                try await journal.requireNoHold(client.id)
                guard try await !repository.isHeld() else {
                    throw PruneError(
                        .held(place: "store \(store)", why: try await repository.hold()?.reason), "\(client.id)")
                }
            })
        if let marked = report.marked {
            try await journal.append(event: "prune.marked", client: client.id, payload: try payload(marked, store))
        }
        // Rules that were not confirmed are not those of the last prune.
        let isRefused = !report.unconfirmed.isEmpty
        let next = PruneHistory(
            newest: report.marked?.backups.isEmpty == false ? report.newestGood : history?.newest,
            keep: isRefused ? history?.keep : fleet.policy(of: client)?.keep)
        if !isRefused || report.removed != nil {
            let removed = try report.removed.map { try JSONValue(encoding: $0) } ?? .null
            try await journal.recordPrune(of: client.id, in: store, next, removed: removed)
        }
        return report
    }

    private func payload(_ marked: PruneReport.Marked, _ store: StoreName) throws -> JSONValue {
        var fields = try JSONValue(encoding: marked).object ?? [:]
        fields["store"] = .text(store.text)
        return .object(fields)
    }

    private func prune(
        _ repository: Repository, _ client: Client, _ store: StoreName, _ grace: Duration, isHeld: Bool
    ) async throws -> Prune {
        Prune(
            repository, retention: fleet.retention(of: client, isHeld: isHeld),
            history: try await journal.lastPrune(of: client.id, in: store),
            grace: grace)
    }

    /// Looks at the stores, and at the journal: what is there may be all that is left.
    private func alarm(for client: Client) async throws -> Alarm? {
        let watch = StoreWatch(journal: journal, clock: clock)
        let looks = await eachStore(client) { repository, settings in
            try await watch.look(at: settings.name, try await repository.store.guards())
            try await watch.look(
                at: settings.name, try await repository.holdings(), of: client.id, repository.keys.client)
        }
        // A store that cannot be asked is named by what follows.
        for case .failure(let error as JournalError) in looks.map(\.result) { throw error }
        let stores = fleet.stores(of: client).map(\.name)
        return try await journal.alarms(client: client.id).first { alarm in
            alarm.kind.stopsRetention && (alarm.store.map { stores.contains($0) } ?? true)
        }
    }

    private func eachStore<Value: Sendable>(
        _ client: Client, _ body: (Repository, StoreSettings) async throws -> Value
    ) async -> [Outcome<Value>] {
        var outcomes: [Outcome<Value>] = []
        for settings in fleet.stores(of: client) {
            do {
                let keys = try WriterKeys.read(of: client.id, state: fleet.state)
                let repository = try await Repository(store: try await open(settings).makingRoom(), keys: keys)
                let value = try await body(repository, settings)
                outcomes.append(Outcome(store: settings.name, result: .success(value)))
            } catch {
                outcomes.append(Outcome(store: settings.name, result: .failure(error)))
            }
        }
        return outcomes
    }
}
