package import DRPKit
internal import Foundation

/// Brings the stores of a client's policy to the same: what one lacks is copied from the others.
package struct StoreSync: Sendable {
    /// What became of one store.
    package struct Outcome: Sendable {
        package var store: StoreName
        package var result: Result<CopyReport, any Error>
    }

    private let fleet: Fleet
    private let journal: Journal
    private let clock: any WallClock
    private let open: StoreOpener

    /// - Parameter open: makes the store that the settings describe.
    package init(fleet: Fleet, journal: Journal, clock: any WallClock, open: @escaping StoreOpener) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.open = open
    }

    /// Copies what stores lack, and looks at each copy again. May be called again after any failure, and goes on.
    /// - Parameters:
    ///   - from: copies from this store alone, which need not be of the policy; nil for all others of the policy.
    ///   - to: copies to this store alone; nil for all of the policy.
    ///   - openSource: makes the stores that are copied from, if not as all others are made.
    ///   - progress: called with the store and the bytes of each pack.
    /// - Returns: a result for each store that was copied to.
    /// - Throws: `JournalError.leased` while a backup, a prune or a restore of the client runs; what reading its keys throws.
    package func run(
        _ client: Client, from: StoreName? = nil, to: StoreName? = nil, openSource: StoreOpener? = nil,
        progress: @escaping @Sendable (StoreName, Int64) -> Void = { _, _ in }
    ) async throws -> [Outcome] {
        // No end to the lease while this process lives: nothing would stop what it goes on to write.
        try await journal.holding("client/\(client.id)") { _ in
            try await journal.requireNotErased(client.id)
            let keys = try WriterKeys.read(of: client.id, state: fleet.state)
            let policy = fleet.stores(of: client)
            let targets = try to.map { [try settings(of: $0)] } ?? policy
            let sources = try from.map { [try settings(of: $0)] } ?? policy
            var outcomes: [Outcome] = []
            for target in targets where target.name != from {
                outcomes.append(
                    Outcome(
                        store: target.name,
                        result: await result {
                            try await copy(client, keys, to: target, from: sources, openSource ?? open) {
                                progress(target.name, $0)
                            }
                        }))
            }
            try await settle(client, keys)
            return outcomes
        }
    }

    private func settings(of name: StoreName) throws -> StoreSettings {
        guard let settings = fleet.store(name) else {
            throw UnknownStoreError(store: name, known: fleet.stores.map(\.name))
        }
        return settings
    }

    private func result(_ body: () async throws -> CopyReport) async -> Result<CopyReport, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }

    private func copy(
        _ client: Client, _ keys: WriterKeys, to target: StoreSettings, from others: [StoreSettings],
        _ openSource: StoreOpener, progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> CopyReport {
        var sources: [RepositoryCopy.Source] = []
        var failures: [CopyReport.Problem] = []
        for settings in others where settings.name != target.name {
            do {
                let repository = try await Repository(store: try await openSource(settings), keys: keys)
                sources.append(RepositoryCopy.Source(store: settings.name, repository: repository))
            } catch let error as RepositoryError where error.reason == .missing && others.count > 1 {
                // It has nothing to give; as a target it is made.
            } catch let error as RepositoryError where error.reason == .erased {
                throw error
            } catch {
                if let error = NamedStoreError(settings.name, error) {
                    failures.append(CopyReport.Problem(number: nil, error: error))
                }
            }
        }
        // The store's own name stands on its outcome, not on those of the others.
        let repository = try await Repository(
            unchecked: try await open(target), keys: keys, lock: fleet.lockTerm(of: client, now: clock.now))
        var copy = RepositoryCopy(to: target.name, repository, from: sources, absence: .make, progress: progress)
        var report = try await copy.run()
        report.problems = failures + report.problems
        try await adopt(client.id, keys, target.name, report)
        return report
    }

    private func adopt(_ client: ClientID, _ keys: WriterKeys, _ store: StoreName, _ report: CopyReport) async throws {
        try await journal.adoptBackups(
            client: client, store: store,
            report.backups.map { CatalogBackup($0, repository: keys.client, hash: report.hashes[$0.number]) })
    }

    /// Tells the journal which partial backups are complete now.
    func settle(_ client: Client, _ keys: WriterKeys) async throws {
        if try await journal.partialBackups(client: client.id, repository: keys.client).isEmpty { return }
        let policy = fleet.stores(of: client)
        var held: [StoreName: Set<Int>] = [:]
        var gone: Set<Int> = []
        for settings in policy {
            do {
                let holdings = try await Repository(store: try await open(settings), keys: keys).holdings()
                held[settings.name] = holdings.numbers
                gone.formUnion(holdings.tombstones)
            } catch {
                // Whoever works on it names it; what it holds is not known, so nothing is said of it.
            }
        }
        try await journal.settlePartial(
            client: client.id, repository: keys.client, stores: policy.map(\.name), held: held, gone: gone)
    }

    /// Brings targets of a backup up to date before it begins. One in which that fails, or that contradicts the others, is
    /// left behind; what no source can give holds nobody up.
    func catchUp(
        _ targets: BackupTargets, _ holdings: [StoreName: Holdings], _ client: ClientID, _ keys: WriterKeys
    ) async throws {
        let lacking = Holdings.lacking(holdings)
        for target in targets.living {
            guard let store = target.store, lacking[store] != nil else { continue }
            let sources = targets.living.compactMap { other in
                other.id == target.id
                    ? nil : other.store.map { RepositoryCopy.Source(store: $0, repository: other.repository) }
            }
            do {
                var copy = RepositoryCopy(to: store, target.repository, from: sources, absence: .refuse) { _ in }
                let report = try await copy.run()
                try await adopt(client, keys, store, report)
                if let error = report.problems.first(where: \.isDivergence)?.error { throw error }
            } catch let error as JournalError {
                throw error
            } catch {
                try targets.leave(target, error)
            }
        }
        try targets.requireOne()
    }
}

/// A store that the fleet file does not have.
struct UnknownStoreError: DRPError {
    var store: StoreName
    var known: [StoreName]

    var code: ErrorCode { .usage }
    var message: String { "the fleet file has no store '\(store)'" }
    var advice: String { "Stores are: \(known.map(\.text).sorted().joined(separator: ", "))." }
}
