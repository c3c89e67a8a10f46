internal import DRPKit

/// What a snapshot says about itself.
package struct RedisSnapshotInfo: Sendable {
    package var serverVersion = ""
    package var family = RDBFamily.redis
    package var rdbVersion = 0
    package var replicationID = ""
    package var offset: Int64 = 0
    package var checksum = RDBChecksum.absent
    /// Collections without members, which old servers could save: left out.
    package var emptyKeys: Int64 = 0
}

/// One thing in a snapshot, in stored form; the bytes are valid during the call only.
package enum RedisSnapshotEvent {
    /// The record of a function library, and its source.
    case function(record: [UInt8])
    case key(record: UnsafeRawBufferPointer, database: Int, expiry: Int64?)
}

/// Reads a server, or an RDB, as stored records.
package enum RedisSnapshot {
    /// Blocking. Calls `handle` in the order of the stream.
    /// - Returns: once the end was seen and all checks passed; what `handle` was told before an error is void.
    package static func read(
        _ settings: RedisSettings, _ cancellation: RedisCancellation, _ handle: (RedisSnapshotEvent) throws -> Void
    ) throws -> RedisSnapshotInfo {
        let connection = try RedisConnection(settings, cancellation)
        defer { connection.close() }
        let stream = ReplicationStream(connection: connection)
        let (id, offset) = try stream.begin()
        var reader = RecordReader()
        try stream.run(RDBParser()) { try reader.take($0, handle) }
        reader.info.replicationID = id
        reader.info.offset = offset
        return reader.info
    }

    /// Turns parsed keys into records.
    package struct RecordReader {
        package var info = RedisSnapshotInfo()
        private let canonicalizer = Canonicalizer()
        private var record: [UInt8] = []

        package init() {}

        package mutating func take(_ event: RDBEvent, _ handle: (RedisSnapshotEvent) throws -> Void) throws {
            switch event {
            case .header(let version, let family):
                info.rdbVersion = version
                info.family = family
            case .aux(let name, let value):
                let name = String(decoding: name, as: UTF8.self)
                guard name == "redis-ver" || name == "valkey-ver" else { return }
                info.serverVersion = RedisError.printable(String(decoding: value.prefix(40), as: UTF8.self))
            case .function(let source): try handle(.function(record: RedisFunctionRecord.build(source)))
            case .database: break
            case .key(let key):
                guard try RedisRecord.build(key, family: info.family, canonicalizer, into: &record) else {
                    info.emptyKeys += 1
                    return
                }
                try record.withUnsafeBytes {
                    try handle(.key(record: $0, database: key.database, expiry: key.expiry))
                }
                if record.capacity > 8 << 20 { record = [] }
            case .end(let checksum): info.checksum = checksum
            }
        }
    }
}
