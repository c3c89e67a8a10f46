package import DRPKit
internal import Foundation
internal import Synchronization

/// How far a capture, restore or verification has come.
package struct RedisProgress: Sendable, Equatable {
    package var keys: Int64 = 0
    /// Of records in stored form.
    package var bytes: Int64 = 0
}

/// Takes a Redis server's snapshot into a repository.
///
/// One thread reads, parses, hashes and cuts; others store. At most a few chunks are under way.
package enum RedisCapture {
    private static let storers = 2
    private static let tries = 3

    /// - Parameter progress: called from a plain thread, about every 8 MiB and at the end.
    /// - Throws: `RedisError`, `RDBError`, or what `sink` throws. A snapshot that breaks off is asked for again, three
    ///   times in all; its chunks stay unreferenced.
    package static func capture(
        settings: RedisSettings, sink: any ChunkSink, progress: @escaping @Sendable (RedisProgress) -> Void,
        clock: any WallClock
    ) async throws -> RedisManifest {
        for attempt in 1..<tries {
            do { return try await attemptCapture(settings, sink, progress, clock) } catch  where mayPass(error) {
                try await clock.sleep(for: .seconds(attempt))
            }
        }
        return try await attemptCapture(settings, sink, progress, clock)
    }

    static func mayPass(_ error: any Error) -> Bool {
        if let error = error as? RedisError { return error.mayPass }
        if let error = error as? RDBError { return error.reason == .checksum || error.reason == .truncated }
        return false
    }

    private static func attemptCapture(
        _ settings: RedisSettings, _ sink: any ChunkSink, _ progress: @escaping @Sendable (RedisProgress) -> Void,
        _ clock: any WallClock
    ) async throws -> RedisManifest {
        let cancellation = RedisCancellation()
        let queue = BoundedQueue<Job>(capacity: 3)
        let stored = StoredChunks()
        let instant = clock.now
        return try await withTaskCancellationHandler {
            try await withThrowingTaskGroup(of: Outcome?.self) { group in
                group.addTask {
                    try await OwnThread.run("redis-read") {
                        do {
                            let outcome = try read(settings, cancellation, queue, progress)
                            queue.finish()
                            return outcome
                        } catch {
                            queue.fail(error)
                            throw error
                        }
                    }
                }
                for _ in 0..<storers {
                    group.addTask {
                        try await OwnThread.run("redis-store") {
                            do {
                                while let job = try queue.pop() {
                                    let id = try sink.store(job.chunk)
                                    stored.put(job.number, id)
                                }
                                return nil
                            } catch {
                                queue.fail(error)
                                // Whoever waits for the server must not go on for minutes.
                                cancellation.cancel()
                                throw error
                            }
                        }
                    }
                }
                return try await finish(group: &group, stored, instant)
            }
        } onCancel: {
            queue.fail(CancellationError())
            cancellation.cancel()
        }
    }

    /// One chunk to store; the number is its place among all of this capture.
    private struct Job: Sendable {
        var number: Int
        var chunk: Chunk
    }

    /// The ids of the chunks that were stored, by their numbers.
    private final class StoredChunks: Sendable {
        private let ids = Mutex<[Int: ChunkID]>([:])

        func put(_ number: Int, _ id: ChunkID) { ids.withLock { $0[number] = id } }

        func id(_ number: Int) -> ChunkID {
            guard let id = ids.withLock({ $0[number] }) else {
                preconditionFailure("chunk \(number) was neither stored nor failed")
            }
            return id
        }
    }

    private struct Outcome: Sendable {
        var info: RedisSnapshotInfo
        var functions: [Int]
        var databases: [DatabasePart]
    }

    private struct DatabasePart: Sendable {
        var database: Int
        var digest = ContentDigest()
        var volatileKeys: Int64 = 0
        var jobs: [Int] = []
    }

    private static func finish(
        group: inout ThrowingTaskGroup<Outcome?, any Error>, _ stored: StoredChunks, _ instant: Date
    ) async throws -> RedisManifest {
        var outcome: Outcome?
        var failure: (any Error)?
        while let result = await group.nextResult() {
            switch result {
            case .success(let value): if let value { outcome = value }
            case .failure(let error):
                // A cancelled connection is a consequence; the cause is what else went wrong.
                if failure == nil || failure is CancellationError { failure = error }
            }
        }
        if let failure { throw failure }
        guard let outcome else { throw CancellationError() }
        func chunks(_ jobs: [Int]) -> [ChunkID] { jobs.map(stored.id) }
        let info = outcome.info
        return RedisManifest(
            serverVersion: info.serverVersion, rdbVersion: info.rdbVersion, replicationID: info.replicationID,
            offset: info.offset, instant: instant, functions: chunks(outcome.functions),
            databases: outcome.databases.map {
                RedisDatabaseManifest(
                    database: $0.database, digest: $0.digest, volatileKeys: $0.volatileKeys,
                    segments: chunks($0.jobs).map { Segment($0) })
            })
    }

    private static func read(
        _ settings: RedisSettings, _ cancellation: RedisCancellation, _ queue: BoundedQueue<Job>,
        _ progress: @Sendable (RedisProgress) -> Void
    ) throws -> Outcome {
        var next = 0
        var functions: [[UInt8]] = []
        var parts: [Int: DatabasePart] = [:]
        var part = DatabasePart(database: -1)
        var chunker = Chunker(kind: .redisKeys)
        var seen = RedisProgress()
        var told: Int64 = 0
        func push(_ chunk: Chunk) throws -> Int {
            try queue.push(Job(number: next, chunk: chunk))
            next += 1
            return next - 1
        }
        func leave() throws {
            guard part.database >= 0 else { return }
            try chunker.finish { part.jobs.append(try push($0)) }
            parts[part.database] = part
        }
        let info = try RedisSnapshot.read(settings, cancellation) { event in
            switch event {
            case .function(let record): functions.append(record)
            case .key(let record, let database, let expiry):
                if database != part.database {
                    try leave()
                    part = parts[database] ?? DatabasePart(database: database)
                }
                let hash = ContentHash(hashing: record)
                part.digest.add(hash, length: record.count)
                if expiry != nil { part.volatileKeys += 1 }
                try chunker.append(record, hash: hash) { part.jobs.append(try push($0)) }
                seen.keys += 1
                seen.bytes += Int64(record.count)
                if seen.bytes - told > 8 << 20 {
                    told = seen.bytes
                    progress(seen)
                }
            }
        }
        try leave()
        // In byte order: the server's own order is that of a hash table.
        functions.sort { $0.lexicographicallyPrecedes($1) }
        var functionChunker = Chunker(kind: .redisFunctions)
        var functionJobs: [Int] = []
        for record in functions {
            try record.withUnsafeBytes { bytes in
                try functionChunker.append(bytes, hash: ContentHash(hashing: bytes)) {
                    functionJobs.append(try push($0))
                }
            }
        }
        try functionChunker.finish { functionJobs.append(try push($0)) }
        progress(seen)
        return Outcome(
            info: info, functions: functionJobs, databases: parts.values.sorted { $0.database < $1.database })
    }
}
