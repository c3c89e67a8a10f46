package import DRPKit
internal import Foundation
internal import NIOCore
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
                                    let bytes = try RedisChunks.load(part.chunk, .redisKeys, source)
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
            try RedisChunks.load(id, .redisFunctions, source).withUnsafeBytes {
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
            try connection.command("FLUSHALL", patience: .minutes(5))
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

/// Chunks of the Redis part, checked before use.
enum RedisChunks {
    /// - Throws: `RepositoryError` unless the records fill the chunk; what `source` throws if the id is not theirs.
    static func load(_ id: ChunkID, _ kind: ChunkKind, _ source: any ChunkSource) throws -> [UInt8] {
        let bytes = try source.load(id, kind: kind)
        try source.verifyID(id, kind: kind, hashes: try RecordSplitter.hashes(of: bytes, kind: kind))
        return bytes
    }
}

/// The chunks of a manifest, handed out one by one to several threads, and the progress of all of them.
final class RestoreWork: Sendable {
    struct Part: Sendable {
        var database: Int
        var chunk: ChunkID
    }

    private let parts: [Part]
    private let state = Mutex<(next: Int, progress: RedisProgress)>((0, RedisProgress()))

    init(_ manifest: RedisManifest) {
        parts = manifest.databases.flatMap { database in
            database.chunks.map { Part(database: database.database, chunk: $0) }
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

/// One connection that restores records, several at once under way.
private struct RedisWriter {
    private static let mostUnderWay = 2 << 20
    private static let batch = 256 << 10
    /// A large collection blocks the server while it is decoded.
    private static let patience = TimeAmount.minutes(2)

    private let connection: RedisConnection
    private let target: RestoreTarget
    private let canonicalizer = Canonicalizer()
    private var scratch: [UInt8] = []
    private var buffer = ByteBuffer()
    private var selected = 0
    /// Size and key of what was sent and not answered, oldest first; the key as a range in the chunk.
    private var waiting: [(size: Int, database: Int, key: Range<Int>)] = []
    private var answered = 0
    private var underWay = 0
    private var told = RedisProgress()
    private(set) var report = RedisRestoreReport()

    init(_ settings: RedisSettings, _ target: RestoreTarget, _ cancellation: RedisCancellation) throws {
        connection = try RedisConnection(settings, cancellation)
        self.target = target
    }

    func close() { connection.close() }

    /// What was done since the last call.
    mutating func takeProgress() -> RedisProgress {
        defer { told = RedisProgress(keys: report.keys, bytes: report.bytes) }
        return RedisProgress(keys: report.keys - told.keys, bytes: report.bytes - told.bytes)
    }

    /// Restores all records of one chunk and waits for the answers.
    mutating func write(_ chunk: [UInt8], now: Date) throws {
        let now = Int64((now.timeIntervalSince1970 * 1000).rounded(.down))
        try chunk.withUnsafeBytes { bytes in
            try RecordSplitter.forEach(in: bytes, kind: .redisKeys) { raw in
                let record = try RedisRecord(raw)
                if let expiry = record.expiry, expiry <= now {
                    report.expiredKeys += 1
                    return
                }
                try add(record, at: bytes)
                if buffer.readableBytes >= Self.batch { try flush(in: bytes) }
            }
            try flush(in: bytes)
            while underWay > 0 { try readAnswer(in: bytes) }
        }
        waiting.removeAll(keepingCapacity: true)
        answered = 0
    }

    private mutating func flush(in bytes: UnsafeRawBufferPointer) throws {
        underWay += buffer.readableBytes
        connection.send(buffer)
        // A new buffer: the last one belongs to the event loop until it is written.
        buffer = ByteBuffer()
        while underWay > Self.mostUnderWay { try readAnswer(in: bytes) }
    }

    private mutating func add(_ record: RedisRecord, at chunk: UnsafeRawBufferPointer) throws {
        let start = (record.key.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped)
        let offset = record.key.isEmpty ? 0 : start - chunk.baseAddress.unsafelyUnwrapped
        let key = offset..<offset + record.key.count
        var before = buffer.readableBytes
        if record.database != selected {
            let number = String(record.database)
            buffer.writeString("*2\r\n$6\r\nSELECT\r\n$\(number.utf8.count)\r\n\(number)\r\n")
            selected = record.database
            waiting.append((buffer.readableBytes - before, record.database, key))
            before = buffer.readableBytes
        }
        try RestorePayload.with(record, for: target, canonicalizer, scratch: &scratch) { body, version in
            let expiry = String(record.expiry ?? 0)
            buffer.reserveCapacity(minimumWritableBytes: record.key.count + body.count + 128)
            buffer.writeString("*5\r\n$7\r\nRESTORE\r\n$\(record.key.count)\r\n")
            buffer.writeBytes(record.key)
            buffer.writeString("\r\n$\(expiry.utf8.count)\r\n\(expiry)\r\n$\(body.count + 10)\r\n")
            buffer.writeBytes(body)
            let crc = withUnsafeBytes(of: version.littleEndian) { CRC64.update(CRC64.update(0, body), $0) }
            buffer.writeInteger(version, endianness: .little)
            buffer.writeInteger(crc, endianness: .little)
            buffer.writeString("\r\n$6\r\nABSTTL\r\n")
        }
        waiting.append((buffer.readableBytes - before, record.database, key))
        report.keys += 1
        report.bytes += Int64(record.bytes.count)
    }

    private mutating func readAnswer(in chunk: UnsafeRawBufferPointer) throws {
        let answer = try connection.receive(until: .now() + Self.patience)
        let sent = waiting[answered]
        answered += 1
        underWay -= sent.size
        if case .error(let text) = answer {
            let key = EscapedKey.text(UnsafeRawBufferPointer(rebasing: chunk[sent.key]))
            throw RedisError.reply(
                text, to: "restoring key \(key) of database \(sent.database)", .target, connection.settings.server)
        }
    }
}
