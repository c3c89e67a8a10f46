package import DRPKit
internal import Foundation
internal import Synchronization

/// What a restore did, and what it left out.
package struct RedisRestoreReport: Sendable, Equatable {
    package var keys: Int64 = 0
    package var bytes: Int64 = 0
    /// Keys whose time to live had ended: not sent, since a server answers OK and drops them.
    package var expiredKeys: Int64 = 0
    package var functions = 0
}

/// Puts the Redis part of a backup into a live server.
package enum RedisRestore {
    package enum OnData: Sendable {
        case refuse
        /// Empties the whole server first, functions included.
        case replace
    }

    fileprivate static let connections = 2

    /// - Throws: `RedisError`: `.notEmpty` before anything was changed; `.unsupported` for what the target cannot keep;
    ///   `RDBError` or `.chunkDamaged` for stored data that are not whole; what `source` throws.
    package static func restore(
        settings: RedisSettings, manifest: RedisManifest, source: any ChunkSource, onData: OnData,
        progress: @escaping @Sendable (RedisProgress) -> Void, clock: any WallClock
    ) async throws -> RedisRestoreReport {
        let cancellation = RedisCancellation()
        let work = RestoreWork(manifest)
        return try await withTaskCancellationHandler {
            let (before, functions) = try await OwnThread.run("redis-prepare") {
                try prepare(settings, manifest, source, onData, cancellation)
            }
            let target = RestoreTarget(family: before.family, rdbVersion: before.rdbVersion)
            var report = try await withThrowingTaskGroup(of: RedisRestoreReport.self) { group in
                for _ in 0..<connections {
                    group.addTask {
                        try await OwnThread.run("redis-restore") {
                            do {
                                var writer = try RedisWriter(settings, target, cancellation)
                                defer { writer.close() }
                                while let part = work.next() {
                                    let bytes = try part.records(source).bytes
                                    try writer.write(bytes, now: clock.now)
                                    progress(work.done(writer.takeProgress()))
                                }
                                return writer.report
                            } catch {
                                work.stop()
                                throw error
                            }
                        }
                    }
                }
                return try await group.reduce(into: RedisRestoreReport()) { sum, part in
                    sum.keys += part.keys
                    sum.bytes += part.bytes
                    sum.expiredKeys += part.expiredKeys
                }
            }
            report.functions = functions
            try await OwnThread.run("redis-after") { try checkEvictions(settings, before, cancellation) }
            return report
        } onCancel: {
            work.stop()
            cancellation.cancel()
        }
    }

    /// Refuses what cannot go well, then empties the target if asked to, then restores functions.
    private static func prepare(
        _ settings: RedisSettings, _ manifest: RedisManifest, _ source: any ChunkSource, _ onData: OnData,
        _ cancellation: RedisCancellation
    ) throws -> (RedisServerInfo, functions: Int) {
        let connection = try RedisConnection(settings, cancellation)
        defer { connection.close() }
        let info = try RedisServer.info(connection)
        guard info.rdbVersion >= 9 else {
            throw connection.error(.unsupported, "version \(info.version) is older than 5.0")
        }
        var sources: [[UInt8]] = []
        for id in manifest.functions {
            try source.records(id, kind: .redisFunctions).bytes.withUnsafeBytes {
                try RecordSplitter.forEach(in: $0, kind: .redisFunctions) { sources.append(Array($0.dropFirst(4))) }
            }
        }
        guard sources.isEmpty || info.rdbVersion >= 10 else {
            throw connection.error(
                .unsupported, "version \(info.version) has no functions, the backup has \(sources.count)")
        }
        if let highest = manifest.databases.map(\.database).max(), highest > 0 {
            do { try connection.command("SELECT", String(highest)) } catch let error as RedisError
                where error.reason == .unsupported
            { throw connection.error(.unsupported, "the backup uses database \(highest), which it does not have") }
        }
        let libraries = try RedisServer.functions(connection, info)
        switch onData {
        case .refuse:
            guard info.keys.isEmpty, libraries == 0 else {
                let keys = info.keys.values.reduce(0, +)
                throw connection.error(.notEmpty, "\(keys) keys and \(libraries) function libraries")
            }
        case .replace:
            try connection.command("FLUSHALL", patience: RedisConnection.longPatience)
            if libraries > 0 { try connection.command("FUNCTION", "FLUSH") }
        }
        if !sources.isEmpty {
            let payload = RedisFunctionRecord.payload(sources)
            try connection.command([Array("FUNCTION".utf8), Array("RESTORE".utf8), payload])
        }
        return (info, sources.count)
    }

    private static func checkEvictions(
        _ settings: RedisSettings, _ before: RedisServerInfo, _ cancellation: RedisCancellation
    ) throws {
        let connection = try RedisConnection(settings, cancellation)
        defer { connection.close() }
        let evicted = try RedisServer.info(connection).evictedKeys - before.evictedKeys
        guard evicted <= 0 else { throw connection.error(.evicted, "\(evicted) keys") }
    }
}

/// The content of a manifest, handed out one by one to several threads, and the progress of all of them.
final class RestoreWork: Sendable {
    struct Part: Sendable {
        enum Content: Sendable {
            case segment(Segment)
            /// One key, in pieces.
            case pieces([ChunkID])
        }

        var database: Int
        var content: Content

        /// Checked before use.
        func records(_ source: any ChunkSource) throws -> Records {
            switch content {
            case .segment(let segment): try source.records(segment, kind: .redisKeys)
            case .pieces(let chunks): try source.value(chunks)
            }
        }
    }

    private let parts: [Part]
    private let state = Mutex<(next: Int, progress: RedisProgress)>((0, RedisProgress()))

    init(_ manifest: RedisManifest) {
        parts = manifest.databases.flatMap { database in
            database.segments.map { Part(database: database.database, content: .segment($0)) }
                + (database.pieces ?? []).map { Part(database: database.database, content: .pieces($0)) }
        }
    }

    func next() -> Part? {
        state.withLock { state in
            guard state.next < parts.count else { return nil }
            state.next += 1
            return parts[state.next - 1]
        }
    }

    /// No further parts are handed out.
    func stop() { state.withLock { $0.next = parts.count } }

    func done(_ more: RedisProgress) -> RedisProgress {
        state.withLock { state in
            state.progress.keys += more.keys
            state.progress.bytes += more.bytes
            return state.progress
        }
    }
}
