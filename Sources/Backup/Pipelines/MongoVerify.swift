internal import DRPKit
internal import Synchronization

/// What a target holds, beside what it should hold.
package struct MongoComparison: Sendable, Equatable {
    package struct Line: Sendable, Equatable, Codable {
        /// `database.collection`, or `user database.name`.
        package var namespace: String
        /// What was compared: `documents`, `digest`, `options`, `index NAME` …
        package var what: String
        package var expected: String
        package var found: String
        package var isEqual: Bool
    }

    /// Sorted by namespace.
    package var lines: [Line]
    package var isEqual: Bool { lines.allSatisfy(\.isEqual) }
    package var differences: [Line] { lines.filter { !$0.isEqual } }
}

/// Reads a target back and compares it with a backup: documents by count and digest, options, indexes, users, roles.
package enum MongoVerify {
    private static let readers = 2
    /// Milliseconds: longer than the reading of one collection takes.
    private static let expiryMargin: Int64 = 3_600_000

    /// The target must not be written to meanwhile, but for what the server itself expires.
    /// - Throws: `MongoError`; what the source throws. A difference is no error but a line.
    package static func verify(
        settings: MongoSettings, manifest: MongoManifest, source: any ChunkSource,
        progress: @escaping @Sendable (MongoProgress) -> Void = { _ in }
    ) async throws -> MongoComparison {
        let stop = StopSignal()
        let content = MongoContent(source: source)
        let structure = try await stop.run("mongo-verify") {
            let connection = try MongoConnection(settings, side: .target)
            let catalog = try content.catalog(manifest)
            let lines = try StructureComparison.lines(
                expected: catalog, accounts: try content.accounts(manifest), connection)
            return (lines: lines, expiries: try expiries(of: catalog, connection))
        }
        let lines = Mutex(structure.lines)
        let meter = MongoMeter(
            .verification, documents: manifest.collections.reduce(0) { $0 + $1.digest.count },
            bytes: manifest.collections.reduce(0) { $0 + $1.digest.bytes }, tell: progress)
        let work = WorkList(manifest.collections.sorted { $0.digest.bytes > $1.digest.bytes })
        let read: @Sendable () throws -> Void = {
            let comparison = DocumentComparison(
                connection: try MongoConnection(settings, side: .target), content: content, stop: stop, meter: meter)
            while let collection = work.take() {
                let some = try comparison.lines(collection, expiry: structure.expiries[collection.namespace])
                lines.withLock { $0 += some }
            }
        }
        try await stop.run("mongo-verify", Array(repeating: read, count: readers))
        meter.finish()
        let all = lines.withLock { $0 }
        return MongoComparison(lines: all.sorted { ($0.namespace, $0.what) < ($1.namespace, $1.what) })
    }
}

extension MongoVerify {
    /// What the server may delete by itself while this runs, by the namespace that holds the documents.
    private static func expiries(
        of catalog: MongoCatalog, _ connection: MongoConnection
    ) throws -> [String: MongoExpiry] {
        let instant = try connection.time() + expiryMargin
        var expiries: [String: MongoExpiry] = [:]
        for collection in catalog.collections {
            expiries["\(collection.database).\(collection.storedName)"] = try MongoExpiry(collection, until: instant)
        }
        return expiries
    }
}

extension CollectionManifest {
    fileprivate var namespace: String { "\(database).\(collection)" }
}

/// Compares the documents of collections: the same scan as the capture's, the same digest.
private struct DocumentComparison {
    let connection: MongoConnection
    let content: MongoContent
    let stop: StopSignal
    let meter: MongoMeter

    func lines(_ collection: CollectionManifest, expiry: MongoExpiry?) throws -> [MongoComparison.Line] {
        let found = try digest(of: collection, without: nil)
        if found == collection.digest || expiry == nil { return lines(collection, collection.digest, found, "") }
        // The server has begun to delete what has expired: compare what has not, from the stored chunks.
        var expected = ContentDigest()
        for segment in collection.segments {
            try stop.check()
            _ = try content.read(segment, .documents) { document in
                if try expiry?.mayExpire(document) == true { return }
                expected.add(ContentHash(hashing: document), length: document.count)
            }
        }
        return lines(collection, expected, try digest(of: collection, without: expiry), " that do not expire")
    }

    private func digest(of collection: CollectionManifest, without expiry: MongoExpiry?) throws -> ContentDigest {
        var digest = ContentDigest()
        try MongoScan.documents(named: collection.collection, in: collection.database, at: nil).run(
            on: connection,
            record: { document in
                if try expiry?.mayExpire(document) == true { return }
                digest.add(ContentHash(hashing: document), length: document.count)
            },
            batch: { documents, bytes in
                try stop.check()
                if expiry == nil { meter.add(documents: documents, bytes: bytes) }
            })
        return digest
    }

