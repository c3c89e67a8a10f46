import Backup
import DRPKit
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct RepositoryTests {
    @Test("what was stored comes back byte for byte, with the identity alone")
    func roundTrip() async throws {
        let fixture = try await RepositoryFixture()
        let chunks = (0..<5).map { RepositoryFixture.chunk(records: 20, of: 500, seed: $0) }
        let manifest = try await fixture.backUp(chunks)
        let opened = try await Repository.open(
            store: fixture.store, client: fixture.keys.client, identity: fixture.identity)
        #expect(try await opened.repository.latest() == manifest)
        #expect(try await opened.repository.manifest(1) == manifest)
        let reader = try await opened.repository.reader(opened.roots)
        let segments = try #require(manifest.mongo).collections[0].segments
        for (segment, chunk) in zip(segments, chunks) {
            let records = try await OwnThread.run("test") { try reader.records(segment, kind: .documents) }
            #expect(records.bytes == chunk.bytes)
            #expect(throws: RepositoryError.self) {
                try reader.verifyID(segment.chunk, kind: .documents, hashes: chunk.hashes.reversed())
            }
        }
        #expect(manifest.counters.source == 50_000)
        #expect(manifest.counters.newChunks == 5)
        #expect(try await fixture.verify().isWhole)
    }

    @Test("a second backup of the same data stores nothing but its manifest")
    func secondBackup() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let chunks = (0..<5).map { RepositoryFixture.chunk(records: 100, of: 500, seed: $0) }
        try await fixture.backUp(chunks)
        let before = Set(store.keys)
        let manifest = try await fixture.backUp(chunks)
        #expect(manifest.number == 2)
        #expect(manifest.counters.new == 0 && manifest.counters.stored == 0)
        #expect(Set(store.keys).subtracting(before).map(\.name) == ["0000000002"])
        #expect(try await fixture.repository.backups().backups.map(\.number) == [1, 2])
        #expect(try await fixture.verify().isWhole)
    }

    @Test("a lost or damaged index costs nothing: trailers tell the same")
    func lostIndex() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let chunks = [RepositoryFixture.chunk(records: 20, of: 500, seed: 1)]
        try await fixture.backUp(chunks)
        let index = try #require(store.keys.first { $0.text.contains("/indexes/") })
        store[index] = Array(repeating: 3, count: 100)
        #expect(try await fixture.backUp(chunks).counters.new == 0)
        let report = try await fixture.verify()
        #expect(report.problems.map(\.subject) == [index.text])
        #expect(report.problems.flatMap(\.backups).isEmpty)
        store[index] = nil
        #expect(try await fixture.backUp(chunks).counters.new == 0)
        #expect(try await fixture.verify().isWhole)
    }

    @Test("a lost pack is found, named with the backups that suffer, and mended for the next backup")
    func lostPack() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let chunks = [RepositoryFixture.chunk(records: 20, of: 500, seed: 1)]
        try await fixture.backUp(chunks)
        let pack = try #require(store.keys.first { $0.text.contains("/packs/") })
        store[pack] = nil
        let report = try await fixture.verify()
        #expect(report.problems.flatMap(\.backups) == [1])
        #expect(try await fixture.backUp(chunks).counters.newChunks == 1)
        #expect(try await fixture.verify().isWhole)
    }

    @Test("every byte that is flipped anywhere is found by verify")
    func flippedBytes() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        for seed in [UInt64(1), 2] {
            try await fixture.backUp([RepositoryFixture.chunk(records: 3, of: 60, seed: seed)])
        }
        #expect(try await fixture.verify().isWhole)
        var random = SeededGenerator(seed: 4)
        var unnoticed: [String] = []
        for key in store.keys {
            let bytes = try #require(store[key])
            for position in bytes.indices {
                var changed = bytes
                changed[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                store[key] = changed
                if try await fixture.verify(readData: false).isWhole {
                    unnoticed.append("\(key) at \(position), seed 4")
                }
            }
            store[key] = bytes
        }
        #expect(unnoticed.isEmpty)
        #expect(try await fixture.verify().isWhole)
    }

    @Test("an object that is cut short anywhere is found by verify")
    func truncations() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        try await fixture.backUp([RepositoryFixture.chunk(records: 3, of: 60, seed: 1)])
        for key in store.keys {
            let bytes = try #require(store[key])
            for length in 0..<bytes.count {
                store[key] = Array(bytes.prefix(length))
                let isWhole = try await fixture.verify(readData: false).isWhole
                #expect(!isWhole, "\(key) cut to \(length)")
            }
            store[key] = bytes
        }
    }

    @Test("a flipped byte in a sealed chunk is refused on reading")
    func flippedChunk() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let manifest = try await fixture.backUp([RepositoryFixture.chunk(records: 3, of: 60, seed: 1)])
        let id = try #require(manifest.mongo).collections[0].segments[0].chunk
        let pack = try #require(store.keys.first { $0.text.contains("/packs/") })
        let bytes = try #require(store[pack])
        // The only chunk of the pack stands at its beginning: nonce 12, more than 100 of ciphertext and tag.
        for position in 0..<100 {
            var changed = bytes
            changed[position] ^= 4
            store[pack] = changed
            let reader = try await fixture.repository.reader([fixture.root])
            await #expect(throws: RepositoryError.self) {
                try await OwnThread.run("test") { try reader.load(id, kind: .documents) }
            }
        }
    }

    @Test("a backup that dies after any number of writes leaves older ones whole, and the next one works")
    func crashes() async throws {
        let first = [RepositoryFixture.chunk(records: 30, of: 500, seed: 1)]
        let second = first + [RepositoryFixture.chunk(records: 30, of: 500, seed: 2)]
        for puts in 0..<3 {
            let store = MemoryStore()
            let fixture = try await RepositoryFixture(store)
            let manifest = try await fixture.backUp(first)
            await #expect(throws: StoreError(.full, nil).reasonOnly) {
                try await Self.reasonOnly {
                    try await fixture.backUp(second, to: FaultyStore(store, puts: puts, then: .full))
                }
            }
            #expect(try await fixture.repository.backups().backups.map(\.number) == [1])
            #expect(try await fixture.repository.latest() == manifest)
            #expect(try await fixture.verify().isWhole, "after \(puts) writes")
            let next = try await fixture.backUp(second)
            #expect(next.number == 2)
            // The pack of the dead backup is used again.
            #expect(next.counters.newChunks == (puts == 0 ? 1 : 0))
            #expect(try await fixture.verify().isWhole)
        }
        // Pack, index and manifest: with three writes it goes through.
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        try await fixture.backUp(second, to: FaultyStore(store, puts: 3, then: .full))
    }

    private static func reasonOnly(_ body: () async throws -> Void) async throws {
        do { try await body() } catch let error as StoreError { throw error.reasonOnly }
    }

    @Test("objects of one client put into another's folder are refused")
    func twoClients() async throws {
        let store = MemoryStore()
        let acme = try await RepositoryFixture(store, name: "acme")
        let blue = try await RepositoryFixture(store, name: "blue")
        let chunks = [RepositoryFixture.chunk(records: 10, of: 100, seed: 1)]
        let manifest = try await acme.backUp(chunks)
        let other = try await blue.backUp([RepositoryFixture.chunk(records: 10, of: 100, seed: 2)])
        #expect(manifest.mongo?.collections[0].segments != other.mongo?.collections[0].segments)
        #expect(try await Repository.clients(in: store).map(\.name.text).sorted() == ["acme", "blue"])
        // Everything of acme under the name of blue.
        let (from, to) = (acme.keys.client.uuidString.lowercased(), blue.keys.client.uuidString.lowercased())
        for key in store.keys where key.text.hasPrefix(from) {
            store[try #require(ObjectKey(key.text.replacingOccurrences(of: from, with: to)))] = store[key]
        }
        await #expect(throws: RepositoryError.self) { try await Repository(store: store, keys: blue.keys) }
        await #expect(throws: RepositoryError.self) { try await blue.repository.manifest(1) }
        await #expect(throws: RepositoryError.self) {
            try await Repository.open(store: store, client: blue.keys.client, identity: acme.identity)
        }
        await #expect(throws: RepositoryError.self) { try await blue.repository.reader([acme.root]) }
    }

    @Test("an identity that is no recipient opens nothing, and says so")
    func wrongIdentity() async throws {
        let fixture = try await RepositoryFixture()
        let error = await #expect(throws: RepositoryError.self) {
            try await fixture.repository.rootKeys(RecoveryIdentity.generate())
        }
        #expect(error?.reason == .notRecipient)
        #expect(error?.code == .identityInvalid)
        #expect(try await fixture.repository.rootKeys(fixture.identity).map(\.client) == [fixture.keys.client])
    }

    @Test("a store without the repository, or with one of a newer format, is refused by name")
    func missingAndNewer() async throws {
        let fixture = try await RepositoryFixture()
        let missing = await #expect(throws: RepositoryError.self) {
            try await Repository(store: MemoryStore(), keys: fixture.keys)
        }
        #expect(missing?.code == .repositoryMissing)
        let store = try #require(fixture.store as? MemoryStore)
        let card = try #require(store.keys.first { $0.name == "drp.json" })
        let text = String(decoding: try #require(store[card]), as: UTF8.self)
        store[card] = Array(text.replacingOccurrences(of: "\"format\" : 1", with: "\"format\" : 9").utf8)
        let newer = await #expect(throws: RepositoryError.self) {
            try await Repository(store: store, keys: fixture.keys)
        }
        #expect(newer?.code == .repositoryForeign)
    }

    @Test("keys init may run again, also after a crash")
    func initializeAgain() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let before = store.keys
        _ = try await Repository.initialize(
            store: store, root: fixture.root, recipients: [fixture.identity.recipient],
            created: RepositoryFixture.created + 9)
        #expect(store.keys == before)
        let card = try #require(before.first { $0.name == "drp.json" })
        store[card] = nil
        _ = try await Repository.initialize(
            store: store, root: fixture.root, recipients: [fixture.identity.recipient],
            created: RepositoryFixture.created)
        #expect(store.keys == before)
    }

    @Test("many threads may store at once, the same chunks too, and packs stay about their size")
    func manyThreads() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let chunks = (0..<40).map { RepositoryFixture.chunk(records: 10, of: 100_000, seed: UInt64($0)) }
        let writer = try await fixture.repository.begin()
        let ids = try await withThrowingTaskGroup(of: [ChunkID].self) { group in
            for _ in 0..<4 {
                group.addTask { try await OwnThread.run("test") { try chunks.map { try writer.store($0) } } }
            }
            var all: [[ChunkID]] = []
            for try await ids in group { all.append(ids) }
            return all
        }
        #expect(Set(ids).count == 1)
        let manifest = try await writer.commit(
            mongo: RepositoryFixture.mongo(ids[0], chunks), redis: nil, started: RepositoryFixture.created,
            finished: RepositoryFixture.created, instant: RepositoryFixture.created)
        #expect(manifest.counters.chunks == 160 && manifest.counters.newChunks == 40)
        let packs = store.keys.filter { $0.text.contains("/packs/") }
        #expect(packs.count == 2)
        #expect(packs.allSatisfy { store[$0]!.count < 19 << 20 })
        #expect(try await fixture.verify().isWhole)
        await #expect(throws: RepositoryError.self) {
            try await OwnThread.run("test") { try writer.store(chunks[0]) }
        }
    }

    @Test("of two writers at once one commits, the other is told and leaves nothing visible")
    func twoWriters() async throws {
        let fixture = try await RepositoryFixture()
        let first = try await fixture.repository.begin()
        let second = try await fixture.repository.begin()
        let date = RepositoryFixture.created
        _ = try await first.commit(mongo: nil, redis: nil, started: date, finished: date, instant: date)
        let error = await #expect(throws: RepositoryError.self) {
            try await second.commit(mongo: nil, redis: nil, started: date, finished: date, instant: date)
        }
        #expect(error?.reason == .overtaken)
        #expect(try await fixture.repository.backups().backups.count == 1)
    }

    @Test("a manifest that names a chunk which was never stored is not written")
    func inventedChunk() async throws {
        let fixture = try await RepositoryFixture()
        let writer = try await fixture.repository.begin()
        let date = RepositoryFixture.created
        let mongo = RepositoryFixture.mongo([ChunkID(ContentHash(hashing: [1]))], [])
        await #expect(throws: RepositoryError.self) {
            try await writer.commit(mongo: mongo, redis: nil, started: date, finished: date, instant: date)
        }
        #expect(try await fixture.repository.latest() == nil)
    }

    @Test("an aborted backup refuses more chunks and leaves nothing visible")
    func abort() async throws {
        let fixture = try await RepositoryFixture()
        let writer = try await fixture.repository.begin()
        await writer.abort()
        await #expect(throws: RepositoryError.self) {
            try await OwnThread.run("test") {
                try writer.store(RepositoryFixture.chunk(records: 1, of: 100, seed: 1))
            }
        }
        #expect(try await fixture.repository.latest() == nil)
    }

    @Test("a manifest whose predecessor was exchanged is found")
    func brokenChain() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        for seed in 1...3 {
            try await fixture.backUp([RepositoryFixture.chunk(records: 2, of: 50, seed: UInt64(seed))])
        }
        let second = try #require(store.keys.first { $0.name == "0000000002" })
        store[second] = nil
        let report = try await fixture.verify()
        #expect(report.problems.count == 1 && report.problems[0].text.contains("missing"))
    }

    @Test("neither sealed content nor names nor keys stand in the store in the clear")
    func nothingInTheClear() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        try await fixture.backUp([RepositoryFixture.chunk(records: 5, of: 200, seed: 1)])
        for key in store.keys {
            let text = String(decoding: try #require(store[key]), as: UTF8.self)
            for canary in ["ana note", "orders", "shop"] { #expect(!text.contains(canary), "\(canary) in \(key)") }
        }
        #expect(!"\(fixture.root) \(fixture.keys) \(fixture.identity)".contains("SECRET"))
    }
}

extension StoreError {
    /// Without what it happened to: for comparisons.
    var reasonOnly: StoreError { StoreError(reason, nil) }
}
