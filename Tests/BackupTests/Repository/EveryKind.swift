import Foundation
import TestSupport

@testable import Backup
@testable import DRPKit

/// Makes what format 1 has and no capture writes yet: fingerprints, segments with records left out, keys in pieces, an
/// oplog, slices and gaps of logs; and what other commands write: voids, leases, marks, tombstones, holds.
struct EveryKind {
    static let instant = Date(timeIntervalSince1970: 1_780_000_000)

    private var repository: Repository
    /// Plain bytes of all chunks that were made.
    private(set) var content: [ChunkID: [UInt8]] = [:]
    private(set) var manifests: [Manifest] = []
    private(set) var slices: [LogName: ContentDigest] = [:]

    init(_ repository: Repository) { self.repository = repository }

    /// What follows is made under the keys of `repository`.
    mutating func move(to repository: Repository) { self.repository = repository }

    // MARK: - Backups

    /// One backup. Of its first chunk of documents and of Redis keys the second record is left out.
    mutating func backUp(_ seeds: [UInt64], records: Int = 3) async throws {
        let seconds = Double(manifests.count * 3600)
        let writer = try await repository.begin(keepsFingerprints: true)
        let documents = seeds.map { RepositoryFixture.chunk(records: records, of: 60, seed: $0) }
        let keys = seeds.map { Self.redisKeys(records - 1, seed: 1000 + $0) }
        let others = [ChunkKind.mongoCatalog, .mongoUsers, .redisFunctions, .oplog].map {
            RepositoryFixture.chunk(records: 1, of: 70, seed: UInt64($0.rawValue), kind: $0)
        }
        let large = Self.redisRecord(key: "large", value: 200, seed: seeds[0])
        let pieces = Self.pieces(of: large)
        let chunks = documents + keys + others + pieces
        let ids = try await OwnThread.run("test") { try chunks.map { try writer.store($0) } }
        for (id, chunk) in zip(ids, chunks) { content[id] = chunk.bytes }
        let (documentIDs, rest) = (ids.prefix(seeds.count), ids.dropFirst(seeds.count))
        let (keyIDs, more) = (rest.prefix(seeds.count), Array(rest.dropFirst(seeds.count)))
        var mongo = RepositoryFixture.mongo([], [])
        (mongo.catalog, mongo.users) = ([more[0]], [more[1]])
        mongo.consistency = .oplog
        mongo.oplog = OplogManifest(from: LogPosition(5), to: LogPosition(9), chunks: [more[3]])
        let (segments, digest) = Self.segments(Array(documentIDs), documents)
        mongo.collections = [
            CollectionManifest(
                database: "shop", collection: "orders", digest: digest, segments: segments, isCapped: false)
        ]
        let keyContent = Self.segments(Array(keyIDs), keys)
        var keyDigest = keyContent.1
        keyDigest.add(ContentHash(hashing: large), length: large.count)
        let redis = RedisManifest(
            serverVersion: "7.0.0", rdbVersion: 10, replicationID: "none", offset: 1, instant: Self.instant + seconds,
            functions: [more[2]],
            databases: [
                RedisDatabaseManifest(
                    database: 0, digest: keyDigest, volatileKeys: 0, segments: keyContent.0,
                    pieces: [Array(more[4...])])
            ])
        manifests.append(
            try await writer.commit(
                mongo: mongo, redis: redis, started: Self.instant + seconds, finished: Self.instant + seconds + 1,
                instant: Self.instant + seconds))
    }

    private static func segments(_ ids: [ChunkID], _ chunks: [Chunk]) -> ([Segment], ContentDigest) {
        var digest = ContentDigest()
        let segments = zip(ids, chunks).enumerated().map { number, pair in
            let (id, chunk) = pair
            let leftOut = number == 0 ? LeftOut(records: [1], of: chunk.hashes.count) : nil
            // All records of a chunk are of one length here.
            let length = chunk.bytes.count / chunk.hashes.count
            for (record, hash) in chunk.hashes.enumerated() where leftOut?.contains(record) != true {
                digest.add(hash, length: length)
            }
            return Segment(id, leftOut: leftOut)
        }
        return (segments, digest)
    }

    // MARK: - Redis

    /// Keys of database 0, all of one length, none with an expiry.
    static func redisKeys(_ count: Int, seed: UInt64) -> Chunk {
        let records = (0..<count).map { number in
            redisRecord(key: "key-\(seed)-\(100 + number)", value: 20, seed: seed + UInt64(number))
        }
        return Chunk(
            kind: .redisKeys, bytes: records.flatMap { $0 }, hashes: records.map { ContentHash(hashing: $0) })
    }

