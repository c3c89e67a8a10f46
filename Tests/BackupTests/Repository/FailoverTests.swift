import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Backup
@testable import DRPKit

@Suite("Reading a backup from several stores") struct FailoverTests {
    private final class Told: Sendable {
        private let stores = Mutex<[StoreName]>([])
        var names: [StoreName] { stores.withLock { $0 } }
        func add(_ event: FallOver) { stores.withLock { $0.append(event.store) } }
    }

    private func source(
        _ world: SeveralStores, _ stores: [any ObjectStore], _ told: Told
    ) -> FailoverSource {
        let (keys, root) = (world.keys, world.fixture.root)
        return FailoverSource(
            stores.enumerated().map { index, store in
                .init(name: SeveralStores.names[index]) {
                    try await Repository(store: store, keys: keys).reader([root])
                }
            }, tell: { told.add($0) })
    }

    private func read(_ manifest: Manifest, _ source: any ChunkSource) async throws {
        let segments = try #require(manifest.mongo).collections[0].segments
        let digest = try await OwnThread.run("test") {
            var digest = ContentDigest()
            for segment in segments { digest.add(try source.records(segment, kind: .documents).digest) }
            return digest
        }
        #expect(digest == manifest.mongo?.collections[0].digest)
    }

    @Test(
        "a store that fails, loses or corrupts from any read on: each object comes from another one, and it is told once",
        arguments: [FlakyStore.Fault.unreachable, .missing, .corrupt])
    func failsMidway(fault: FlakyStore.Fault) async throws {
        let world = try await SeveralStores()
        let chunks = (1...6).map { RepositoryFixture.chunk(records: 3, of: 300, seed: $0) }
        let manifest = try await world.backUp(chunks, to: world.targets()).manifest
        var fellOver = 0
        for reads in 0..<20 {
            let told = Told()
            let source = source(
                world, [FlakyStore(world.stores[0], reads: reads, fault), world.stores[1], world.stores[2]], told)
            try await source.open()
            try await read(manifest, source)
            #expect(told.names == (told.names.isEmpty ? [] : [SeveralStores.names[0]]), "after \(reads) reads")
            fellOver += told.names.count
        }
        #expect(fellOver >= 6)
    }

    @Test("a store that cannot be reached is asked last from then on")
    func askedLast() async throws {
        let world = try await SeveralStores()
        let chunks = (1...6).map { RepositoryFixture.chunk(records: 3, of: 300, seed: $0) }
        let manifest = try await world.backUp(chunks, to: world.targets()).manifest
        let flaky = FlakyStore(world.stores[0], reads: 1000, .unreachable)
        let source = source(world, [flaky, world.stores[1]], Told())
        try await source.open()
        flaky.allow(0)
        try await read(manifest, source)
        // Back again, and the only one: it is not forgotten either.
        flaky.allow(1000)
        for key in world.stores[1].keys where key.parts[1] == "packs" { world.stores[1][key] = nil }
        try await read(manifest, source)
    }

    @Test("what is damaged in different places of each store is read whole from all of them together")
    func mixed() async throws {
        let world = try await SeveralStores()
        for seed in UInt64(1)...3 { try await world.backUp(SeveralStores.chunks(seed), to: world.targets()) }
        let packs = world.stores[0].keys.filter { $0.parts[1] == "packs" }
        for (index, pack) in packs.enumerated() { world.stores[index % 2][pack] = nil }
        let told = Told()
        let source = source(world, world.stores, told)
        for number in 1...3 { try await read(try await world.repository(2).manifest(number), source) }
        #expect(Set(told.names).isSubset(of: SeveralStores.names[0...1]))
    }

    @Test("with no store left, the first one's error is the one that is told, by its name")
    func allFail() async throws {
        let world = try await SeveralStores()
        let manifest = try await world.backUp(SeveralStores.chunks(2), to: world.targets()).manifest
        let stores = world.stores.map { FlakyStore($0, reads: 1000, .unreachable) }
        let source = source(world, stores, Told())
        try await source.open()
        for store in stores { store.allow(0) }
        let error = await #expect(throws: NamedStoreError.self) { try await read(manifest, source) }
        #expect(error?.store == SeveralStores.names[0] && error?.code == .storeUnreachable)
    }
}
