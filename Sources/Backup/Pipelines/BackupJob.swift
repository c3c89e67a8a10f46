package import DRPKit
internal import Foundation

/// How far the work on one service has come; `total` is 0 where the server did not tell.
package struct ServiceProgress: Sendable, Hashable {
    package enum Service: String, Sendable, Codable { case mongo, redis }

    package var client: ClientID
    package var service: Service
    /// As `documents`, `indexes`, `keys`.
    package var phase: String
    package var done: Int64
    package var total: Int64
}

/// What became of one backup in one store.
package struct StoredBackup: Sendable {
    package var store: StoreName
    package var outcome: Result<Manifest, any Error>
}

/// Takes one backup of one client: MongoDB and Redis at once, into every store of its policy.
package struct BackupJob: Sendable {
    /// A holder that was silent for so long (it was stopped, it hangs) loses its lease, and can commit nothing any more.
    static let leaseLasts = Duration.seconds(300)

    private let fleet: Fleet
    private let journal: Journal
    private let clock: any WallClock
    private let resolver: SecretResolver
    private let open: StoreOpener
    private let reach: SiteReach

    /// - Parameters:
    ///   - open: makes the store that the settings describe.
    ///   - reach: how the clients' databases are reached.
    package init(
        fleet: Fleet, journal: Journal, clock: any WallClock, resolver: SecretResolver,
        reach: SiteReach = .direct, open: @escaping StoreOpener
    ) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.resolver = resolver
        self.open = open
        self.reach = reach
    }

    /// - Returns: one result a store; at least one of them is a backup.
    /// - Throws: `JournalError.leased` if another process works on this client, `.leaseLost` if another one has taken
    ///   over because this one was silent for too long; what reading the sources throws; the first store's error if none
    ///   took the backup. Each try is in the journal.
    package func run(
        _ client: Client, progress: @escaping @Sendable (ServiceProgress) -> Void = { _ in }
    ) async throws -> [StoredBackup] {
        try await journal.holding("client/\(client.id)", lasts: Self.leaseLasts) { lease in
            try await run(client, holding: lease, progress: progress)
        }
    }

    /// The same for a caller that holds the client's lease, and keeps it alive.
    package func run(
        _ client: Client, holding lease: LeaseEntry, progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws -> [StoredBackup] {
        try await journal.requireNotErased(client.id)
        let keys = try WriterKeys.read(of: client.id, state: fleet.state)
        let targets = BackupTargets()
        await open(client, keys, targets)
        try await catalog.settle(client.id, targets)
        return try await capture(client, keys, targets, lease, progress)
    }

    /// Closes what processes that died left open in the journal, for clients that nobody works on.
    /// - Throws: `JournalError`.
    package func settleAbandoned() async throws {
        for client in fleet.clientsByPriority
        where try await journal.backups(client: client.id).contains(where: { $0.finished == nil }) {
            do {
                try await journal.holding("client/\(client.id)", lasts: Self.leaseLasts) { _ in
                    try await catalog.settle(client)
                }
            } catch let error as JournalError where error.code == .repositoryLeased {
                // Its process lives: nothing is abandoned.
            }
        }
    }

    private var sync: StoreSync { StoreSync(fleet: fleet, journal: journal, clock: clock, open: open) }

    private var catalog: CatalogRebuild { CatalogRebuild(fleet: fleet, journal: journal, open: open) }

    private func capture(
        _ client: Client, _ keys: WriterKeys, _ targets: BackupTargets, _ lease: LeaseEntry,
        _ progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws -> [StoredBackup] {
        let place = try ClientPlace(client, placement: try await journal.placement(of: client.id))
        let started = clock.now
        var entries: [(store: StoreName, id: Int64)] = []
        for store in fleet.stores(of: client) {
            let id = try await journal.beginBackup(client: client.id, store: store.name, started: started)
            entries.append((store.name, id))
        }
        let backup: Committed
        do {
            let databases = try await ClientDatabases(
                place.services, side: .source, resolver: resolver, way: reach.way(into: place.site, host: place.host))
            try targets.requireNotErased(fleet.stores(of: client).map(\.name))
            try targets.requireOne()
            let known = try await journal.newestBackup(client: client.id, repository: keys.client)
            let start = try await targets.begin(
                holder: lease, known: known.map { KnownBackup(number: $0.number, hash: $0.hash) })
            do {
                backup = try await withHeartbeat(
                    by: clock, beat: { try await targets.beat(lease, number: start.number) }
                ) {
                    // Before the catch-up, which mends what is gone.
                    let holdings = try await look(client.id, targets)
                    try await sync.catchUp(targets, holdings, client.id, keys)
                    let writer = try await BackupWriter.make(targets, start, holder: lease)
                    for (store, packs) in writer.indexedPacks {
                        try await watch.look(atPacks: store, absent: packs.absent, of: packs.all, client: client.id)
                    }
                    async let prepared: Void = targets.prepare()
                    let (mongo, redis) = try await read(databases, client.id, writer, progress)
                    await prepared
                    return try await commit(writer, mongo, redis, started, lease)
                }
            } catch {
                await targets.end(lease, number: start.number)
                throw error
            }
            Failpoint.hit("backup.committed")
        } catch {
            try await fail(client.id, entries, targets, error, lease)
            throw error
        }
        let results = try await record(entries, targets, backup, lease)
        try await recordCopies(client.id, backup, results)
        // Others that were copied before the capture are complete now.
        try await sync.settle(client, keys)
        try await renewLocks(client, targets)
        for store in fleet.stores(of: client) { try await watch.look(atAbsenceOf: store.name, client: client.id) }
        return results
    }

    private var watch: StoreWatch { StoreWatch(journal: journal, clock: clock) }

    /// Asks all stores at once; one that does not answer is left behind.
    private func look(_ client: ClientID, _ targets: BackupTargets) async throws -> [StoreName: Holdings] {
        let found = try await targets.each { target in
            async let guards = target.repository.store.guards()
            return (holdings: try await target.repository.holdings(), guards: try await guards)
        }
        var held: [StoreName: Holdings] = [:]
        for (target, found) in found {
            guard let store = target.store else { continue }
            try await watch.look(at: store, found.guards)
            try await watch.look(at: store, found.holdings, of: client, target.repository.keys.client)
            held[store] = found.holdings
        }
        return held
    }

    /// The backup is there whatever becomes of this: a lock that could not be renewed is an alarm.
    private func renewLocks(_ client: Client, _ targets: BackupTargets) async throws {
        for target in targets.living {
            guard let store = target.store, let term = target.repository.lockTerm else { continue }
            let last = try await journal.lastRenewal(of: client.id, in: store)
            if let last, last <= clock.now, clock.now.timeIntervalSince(last) < term.interval { continue }
            let subject = AlarmSubject(.locksBehind, client: client.id, store: store)
            do {
                let isHeldThere = try await target.repository.isHeld()
                let isHeld = try await journal.hold(of: client.id) != nil
                let retention = fleet.retention(of: client, isHeld: isHeld || isHeldThere)
                let report = try await LockRenewal(target.repository, term: term, retention: retention)
                    .run(now: clock.now)
                var fields = try JSONValue(encoding: report).object ?? [:]
                fields["store"] = .text(store.text)
                try await journal.append(event: "locks.renewed", client: client.id, payload: .object(fields))
                try await journal.setAlarm(subject, nil)
            } catch let error as JournalError {
                throw error
            } catch {
                let why = (error as? any DRPError)?.message ?? "\(error)"
                try await journal.setAlarm(subject, "locks of its backups could not be renewed: \(why)")
            }
        }
    }

    private struct Committed: Sendable {
        var manifest: Manifest
        var hash: ContentHash?
    }

    private func commit(
        _ writer: BackupWriter, _ mongo: MongoManifest?, _ redis: RedisManifest?, _ started: Date, _ lease: LeaseEntry
    ) async throws -> Committed {
        let instants = [mongo.map { Date(timeIntervalSince1970: Double($0.clusterSeconds)) }, redis?.instant]
        let manifest = try await writer.commit(
            mongo: mongo, redis: redis, started: started, finished: clock.now,
            instant: instants.compactMap { $0 }.min() ?? started, fence: { try await journal.beat(lease) })
        return Committed(manifest: manifest, hash: writer.manifestHash)
    }

    /// All stores at once; in the order of the policy.
    private func open(_ client: Client, _ keys: WriterKeys, _ targets: BackupTargets) async {
        let stores = fleet.stores(of: client)
        let lock = fleet.lockTerm(of: client, now: clock.now)
        await withTaskGroup(of: (Int, Result<Repository, any Error>).self) { group in
            for (index, settings) in stores.enumerated() {
                group.addTask {
                    do {
                        let repository = try await Repository(
                            store: try await open(settings), keys: keys, lock: lock)
                        return (index, .success(repository))
                    } catch { return (index, .failure(error)) }
                }
            }
            var opened: [Int: Result<Repository, any Error>] = [:]
            for await (index, result) in group { opened[index] = result }
            for (index, settings) in stores.enumerated() {
                switch opened[index] {
                case .success(let repository): targets.add(settings.name, repository)
                case .failure(let error): targets.fail(settings.name, error)
                case nil: preconditionFailure("store \(settings.name) was not opened")
                }
            }
        }
    }

    /// Also when this task is cancelled: hence the task of its own.
    private func fail(
        _ client: ClientID, _ entries: [(store: StoreName, id: Int64)], _ targets: BackupTargets, _ error: any Error,
        _ lease: LeaseEntry
    ) async throws {
        try await Task {
            for entry in entries {
                do {
                    try await journal.failBackup(
                        entry.id, targets.failure(of: entry.store) ?? error, holding: lease)
                    try await watch.look(atAbsenceOf: entry.store, client: client)
                } catch let error as JournalError where error.reason == .leaseLost {
                    // Whoever took over has closed it.
                }
            }
        }.value
    }

    /// A backup that not all stores have is partial, until `StoreSync` has brought it to the others.
    private func recordCopies(_ client: ClientID, _ backup: Committed, _ results: [StoredBackup]) async throws {
        guard results.count > 1 else { return }
        let (repository, number) = (backup.manifest.client, backup.manifest.number)
        var stores: [StoreName] = []
        var lacking: [(store: StoreName, why: any Error)] = []
        for result in results {
            switch result.outcome {
            case .success: stores.append(result.store)
            case .failure(let error): lacking.append((result.store, error))
            }
        }
        if lacking.isEmpty {
            try await journal.recordComplete(client: client, repository: repository, number: number, stores: stores)
        } else {
            try await journal.recordPartial(
                client: client, repository: repository, number: number, stores: stores, lacking: lacking)
        }
    }

    /// Both databases at once, so that their instants lie close together.
    private func read(
        _ databases: ClientDatabases, _ client: ClientID, _ sink: any ChunkSink,
        _ progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws -> (MongoManifest?, RedisManifest?) {
        async let mongo = databases.mongo.asyncMap { settings in
            try await MongoCapture.capture(settings: settings, sink: sink) {
                progress(ServiceProgress(client, mongo: $0))
            }
        }
        async let redis = databases.redis.asyncMap { settings in
            try await RedisCapture.capture(
                settings: settings, sink: sink, progress: { progress(ServiceProgress(client, redis: $0, total: 0)) },
                clock: clock)
        }
        return (try await mongo, try await redis)
    }

    private func record(
        _ entries: [(store: StoreName, id: Int64)], _ targets: BackupTargets, _ backup: Committed, _ lease: LeaseEntry
    ) async throws -> [StoredBackup] {
        let manifest = backup.manifest
        var results: [StoredBackup] = []
        for entry in entries {
            if let error = targets.failure(of: entry.store) {
                try await journal.failBackup(entry.id, error, holding: lease)
                results.append(StoredBackup(store: entry.store, outcome: .failure(error)))
                continue
            }
            try await journal.finishBackup(
                entry.id,
                BackupFigures(
                    number: manifest.number, instant: manifest.instant,
                    sourceBytes: ByteCount(manifest.counters.source), newBytes: ByteCount(manifest.counters.new),
                    storedBytes: ByteCount(manifest.counters.stored), repository: manifest.client, hash: backup.hash),
                holding: lease)
            results.append(StoredBackup(store: entry.store, outcome: .success(manifest)))
        }
        return results
    }
}

extension ServiceProgress {
    init(_ client: ClientID, mongo: MongoProgress) {
        self.init(
            client: client, service: .mongo, phase: mongo.phase.rawValue, done: mongo.bytes, total: mongo.totalBytes)
    }

    init(_ client: ClientID, redis: RedisProgress, total: Int64) {
        self.init(client: client, service: .redis, phase: "keys", done: redis.bytes, total: total)
    }
}
