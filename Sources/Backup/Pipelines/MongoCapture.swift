internal import DRPKit
internal import Synchronization

/// Captures a MongoDB replica set at one cluster time.
///
/// The catalog is listed, the time T is taken, the catalog is listed again and must be the same. Then two readers
/// scan collections by UUID at T, each over a connection of its own to the same member, hash each document and cut
/// chunks; two workers hand the chunks to the sink. Capped collections cannot be read at T: they are read in their
/// order as they are. Memory is bounded by the queue: at most `queued` chunks wait.
package enum MongoCapture {
    private static let readers = 2
    private static let workers = 2
    private static let queued = 4
    /// How often the capture starts again with a new T when collections changed under it.
    private static let attempts = 4

    /// - Returns: the manifest's part, after the sink has taken every chunk.
    /// - Throws: `MongoError`; what the sink throws; `CancellationError`.
    package static func capture(
        settings: MongoSettings, sink: any ChunkSink, progress: @escaping @Sendable (MongoProgress) -> Void
    ) async throws -> MongoManifest {
        var attempt = 1
        while true {
            do {
                return try await captureOnce(settings, sink, progress)
            } catch let error as MongoError where error.reason == .changed && attempt < attempts {
                attempt += 1
            }
        }
    }

    private static func captureOnce(
        _ settings: MongoSettings, _ sink: any ChunkSink, _ progress: @escaping @Sendable (MongoProgress) -> Void
    ) async throws -> MongoManifest {
        let stop = StopSignal()
        let plan = try await stop.run("mongo-catalog") { try CapturePlan.make(settings, sink, stop) }
        let meter = MongoMeter(
            .documents, documents: plan.jobs.reduce(0) { $0 + $1.size.documents },
            bytes: plan.jobs.reduce(0) { $0 + $1.size.bytes }, tell: progress)
        let run = CaptureRun(plan: plan, settings: settings, sink: sink, stop: stop, meter: meter, capacity: queued)
        stop.onStop { run.fail($0) }
        let reading: @Sendable () throws -> Void = { try run.read(of: readers) }
        let storing: @Sendable () throws -> Void = { try run.store() }
        try await stop.run(
            "mongo-capture",
            Array(repeating: reading, count: readers) + Array(repeating: storing, count: workers))
        meter.finish()
        return run.manifest()
    }
}

/// What a capture will read, settled before it begins.
private struct CapturePlan: Sendable {
    struct Job: Sendable {
        var collection: MongoCollection
        var isCapped: Bool
        var size: MongoSize
    }

    var host: String
    var version: String
    var time: MongoTime
    var catalog: [ChunkID]
    var users: [ChunkID]
    /// Largest first.
    var jobs: [Job]

    private static let catalogAttempts = 5

    static func make(_ settings: MongoSettings, _ sink: any ChunkSink, _ stop: StopSignal) throws -> CapturePlan {
        let connection = try MongoConnection.forCapture(settings)
        let version = try connection.member().version
        var catalog = try MongoCatalog.read(connection)
        var time = MongoTime(seconds: 0, ordinal: 0)
        for attempt in 1...catalogAttempts {
            try stop.check()
            time = try connection.member().clusterTime
            let again = try MongoCatalog.read(connection)
            if again == catalog { break }
            guard attempt < catalogAttempts else {
                throw MongoError(
                    side: .source, reason: .changed, subject: connection.host,
                    detail: "collections or indexes were made or dropped each time they were listed")
            }
            catalog = again
        }
        let accounts = try MongoAccount.read(connection, at: time)
        var jobs: [Job] = []
        for collection in catalog.collections where collection.kind != .view {
            try stop.check()
            jobs.append(
                Job(
                    collection: collection, isCapped: try collection.isCapped(),
                    size: try size(of: collection, connection)))
        }
        jobs.sort { $0.size.bytes > $1.size.bytes }
        return CapturePlan(
            host: connection.host, version: version, time: time,
            catalog: try store(catalog.collections.map(\.record), .mongoCatalog, sink),
            users: try store(accounts.map(\.record), .mongoUsers, sink), jobs: jobs)
    }

    /// Sizes serve progress and order alone: a user who may not ask for them can still capture.
    private static func size(of collection: MongoCollection, _ connection: MongoConnection) throws -> MongoSize {
        do {
            return try MongoSize.read(collection, connection)
        } catch let error as MongoError where error.reason == .denied || error.reason == .changed {
            return MongoSize()
        }
    }

    private static func store(_ records: [[UInt8]], _ kind: ChunkKind, _ sink: any ChunkSink) throws -> [ChunkID] {
        var chunker = Chunker(kind: kind)
        var ids: [ChunkID] = []
        for record in records {
            try record.withUnsafeBytes { bytes in
                try chunker.append(bytes, hash: ContentHash(hashing: bytes)) { ids.append(try sink.store($0)) }
            }
        }
        try chunker.finish { ids.append(try sink.store($0)) }
        return ids
    }
}

