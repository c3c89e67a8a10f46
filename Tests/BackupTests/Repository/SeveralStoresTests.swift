import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Backup
@testable import DRPKit

@Suite("A backup into several stores") struct SeveralStoresTests {
    @Test("it is sealed once: packs, indexes and manifests are the same bytes in every store")
    func sealedOnce() async throws {
        let world = try await SeveralStores()
        for seed in UInt64(1)...3 { try await world.backUp(SeveralStores.chunks(seed), to: world.targets()) }
        #expect(world.content(0).count == 9)
        #expect(world.content(1) == world.content(0) && world.content(2) == world.content(0))
        for index in 0..<3 {
            #expect(try await world.numbers(index) == [1, 2, 3])
            #expect(try await world.verify(index).isWhole)
        }
    }

    @Test(
        "a store that fails at any write is left behind by name; the others have the backup, and a copy brings it up to date",
        arguments: 0..<3)
    func failingStore(place: Int) async throws {
        // Lease, pack, index, manifest, and the lease that is given back is no write.
        for puts in 0...4 {
            let world = try await SeveralStores()
            let first = try await world.backUp(SeveralStores.chunks(1), to: world.targets())
            let faulty = FaultyStore(world.stores[place], puts: puts, then: .unreachable)
            let targets = world.targets(wrapped: [place: faulty])
            let second = try await world.backUp(
                SeveralStores.chunks(2), to: targets, holder: SeveralStores.holder(), known: first.known)
            #expect(second.manifest.number == 2)
            let isComplete = puts >= 4
            #expect((targets.failure(of: SeveralStores.names[place]) == nil) == isComplete, "after \(puts) writes")
            for index in 0..<3 where index != place {
                #expect(try await world.numbers(index) == [1, 2])
                #expect(targets.failure(of: SeveralStores.names[index]) == nil)
                #expect(try await world.verify(index).isWhole)
            }
            #expect(try await world.numbers(place) == (isComplete ? [1, 2] : [1]))
            let report = try await world.copy(to: place)
            #expect(report.problems.isEmpty)
            #expect(report.backups.map(\.number) == (isComplete ? [] : [2]))
            let other = (place + 1) % 3
            #expect(world.content(place) == world.content(other), "after \(puts) writes")
            #expect(try await world.verify(place).isWhole)
            let third = try await world.backUp(SeveralStores.chunks(3), to: world.targets(), known: second.known)
            #expect(third.manifest.number == 3 && world.content(place) == world.content(other))
        }
    }

    @Test("with no store left it fails with the first one's error, by its name, and nothing is visible")
    func allFail() async throws {
        let world = try await SeveralStores()
        let targets = world.targets(
            wrapped: Dictionary(
                uniqueKeysWithValues: (0..<3).map { ($0, FaultyStore(world.stores[$0], puts: $0, then: .full)) }))
        let error = await #expect(throws: NamedStoreError.self) {
            try await world.backUp(SeveralStores.chunks(1), to: targets)
        }
        #expect(error?.store == SeveralStores.names[0] && error?.code == .storeFull)
        for index in 0..<3 { #expect(try await world.numbers(index).isEmpty) }
    }

