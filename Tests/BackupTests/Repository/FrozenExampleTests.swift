import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

/// `Tests/Fixtures/repositories`: what was written by a program of then is read by every program since.
@Suite("Frozen examples") struct FrozenExampleTests {
    /// What the example held when it was frozen, by names as `1 shop.orders` and `mongo/<from>-<to>`.
    private typealias Contents = [String: ContentDigest]

    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Fixtures/repositories/format-1").standardized

    @Test("an example of format 1 with every kind of object is whole, and gives what it was made of")
    func everyKind() async throws {
        if ProcessInfo.processInfo.environment["DRP_FREEZE_EXAMPLE"] == "1" { try await Self.freeze() }
        let example = try Example()
        let (repository, roots) = try await Repository.open(
            store: example.store, client: example.keys.client, identity: example.identity)
        #expect(roots.map(\.epoch) == [1, 2])
        #expect(repository.keys.fingerprint == example.keys.fingerprint)
        let reader = try await repository.reader(roots)
        var contents: Contents = [:]
        for summary in try await repository.backups().backups {
            let manifest = try await repository.manifest(summary.number)
            for (name, digest) in try await OwnThread.run("test", { try Self.read(manifest, reader) }) {
                contents["\(manifest.number) \(name)"] = digest
            }
        }
        for name in try await repository.logNames() where !name.isGap {
            contents[name.text] = try await reader.verify(name)
        }
        #expect(contents == example.contents)

        let report = try await Repository.verify(store: example.store, keys: example.keys, reader: { reader })
        #expect(report.isWhole, "\(report.problems)")
        #expect(report.backups == [1, 2, 3, 5] && report.slices == 4 && report.gaps == 1)
    }

    @Test("the writer of an example goes on: its next backup stores nothing that is there, and its prune runs")
    func goesOn() async throws {
        let example = try Example()
        try await example.repository.releaseHold()
        let writer = try await example.repository.begin()
        let known = RepositoryFixture.chunk(records: 9, of: 60, seed: 5)
        let id = try await OwnThread.run("test") { try writer.store(known) }
        let date = EveryKind.instant + 86_400
        let manifest = try await writer.commit(
            mongo: RepositoryFixture.mongo([id], [known]), redis: nil, started: date, finished: date, instant: date)
        #expect(manifest.number == 6 && manifest.counters.newChunks == 0)
        let prune = Prune(
            example.repository, retention: Retention(keep: Policy.Keep(last: 1), zone: .gmt), history: nil,
            grace: .zero)
        let clock = SystemClock()
        // A mark and a tombstone of backup 1 are there. The lease of a machine that nobody can ask pins backup 5.
        let first = try #require(try await prune.run(clock: clock, isConfirmed: true) {}.removed)
        #expect(first.backups == [1] && first.logs == 1)
        let second = try #require(try await prune.run(clock: clock, isConfirmed: true) {}.removed)
        #expect(second.backups == [2, 3] && second.packs > 0 && second.logs == 4)
        let report = try await Repository.verify(store: example.store, keys: example.keys)
        #expect(report.isWhole && report.backups == [5, 6], "\(report.problems)")
    }