/// The threads of one capture and what they share.
private final class CaptureRun: Sendable {
    /// A chunk on its way to the sink, and where its id belongs.
    private struct Work: Sendable {
        var job: Int
        /// Which scan of the collection gave it: a scan that begins again leaves the chunks of the first behind.
        var scan: Int
        var index: Int
        var chunk: Chunk
    }

    private struct Result {
        var scan = 0
        var digest = ContentDigest()
        var chunks: [ChunkID?] = []

        mutating func put(_ id: ChunkID, of scan: Int, at index: Int) {
            guard scan == self.scan else { return }
            while chunks.count <= index { chunks.append(nil) }
            chunks[index] = id
        }
    }

    private struct State {
        var next = 0
        var readers = 0
        var results: [Result]
    }

    private let plan: CapturePlan
    private let settings: MongoSettings
    private let sink: any ChunkSink
    private let stop: StopSignal
    private let meter: MongoMeter
    private let state: Mutex<State>
    private let works: BoundedQueue<Work>

    init(
        plan: CapturePlan, settings: MongoSettings, sink: any ChunkSink, stop: StopSignal, meter: MongoMeter,
        capacity: Int
    ) {
        self.plan = plan
        self.settings = settings
        self.sink = sink
        self.stop = stop
        self.meter = meter
        works = BoundedQueue(capacity: capacity)
        state = Mutex(State(results: Array(repeating: Result(), count: plan.jobs.count)))
    }

    func fail(_ error: any Error) { works.fail(error) }

    // MARK: - Readers

    /// Reads one collection after the other; the last reader to leave ends the queue.
    func read(of readers: Int) throws {
        let connection = try MongoConnection(settings, side: .source, preference: .member(plan.host))
        while let job = state.withLock({ state -> Int? in
            guard state.next < plan.jobs.count else { return nil }
            state.next += 1
            return state.next - 1
        }) {
            try read(job, connection)
        }
        let isLast = state.withLock { state in
            state.readers += 1
            return state.readers == readers
        }
        if isLast { works.finish() }
    }

    private func read(_ job: Int, _ connection: MongoConnection) throws {
        do {
            try scan(job, 0, connection)
        } catch let error as MongoError where error.reason == .server(code: 43) {
            // The cursor is gone (CursorNotFound): once more from its beginning, still at T.
            try scan(job, 1, connection)
        }
    }

    private func scan(_ job: Int, _ number: Int, _ connection: MongoConnection) throws {
        state.withLock { $0.results[job] = Result(scan: number) }
        let target = plan.jobs[job]
        var digest = ContentDigest()
        var chunker = Chunker(kind: .documents)
        var index = 0
        let push: (Chunk) throws -> Void = { chunk in
            try self.works.push(Work(job: job, scan: number, index: index, chunk: chunk))
            index += 1
        }
        do {
            try MongoScan.documents(
                of: target.collection.uuid, in: target.collection.database, at: target.isCapped ? nil : plan.time,
                averageSize: target.size.average
            ).run(
                on: connection,
                record: { document in
                    let hash = ContentHash(hashing: document)
                    digest.add(hash, length: document.count)
                    try chunker.append(document, hash: hash, emit: push)
                },
                batch: { documents, bytes in
                    try stop.check()
                    meter.add(documents: documents, bytes: bytes)
                })
        } catch var error as MongoError {
            error.subject = "\(target.collection.namespace) at \(error.subject)"
            throw error
        }
        try chunker.finish(emit: push)
        state.withLock { $0.results[job].digest = digest }
    }

    // MARK: - Workers

    func store() throws {
        while let work = try works.pop() {
            let id = try sink.store(work.chunk)
            state.withLock { $0.results[work.job].put(id, of: work.scan, at: work.index) }
        }
    }

    func manifest() -> MongoManifest {
        let results = state.withLock { $0.results }
        var collections = zip(plan.jobs, results).map { job, result in
            CollectionManifest(
                database: job.collection.database, collection: job.collection.storedName, digest: result.digest,
                segments: result.chunks.map { id in
                    guard let id else { preconditionFailure("a chunk of \(job.collection.namespace) was not stored") }
                    return Segment(id)
                }, isCapped: job.isCapped)
        }
        collections.sort { ($0.database, $0.collection) < ($1.database, $1.collection) }
        return MongoManifest(
            serverVersion: plan.version, clusterSeconds: plan.time.seconds, clusterOrdinal: plan.time.ordinal,
            catalog: plan.catalog, users: plan.users, collections: collections)
    }
}
