/// Inserts raw documents into one collection of a target, about 1 MiB a command.
///
/// Commands are built as bytes: libmongoc and its checks see no document, so that everything the source held
/// can be inserted (empty names of fields, dots, dollars, invalid UTF-8).
package final class MongoInserter {
    package enum Mode: Sendable {
        /// The collection's validator does not count: documents may be older than it.
        case plain
        /// As `plain`, and the order of insertion is kept.
        case ordered
        /// The buckets of a time series: the server refuses to pass its own check of those.
        case buckets
    }

    private static let commandSize = 1 << 20
    /// Below the server's limit of 100,000.
    private static let commandDocuments = 50_000

    private let connection: MongoConnection
    private let database: String
    private let collection: String
    private let mode: Mode
    private var documents = BSONWriter()
    private var count = 0
    private var bytes = 0
    /// Documents whose zero timestamps the server replaces when they come by an insert.
    private var zeroStamped: [[UInt8]] = []

    package init(_ connection: MongoConnection, database: String, collection: String, mode: Mode) {
        self.connection = connection
        self.database = database
        self.collection = collection
        self.mode = mode
    }

    private var namespace: String { "\(database).\(collection)" }

    /// - Parameter document: whole BSON; it is copied.
    package func append(_ document: UnsafeRawBufferPointer) throws {
        if bytes > 0 && (bytes + document.count > Self.commandSize || count == Self.commandDocuments) { try flush() }
        if bytes == 0 { documents.reserve(max(Self.commandSize, document.count) + (64 << 10)) }
        documents.append("\(count)", .document, value: document)
        count += 1
        bytes += document.count
        if mode != .buckets, try Self.hasZeroTimestamp(document) { zeroStamped.append(Array(document)) }
    }

    /// Sends what is left. The target has it when this returns, though perhaps not yet a majority of its members.
    package func flush() throws {
        guard count > 0 else { return }
        let array = documents.finish()
        let command = BSONWriter.document { command in
            command.reserve(array.count + 512)
            command.append("insert", collection)
            command.append("ordered", mode == .ordered)
            if mode != .buckets { command.append("bypassDocumentValidation", true) }
            command.append("writeConcern", document: { $0.append("w", Int32(1)) })
            array.withUnsafeBytes { command.append("documents", .array, value: $0) }
        }
        count = 0
        bytes = 0
        do {
            try connection.run(command, on: database) { try connection.checkWrite($0, of: namespace) }
        } catch let error as MongoError where error.reason == .server(code: 408) && mode == .buckets {
            try allowMixedSchema()
            try connection.run(command, on: database) { try connection.checkWrite($0, of: namespace) }
        }
        if !zeroStamped.isEmpty { try restoreZeroTimestamps() }
    }

    /// Buckets of measurements whose types changed within the bucket are refused (408) unless the series allows it;
    /// the source allowed it, or it would not have them.
    private func allowMixedSchema() throws {
        let change = BSONWriter.document {
            $0.append("collMod", String(collection.dropFirst("system.buckets.".count)))
            $0.append("timeseriesBucketsMayHaveMixedSchemaData", true)
        }
        try connection.run(change, on: database) { _ in }
    }

    /// An insert replaces zero timestamps at the top level by the time; an update by a pipeline does not.
    private func restoreZeroTimestamps() throws {
        for document in zeroStamped {
            let query = try document.withBSON { reader in
                let id = try reader.require("_id")
                return BSONWriter.document { $0.append("_id", document: { $0.append("$eq", valueOf: id) }) }
            }
            let root = BSONWriter.document { $0.append("$literal", document: document) }
            let stage = BSONWriter.document {
                $0.append("$replaceRoot", document: { $0.append("newRoot", document: root) })
            }
            let update = BSONWriter.document {
                $0.append("q", document: query)
                $0.append("u", documents: [stage])
            }
            let command = BSONWriter.document {
                $0.append("update", collection)
                $0.append("bypassDocumentValidation", true)
                $0.append("updates", documents: [update])
            }
            try connection.run(command, on: database) { try connection.checkWrite($0, of: namespace) }
        }
        zeroStamped = []
    }

    /// Whether a top-level field other than `_id` is a timestamp of zero.
    static func hasZeroTimestamp(_ document: UnsafeRawBufferPointer) throws(BSONError) -> Bool {
        var fields = try BSONReader(document).fields
        while let field = try fields.next() {
            if field.type == .timestamp, field.value.allSatisfy({ $0 == 0 }), !field.name.elementsEqual("_id".utf8) {
                return true
            }
        }
        return false
    }
}
