package import DRPKit
internal import Foundation
internal import Synchronization

/// One thing that was compared, for a person to read.
package struct RedisComparisonLine: Sendable, Equatable, Codable {
    /// As `database 0: keys`.
    package var subject: String
    package var expected: String
    package var found: String
    package var isEqual: Bool { expected == found }
}

package struct RedisComparison: Sendable, Equatable {
    package var lines: [RedisComparisonLine] = []
    /// Keys of the backup that have expired, or will within a minute: compared by nobody.
    package var expiringKeys: Int64 = 0

    package var isEqual: Bool { lines.allSatisfy(\.isEqual) }
}

/// Reads a target back, as a snapshot over replication, and compares it with a backup.
package enum RedisVerify {
    /// Keys that expire within this time are left out on both sides.
    private static let margin: TimeInterval = 60

    /// - Parameter settings: a user that may take a snapshot (+psync).
    /// - Returns: also where the two differ; that is not an error here.
    /// - Throws: `RedisError`; `.chunkDamaged` if the stored chunks are not what the manifest says.
    package static func compare(
        settings: RedisSettings, manifest: RedisManifest, source: any ChunkSource,
        progress: @escaping @Sendable (RedisProgress) -> Void, clock: any WallClock
    ) async throws -> RedisComparison {
        let cut = Int64(((clock.now.timeIntervalSince1970 + margin) * 1000).rounded(.down))
        let cancellation = RedisCancellation()
        let work = RestoreWork(manifest)
        return try await withTaskCancellationHandler {
            let target = try await OwnThread.run("redis-ask") {
                let connection = try RedisConnection(settings, cancellation)
                defer { connection.close() }
                let info = try RedisServer.info(connection)
                return RestoreTarget(family: info.family, rdbVersion: info.rdbVersion)
            }
            let form = ComparableForm(cut: cut, target: target)
            async let found = OwnThread.run("redis-read-back") { try readBack(settings, form, cancellation, progress) }
            async let expected = OwnThread.run("redis-expect") { try expect(manifest, source, form, work) }
            return report(try await expected, try await found)
        } onCancel: {
            work.stop()
            cancellation.cancel()
        }
    }

    /// Digests of comparable records, by database, and of function libraries.
    private struct Side: Sendable {
        var databases: [Int: ContentDigest] = [:]
        var functions = ContentDigest()
        var expiringKeys: Int64 = 0
    }

    private static func readBack(
        _ settings: RedisSettings, _ form: ComparableForm, _ cancellation: RedisCancellation,
        _ progress: @Sendable (RedisProgress) -> Void
    ) throws -> Side {
        var side = Side()
        var counter = Counter(form)
        var seen = RedisProgress()
        var told: Int64 = 0
        _ = try RedisSnapshot.read(settings, cancellation) { event in
            switch event {
            case .function(let record): side.functions.add(ContentHash(hashing: record), length: record.count)
            case .key(let record, _, _):
                try counter.add(try RedisRecord(record), to: &side)
                seen.keys += 1
                seen.bytes += Int64(record.count)
                if seen.bytes - told > 8 << 20 {
                    told = seen.bytes
                    progress(seen)
                }
            }
        }
        progress(seen)
        return side
    }

    private static func expect(
        _ manifest: RedisManifest, _ source: any ChunkSource, _ form: ComparableForm, _ work: RestoreWork
    ) throws -> Side {
        var side = Side()
        var counter = Counter(form)
        var whole: [Int: ContentDigest] = [:]
        while let part = work.next() {
            try part.records(source).bytes.withUnsafeBytes { bytes in
                try RecordSplitter.forEach(in: bytes, kind: .redisKeys) { raw in
                    let record = try RedisRecord(raw)
                    whole[part.database, default: ContentDigest()].add(ContentHash(hashing: raw), length: raw.count)
                    try counter.add(record, to: &side)
                }
            }
        }
        for id in manifest.functions {
            try source.records(id, kind: .redisFunctions).bytes.withUnsafeBytes { bytes in
                try RecordSplitter.forEach(in: bytes, kind: .redisFunctions) {
                    side.functions.add(ContentHash(hashing: $0), length: $0.count)
                }
            }
        }
        for database in manifest.databases where whole[database.database] ?? ContentDigest() != database.digest {
            throw RedisError(
                .chunkDamaged, .source, "", "database \(database.database) does not have the digest of its manifest")
        }
        return side
    }

    private struct Counter {
        private let form: ComparableForm
        private let canonicalizer = Canonicalizer()
        private var scratch: [UInt8] = []

        init(_ form: ComparableForm) { self.form = form }

        mutating func add(_ record: RedisRecord, to side: inout Side) throws {
            let isCounted: Void? = try form.with(record, canonicalizer, scratch: &scratch) { bytes in
                side.databases[record.database, default: ContentDigest()]
                    .add(ContentHash(hashing: bytes), length: bytes.count)
            }
            if isCounted == nil { side.expiringKeys += 1 }
        }
    }

    private static func report(_ expected: Side, _ found: Side) -> RedisComparison {
        var comparison = RedisComparison(expiringKeys: expected.expiringKeys)
        func add(_ subject: String, _ expected: ContentDigest, _ found: ContentDigest, _ what: String) {
            comparison.lines.append(
                RedisComparisonLine(
                    subject: "\(subject): \(what)", expected: "\(expected.count)", found: "\(found.count)"))
            comparison.lines.append(
                RedisComparisonLine(
                    subject: "\(subject): digest", expected: "\(expected.value)", found: "\(found.value)"))
        }
        for number in Set(expected.databases.keys).union(found.databases.keys).sorted() {
            let none = ContentDigest()
            add("database \(number)", expected.databases[number] ?? none, found.databases[number] ?? none, "keys")
        }
        add("functions", expected.functions, found.functions, "libraries")
        return comparison
    }
}
