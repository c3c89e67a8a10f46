/// Reads everything that a command with a cursor gives, raw.
///
/// `find`, `listCollections` and `listIndexes` answer with `cursor: {id, ns, firstBatch}`, `getMore` with
/// `nextBatch`. The documents are handed over in the reply's own bytes.
package struct MongoScan {
    /// Replies of this size are read fastest (1 to 4 MB measured best; the server's default of 16 MB is slower).
    private static let replySize = 2 << 20
    private static let batchSizes = 1...50_000

    /// The command, without `batchSize` and `cursor`.
    package var command: (inout BSONWriter) -> Void
    package var database: String
    /// How the command takes its batch size: `find` has a field of its own, the listings have `cursor`.
    package var isFind: Bool
    /// What is known of the documents' size; 0 if nothing.
    package var averageSize: Int

    /// - Parameters:
    ///   - record: gets each document in turn, borrowed.
    ///   - batch: is called after each reply with its documents and bytes; throws to end the scan.
    package func run(
        on connection: MongoConnection, record: (UnsafeRawBufferPointer) throws -> Void,
        batch: (_ documents: Int, _ bytes: Int) throws -> Void = { _, _ in }
    ) throws {
        var size = Self.batchSize(documents: 1, bytes: averageSize)
        var cursor = try connection.run(firstCommand(size), on: database) {
            try Self.read($0, "firstBatch", record)
        }
        do {
            try batch(cursor.documents, cursor.bytes)
            while cursor.id != 0 {
                size = Self.batchSize(documents: cursor.documents, bytes: cursor.bytes)
                cursor = try connection.run(Self.getMore(cursor, size), on: database) {
                    try Self.read($0, "nextBatch", record)
                }
                try batch(cursor.documents, cursor.bytes)
            }
        } catch {
            // The cursor has no timeout of its own. If this fails too, the server ends it with its session.
            if cursor.id != 0 { _ = try? connection.run(Self.kill(cursor), on: database) }
            throw error
        }
    }

    private struct Cursor {
        var id: Int64
        var collection: String
        var documents: Int
        var bytes: Int
    }

    private static func batchSize(documents: Int, bytes: Int) -> Int32 {
        guard documents > 0, bytes > 0 else { return 100 }
        let wanted = replySize / max(1, bytes / documents)
        return Int32(min(max(wanted, batchSizes.lowerBound), batchSizes.upperBound))
    }

    private func firstCommand(_ size: Int32) -> [UInt8] {
        BSONWriter.document { writer in
            command(&writer)
            if isFind {
                writer.append("batchSize", size)
            } else {
                writer.append("cursor", document: { $0.append("batchSize", size) })
            }
        }
    }

    private static func getMore(_ cursor: Cursor, _ size: Int32) -> [UInt8] {
        BSONWriter.document {
            $0.append("getMore", cursor.id)
            $0.append("collection", cursor.collection)
            $0.append("batchSize", size)
        }
    }

    private static func kill(_ cursor: Cursor) -> [UInt8] {
        BSONWriter.document {
            $0.append("killCursors", cursor.collection)
            $0.append("cursors", array: { $0.append("0", cursor.id) })
        }
    }

    private static func read(
        _ reply: BSONReader, _ name: StaticString, _ record: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> Cursor {
        let document = try reply.require("cursor").document()
        // `ns` is `database.collection`; a database's name holds no dot.
        let namespace = try document.require("ns").string()
        let collection = namespace.drop { $0 != "." }.dropFirst()
        var cursor = Cursor(
            id: try document.require("id").integer(), collection: String(collection), documents: 0, bytes: 0)
        var fields = try document.require(name).document().fields
        while let field = try fields.next() {
            let bytes = field.value
            guard field.type == .document, bytes[bytes.count - 1] == 0 else {
                throw BSONError(.wrongType(field: "\(name)"))
            }
            cursor.documents += 1
            cursor.bytes += bytes.count
            try record(bytes)
        }
        return cursor
    }
}

extension MongoScan {
    /// All documents of one collection in natural order.
    /// - Parameters:
    ///   - collection: its UUID: a name that was dropped or renamed would read as empty.
    ///   - time: the instant to read at; nil reads what is there now.
    static func documents(
        of collection: [UInt8], in database: String, at time: MongoTime?, averageSize: Int
    ) -> MongoScan {
        find(database, averageSize: averageSize, at: time) { $0.append("find", binary: collection, subtype: 4) }
    }

    /// The same by name, for what cannot be renamed or where nobody else is at work.
    static func documents(named name: String, in database: String, at time: MongoTime?) -> MongoScan {
        find(database, averageSize: 0, at: time) { $0.append("find", name) }
    }

    private static func find(
        _ database: String, averageSize: Int, at time: MongoTime?, _ target: @escaping (inout BSONWriter) -> Void
    ) -> MongoScan {
        let command: (inout BSONWriter) -> Void = { writer in
            target(&writer)
            writer.append("filter", document: { _ in })
            writer.append("hint", document: { $0.append("$natural", Int32(1)) })
            writer.append("noCursorTimeout", true)
            guard let time else { return }
            // Not as libmongoc's option `readConcern`, which drops `atClusterTime`.
            writer.append(
                "readConcern",
                document: { concern in
                    concern.append("level", "snapshot")
                    concern.append("atClusterTime", seconds: time.seconds, ordinal: time.ordinal)
                })
        }
        return MongoScan(command: command, database: database, isFind: true, averageSize: averageSize)
    }
}
