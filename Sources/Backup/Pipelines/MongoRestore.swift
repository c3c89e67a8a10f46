internal import DRPKit
internal import Synchronization

/// Restores the MongoDB part of a backup into a server: collections, documents by two writers, then indexes, then
/// users and roles. Nothing is written before the target's version and emptiness have been checked.
///
/// Interrupted, it leaves a target that holds data, and that the next restore refuses unless told to replace.
package enum MongoRestore {
    package enum Existing: Sendable {
        /// A target that holds data is refused.
        case refuse
        /// All data of the target is dropped first, and users and roles that are not in the backup.
        case replace
        /// As `replace`, but for these namespaces, which the target holds as the backup has them.
        case update(keeping: Set<String>)
    }

    private static let writers = 2

    /// - Throws: `MongoError`; what the source throws; `CancellationError`.
    package static func restore(
        settings: MongoSettings, manifest: MongoManifest, source: any ChunkSource, existing: Existing = .refuse,
        progress: @escaping @Sendable (MongoProgress) -> Void
    ) async throws {
        let stop = StopSignal()
        let content = MongoContent(source: source)
        let accounts = try await stop.run("mongo-content") { try content.accounts(manifest) }
        let catalog = try await stop.run("mongo-create") {
            try prepare(settings, manifest, content, accounts, existing)
        }
        var wanted = manifest
        if case .update = existing {
            let stored = Set(catalog.collections.map { "\($0.database).\($0.storedName)" })
            wanted.collections.removeAll { !stored.contains("\($0.database).\($0.collection)") }
        }
        let run = RestoreRun(settings, wanted, catalog, content, stop, progress)
        try await stop.run("mongo-restore", Array(repeating: { try run.write() }, count: writers))
        try run.checkDigests()
        Failpoint.hit("restore.documents")

        let builds = WorkList(run.bySize(catalog.collections.filter { $0.kind != .view }))
        let meter = MongoMeter(.indexes, documents: 0, bytes: 0, tell: progress)
        let build: @Sendable () throws -> Void = {
            let connection = try MongoConnection(settings, side: .target, patience: settings.buildTimeout)
            while let collection = builds.take() {
                try stop.check()
                try MongoBuilder(connection: connection).buildIndexes(of: collection)
            }
        }
        try await stop.run("mongo-indexes", Array(repeating: build, count: writers))
        meter.finish()

        _ = MongoMeter(.users, documents: 0, bytes: 0, tell: progress)
        try await stop.run("mongo-users") {
            let connection = try MongoConnection(settings, side: .target, patience: settings.buildTimeout)
            try MongoAccount.merge(accounts, into: connection)
            try connection.waitForMajority()
        }
    }

    /// Checks the target, then makes everything that the documents go into.
    /// - Returns: what is to be filled.
    private static func prepare(
        _ settings: MongoSettings, _ manifest: MongoManifest, _ content: MongoContent, _ accounts: [MongoAccount],
        _ existing: Existing
    ) throws -> MongoCatalog {
        let connection = try MongoConnection(settings, side: .target, patience: settings.buildTimeout)
        try MongoPreflight.checkTarget(connection, for: manifest.serverVersion)
        var catalog = try content.catalog(manifest)
        let builder = MongoBuilder(connection: connection)
        switch existing {
        case .refuse: try MongoPreflight.checkEmpty(connection)
        case .replace:
            try builder.clear()
            try MongoAccount.drop(allBut: accounts, from: connection)
        case .update(let kept):
            try builder.drop(allBut: kept)
            try MongoAccount.drop(allBut: accounts, from: connection)
            catalog.collections.removeAll { kept.contains($0.namespace) }
        }
        try builder.create(catalog)
        return catalog
    }
}

/// The writers of one restore and what they share.
private final class RestoreRun: Sendable {
    /// Segments of one collection that one writer inserts one after the other.
    private struct Unit: Sendable {
        var collection: Int
        var segments: [Segment]
    }

    private let settings: MongoSettings
    private let manifest: MongoManifest
    private let catalog: MongoCatalog
    private let content: MongoContent
    private let stop: StopSignal
    private let meter: MongoMeter
    private let units: WorkList<Unit>
    private let digests: Mutex<[ContentDigest]>

    init(
        _ settings: MongoSettings, _ manifest: MongoManifest, _ catalog: MongoCatalog, _ content: MongoContent,
        _ stop: StopSignal, _ progress: @escaping @Sendable (MongoProgress) -> Void
    ) {
        self.settings = settings
        self.manifest = manifest
        self.catalog = catalog
        self.content = content
        self.stop = stop
        let collections = manifest.collections
        meter = MongoMeter(
            .documents, documents: collections.reduce(0) { $0 + $1.digest.count },
            bytes: collections.reduce(0) { $0 + $1.digest.bytes }, tell: progress)
        digests = Mutex(Array(repeating: ContentDigest(), count: collections.count))
        let total = collections.reduce(0) { $0 + $1.digest.bytes }
        let largestFirst = collections.indices.sorted { collections[$0].digest.bytes > collections[$1].digest.bytes }
        units = WorkList(
            largestFirst.flatMap { index -> [Unit] in
                let segments = collections[index].segments
                // One writer keeps the order, and then the next backup finds the chunks that it knows. A collection with
                // most of the data is shared between the writers: there the time until it serves again counts for more.
                let isMost = collections[index].digest.bytes > total / 2
                if isMost && !collections[index].isCapped {
                    return segments.map { Unit(collection: index, segments: [$0]) }
                }
                return [Unit(collection: index, segments: segments)]
            })
    }

    func write() throws {
        let connection = try MongoConnection(settings, side: .target)
        while let unit = units.take() {
            let target = manifest.collections[unit.collection]
            let inserter = MongoInserter(
                connection, database: target.database, collection: target.collection, mode: Self.mode(target))
            for segment in unit.segments {
                try stop.check()
                let digest = try content.read(segment, .documents) { try inserter.append($0) }
                try inserter.flush()
                digests.withLock { $0[unit.collection].add(digest) }
                meter.add(documents: Int(digest.count), bytes: Int(digest.bytes))
            }
        }
        try connection.waitForMajority()
    }

    private static func mode(_ target: CollectionManifest) -> MongoInserter.Mode {
        if target.isCapped { return .ordered }
        return target.collection.hasPrefix("system.buckets.") ? .buckets : .plain
    }

    /// What was inserted must be what the manifest counts, or chunks are missing from it.
    func checkDigests() throws {
        meter.finish()
        for (digest, collection) in zip(digests.withLock { $0 }, manifest.collections)
        where digest != collection.digest {
            throw MongoError(
                side: .target, reason: .damaged, subject: "\(collection.database).\(collection.collection)",
                detail: "the backup's chunks hold \(digest.count) documents, its manifest \(collection.digest.count), "
                    + "or their digests differ",
                advice: ErrorCode.repositoryDamaged.advice)
        }
    }

    /// Largest first, so that the longest work does not begin last.
    func bySize(_ collections: [MongoCollection]) -> [MongoCollection] {
        var sizes: [String: Int64] = [:]
        for collection in manifest.collections {
            sizes["\(collection.database).\(collection.collection)"] = collection.digest.bytes
        }
        func size(_ collection: MongoCollection) -> Int64 {
            sizes["\(collection.database).\(collection.storedName)"] ?? 0
        }
        return collections.sorted { size($0) > size($1) }
    }
}
