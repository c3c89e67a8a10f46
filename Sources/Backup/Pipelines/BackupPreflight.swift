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

    /// - Throws: `RepositoryError` that names the first chunk that is lost or damaged; `StoreError`; `CancellationError`.
    func run(_ progress: @escaping @Sendable (Progress) -> Void) async throws {
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
                let bytes = try source.load(id, kind: kind)
                try source.verifyID(id, kind: kind, hashes: try RecordSplitter.hashes(of: bytes, kind: kind))
                let service = kind.service
                let done = meters[service]?.add(bytes.count) ?? 0
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
        case .documents, .mongoCatalog, .mongoUsers: .mongo
        case .redisKeys, .redisFunctions: .redis
        }
    }
}

/// Adds up from several threads.
private final class ByteSum: Sendable {
    private let sum = Mutex<Int64>(0)

    func add(_ bytes: Int) -> Int64 {
        sum.withLock { sum in
            sum += Int64(bytes)
            return sum
        }
    }
}
