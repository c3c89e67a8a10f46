package import DRPKit

/// A backup, and the stores that it is read from.
package struct FoundBackup: Sendable {
    package var manifest: Manifest
    /// The first one that has it.
    package var store: StoreName
    package var repository: Repository
    /// Stores that did not answer, or could not open it: why.
    package var failures: [FallOver] = []
    fileprivate var others: [StoreSettings]
    fileprivate var keys: WriterKeys
    fileprivate var open: StoreOpener

    /// What opens its content: from the store that it was found in, and where that fails from the others.
    /// - Parameter tell: is called once for each store from which something could not be read.
    /// - Throws: the first store's error if none can be opened with the identity.
    package func source(
        _ identity: RecoveryIdentity, tell: @escaping @Sendable (FallOver) async -> Void
    ) async throws -> any ChunkSource {
        let (repository, keys, open) = (repository, keys, open)
        let first = FailoverSource.Store(name: store) {
            try await repository.reader(try await repository.rootKeys(identity))
        }
        let rest = others.map { settings in
            FailoverSource.Store(name: settings.name) {
                let repository = try await Repository(store: try await open(settings), keys: keys)
                return try await repository.reader(try await repository.rootKeys(identity))
            }
        }
        for failure in failures { await tell(failure) }
        let source = FailoverSource([first] + rest, tell: tell)
        try await source.open()
        return source
    }
}

/// Finds a client's backup in the stores of its policy, the nearest first.
package struct BackupFinder: Sendable {
    private let fleet: Fleet
    private let open: StoreOpener

    /// - Parameter open: makes the store that the settings describe.
    package init(fleet: Fleet, open: @escaping StoreOpener) {
        self.fleet = fleet
        self.open = open
    }

    /// The stores of a client: those at the target's site, then those where drp itself runs, then the others, each in the
    /// order of the policy.
    package func stores(of client: Client, near site: SiteName?) -> [StoreSettings] {
        func distance(_ store: StoreSettings) -> Int { store.site == site ? 0 : store.site == fleet.site ? 1 : 2 }
        return fleet.stores(of: client).enumerated()
            .sorted { (distance($0.element), $0.offset) < (distance($1.element), $1.offset) }.map(\.element)
    }

    /// - Parameters:
    ///   - number: the backup's; nil for the newest of all stores that answer.
    ///   - site: where it goes to, if that is known.
    ///   - only: read from this store alone, which need not be of the policy.
    /// - Throws: the first store's error if none has the backup; `RepositoryError.missing` if all answer.
    package func find(
        _ client: Client, _ number: Int?, keys: WriterKeys, near site: SiteName? = nil, only: StoreName? = nil
    ) async throws -> FoundBackup {
        var stores = stores(of: client, near: site)
        if let only {
            guard let settings = fleet.store(only) else {
                throw UnknownStoreError(store: only, known: fleet.stores.map(\.name))
            }
            stores = [settings]
        }
        var best: FoundBackup?
        var failures: [FallOver] = []
        for settings in stores {
            // One that is farther away is asked only if it may know of a newer backup.
            if best != nil && number != nil { break }
            do {
                let repository = try await Repository(store: try await open(settings), keys: keys)
                let manifest = try await manifest(number, in: repository)
                guard let manifest, best.map({ $0.manifest.number < manifest.number }) ?? true else { continue }
                best = FoundBackup(
                    manifest: manifest, store: settings.name, repository: repository,
                    others: stores.filter { $0.name != settings.name }, keys: keys, open: open)
            } catch {
                failures.append(FallOver(store: settings.name, error: error))
            }
        }
        if var best {
            best.failures = failures.filter { ($0.error as? RepositoryError)?.reason != .missing }
            // Those that failed a moment ago are asked last.
            let failed = Set(best.failures.map(\.store))
            best.others =
                best.others.filter { !failed.contains($0.name) } + best.others.filter { failed.contains($0.name) }
            return best
        }
        // Where one did not answer, nobody knows that there is no such backup.
        let gone = failures.first { ($0.error as? RepositoryError)?.reason != .missing }
        guard let first = gone ?? failures.first else {
            throw RepositoryError(.missing, "a backup of \(client.id)", cause: "no store holds one yet")
        }
        throw stores.count > 1 ? NamedStoreError(first.store, first.error) ?? first.error : first.error
    }

    private func manifest(_ number: Int?, in repository: Repository) async throws -> Manifest? {
        if let number { return try await repository.manifest(number) }
        return try await repository.latest()
    }
}