    @Test("a number is given once, also while the store that has it is away; copies close the gaps")
    func storesAway() async throws {
        let world = try await SeveralStores()
        let first = try await world.backUp(SeveralStores.chunks(1), to: world.targets())
        let second = try await world.backUp(SeveralStores.chunks(2), to: world.targets(away: [2]), known: first.known)
        let third = try await world.backUp(
            SeveralStores.chunks(3), to: world.targets(away: [0, 1]), known: second.known)
        #expect(third.manifest.number == 3 && third.manifest.previous == second.known.hash)
        // An older copy of the journal: the stores that answer know better.
        let fourth = try await world.backUp(SeveralStores.chunks(4), to: world.targets(away: [0]), known: first.known)
        #expect(fourth.manifest.number == 4 && fourth.manifest.previous == third.known.hash)
        for index in [0, 1, 2] { #expect(try await world.copy(to: index).problems.isEmpty) }
        for index in 0..<3 {
            #expect(try await world.numbers(index) == [1, 2, 3, 4])
            #expect(try await world.verify(index).isWhole)
            #expect(world.content(index) == world.content(0))
        }
    }

    @Test("what one store has lost is stored again in all, so that the same manifest is true in each")
    func lostPack() async throws {
        let world = try await SeveralStores()
        try await world.backUp(SeveralStores.chunks(1), to: world.targets())
        let pack = try #require(world.stores[1].keys.first { $0.parts[1] == "packs" })
        world.stores[1][pack] = nil
        let second = try await world.backUp(SeveralStores.chunks(1), to: world.targets())
        #expect(second.manifest.counters.newChunks == 1)
        for index in 0..<3 { #expect(try await world.verify(index).isWhole) }
    }

    @Test("a writer that lives holds the client in every store, whichever of them it is seen in")
    func leased() async throws {
        let world = try await SeveralStores()
        _ = try await world.repository(1).begin(holder: SeveralStores.holder())
        let refused = await #expect(throws: NamedStoreError.self) {
            _ = try await world.targets().begin(holder: SeveralStores.holder(pid: 8), known: nil)
        }
        #expect(refused?.store == SeveralStores.names[1] && refused?.code == .repositoryLeased)
    }

    @Test("whoever takes over from a silent writer occupies its number in every store, and it commits in none")
    func takeOver() async throws {
        let world = try await SeveralStores()
        try await world.backUp(SeveralStores.chunks(1), to: world.targets())
        // It could not reach the third store; its lease is in two.
        let sleeper = SeveralStores.holder()
        let targets = world.targets(away: [2])
        let start = try await targets.begin(holder: sleeper, known: nil)
        let writer = try await BackupWriter.make(targets, start, holder: sleeper)
        for store in world.stores { store.now += 301 }
        let second = try await world.backUp(
            SeveralStores.chunks(3), to: world.targets(), holder: SeveralStores.holder(pid: 8))
        #expect(second.manifest.number == 3)
        let void = try #require(world.stores[0].keys.first { $0.name == "0000000002" })
        #expect(world.stores[1][void] == world.stores[0][void] && world.stores[2][void] == world.stores[0][void])
        let late = await #expect(throws: NamedStoreError.self) { _ = try await world.commit([], writer) }
        #expect(late?.code == .busy)
        for index in 0..<3 {
            #expect(try await world.numbers(index) == [1, 3])
            #expect(try await world.verify(index).isWhole)
        }
    }

    @Test("of two writers with one number, the first store lets one commit; the other leaves nothing in any")
    func twoWriters() async throws {
        let world = try await SeveralStores()
        var writers: [BackupWriter] = []
        for _ in 0..<2 {
            let targets = world.targets()
            writers.append(
                try await BackupWriter.make(targets, try await targets.begin(holder: nil, known: nil), holder: nil))
        }
        let first = try await world.commit(SeveralStores.chunks(1), writers[0])
        let error = await #expect(throws: NamedStoreError.self) {
            _ = try await world.commit(SeveralStores.chunks(2), writers[1])
        }
        #expect(error?.code == .busy)
        for index in 0..<3 { #expect(try await world.repository(index).latest() == first.manifest) }
    }

    @Test("a store that holds another backup under the last number is left behind, by name")
    func diverged() async throws {
        let world = try await SeveralStores()
        let first = try await world.backUp(SeveralStores.chunks(1), to: world.targets(away: [0]))
        try await world.backUp(SeveralStores.chunks(2), to: world.targets(away: [1, 2]))
        let targets = world.targets()
        let second = try await world.backUp(SeveralStores.chunks(3), to: targets, known: first.known)
        #expect(second.manifest.previous == first.known.hash)
        let error = targets.failure(of: SeveralStores.names[0]) as? RepositoryError
        #expect(error?.reason == .diverged && error?.code == .repositoryDamaged)
        #expect(try await world.numbers(0) == [1])
        #expect(try await world.numbers(1) == [1, 2])
    }

    @Test("a store whose writes hang is given up with its first error: its packs hold nobody up")
    func hangingStore() async throws {
        let world = try await SeveralStores()
        let targets = world.targets(wrapped: [2: HangingStore(world.stores[2])])
        // Random once, and told apart by a number in each.
        let base = RepositoryFixture.chunk(records: 1, of: 4_000_000, seed: 1).bytes
        let chunks = (0..<24).map { number in
            var bytes = base
            bytes[4] = UInt8(number)
            return Chunk(kind: .documents, bytes: bytes, hashes: [ContentHash(hashing: bytes)])
        }
        try await world.backUp(chunks, to: targets)
        #expect(targets.failure(of: SeveralStores.names[2]) != nil)
        #expect(world.content(0).keys.filter { $0.parts[1] == "packs" }.count >= 3, "more than hang at once")
        #expect(world.content(0) == world.content(1))
        #expect(try await world.verify(0).isWhole)
    }
}

/// The second pack that comes fails, the first one is never done until somebody cancels it.
private final class HangingStore: ObjectStore {
    private let base: MemoryStore
    private let packs = Mutex(0)

    init(_ base: MemoryStore) { self.base = base }

    func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        guard key.parts[1] == "packs" else { return try await base.put(key, bytes, rule) }
        let number = packs.withLock { count in
            count += 1
            return count
        }
        if number == 1 { for await _ in AsyncStream<Void>(unfolding: { await Self.forever() }) {} }
        throw StoreError(.unreachable, key)
    }

    /// Until its task is cancelled.
    private static func forever() async -> Void? {
        let (stream, _) = AsyncStream<Void>.makeStream()
        for await _ in stream {}
        return nil
    }

    func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] { try await base.read(key) }
    func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await base.read(key, range: range)
    }
    func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] { try await base.list(folder) }
    func folders() async throws(StoreError) -> [String] { try await base.folders() }
    func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await base.size(key) }
    func written(_ key: ObjectKey) async throws(StoreError) -> Date? { try await base.written(key) }
    func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion { try await base.delete(key) }
}