    /// A string of `value` bytes, below 2^14, as `docs/repository-format.md` has it.
    static func redisRecord(key: String, value: Int, seed: UInt64) -> [UInt8] {
        var random = SeededGenerator(seed: seed)
        var body: [UInt8] = []
        body.append(little: UInt32(0))
        body.append(little: Int64(-1))
        body.append(little: UInt32(key.utf8.count))
        body += Array(key.utf8) + [0]
        body += value < 64 ? [UInt8(value)] : [0x40 | UInt8(value >> 8), UInt8(value & 255)]
        body += random.bytes(value)
        var record: [UInt8] = []
        record.append(little: UInt32(body.count + 4))
        return record + body
    }

    /// Two pieces in a first chunk, the last one in a second.
    static func pieces(of record: [UInt8]) -> [Chunk] {
        let cuts = [0, 50, 120, record.count]
        let pieces = (0..<3).map { number -> [UInt8] in
            let bytes = record[cuts[number]..<cuts[number + 1]]
            var piece: [UInt8] = []
            piece.append(little: UInt32(bytes.count + 8))
            piece.append(little: UInt32(number))
            return piece + bytes
        }
        return [Array(pieces[..<2]), Array(pieces[2...])].map { some in
            Chunk(kind: .redisPieces, bytes: some.flatMap { $0 }, hashes: some.map { ContentHash(hashing: $0) })
        }
    }

    // MARK: - Logs

    /// Slice, gap, slice of the oplog; two slices of the Redis stream. They begin at `instant`.
    mutating func writeLogs() async throws {
        let start = UInt32(Self.instant.timeIntervalSince1970)
        let ends = [0, 60, 120, 180].map { LogPosition(seconds: start + $0, ordinal: $0 == 0 ? 1 : 0) }
        for log in LogKind.allCases {
            var previous: ContentHash?
            for step in 0..<3 where log == .mongo || step < 2 {
                let name = LogName(
                    log: log, from: ends[step], to: ends[step + 1], isGap: log == .mongo && step == 1)
                let bytes: [UInt8]
                if name.isGap {
                    bytes = try repository.sealed(
                        LogGap(
                            client: repository.keys.client, log: log, from: name.from, to: name.to, previous: previous,
                            at: Self.instant, reason: "the oplog had rolled over"))
                } else {
                    bytes = try slice(name, seed: UInt64(step), previous)
                }
                try await repository.store.put(repository.layout.log(name), bytes, .createOnly)
                previous = ContentHash(hashing: bytes)
            }
        }
    }

    private mutating func slice(_ name: LogName, seed: UInt64, _ previous: ContentHash?) throws -> [UInt8] {
        let kind = name.log.chunkKind
        let chunks = (0..<2).map { RepositoryFixture.chunk(records: 2, of: 50, seed: 100 + seed * 2 + $0, kind: kind) }
        var digest = ContentDigest()
        for chunk in chunks { digest.add(try RecordSplitter.digest(of: chunk.bytes, kind: kind)) }
        slices[name] = digest
        let place = SliceManifest.RedisPlace(replicationID: String(repeating: "a", count: 40), offset: 100)
        return try StoredSlice.make(
            name, chunks, previous: previous, redis: name.log == .redis ? place : nil, in: repository)
    }

    // MARK: - The others

    /// A void after the newest backup.
    func writeVoid() async throws {
        let last = try await repository.numbers().last
        let number = (last ?? 0) + 1
        let previous = try await repository.hash(of: last)
        _ = try await repository.occupy(
            number, try repository.sealedVoid(number, previous: previous, at: Self.instant))
    }

    /// The lease of a process that has ended, a mark, the tombstone of a prune that was interrupted, a hold.
    func writeRest() async throws {
        let holder = LeaseEntry(
            name: "client/acme", instance: UUID(uuid: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)),
            fence: 3, pid: 1, pidStarted: "none", machine: "elsewhere", since: Self.instant, beat: Self.instant,
            lasts: 300)
        try await repository.putLease(holder, number: (try await repository.numbers().last ?? 0) + 1)
        try await repository.put(
            PruneMark(
                client: repository.keys.client, number: 1, at: Self.instant, backups: [1], packs: [],
                logs: try await repository.logNames().prefix(1).map(\.text)))
        let first = try await repository.store.read(repository.layout.backup(1))
        try await repository.put(
            Tombstone(
                client: repository.keys.client, number: 1, at: Self.instant, instant: manifests[0].instant,
                previous: nil, hash: ContentHash(hashing: first)))
        try await repository.setHold(reason: "an example", at: Self.instant)
    }
}
