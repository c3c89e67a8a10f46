package import DRPKit

/// What to do with a target that holds data.
package enum ExistingData: Sendable, Hashable { case refuse, replace }

/// What a target holds beside what the backup says, for both databases.
package struct ContentComparison: Sendable, Codable, Hashable {
    package struct Line: Sendable, Codable, Hashable {
        /// As `mongo shop.orders: digest`.
        package var subject: String
        package var expected: String
        package var found: String
        package var isEqual: Bool
    }

    package var lines: [Line] = []
    package var collections = 0
    package var documents: Int64 = 0
    package var indexes = 0
    package var redisDatabases = 0
    package var keys: Int64 = 0
    /// Keys that were about to expire, which nobody compared.
    package var expiringKeys: Int64 = 0

    package var isEqual: Bool { lines.allSatisfy(\.isEqual) }
    package var differences: [Line] { lines.filter { !$0.isEqual } }

    /// `equal: 43 collections, 112345 documents, 61 indexes; 214334 keys in 4 databases`, or how many differences.
    package var summary: String {
        let counts =
            "\(collections) collections, \(documents) documents, \(indexes) indexes; "
            + "\(keys) keys in \(redisDatabases) Redis databases"
        return isEqual ? "equal: \(counts)" : "\(differences.count) differences in \(counts)"
    }
}

