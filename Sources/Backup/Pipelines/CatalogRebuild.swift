package import DRPKit
internal import Foundation

/// Brings the journal's table of backups and the stores together: what a store holds is a backup, whoever lived to
/// write it down.
package struct CatalogRebuild: Sendable {
    /// What one store had to say.
    package struct Found: Sendable {
        package var store: StoreName
        package var outcome: Result<Report, any Error>
    }

    package struct Report: Sendable {
        package var change: CatalogChange
        /// Backups that are in the store and cannot be read, and why.
        package var unreadable: [Int: RepositoryError]
    }

    private let fleet: Fleet
    private let journal: Journal
    private let open: StoreOpener

    /// - Parameter open: makes the store that the settings describe.
    package init(
        fleet: Fleet, journal: Journal, open: @escaping StoreOpener
    ) {
        self.fleet = fleet
        self.journal = journal
        self.open = open
    }

    /// Compares all of a client's entries with all that its stores hold.
    /// - Throws: `JournalError.leased` if another process works on this client; what reading its keys throws. A store
    ///   that cannot be read is in the result, and nothing of it is marked as missing.
    package func run(_ client: Client) async throws -> [Found] {
        try await journal.requireNotErased(client.id)
        let keys = try WriterKeys.read(of: client.id, state: fleet.state)
        return try await journal.holding("client/\(client.id)", lasts: BackupJob.leaseLasts) { _ in
            var results: [Found] = []
            for settings in fleet.stores(of: client) {
                do {
                    let report = try await compare(client.id, settings, keys)
                    results.append(Found(store: settings.name, outcome: .success(report)))
                } catch let error as JournalError {
                    throw error
                } catch {
                    results.append(Found(store: settings.name, outcome: .failure(error)))
                }
            }
            try await journal.closeAbandonedBackups(client: client.id)
            return results
        }
    }

    /// Closes what a process that died left open in the journal: as the backup that it had committed, else as failed.
    /// Takes over, too, whatever else the stores hold and the journal does not know. The caller holds the client's lease.
    package func settle(_ client: Client) async throws {
        let targets = BackupTargets()
        for settings in fleet.stores(of: client) {
            do {
                let keys = try WriterKeys.read(of: client.id, state: fleet.state)
                targets.add(settings.name, try await Repository(store: try await open(settings), keys: keys))
            } catch {
                // As a store that does not answer.
            }
        }
        try await settle(client.id, targets)
    }

    func settle(_ client: ClientID, _ targets: BackupTargets) async throws {
        for target in targets.living {
            guard let store = target.store else { continue }
            do {
                try await adopt(client, store, target.repository)
            } catch let error as JournalError {
                throw error
            } catch {
                // The work that follows needs the same store and keys, and names what is wrong with them; a manifest
                // that was not reached is adopted by the next one.
            }
        }
        try await journal.closeAbandonedBackups(client: client)
    }

    private func adopt(_ client: ClientID, _ store: StoreName, _ repository: Repository) async throws {
        let gap = try await journal.catalogGap(client: client, store: store)
        let numbers = try await repository.numbers()
        // The newest one is looked at in any case if somebody died: an old repository may have had the same number.
        let wanted = numbers.filter { !gap.known.contains($0) || (gap.hasOpenEntries && $0 == numbers.last) }
        var found: [CatalogBackup] = []
        for number in wanted {
            do {
                let sealed = try await repository.store.read(repository.layout.backup(number))
                guard case .manifest(let manifest) = try repository.open(sealed, number: number) else { continue }
                found.append(
                    CatalogBackup(
                        BackupSummary(manifest), repository: repository.keys.client,
                        hash: ContentHash(hashing: sealed)))
            } catch is RepositoryError {
                // Not to be read, so nothing that could be adopted; `backup list` and `backup verify` name it.
            }
        }
        try await journal.adoptBackups(client: client, store: store, found)
    }

    private func compare(_ client: ClientID, _ settings: StoreSettings, _ keys: WriterKeys) async throws -> Report {
        let repository = try await Repository(store: try await open(settings), keys: keys)
        let list = try await repository.backups()
        let change = try await journal.reconcileBackups(
            client: client, store: settings.name,
            found: list.backups.map { CatalogBackup($0, repository: keys.client, hash: list.hashes[$0.number]) },
            unreadable: Set(list.unreadable.keys))
        return Report(change: change, unreadable: list.unreadable)
    }
}

extension CatalogBackup {
    init(_ backup: BackupSummary, repository: UUID, hash: ContentHash?) {
        self.init(
            figures: BackupFigures(
                number: backup.number, instant: backup.instant, sourceBytes: ByteCount(backup.counters.source),
                newBytes: ByteCount(backup.counters.new), storedBytes: ByteCount(backup.counters.stored),
                repository: repository, hash: hash),
            started: backup.started, finished: backup.finished)
    }
}