    @Test("an object of a newer format is refused by its name and left as it is", arguments: 0..<14)
    func newer(_ which: Int) async throws {
        let example = try Example()
        let headers = ["K", "E", "T", "I", "M", "V", "P", "B", "H", "L", "S", "G", "F", "card"]
        let letter = headers[which]
        let old = try #require(try example.objects().first { try example.isOne($0, letter) }, "\(letter)")
        let key = try example.makeNewer(old, letter)
        let before = try example.snapshot()
        let report = try await Repository.verify(store: example.store, keys: example.keys)
        if letter == "F" {
            #expect(throws: RepositoryError.self) {
                _ = try BootstrapBundle.open(
                    try example.bytes(key), identity: example.identity, subject: "the bundle")
            }
        } else {
            let problem = report.problems.first { $0.subject == key || $0.text.contains(key) }
            #expect(problem?.text.contains("newer than this program") == true, "\(report.problems)")
        }
        if ["M", "P", "card"].contains(letter) {
            let repository = Repository(unchecked: example.store, keys: example.keys)
            let prune = Prune(
                repository, retention: Retention(keep: Policy.Keep(last: 1), zone: .gmt), history: nil, grace: .zero)
            await #expect(throws: RepositoryError.self) {
                try await repository.checkCard()
                _ = try await prune.plan(now: Date())
            }
        }
        #expect(try example.snapshot() == before)
    }

    private static func read(_ manifest: Manifest, _ reader: BackupReader) throws -> Contents {
        var contents: Contents = [:]
        func add(_ records: Records, _ name: String) { contents[name, default: ContentDigest()].add(records.digest) }
        for id in manifest.mongo?.catalog ?? [] { add(try reader.records(id, kind: .mongoCatalog), "catalog") }
        for id in manifest.mongo?.users ?? [] { add(try reader.records(id, kind: .mongoUsers), "users") }
        for id in manifest.mongo?.oplog?.chunks ?? [] { add(try reader.records(id, kind: .oplog), "oplog") }
        for collection in manifest.mongo?.collections ?? [] {
            for segment in collection.segments {
                add(try reader.records(segment, kind: .documents), "\(collection.database).\(collection.collection)")
            }
        }
        for id in manifest.redis?.functions ?? [] { add(try reader.records(id, kind: .redisFunctions), "functions") }
        for database in manifest.redis?.databases ?? [] {
            let name = "redis \(database.database)"
            for segment in database.segments { add(try reader.records(segment, kind: .redisKeys), name) }
            for value in database.pieces ?? [] { add(try reader.value(value), name) }
        }
        return contents
    }

    // MARK: - Making one

    /// Writes the example anew: only when a format begins. What is committed stays as it is.
    private static func freeze() async throws {
        try? FileManager.default.removeItem(at: folder)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let store = FolderStore(root: folder.appending(path: "store").path)
        let fixture = try await RepositoryFixture(store)
        var kinds = EveryKind(fixture.repository)
        for seeds in [[1, 2], [1, 3]] as [[UInt64]] { try await kinds.backUp(seeds, records: 12) }
        let root = RootKey.generate(client: fixture.keys.client, name: fixture.keys.name, epoch: 2)
        try await fixture.repository.begin(
            epoch: root, recipients: [fixture.identity.recipient], at: EveryKind.instant)
        let keys = try root.writerKeys().following([fixture.keys])
        kinds.move(to: try await Repository(store: store, keys: keys))
        try await kinds.backUp([3, 4], records: 200)
        try await kinds.writeVoid()
        try await kinds.backUp([5, 4], records: 9)
        try await kinds.writeLogs()
        try await kinds.writeRest()
        let bundle = try BootstrapBundle.seal(Array("an archive\n".utf8), to: [fixture.identity.recipient])
        try await store.put(ObjectKey(own: "bootstrap/0000000001"), bundle, .createOnly)

        try keys.write(to: folder.appending(path: "keys").path)
        try fixture.identity.write(to: folder.appending(path: "identity").path, created: EveryKind.instant)
        let roots = [fixture.root, root]
        let repository = try await Repository(store: store, keys: keys)
        let reader = try await repository.reader(roots)
        var contents: Contents = [:]
        for manifest in kinds.manifests {
            for (name, digest) in try await OwnThread.run("test", { try read(manifest, reader) }) {
                contents["\(manifest.number) \(name)"] = digest
            }
        }
        for (name, digest) in kinds.slices { contents[name.text] = digest }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try (encoder.encode(contents) + Data("\n".utf8)).write(to: folder.appending(path: "contents.json"))
    }

    /// A copy of the committed one.
    private struct Example {
        private let temporary: TemporaryFolder
        let identity: RecoveryIdentity
        let keys: WriterKeys
        let store: FolderStore
        let contents: Contents
        let repository: Repository

        init() throws {
            temporary = try TemporaryFolder()
            let copy = temporary.path("example")
            try FileManager.default.copyItem(atPath: FrozenExampleTests.folder.path, toPath: copy)
            // Git keeps no such modes.
            for secret in ["identity", "keys"] {
                try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(copy)/\(secret)")
            }
            identity = try RecoveryIdentity.read("\(copy)/identity")
            keys = try WriterKeys.read("\(copy)/keys")
            store = FolderStore(root: "\(copy)/store")
            contents = try JSONDecoder().decode(
                Contents.self, from: Data(contentsOf: URL(fileURLWithPath: "\(copy)/contents.json")))
            repository = Repository(unchecked: store, keys: keys)
        }

        /// Keys of all objects, in order.
        func objects() throws -> [String] {
            try FileManager.default.subpathsOfDirectory(atPath: store.root)
                .filter { path in
                    var isFolder: ObjCBool = false
                    return FileManager.default.fileExists(atPath: "\(store.root)/\(path)", isDirectory: &isFolder)
                        && !isFolder.boolValue && !path.hasPrefix(".")
                }.sorted()
        }

        func bytes(_ key: String) throws -> [UInt8] {
            Array(try Data(contentsOf: URL(fileURLWithPath: "\(store.root)/\(key)")))
        }

        func snapshot() throws -> [String: [UInt8]] {
            Dictionary(uniqueKeysWithValues: try objects().map { ($0, try bytes($0)) })
        }

        func isOne(_ key: String, _ letter: String) throws -> Bool {
            switch letter {
            case "card": key.hasSuffix("drp.json")
            case "T": key.contains("/packs/")
            case "S": key.contains("/logs/") && !key.hasSuffix(".gap")
            default: Array(try bytes(key).prefix(4)) == Array("DRP\(letter)".utf8)
            }
        }

        /// As a program of the next format would write its number.
        func makeNewer(_ key: String, _ letter: String) throws -> String {
            var bytes = try bytes(key)
            switch letter {
            case "card":
                let text = String(decoding: bytes, as: UTF8.self)
                bytes = Array(text.replacingOccurrences(of: "\"format\" : 1", with: "\"format\" : 2").utf8)
            case "T", "S":
                let length = bytes.suffix(12).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
                bytes[bytes.count - 12 - length + 4] = 2
            default: bytes[4] = 2
            }
            var name = key
            if letter == "T" || letter == "I" {
                let layout = RepositoryLayout(client: keys.client)
                let hash = ContentHash(hashing: bytes)
                name = "\(letter == "T" ? layout.pack(hash) : layout.index(hash))"
            }
            try FileManager.default.removeItem(atPath: "\(store.root)/\(key)")
            let url = URL(fileURLWithPath: "\(store.root)/\(name)")
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: url)
            return name
        }
    }
}
