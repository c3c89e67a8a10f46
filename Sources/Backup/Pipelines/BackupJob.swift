package import DRPKit
internal import Foundation
internal import Synchronization

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

    /// - Parameter open: makes the store that the settings describe.
    package init(
        fleet: Fleet, journal: Journal, clock: any WallClock, resolver: SecretResolver,
        open: @escaping StoreOpener
    ) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.resolver = resolver
        self.open = open
    }

    /// - Returns: one result a store; at least one of them is a backup.
    /// - Throws: `JournalError.leased` if another process works on this client, `.leaseLost` if another one has taken
    ///   over because this one was silent for too long; what reading the sources throws; the first store's error if none
    ///   took the backup. Each try is in the journal.
    package func run(
        _ client: Client, progress: @escaping @Sendable (ServiceProgress) -> Void = { _ in }
    ) async throws -> [StoredBackup] {
        try await journal.holding("client/\(client.id)", lasts: Self.leaseLasts) { lease in
            try await catalog.settle(client)
            return try await capture(client, lease, progress)
        }
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

    private var catalog: CatalogRebuild { CatalogRebuild(fleet: fleet, journal: journal, open: open) }

    private func capture(
        _ client: Client, _ lease: LeaseEntry, _ progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws -> [StoredBackup] {
        let keys = try WriterKeys.read(of: client.id, state: fleet.state)
        let place = try ClientPlace(client, placement: try await journal.placement(of: client.id))
        let started = clock.now
        var entries: [(store: StoreName, id: Int64)] = []
        for store in fleet.stores(of: client) {
            let id = try await journal.beginBackup(client: client.id, store: store.name, started: started)
            entries.append((store.name, id))
        }
        let fanOut = FanOut()
        do {
            let databases = try await ClientDatabases(place.services, side: .source, resolver: resolver)
            for settings in fleet.stores(of: client) { await begin(settings, keys, lease, fanOut) }
            try fanOut.requireOne()
            let (mongo, redis) = try await withHeartbeat(by: clock, beat: { await fanOut.beat() }) {
                try await read(databases, client.id, fanOut, progress)
            }
            let instants = [mongo.map { Date(timeIntervalSince1970: Double($0.clusterSeconds)) }, redis?.instant]
            let instant = instants.compactMap { $0 }.min() ?? started
            for target in fanOut.living {
                await fanOut.settle(target.store) {
                    try await target.writer.commit(
                        mongo: mongo, redis: redis, started: started, finished: clock.now, instant: instant,
                        fence: { try await journal.beat(lease) })
                }
            }
            Failpoint.hit("backup.committed")
            try fanOut.requireOne()
        } catch {
            try await fail(entries, fanOut, error, lease)
            throw error
        }
        return try await record(entries, fanOut, lease)
    }

    /// Also when this task is cancelled: hence the task of its own.
    private func fail(
        _ entries: [(store: StoreName, id: Int64)], _ fanOut: FanOut, _ error: any Error, _ lease: LeaseEntry
    ) async throws {
        try await Task {
            await fanOut.abort()
            for entry in entries {
                do {
                    try await journal.failBackup(
                        entry.id, fanOut.failure(of: entry.store) ?? error, holding: lease)
                } catch let error as JournalError where error.reason == .leaseLost {
                    // Whoever took over has closed it.
                }
            }
        }.value
    }

    private func begin(
        _ settings: StoreSettings, _ keys: WriterKeys, _ lease: LeaseEntry, _ fanOut: FanOut
    ) async {
        do {
            let repository = try await Repository(store: try await open(settings), keys: keys)
            fanOut.add(settings.name, try await repository.begin(holder: lease))
        } catch {
            fanOut.fail(settings.name, error)
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
        _ entries: [(store: StoreName, id: Int64)], _ fanOut: FanOut, _ lease: LeaseEntry
    ) async throws -> [StoredBackup] {
        var results: [StoredBackup] = []
        for entry in entries {
            let outcome = fanOut.outcome(of: entry.store)
            switch outcome {
            case .success(let manifest):
                try await journal.finishBackup(
                    entry.id,
                    BackupFigures(
                        number: manifest.number, instant: manifest.instant,
                        sourceBytes: ByteCount(manifest.counters.source), newBytes: ByteCount(manifest.counters.new),
                        storedBytes: ByteCount(manifest.counters.stored)), holding: lease)
            case .failure(let error):
                try await journal.failBackup(entry.id, error, holding: lease)
            }
            results.append(StoredBackup(store: entry.store, outcome: outcome))
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

extension Optional where Wrapped: Sendable {
    fileprivate func asyncMap<Result>(_ transform: (Wrapped) async throws -> Result) async throws -> Result? {
        guard let self else { return nil }
        return try await transform(self)
    }
}

/// Gives each chunk to the writers of all stores. A store that fails is left behind; the others go on.
private final class FanOut: ChunkSink {
    struct Target: Sendable {
        var store: StoreName
        var writer: BackupWriter
    }

    private struct State {
        var targets: [Target] = []
        var outcomes: [StoreName: Result<Manifest, any Error>] = [:]
        var firstFailure: (any Error)?
    }

    private let state = Mutex(State())

    var living: [Target] { state.withLock { state in state.targets.filter { state.outcomes[$0.store] == nil } } }

    func add(_ store: StoreName, _ writer: BackupWriter) {
        state.withLock { $0.targets.append(Target(store: store, writer: writer)) }
    }

    func fail(_ store: StoreName, _ error: any Error) {
        state.withLock { state in
            if state.firstFailure == nil { state.firstFailure = NamedStoreError(store, error) ?? error }
            state.outcomes[store] = .failure(error)
        }
    }

    /// - Throws: the first failure if no store is left.
    func requireOne() throws {
        let error = state.withLock { state -> (any Error)? in
            let isOneLeft = state.targets.contains { target in
                guard let outcome = state.outcomes[target.store] else { return true }
                if case .success = outcome { return true }
                return false
            }
            return isOneLeft ? nil : state.firstFailure ?? BackupJobError.noStore
        }
        if let error { throw error }
    }

    func store(_ chunk: Chunk) throws -> ChunkID {
        var id: ChunkID?
        for target in living {
            do { id = try target.writer.store(chunk) } catch { fail(target.store, error) }
        }
        try requireOne()
        guard let id else { throw BackupJobError.noStore }
        return id
    }

    func settle(_ store: StoreName, _ commit: () async throws -> Manifest) async {
        do {
            let manifest = try await commit()
            state.withLock { $0.outcomes[store] = .success(manifest) }
        } catch {
            fail(store, error)
        }
    }

    /// Says in each store that the backup goes on; one that another writer has taken over is left behind.
    func beat() async {
        for target in living {
            do { try await target.writer.beat() } catch { fail(target.store, error) }
        }
    }

    func abort() async { for target in state.withLock({ $0.targets }) { await target.writer.abort() } }

    func failure(of store: StoreName) -> (any Error)? {
        state.withLock { state in
            guard case .failure(let error) = state.outcomes[store] else { return nil }
            return error
        }
    }

    func outcome(of store: StoreName) -> Result<Manifest, any Error> {
        state.withLock { $0.outcomes[store] } ?? .failure(BackupJobError.noStore)
    }
}

/// What failed in one store, with the store's name in front.
private struct NamedStoreError: DRPError {
    var store: StoreName
    var cause: any DRPError

    /// - Returns: any other error as it is.
    init?(_ store: StoreName, _ error: any Error) {
        guard let cause = error as? any DRPError else { return nil }
        self.store = store
        self.cause = cause
    }

    var code: ErrorCode { cause.code }
    var message: String { "store \(store): \(cause.message)" }
    var advice: String { cause.advice }
}

/// A backup that has nowhere to go.
struct BackupJobError: DRPError, Equatable {
    static let noStore = BackupJobError()
    var code: ErrorCode { .fleetInvalid }
    var message: String { "the client's policy names no store" }
}