/// Puts one backup into the databases of a target, and compares the two.
package struct ClientRestore: Sendable {
    package var client: ClientID
    package var manifest: Manifest
    package var source: any ChunkSource
    package var target: ClientDatabases
    package var clock: any WallClock

    package init(
        client: ClientID, manifest: Manifest, source: any ChunkSource, target: ClientDatabases, clock: any WallClock
    ) {
        self.client = client
        self.manifest = manifest
        self.source = source
        self.target = target
        self.clock = clock
    }

    /// Reads all of the backup once before anything is written: what is damaged never takes a target's data away, nor
    /// leaves half of a backup in its place.
    /// - Throws: `TargetError.lacks` before anything is written if the backup has a database that the target lacks, and
    ///   `RepositoryError` if a chunk of it is lost or damaged; what the restores of both throw.
    package func run(
        existing: ExistingData, progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws {
        try requireServices()
        // Both are asked before either is written to, so that a refusal leaves both as they were.
        if existing == .refuse { try await requireEmpty() }
        try await BackupPreflight(manifest: manifest, source: source).run { progress(ServiceProgress(client, $0)) }
        async let mongo: Void = restoreMongo(existing == .replace ? .replace : .refuse, progress)
        async let redis: Void = restoreRedis(existing, progress)
        _ = try await (mongo, redis)
    }

    /// Brings a target from an earlier backup to this one, and leaves alone what is the same in both.
    /// - Parameters:
    ///   - old: what the target holds; nothing was written there since.
    ///   - redis: whether that is true of Redis, too; else it is replaced.
    /// - Returns: how many collections and views were left alone, of how many.
    /// - Throws: as `run`.
    package func update(
        from old: Manifest, redis isRedisUntouched: Bool, progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws -> (kept: Int, all: Int) {
        try requireServices()
        let (kept, stored, all) = try await OwnThread.run("restore-kept") { [manifest, source] in
            try Self.unchanged(manifest.mongo, since: old.mongo, MongoContent(source: source))
        }
        let keepsRedis = isRedisUntouched && Self.isUnchanged(manifest.redis, since: old.redis)
        var changed = manifest
        changed.mongo?.collections.removeAll { stored.contains("\($0.database).\($0.collection)") }
        if keepsRedis { changed.redis = nil }
        try await BackupPreflight(manifest: changed, source: source).run { progress(ServiceProgress(client, $0)) }
        async let mongo: Void = restoreMongo(.update(keeping: kept), progress)
        if !keepsRedis { try await restoreRedis(.replace, progress) }
        try await mongo
        return (kept.count, all)
    }

    /// - Returns: the namespaces that are the same in both, under which their documents are stored, and how many there are.
    private static func unchanged(
        _ manifest: MongoManifest?, since old: MongoManifest?, _ content: MongoContent
    ) throws -> (kept: Set<String>, stored: Set<String>, all: Int) {
        guard let manifest, let old else { return ([], [], 0) }
        var (kept, stored): (Set<String>, Set<String>) = ([], [])
        var known: [String: MongoCollection] = [:]
        for collection in try content.catalog(old).collections { known[collection.namespace] = collection }
        var digests: [String: [CollectionManifest]] = [:]
        for collection in old.collections + manifest.collections {
            digests["\(collection.database).\(collection.collection)", default: []].append(collection)
        }
        let catalog = try content.catalog(manifest)
        for collection in catalog.collections {
            guard var before = known[collection.namespace] else { continue }
            before.uuid = collection.uuid
            guard before == collection else { continue }
            let place = "\(collection.database).\(collection.storedName)"
            if collection.kind != .view {
                // The digest does not tell an order.
                guard let both = digests[place], both.count == 2, both[0].digest == both[1].digest, !both[0].isCapped
                else {
                    continue
                }
            }
            kept.insert(collection.namespace)
            stored.insert(place)
        }
        return (kept, stored, catalog.collections.count)
    }

    private static func isUnchanged(_ manifest: RedisManifest?, since old: RedisManifest?) -> Bool {
        guard let manifest, let old else { return manifest == nil }
        return manifest.serverVersion == old.serverVersion && manifest.functions == old.functions
            && manifest.databases.map { [$0.digest] } == old.databases.map { [$0.digest] }
            && manifest.databases.map(\.database) == old.databases.map(\.database)
    }

    /// Reads the target back.
    package func compare(progress: @escaping @Sendable (ServiceProgress) -> Void) async throws -> ContentComparison {
        try requireServices()
        var comparison = ContentComparison()
        if let manifest = manifest.mongo, let settings = target.mongo {
            let found = try await MongoVerify.verify(settings: settings, manifest: manifest, source: source) {
                progress(ServiceProgress(client, mongo: $0))
            }
            comparison.add(found, manifest)
        }
        if let manifest = manifest.redis, let settings = target.redis {
            let total = manifest.databases.reduce(0) { $0 + $1.digest.bytes }
            let found = try await RedisVerify.compare(
                settings: settings, manifest: manifest, source: source,
                progress: { progress(ServiceProgress(client, redis: $0, total: total)) }, clock: clock)
            comparison.add(found, manifest)
        }
        return comparison
    }

    /// What a plan says of the target before it is written to.
    package struct TargetState: Sendable {
        package var isEmpty = true
        /// For people, a line a service.
        package var lines: [String] = []
    }

    package func targetState() async throws -> TargetState {
        try requireServices()
        var state = TargetState()
        if manifest.mongo != nil, let settings = target.mongo {
            let version = try await MongoPreflight.serverVersion(settings: settings, side: .target)
            state.add("MongoDB \(version)", isEmpty: try await MongoPreflight.isEmpty(settings: settings))
        }
        if manifest.redis != nil, let settings = target.redis {
            let version = try await RedisServer.serverVersion(settings)
            state.add("Redis \(version)", isEmpty: try await RedisServer.isEmpty(settings))
        }
        return state
    }

    private func requireServices() throws {
        if manifest.mongo != nil && target.mongo == nil { throw TargetError(client: client, lacks: "mongo") }
        if manifest.redis != nil && target.redis == nil { throw TargetError(client: client, lacks: "redis") }
    }

    private func requireEmpty() async throws {
        if manifest.mongo != nil, let settings = target.mongo, try await !MongoPreflight.isEmpty(settings: settings) {
            throw TargetError(client: client, holdsData: "mongo")
        }
        if manifest.redis != nil, let settings = target.redis, try await !RedisServer.isEmpty(settings) {
            throw TargetError(client: client, holdsData: "redis")
        }
    }

    private func restoreMongo(
        _ existing: MongoRestore.Existing, _ progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws {
        guard let manifest = manifest.mongo, let settings = target.mongo else { return }
        try await MongoRestore.restore(
            settings: settings, manifest: manifest, source: source, existing: existing
        ) { progress(ServiceProgress(client, mongo: $0)) }
    }

    private func restoreRedis(
        _ existing: ExistingData, _ progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws {
        guard let manifest = manifest.redis, let settings = target.redis else { return }
        let total = manifest.databases.reduce(0) { $0 + $1.digest.bytes }
        _ = try await RedisRestore.restore(
            settings: settings, manifest: manifest, source: source,
            onData: existing == .replace ? .replace : .refuse,
            progress: { progress(ServiceProgress(client, redis: $0, total: total)) }, clock: clock)
    }
}

extension ContentComparison {
    fileprivate mutating func add(_ comparison: MongoComparison, _ manifest: MongoManifest) {
        collections = manifest.collections.count
        documents = manifest.collections.reduce(0) { $0 + $1.digest.count }
        indexes = comparison.lines.count { $0.what.hasPrefix("index ") }
        lines += comparison.lines.map {
            Line(
                subject: "mongo \($0.namespace): \($0.what)", expected: $0.expected, found: $0.found,
                isEqual: $0.isEqual)
        }
    }

    fileprivate mutating func add(_ comparison: RedisComparison, _ manifest: RedisManifest) {
        redisDatabases = manifest.databases.count
        keys = manifest.databases.reduce(0) { $0 + $1.digest.count } - comparison.expiringKeys
        expiringKeys = comparison.expiringKeys
        lines += comparison.lines.map {
            Line(subject: "redis \($0.subject)", expected: $0.expected, found: $0.found, isEqual: $0.isEqual)
        }
    }
}

extension ClientRestore.TargetState {
    fileprivate mutating func add(_ server: String, isEmpty isServerEmpty: Bool) {
        lines.append("\(server), \(isServerEmpty ? "empty" : "holds data")")
        if !isServerEmpty { isEmpty = false }
    }
}

/// A target that a backup cannot go into.
package struct TargetError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable { case lacks, holdsData, differs }

    package var reason: Reason
    package var client: ClientID
    package var text: String

    init(client: ClientID, lacks service: String) {
        reason = .lacks
        self.client = client
        text = "the backup holds \(service), but the target has no such service"
    }

    init(client: ClientID, holdsData service: String) {
        reason = .holdsData
        self.client = client
        text = "the target's \(service) already holds data; nothing was changed"
    }

    /// - Parameter comparison: with differences.
    package init(client: ClientID, differs comparison: ContentComparison) {
        reason = .differs
        self.client = client
        let first = comparison.differences.prefix(5).map { "\($0.subject): expected \($0.expected), found \($0.found)" }
        let more = comparison.differences.count - first.count
        text =
            "the restored data differ from the backup: " + first.joined(separator: "; ")
            + (more > 0 ? "; \(more) more" : "")
    }

    package var code: ErrorCode {
        switch reason {
        case .lacks: .usage
        case .holdsData: .targetNotEmpty
        case .differs: .targetDiffers
        }
    }

    package var message: String { "\(client): \(text)" }

    package var advice: String {
        reason == .lacks ? "Name one in the services of the target, then restore again." : code.advice
    }
}
