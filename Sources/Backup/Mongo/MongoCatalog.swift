/// One collection, view or time series: everything about it but its documents.
package struct MongoCollection: Sendable, Equatable {
    package enum Kind: String, Sendable { case collection, view, timeseries }

    package var database: String
    package var name: String
    package var kind: Kind
    /// BSON: the options as `listCollections` gives them.
    package var options: [UInt8]
    /// 16 bytes: of the collection that holds the documents (a time series' buckets); empty for a view.
    package var uuid: [UInt8]
    /// BSON each: the specs as `listIndexes` gives them, in its order.
    package var indexes: [[UInt8]]

    /// The name under which the documents lie.
    package var storedName: String { kind == .timeseries ? "system.buckets.\(name)" : name }
    package var namespace: String { "\(database).\(name)" }

    package func isCapped() throws -> Bool { try options.withBSON { try $0.find("capped")?.truth() ?? false } }
}

/// All that a server holds and a backup takes, sorted by namespace.
package struct MongoCatalog: Sendable, Equatable {
    package var collections: [MongoCollection]

    package init(collections: [MongoCollection]) {
        self.collections = collections.sorted { ($0.database, $0.name) < ($1.database, $1.name) }
    }

    /// Databases of the server's own, which no backup takes.
    static func isSystem(database: String) -> Bool {
        database == "local" || database == "config" || database.hasPrefix("__mdb_internal")
    }

    /// Collections of the server's own. Views and buckets come back with the views and time series themselves,
    /// users and roles by a way of their own.
    static func isSystem(collection: String, in database: String) -> Bool {
        if database == "admin" && (collection == "tempusers" || collection == "temproles") { return true }
        return collection.hasPrefix("system.") && collection != "system.js"
    }

    /// Reads the catalog as it is now.
    package static func read(_ connection: MongoConnection) throws -> MongoCatalog {
        var collections: [MongoCollection] = []
        for database in try databases(connection) where !isSystem(database: database) {
            collections += try self.collections(of: database, connection)
        }
        return MongoCatalog(collections: collections)
    }

    static func databases(_ connection: MongoConnection) throws -> [String] {
        let command = BSONWriter.document {
            $0.append("listDatabases", Int32(1))
            $0.append("nameOnly", true)
        }
        return try connection.run(command, on: "admin") { reply in
            var names: [String] = []
            var databases = try reply.require("databases").document().fields
            while let database = try databases.next() { names.append(try database.document().require("name").string()) }
            return names
        }
    }

    private static func collections(of database: String, _ connection: MongoConnection) throws -> [MongoCollection] {
        var buckets: [String: [UInt8]] = [:]
        var found: [MongoCollection] = []
        let listing = MongoScan(
            command: { $0.append("listCollections", Int32(1)) }, database: database, isFind: false, averageSize: 0)
        try listing.run(
            on: connection,
            record: { bytes in
                let entry = try BSONReader(bytes)
                let name = try entry.require("name").string()
                let uuid = try entry.find("info")?.document().find("uuid")?.binary().bytes
                if name.hasPrefix("system.buckets.") { buckets[name] = uuid.map { Array($0) } }
                if isSystem(collection: name, in: database) { return }
                let type = try entry.require("type").string()
                guard let kind = MongoCollection.Kind(rawValue: type) else {
                    throw MongoError(
                        side: connection.side, reason: .unsupported, subject: "\(database).\(name)",
                        detail: "a collection of the unknown type \(type)")
                }
                found.append(
                    MongoCollection(
                        database: database, name: name, kind: kind,
                        options: try entry.require("options").document().copy,
                        uuid: uuid.map { Array($0) } ?? [], indexes: []))
            })
        for index in found.indices where found[index].kind != .view {
            if found[index].kind == .timeseries { found[index].uuid = buckets[found[index].storedName] ?? [] }
            guard found[index].uuid.count == 16 else {
                throw MongoError(
                    side: connection.side, reason: .unsupported, subject: found[index].namespace,
                    detail: "the server names no UUID for it (drp reads MongoDB 5.0 to 8.2)")
            }
            found[index].indexes = try indexes(of: found[index].name, in: database, connection)
        }
        return found
    }

    private static func indexes(
        of collection: String, in database: String, _ connection: MongoConnection
    ) throws -> [[UInt8]] {
        var specs: [[UInt8]] = []
        let listing = MongoScan(
            command: { $0.append("listIndexes", collection) }, database: database, isFind: false, averageSize: 0)
        try listing.run(on: connection, record: { specs.append(Array($0)) })
        return specs
    }
}

// MARK: - As documents in a backup

extension MongoCollection {
    /// `{db, name, type, options, uuid, indexes}`: the record of a chunk of kind `mongoCatalog`.
    package var record: [UInt8] {
        BSONWriter.document { writer in
            writer.append("db", database)
            writer.append("name", name)
            writer.append("type", kind.rawValue)
            writer.append("options", document: options)
            writer.append("uuid", binary: uuid, subtype: 4)
            writer.append("indexes", documents: indexes)
        }
    }

    package init(record: BSONReader) throws(BSONError) {
        let type = try record.require("type").string()
        guard let kind = Kind(rawValue: type) else { throw BSONError(.wrongType(field: "type")) }
        var indexes: [[UInt8]] = []
        var fields = try record.require("indexes").document().fields
        while let field = try fields.next() { indexes.append(try field.document().copy) }
        self.init(
            database: try record.require("db").string(), name: try record.require("name").string(), kind: kind,
            options: try record.require("options").document().copy,
            uuid: Array(try record.require("uuid").binary().bytes), indexes: indexes)
    }
}

/// Sizes of a collection as the server counts them: good for progress and order of work, no more.
struct MongoSize {
    var documents: Int64 = 0
    var bytes: Int64 = 0

    static func read(_ collection: MongoCollection, _ connection: MongoConnection) throws -> MongoSize {
        let command = BSONWriter.document { $0.append("collStats", collection.storedName) }
        return try connection.run(command, on: collection.database) { reply in
            MongoSize(
                documents: try reply.find("count")?.integer() ?? 0, bytes: try reply.find("size")?.integer() ?? 0)
        }
    }

    var average: Int { documents > 0 ? Int(bytes / documents) : 0 }
}
