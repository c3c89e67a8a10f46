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
        async let mongo: Void = restoreMongo(existing, progress)
        async let redis: Void = restoreRedis(existing, progress)
        _ = try await (mongo, redis)
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
        _ existing: ExistingData, _ progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws {
        guard let manifest = manifest.mongo, let settings = target.mongo else { return }
        try await MongoRestore.restore(
            settings: settings, manifest: manifest, source: source, existing: existing == .replace ? .replace : .refuse
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
