package import DRPKit
package import Foundation

/// What one backup holds: written last, and a backup exists if and only if this does.
///
/// Sealed under the catalog key: names, counts and sizes, never content.
package struct Manifest: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    /// What is said of an object whose format is not `currentFormat`.
    static func unknown(format: Int) -> String {
        format > currentFormat
            ? "its format \(format) is newer than this program" : "its format \(format) was never released"
    }

    package var format = Manifest.currentFormat
    package var client: UUID
    package var name: ClientID
    package var epoch: Int
    package var number: Int
    /// SHA-256 of the sealed manifest before this one; nil for the first.
    package var previous: ContentHash?
    package var started: Date
    package var finished: Date
    /// The instant whose state this is: the earliest of the sources' instants.
    package var instant: Date
    package var mongo: MongoManifest?
    package var redis: RedisManifest?
    package var counters: BackupCounters

    package init(
        client: UUID, name: ClientID, epoch: Int, number: Int, previous: ContentHash?, started: Date, finished: Date,
        instant: Date, mongo: MongoManifest?, redis: RedisManifest?, counters: BackupCounters
    ) {
        self.client = client
        self.name = name
        self.epoch = epoch
        self.number = number
        self.previous = previous
        self.started = started
        self.finished = finished
        self.instant = instant
        self.mongo = mongo
        self.redis = redis
        self.counters = counters
    }
}

/// Bytes of one backup as they went through the pipeline.
package struct BackupCounters: Codable, Sendable, Equatable {
    /// Bytes of documents and keys as the sources gave them.
    package var source: Int64 = 0
    /// Of those, bytes in chunks that the repository did not have.
    package var new: Int64 = 0
    /// What those took after compression and sealing.
    package var stored: Int64 = 0
    package var chunks = 0
    package var newChunks = 0

    package init() {}
}

/// One MongoDB replica set, read at one cluster time.
package struct MongoManifest: Codable, Sendable, Equatable {
    package var serverVersion: String
    /// Cluster time T of the snapshot: seconds since 1970 and the ordinal in that second.
    package var clusterSeconds: UInt32
    package var clusterOrdinal: UInt32
    /// Chunks of kind `mongoCatalog`, in order.
    package var catalog: [ChunkID]
    /// Chunks of kind `mongoUsers`, in order.
    package var users: [ChunkID]
    package var collections: [CollectionManifest]
    package var consistency = MongoConsistency.snapshot
    /// What must be replayed to come to T; nil if nothing.
    package var oplog: OplogManifest?

    package init(
        serverVersion: String, clusterSeconds: UInt32, clusterOrdinal: UInt32, catalog: [ChunkID], users: [ChunkID],
        collections: [CollectionManifest]
    ) {
        self.serverVersion = serverVersion
        self.clusterSeconds = clusterSeconds
        self.clusterOrdinal = clusterOrdinal
        self.catalog = catalog
        self.users = users
        self.collections = collections
    }
}

/// How the documents of a backup belong together.
package enum MongoConsistency: String, Codable, Sendable {
    /// All are read at T, but for capped collections.
    case snapshot
    /// They are read as they were, and are those of T when the oplog has been replayed over them.
    case oplog
    /// They are read as they were, and nothing brings them to one instant.
    case fuzzy
}

/// The oplog of the time that a capture took.
package struct OplogManifest: Codable, Sendable, Equatable {
    /// Of the first entry.
    package var from: LogPosition
    /// After the last entry.
    package var to: LogPosition
    /// Chunks of kind `oplog`, in order.
    package var chunks: [ChunkID]
}

/// The content of one collection that holds documents (views hold none and stand in the catalog alone).
package struct CollectionManifest: Codable, Sendable, Equatable {
    package var database: String
    /// As the server stores it: for a time series this is `system.buckets.NAME`.
    package var collection: String
    package var digest: ContentDigest
    /// Of chunks of kind `documents`, in scan order.
    package var segments: [Segment]
    /// Capped collections keep their order and are not read at T; nothing of their chunks is left out.
    package var isCapped: Bool

    package init(
        database: String, collection: String, digest: ContentDigest, segments: [Segment], isCapped: Bool
    ) {
        self.database = database
        self.collection = collection
        self.digest = digest
        self.segments = segments
        self.isCapped = isCapped
    }
}

/// One Redis server, as its replication stream gave it.
package struct RedisManifest: Codable, Sendable, Equatable {
    package var serverVersion: String
    package var rdbVersion: Int
    package var replicationID: String
    package var offset: Int64
    /// When the snapshot was asked for.
    package var instant: Date
    /// Chunks of kind `redisFunctions`, in order.
    package var functions: [ChunkID]
    package var databases: [RedisDatabaseManifest]

    package init(
        serverVersion: String, rdbVersion: Int, replicationID: String, offset: Int64, instant: Date,
        functions: [ChunkID], databases: [RedisDatabaseManifest]
    ) {
        self.serverVersion = serverVersion
        self.rdbVersion = rdbVersion
        self.replicationID = replicationID
        self.offset = offset
        self.instant = instant
        self.functions = functions
        self.databases = databases
    }
}

package struct RedisDatabaseManifest: Codable, Sendable, Equatable {
    package var database: Int
    /// Over the canonical records of all keys, those with a time to live included.
    package var digest: ContentDigest
    /// How many of the keys have a time to live.
    package var volatileKeys: Int64
    /// Of chunks of kind `redisKeys`, in stream order.
    package var segments: [Segment]
    /// Keys too large for a chunk: of each its chunks of kind `redisPieces`, in order. nil for none.
    package var pieces: [[ChunkID]]?

    package init(
        database: Int, digest: ContentDigest, volatileKeys: Int64, segments: [Segment], pieces: [[ChunkID]]? = nil
    ) {
        self.database = database
        self.digest = digest
        self.volatileKeys = volatileKeys
        self.segments = segments
        self.pieces = pieces
    }
}
