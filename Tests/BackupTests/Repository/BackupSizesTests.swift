import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct BackupSizesTests {
    @Test("the numbers of all backups add up, with each other and with the packs on disk")
    func addUp() async throws {
        let whole = try await DamageFixture()
        var storedByAll: Int64 = 0
        for manifest in whole.manifests {
            let sizes = try await whole.fixture.repository.sizes(of: manifest)
            #expect(sizes.source == manifest.counters.source)
            #expect(sizes.source >= sizes.unique.plain)
            #expect(sizes.new.chunks + sizes.shared.chunks == sizes.unique.chunks)
            #expect(sizes.new.plain + sizes.shared.plain == sizes.unique.plain)
            #expect(sizes.new.compressed + sizes.shared.compressed == sizes.unique.compressed)
            #expect(sizes.new.stored + sizes.shared.stored == sizes.unique.stored)
            // What the writer counted, and what the repository says: apart from the entries of trailers, the same.
            #expect(sizes.new.chunks == manifest.counters.newChunks && sizes.new.plain == manifest.counters.new)
            let entries = Int64(sizes.new.chunks * PackEntry.length)
            #expect(sizes.new.stored + entries == manifest.counters.stored)
            // Nonce and tag of each chunk, and its list of fingerprints: one of 12 bytes at least, with nonce and tag.
            let sealed = sizes.unique.compressed + Int64(28 * sizes.unique.chunks)
            #expect(sizes.unique.stored >= sealed + Int64(40 * sizes.unique.chunks))
            #expect(sizes.alone.stored <= sizes.new.stored)
            #expect(sizes.missing == 0 && sizes.unread.isEmpty)
            storedByAll += sizes.new.stored
        }
        var packs: Int64 = 0
        var trailers: Int64 = 0
        for key in whole.store.keys {
            guard let name = whole.layout.packName(key), let size = try await whole.store.size(key) else { continue }
            let footer = try await whole.store.read(key, range: size - 12..<size)
            _ = try await whole.fixture.repository.storedPack(name, size: size)
            packs += size
            trailers += Int64(footer[0]) + Int64(footer[1]) << 8 + 12
        }
        #expect(packs == storedByAll + trailers)
    }

    @Test("a chunk that stands in a backup twice is read twice and stored once")
    func twice() async throws {
        let fixture = try await RepositoryFixture()
        let chunk = RepositoryFixture.chunk(records: 10, of: 100, seed: 1)
        let sizes = try await fixture.repository.sizes(of: try await fixture.backUp([chunk, chunk, chunk]))
        #expect(sizes.source == 3000 && sizes.unique.plain == 1000 && sizes.unique.chunks == 1)
        #expect(sizes.new == sizes.unique && sizes.alone == sizes.unique && sizes.shared == BackupSizes.Part())
        #expect(sizes.ratio == 3000 / Double(sizes.unique.stored))
    }

    @Test("what a later backup needs too is new in the first, shared in the second, and in none alone")
    func shared() async throws {
        let fixture = try await RepositoryFixture()
        let (one, two) = (
            RepositoryFixture.chunk(records: 10, of: 100, seed: 1),
            RepositoryFixture.chunk(records: 10, of: 200, seed: 2)
        )
        let first = try await fixture.backUp([one])
        let second = try await fixture.backUp([one, two])
        let older = try await fixture.repository.sizes(of: first)
        #expect(older.new.plain == 1000 && older.shared.plain == 0 && older.alone.plain == 0)
        let newer = try await fixture.repository.sizes(of: second)
        #expect(newer.new.plain == 2000 && newer.shared.plain == 1000 && newer.alone.plain == 2000)
    }

    @Test("lost packs and unreadable manifests are said, not counted")
    func lost() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let chunk = RepositoryFixture.chunk(records: 10, of: 100, seed: 1)
        try await fixture.backUp([chunk])
        let second = try await fixture.backUp([chunk])
        store[fixture.repository.layout.backup(1)] = [1, 2, 3]
        var sizes = try await fixture.repository.sizes(of: second)
        #expect(sizes.unread == [1] && sizes.new.chunks == 1)
        for key in store.keys where key.text.contains("/packs/") { store[key] = nil }
        sizes = try await fixture.repository.sizes(of: second)
        #expect(sizes.missing == 1 && sizes.source == 0 && sizes.unique.chunks == 0)
    }
}
