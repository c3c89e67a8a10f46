internal import Foundation

/// The plain form of manifests and of what else is sealed JSON: sorted keys; dates are whole milliseconds since 1970.
enum DocumentJSON {
    static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            Date(milliseconds: try decoder.singleValueContainer().decode(Int64.self))
        }
        return try decoder.decode(type, from: Data(bytes))
    }

    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.milliseconds)
        }
        return Array(try encoder.encode(value))
    }
}

extension Manifest {
    static func decode(_ bytes: [UInt8]) throws -> Manifest { try DocumentJSON.decode(Manifest.self, bytes) }
    func encoded() throws -> [UInt8] { try DocumentJSON.encode(self) }

    /// All that it names, in its order: a chunk stands there as often as it is needed.
    var references: [(id: ChunkID, kind: ChunkKind)] {
        var references: [(id: ChunkID, kind: ChunkKind)] = []
        func add(_ ids: [ChunkID], _ kind: ChunkKind) { for id in ids { references.append((id, kind)) } }
        func add(_ segments: [Segment], _ kind: ChunkKind) {
            for one in segments { references.append((one.chunk, kind)) }
        }
        if let mongo {
            add(mongo.catalog, .mongoCatalog)
            add(mongo.users, .mongoUsers)
            for collection in mongo.collections { add(collection.segments, .documents) }
            add(mongo.oplog?.chunks ?? [], .oplog)
        }
        if let redis {
            add(redis.functions, .redisFunctions)
            for database in redis.databases {
                add(database.segments, .redisKeys)
                for value in database.pieces ?? [] { add(value, .redisPieces) }
            }
        }
        return references
    }

    /// Of all collections and Redis databases.
    var segments: [Segment] {
        (mongo?.collections ?? []).flatMap(\.segments) + (redis?.databases ?? []).flatMap(\.segments)
    }

    /// Each chunk that the backup needs, once, with its kind.
    var chunks: [ChunkID: ChunkKind] {
        Dictionary(references.map { ($0.id, $0.kind) }, uniquingKeysWith: { $1 })
    }
}

extension Date {
    var milliseconds: Int64 { Int64((timeIntervalSince1970 * 1000).rounded()) }
    init(milliseconds: Int64) { self.init(timeIntervalSince1970: Double(milliseconds) / 1000) }
    /// As a manifest keeps it.
    var inWholeMilliseconds: Date { Date(milliseconds: milliseconds) }
}