    private func lines(
        _ collection: CollectionManifest, _ expected: ContentDigest, _ found: ContentDigest, _ which: String
    ) -> [MongoComparison.Line] {
        [
            MongoComparison.Line(
                namespace: collection.namespace, what: "documents\(which)", expected: "\(expected.count)",
                found: "\(found.count)", isEqual: expected.count == found.count),
            MongoComparison.Line(
                namespace: collection.namespace, what: "digest\(which)", expected: "\(expected)", found: "\(found)",
                isEqual: expected == found),
        ]
    }
}

/// Compares everything but documents.
private enum StructureComparison {
    static func lines(
        expected: MongoCatalog, accounts: [MongoAccount], _ connection: MongoConnection
    ) throws -> [MongoComparison.Line] {
        let found = try MongoCatalog.read(connection)
        var byName: [String: MongoCollection] = [:]
        for collection in found.collections { byName[collection.namespace] = collection }
        var lines: [MongoComparison.Line] = []
        for collection in expected.collections {
            guard let other = byName.removeValue(forKey: collection.namespace) else {
                lines.append(line(collection.namespace, "kind", collection.kind.rawValue, "nothing"))
                continue
            }
            lines.append(line(collection.namespace, "kind", collection.kind.rawValue, other.kind.rawValue))
            lines += try options(collection, other)
            lines += try indexes(collection, other)
        }
        lines += byName.values.map { line($0.namespace, "kind", "nothing", $0.kind.rawValue) }
        return lines + (try self.accounts(accounts, connection))
    }

    private static func line(_ namespace: String, _ what: String, _ expected: String, _ found: String)
        -> MongoComparison.Line
    {
        MongoComparison.Line(
            namespace: namespace, what: what, expected: expected, found: found, isEqual: expected == found)
    }

    /// Values are content and stay out of the line; it names the fields.
    private static func options(_ expected: MongoCollection, _ found: MongoCollection) throws -> [MongoComparison.Line]
    {
        let left = try fields(expected.options, without: ["temp", "autoIndexId"])
        let right = try fields(found.options, without: ["temp", "autoIndexId"])
        let differing = Set(left.keys).union(right.keys).filter { left[$0] != right[$0] }.sorted()
        return [
            MongoComparison.Line(
                namespace: expected.namespace, what: "options", expected: left.keys.sorted().joined(separator: ", "),
                found: differing.isEmpty
                    ? right.keys.sorted().joined(separator: ", ") : "other: \(differing.joined(separator: ", "))",
                isEqual: differing.isEmpty)
        ]
    }

    private static func indexes(_ expected: MongoCollection, _ found: MongoCollection) throws -> [MongoComparison.Line]
    {
        let left = try byName(expected.indexes)
        let right = try byName(found.indexes)
        return Set(left.keys).union(right.keys).sorted().map { name in
            let state = right[name] == nil ? "missing" : left[name] == nil ? "not in the backup" : "other"
            let isEqual = left[name] == right[name]
            return MongoComparison.Line(
                namespace: expected.namespace, what: "index \(name)", expected: left[name] == nil ? "none" : "as saved",
                found: isEqual ? "as saved" : state, isEqual: isEqual)
        }
    }

    private static func byName(_ indexes: [[UInt8]]) throws -> [String: [UInt8]] {
        var byName: [String: [UInt8]] = [:]
        for index in indexes {
            try index.withBSON { byName[try $0.require("name").string()] = try $0.sorted(without: ["ns"]) }
        }
        return byName
    }

    private static func fields(_ document: [UInt8], without dropped: Set<String>) throws -> [String: [UInt8]] {
        try document.withBSON { document in
            var values: [String: [UInt8]] = [:]
            var fields = document.fields
            while let field = try fields.next() {
                if !dropped.contains(field.nameText) { values[field.nameText] = Array(field.element) }
            }
            return values
        }
    }

    /// Names, roles, privileges and restrictions; credentials are left out. The connection's own user and managed
    /// users of the target are not the backup's business.
    private static func accounts(
        _ expected: [MongoAccount], _ connection: MongoConnection
    ) throws -> [MongoComparison.Line] {
        let own = try MongoAccount.own(connection)
        let all = try MongoAccount.readAll(connection, at: nil)
        var found: [String: MongoAccount] = [:]
        for account in all { found[account.identity] = account }
        var lines: [MongoComparison.Line] = []
        for account in expected {
            guard let other = found.removeValue(forKey: account.identity) else {
                lines.append(line(account.identity, "account", "as saved", "missing"))
                continue
            }
            let isEqual = try account.comparable() == other.comparable()
            if try other.isManaged || own.contains(account.identity) { continue }
            lines.append(line(account.identity, "account", "as saved", isEqual ? "as saved" : "other"))
        }
        for account in found.values where try !account.isManaged && !own.contains(account.identity) {
            lines.append(line(account.identity, "account", "nothing", "not in the backup"))
        }
        return lines
    }
}
