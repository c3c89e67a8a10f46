internal import DRPKit
internal import Synchronization

/// Reads every chunk of one backup and proves it to be what its id names, before a restore writes anything. Two threads;
/// a small part of what the restore itself takes.
struct BackupPreflight: Sendable {
    struct Progress: Sendable {
        var service: ServiceProgress.Service
        var done: Int64
        /// Of the manifest's digests; a chunk that stands in it twice is read once, so it is about.
        var total: Int64
    }

    private static let readers = 2

    let manifest: Manifest
    let source: any ChunkSource

    /// - Throws: `RepositoryError` that names the first chunk that is lost or damaged, `.foreign` for a backup that this
    ///   program cannot restore; `StoreError`; `CancellationError`.
    func run(_ progress: @escaping @Sendable (Progress) -> Void) async throws {
        guard manifest.mongo?.oplog == nil, manifest.mongo?.consistency != .oplog else {
            throw RepositoryError(
                .foreign, "backup \(manifest.number) of \(manifest.name)",
                cause: "its oplog must be replayed, which this program cannot")
        }
        let work = WorkList(manifest.chunks.sorted { $0.key.hash < $1.key.hash })
        let totals: [ServiceProgress.Service: Int64] = [
            .mongo: manifest.mongo?.collections.reduce(0) { $0 + $1.digest.bytes } ?? 0,
            .redis: manifest.redis?.databases.reduce(0) { $0 + $1.digest.bytes } ?? 0,
        ]
        let meters: [ServiceProgress.Service: ByteSum] = [.mongo: ByteSum(), .redis: ByteSum()]
        let stop = StopSignal()
        let read: @Sendable () throws -> Void = {
            while let (id, kind) = work.take() {
                try stop.check()
                let bytes = try source.records(id, kind: kind).digest.bytes
                let service = kind.service
                let done = meters[service]?.add(bytes) ?? 0
                progress(Progress(service: service, done: done, total: max(done, totals[service] ?? 0)))
            }
        }
        try await stop.run("preflight", Array(repeating: read, count: Self.readers))
    }
}

extension ServiceProgress {
    init(_ client: ClientID, _ progress: BackupPreflight.Progress) {
        self.init(
            client: client, service: progress.service, phase: "check", done: progress.done, total: progress.total)
    }
}

extension ChunkKind {
    fileprivate var service: ServiceProgress.Service {
        switch self {
        case .documents, .mongoCatalog, .mongoUsers, .oplog: .mongo
        case .redisKeys, .redisFunctions, .redisPieces, .redisStream: .redis
        }
    }
}

/// Adds up from several threads.
private final class ByteSum: Sendable {
    private let sum = Mutex<Int64>(0)

    func add(_ bytes: Int64) -> Int64 {
        sum.withLock { sum in
            sum += bytes
            return sum
        }
    }
}
