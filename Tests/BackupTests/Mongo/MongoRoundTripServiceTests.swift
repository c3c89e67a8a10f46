import Backup
import DRPKit
import Foundation
import Synchronization
import Testing

/// Against real servers: the source holds generated data, the target is empty or may be emptied.
@Suite(
    "MongoDB round trip", .serialized,
    .enabled(if: MongoTestServers.hasBoth, "DRP_TEST_MONGO_URI and DRP_TEST_MONGO_TARGET_URI name no servers"))
struct MongoRoundTripServiceTests {
    private let source = MongoTestServers.source
    private let target = MongoTestServers.target

    @Test("everything a server holds comes back, and reads back equal")
    func roundTrip() async throws {
        let chunks = HeldChunks()
        let told = Mutex<[MongoProgress]>([])
        let manifest = try await MongoCapture.capture(settings: source, sink: chunks) { progress in
            told.withLock { $0.append(progress) }
        }
        #expect(manifest.clusterSeconds > 0)
        #expect(manifest.collections.contains { $0.digest.count > 0 })
        let last = try #require(told.withLock { $0.last })
        #expect(last.documents == manifest.collections.reduce(0) { $0 + $1.digest.count })

        try await MongoRestore.restore(
            settings: target, manifest: manifest, source: chunks, existing: .replace, progress: { _ in })
        let comparison = try await MongoVerify.verify(settings: target, manifest: manifest, source: chunks)
        #expect(comparison.differences == [])
        #expect(comparison.lines.contains { $0.what == "digest" })

        let refused = await #expect(throws: MongoError.self, "a target that holds data is refused") {
            try await MongoRestore.restore(settings: target, manifest: manifest, source: chunks, progress: { _ in })
        }
        #expect(refused?.reason == .notEmpty)
        #expect(refused?.code == .targetNotEmpty)
        let isEmpty = try await MongoPreflight.isEmpty(settings: target)
        #expect(!isEmpty)

    }

    @Test("a collection that is too much, a document that is missing and an index that is gone are found")
    func differences() async throws {
        let chunks = HeldChunks()
        let manifest = try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        try await MongoRestore.restore(
            settings: target, manifest: manifest, source: chunks, existing: .replace, progress: { _ in })
        try await change(manifest)
        let differing = try await MongoVerify.verify(settings: target, manifest: manifest, source: chunks)
        let kinds = Set(differing.differences.map { String($0.what.prefix { $0 != " " }) })
        #expect(kinds == ["kind", "documents", "digest", "index"])
        #expect(differing.differences.count == 4)
    }

    /// Adds a collection to the target, deletes a document of another one, and drops an index of a third.
    private func change(_ manifest: MongoManifest) async throws {
        let server = target
        try await OwnThread.run("test") {
            let connection = try MongoConnection(server, side: .target)
            let insert = BSONWriter.document { command in
                command.append("insert", "strange")
                command.append("documents", array: { $0.append("0", document: { $0.append("_id", Int32(1)) }) })
            }
            _ = try connection.run(insert, on: "added")
            let collection = try #require(manifest.collections.first { $0.digest.count > 10 && !$0.isCapped })
            let delete = BSONWriter.document { command in
                command.append("delete", collection.collection)
                command.append(
                    "deletes",
                    array: { deletes in
                        deletes.append(
                            "0",
                            document: { one in
                                one.append("q", document: { _ in })
                                one.append("limit", Int32(1))
                            })
                    })
            }
            _ = try connection.run(delete, on: collection.database)
            let indexed = try #require(
                try MongoCatalog.read(connection).collections.first { $0.kind == .collection && $0.indexes.count == 2 })
            let dropIndexes = BSONWriter.document {
                $0.append("dropIndexes", indexed.name)
                $0.append("index", "*")
            }
            _ = try connection.run(dropIndexes, on: indexed.database)
        }
    }

    @Test("a target is brought from one backup to another, and what is the same in both is left alone")
    func update() async throws {
        let chunks = HeldChunks()
        let wanted = try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        try await MongoRestore.restore(
            settings: target, manifest: wanted, source: chunks, existing: .replace, progress: { _ in })
        try await change(wanted)
        let old = try await MongoCapture.capture(settings: target, sink: chunks, progress: { _ in })
        func backup(_ mongo: MongoManifest) -> Manifest {
            Manifest(
                client: UUID(), name: ClientID("acme")!, epoch: 1, number: 1, previous: nil, started: .distantPast,
                finished: .distantPast, instant: .distantPast, mongo: mongo, redis: nil, counters: BackupCounters())
        }
        let restore = ClientRestore(
            client: ClientID("acme")!, manifest: backup(wanted), source: chunks,
            target: ClientDatabases(mongo: target, redis: nil), clock: SystemClock())
        let before = try await uuids()
        let (kept, all) = try await restore.update(from: backup(old), redis: false, progress: { _ in })
        // Capped ones are always made anew: a digest does not tell their order.
        let capped = wanted.collections.count { $0.isCapped }
        #expect(all > 10 && kept == all - 2 - capped)
        #expect(try await MongoVerify.verify(settings: target, manifest: wanted, source: chunks).differences == [])
        // Left alone is what it was: only those that differed are others now.
        let after = try await uuids()
        #expect(after["added.strange"] == nil && before["added.strange"] != nil)
        #expect(after.filter { before[$0.key] != $0.value }.count == 2 + capped)
        // Twice is once.
        let again = try await restore.update(from: backup(wanted), redis: false, progress: { _ in })
        #expect(again.kept + capped == again.all)
        #expect(try await MongoVerify.verify(settings: target, manifest: wanted, source: chunks).differences == [])
    }

    /// Of the target's collections, by namespace.
    private func uuids() async throws -> [String: [UInt8]] {
        let server = target
        return try await OwnThread.run("test") {
            let catalog = try MongoCatalog.read(try MongoConnection(server, side: .target))
            let stored = catalog.collections.filter { $0.kind != .view }
            return Dictionary(uniqueKeysWithValues: stored.map { ($0.namespace, $0.uuid) })
        }
    }

    @Test("a second capture of unchanged data adds no chunk")
    func unchanged() async throws {
        let chunks = HeldChunks()
        let first = try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        let count = chunks.count
        let second = try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        #expect(first.collections == second.collections)
        #expect(chunks.count == count)
    }

    @Test("a damaged chunk ends the restore before its documents are used")
    func damagedChunk() async throws {
        let chunks = HeldChunks()
        let manifest = try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        let victim = try #require(manifest.collections.max { $0.digest.bytes < $1.digest.bytes }?.segments.last?.chunk)
        chunks.damage(victim)
        await #expect(throws: (any Error).self) {
            try await MongoRestore.restore(
                settings: target, manifest: manifest, source: chunks, existing: .replace, progress: { _ in })
        }
    }

    @Test("a manifest that lost a chunk ends the restore")
    func lostChunk() async throws {
        let chunks = HeldChunks()
        var manifest = try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        let index = try #require(manifest.collections.firstIndex { !$0.segments.isEmpty })
        manifest.collections[index].segments.removeLast()
        let error = await #expect(throws: MongoError.self) {
            try await MongoRestore.restore(
                settings: target, manifest: manifest, source: chunks, existing: .replace, progress: { _ in })
        }
        #expect(error?.reason == .damaged)
    }

    @Test("an error of the store ends the capture with that error")
    func brokenSink() async throws {
        struct Full: Error {}
        let chunks = HeldChunks { if $0 > 2 { throw Full() } }
        await #expect(throws: Full.self) {
            try await MongoCapture.capture(settings: source, sink: chunks, progress: { _ in })
        }
    }

    @Test("a cancelled capture ends with CancellationError")
    func cancelled() async throws {
        let source = source
        let (stream, continuation) = AsyncStream<Void>.makeStream()
        let task = Task {
            try await MongoCapture.capture(
                settings: source, sink: HeldChunks(before: { _ in continuation.yield() }), progress: { _ in })
        }
        for await _ in stream { break }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("a wrong password is denied access, and is not shown")
    func wrongPassword() async throws {
        var settings = source
        settings.uri = source.uri.withText { uri in
            guard let start = uri.range(of: "://")?.upperBound, let end = uri[start...].firstIndex(of: "@") else {
                return source.uri
            }
            let user = uri[start..<end].prefix { $0 != ":" }
            return Secret(uri[..<start] + user + ":canary-password" + uri[end...])
        }
        for side in [MongoError.Side.source, .target] {
            let error = await #expect(throws: MongoError.self) {
                try await MongoPreflight.ping(settings: settings, side: side)
            }
            #expect(error?.reason == .denied)
            #expect(error?.code == (side == .source ? .sourceDenied : .targetDenied))
            #expect(error?.description.contains("canary") == false)
        }
    }

    @Test("a target of an older major version is refused before anything is written")
    func olderTarget() async throws {
        await #expect {
            try await MongoPreflight.checkTarget(settings: target, for: "99.0.1")
        } throws: { error in
            (error as? MongoError)?.reason == .unsupported
        }
    }
}
