/// Makes collections, views, time series and indexes on a target as the catalog of a backup describes them.
struct MongoBuilder {
    let connection: MongoConnection

    /// Creates everything without indexes: collections and time series first, views last.
    func create(_ catalog: MongoCatalog) throws {
        for collection in catalog.collections where collection.kind != .view { try create(collection) }
        for view in catalog.collections where view.kind == .view { try create(view) }
    }

    private func create(_ collection: MongoCollection) throws {
        let command = try collection.options.withBSON { options in
            try BSONWriter.document { command in
                command.append("create", collection.name)
                var fields = options.fields
                while let field = try fields.next() {
                    // `autoIndexId` is refused by the server's own newer versions, `temp` by all.
                    if ["autoIndexId", "temp"].contains(field.nameText) { continue }
                    command.append(element: field.element)
                }
                if collection.kind == .collection, let index = try idIndex(of: collection) {
                    command.append("idIndex", document: index)
                }
                command.append("writeConcern", document: { $0.append("w", "majority") })
            }
        }
        try run(command, for: collection)
    }

    /// The spec of `_id_`, which only `create` can set: its version, and a collation that is the collection's.
    private func idIndex(of collection: MongoCollection) throws -> [UInt8]? {
        for spec in collection.indexes {
            let index = try spec.withBSON { spec -> [UInt8]? in
                guard try spec.require("name").string() == "_id_", try spec.find("clustered") == nil else { return nil }
                var copy = try Self.copy(spec, without: "ns")
                return copy.finish()
            }
            if let index { return index }
        }
        return nil
    }

    /// Builds all indexes of a collection by one command, so that the server reads its documents once.
    func buildIndexes(of collection: MongoCollection) throws {
        guard collection.kind != .view else { return }
        let hasCollation = try collection.options.withBSON { try $0.find("collation") != nil }
        var specs: [[UInt8]] = []
        for spec in collection.indexes {
            let made = try spec.withBSON { spec -> [UInt8]? in
                if try spec.require("name").string() == "_id_" { return nil }
                if try spec.find("clustered") != nil { return nil }
                var copy = try Self.copy(spec, without: "ns")
                // Without one, the index would inherit the collection's.
                if hasCollation, try spec.find("collation") == nil {
                    copy.append("collation", document: { $0.append("locale", "simple") })
                }
                return copy.finish()
            }
            if let made { specs.append(made) }
        }
        guard !specs.isEmpty else { return }
        let command = BSONWriter.document { command in
            command.append("createIndexes", collection.name)
            command.append("indexes", documents: specs)
            command.append("writeConcern", document: { $0.append("w", "majority") })
        }
        try run(command, for: collection)
    }

    private static func copy(_ document: BSONReader, without dropped: String) throws(BSONError) -> BSONWriter {
        var writer = BSONWriter()
        var fields = document.fields
        while let field = try fields.next() {
            if field.nameText != dropped { writer.append(element: field.element) }
        }
        return writer
    }

    private func run(_ command: [UInt8], for collection: MongoCollection) throws {
        do {
            try connection.run(command, on: collection.database) {
                try connection.checkWrite($0, of: collection.namespace)
            }
        } catch var error as MongoError {
            error.subject = "\(collection.namespace) at \(connection.host)"
            throw error
        }
    }

    // MARK: - What the target holds already

    /// Namespaces of a client's data: what a restore would mix with.
    func existing() throws -> [String] {
        var namespaces: [String] = []
        for database in try MongoCatalog.databases(connection) where !MongoCatalog.isSystem(database: database) {
            let listing = MongoScan(
                command: {
                    $0.append("listCollections", Int32(1))
                    $0.append("nameOnly", true)
                }, database: database, isFind: false, averageSize: 0)
            try listing.run(
                on: connection,
                record: { bytes in
                    let name = try BSONReader(bytes).require("name").string()
                    if database == "admin" && MongoCatalog.isSystem(collection: name, in: database) { return }
                    namespaces.append("\(database).\(name)")
                })
        }
        return namespaces
    }

    /// Drops the client's collections, views and time series but these.
    func drop(allBut kept: Set<String>) throws {
        for namespace in try existing() where !kept.contains(namespace) {
            let parts = namespace.split(separator: ".", maxSplits: 1).map(String.init)
            // What belongs to views and time series goes with them.
            guard parts.count == 2, !MongoCatalog.isSystem(collection: parts[1], in: parts[0]) else { continue }
            let drop = BSONWriter.document {
                $0.append("drop", parts[1])
                $0.append("writeConcern", document: { $0.append("w", "majority") })
            }
            _ = try connection.run(drop, on: parts[0])
        }
    }

    /// Drops all data of the client: every database but the server's own, and collections in `admin`.
    func clear() throws {
        let majority: (inout BSONWriter) -> Void = { $0.append("w", "majority") }
        for database in try MongoCatalog.databases(connection)
        where !MongoCatalog.isSystem(database: database) && database != "admin" {
            let drop = BSONWriter.document {
                $0.append("dropDatabase", Int32(1))
                $0.append("writeConcern", document: majority)
            }
            _ = try connection.run(drop, on: database)
        }
        for namespace in try existing() {
            let drop = BSONWriter.document {
                $0.append("drop", String(namespace.dropFirst("admin.".count)))
                $0.append("writeConcern", document: majority)
            }
            _ = try connection.run(drop, on: "admin")
        }
    }
}
