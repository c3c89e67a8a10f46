import Foundation
import TestSupport
import Testing

@testable import Backup
@testable import DRPKit

@Suite("Copying what a store lacks") struct RepositoryCopyTests {
    /// Three backups in the first two stores, and the third empty.
    private func world() async throws -> SeveralStores {
        let world = try await SeveralStores()
        for key in world.stores[2].keys { world.stores[2][key] = nil }
        for seed in UInt64(1)...3 { try await world.backUp(SeveralStores.chunks(seed), to: world.targets(away: [2])) }
        return world
    }

    @Test("a repository that is not there is made, byte for byte; a second time nothing is left to do")
    func makesAnew() async throws {
        let world = try await world()
        let refused = await #expect(throws: RepositoryError.self) { try await world.copy(to: 2) }
        #expect(refused?.reason == .missing && world.stores[2].keys.isEmpty)
        let report = try await world.copy(to: 2, absence: .make)
        #expect(report.isNew && report.backups.map(\.number) == [1, 2, 3] && report.packs == 3)
        #expect(report.problems.isEmpty)
        #expect(world.stores[2].keys == world.stores[0].keys)
        for key in world.stores[0].keys { #expect(world.stores[2][key] == world.stores[0][key], "\(key)") }
        #expect(try await world.verify(2).isWhole)
        let again = try await world.copy(to: 2, absence: .make)
        #expect(!again.isNew && again.backups.isEmpty && again.packs == 0 && again.problems.isEmpty)
    }

    @Test("killed at any write and run again, it ends right; what is visible meanwhile is whole")
    func killed() async throws {
        var deaths = 0
        for changes in 0..<100 {
            let world = try await world()
            do {
                try await world.copy(to: 2, MortalStore(world.stores[2], changes: changes), absence: .make)
                break
            } catch let error as StoreError where error.reason == .unreachable {
                deaths += 1
            }
            if world.stores[2].keys.contains(where: { $0.name == "drp.json" }) {
                #expect(try await world.verify(2).isWhole, "after \(changes) changes")
            }
            #expect(try await world.copy(to: 2, absence: .make).problems.isEmpty)
            #expect(world.stores[2].keys == world.stores[0].keys, "after \(changes) changes")
            #expect(world.content(2) == world.content(0))
            #expect(try await world.verify(2).isWhole)
        }
        // Wrap, card; pack, index and manifest of each backup.
        #expect(deaths == 11)
    }

    @Test("a pack that is damaged in one store is taken from another")
    func damagedPack() async throws {
        let world = try await world()
        for key in world.stores[0].keys where key.parts[1] == "packs" { world.stores[0][key]?[20] ^= 1 }
        #expect(try await world.copy(to: 2, absence: .make).problems.isEmpty)
        #expect(world.content(2) == world.content(1))
        #expect(try await world.verify(2).isWhole)
    }

    @Test("what no store has whole is named by its backup; the other backups come nevertheless")
    func lostEverywhere() async throws {
        let world = try await world()
        let manifest = try await world.repository(0).manifest(2)
        let reader = try await ChunkCatalog.load(world.repository(0))
        let first = try await world.repository(0).manifest(1)
        let id = try #require(manifest.chunks.keys.first { first.chunks[$0] == nil })
        let pack = world.repository(0).layout.pack(reader.packs[Int(try #require(reader.location(id)).pack)].name)
        world.stores[0][pack] = nil
        world.stores[1][pack]?[20] ^= 1
        let report = try await world.copy(to: 2, absence: .make)
        #expect(report.backups.map(\.number) == [1, 3])
        #expect(report.problems.map(\.number) == [2] && report.problems[0].error.code == .repositoryDamaged)
    }

    @Test("two backups under one number are named and stay; the rest is copied")
    func diverged() async throws {
        let world = try await SeveralStores()
        try await world.backUp(SeveralStores.chunks(1), to: world.targets())
        try await world.backUp(SeveralStores.chunks(2), to: world.targets(away: [1, 2]))
        try await world.backUp(SeveralStores.chunks(3), to: world.targets(away: [0, 2]))
        let before = (world.content(0), world.content(1))
        for index in 0..<3 {
            let report = try await world.copy(to: index)
            let problems = report.problems.filter(\.isDivergence)
            #expect(problems.map(\.number) == [2], "\(index)")
            #expect(report.backups.isEmpty)
        }
        #expect(world.content(0) == before.0 && world.content(1) == before.1)
        #expect(try await world.numbers(2) == [1])
        // What follows one of them does not follow the other.
        try await world.backUp(SeveralStores.chunks(4), to: world.targets(away: [1, 2]))
        let report = try await world.copy(to: 1)
        #expect(report.problems.contains { $0.number == 3 && $0.isDivergence } && report.backups.isEmpty)
        for index in 0..<3 { #expect(try await world.verify(index).isWhole) }
    }

    @Test("what was let go in one store is copied from no other; its tombstone holds the chain")
    func tombstones() async throws {
        let world = try await world()
        // As a prune of the first store leaves it.
        let (first, layout) = (world.repository(0), world.repository(0).layout)
        let manifest = try await first.manifest(1)
        try await first.put(
            Tombstone(
                client: world.keys.client, number: 1, at: RepositoryFixture.created, instant: manifest.instant,
                previous: nil, hash: try #require(try await first.hash(of: 1))))
        world.stores[0][layout.backup(1)] = nil
        // Needed by nobody any more.
        let orphan = try await world.repository(1).begin()
        _ = try await OwnThread.run("test") { try orphan.store(RepositoryFixture.chunk(records: 1, of: 90, seed: 9)) }
        #expect(
            Holdings.lacking([
                SeveralStores.names[0]: try await first.holdings(),
                SeveralStores.names[1]: try await world.repository(1).holdings(),
            ]).isEmpty)

        let report = try await world.copy(to: 2, absence: .make)
        #expect(report.backups.map(\.number) == [2, 3] && report.problems.isEmpty)
        #expect(world.stores[2][layout.tombstone(1)] == world.stores[0][layout.tombstone(1)])
        #expect(try await world.verify(2).isWhole)
        // Nor does it come back to where it went from.
        #expect(try await world.copy(to: 0).backups.isEmpty)
        #expect(try await world.numbers(0) == [2, 3])
        #expect(try await world.numbers(1) == [1, 2, 3])
    }

    @Test("packs that only a backup needs which was let go are not copied")
    func onlyWhatIsNeeded() async throws {
        let world = try await SeveralStores()
        for key in world.stores[2].keys { world.stores[2][key] = nil }
        let lone = [RepositoryFixture.chunk(records: 2, of: 300, seed: 77)]
        try await world.backUp(lone, to: world.targets(away: [2]))
        try await world.backUp(SeveralStores.chunks(2), to: world.targets(away: [2]))
        let (first, layout) = (world.repository(0), world.repository(0).layout)
        try await first.put(
            Tombstone(
                client: world.keys.client, number: 1, at: RepositoryFixture.created,
                instant: RepositoryFixture.created, previous: nil, hash: try #require(try await first.hash(of: 1))))
        world.stores[0][layout.backup(1)] = nil
        let report = try await world.copy(to: 2, absence: .make)
        #expect(report.packs == 1 && report.backups.map(\.number) == [2])
        #expect(try await world.verify(2).isWhole)
    }

    @Test("packs under the mark of a prune in the target are not built on: that store is refused, and nothing shows")
    func marked() async throws {
        let world = try await SeveralStores()
        try await world.backUp(SeveralStores.chunks(1), to: world.targets())
        try await world.backUp(SeveralStores.chunks(1), to: world.targets(away: [2]))
        let catalog = try await ChunkCatalog.load(world.repository(2))
        try await world.repository(2).put(
            PruneMark(
                client: world.keys.client, number: 1, at: RepositoryFixture.created, backups: [],
                packs: catalog.packs.map(\.name), logs: []))
        let error = await #expect(throws: RepositoryError.self) { try await world.copy(to: 2) }
        #expect(error?.reason == .aborted && error?.message.contains("third") == true)
        #expect(try await world.numbers(2) == [1])
        world.stores[2][world.repository(2).layout.mark(1)] = nil
        #expect(try await world.copy(to: 2).backups.map(\.number) == [2])
    }

    @Test("a source that goes away is named; what the others have comes from them")
    func sourceGoes() async throws {
        for reads in 0..<12 {
            let world = try await world()
            let report = try await world.copy(
                to: 2, wrapped: [0: FlakyStore(world.stores[0], reads: reads, .unreachable)], absence: .make)
            #expect(report.backups.map(\.number) == [1, 2, 3], "after \(reads) reads")
            #expect(report.problems.allSatisfy { $0.error.code == .storeUnreachable && $0.error is NamedStoreError })
            #expect(world.content(2) == world.content(1))
            #expect(try await world.verify(2).isWhole)
        }
    }

    @Test("an epoch that began while a store was away comes to it; a recipient that was removed does not come back")
    func epochs() async throws {
        let world = try await SeveralStores()
        let other = RecoveryIdentity.generate()
        try await world.repository(1).add(other.recipient, roots: [world.fixture.root])
        #expect(try await world.copy(to: 0).problems.isEmpty)
        #expect(try await !world.repository(0).holds(other.recipient, epoch: world.keys))

        let root = RootKey.generate(client: world.keys.client, name: world.keys.name, epoch: 2)
        for index in 0..<2 {
            try await world.repository(index).begin(
                epoch: root, recipients: [world.fixture.identity.recipient], at: RepositoryFixture.created)
        }
        let keys = try root.writerKeys().following(world.keys.all)
        let target = Repository(unchecked: world.stores[2], keys: keys)
        var copy = RepositoryCopy(
            to: SeveralStores.names[2], target,
            from: [
                .init(store: SeveralStores.names[0], repository: Repository(unchecked: world.stores[0], keys: keys))
            ],
            absence: .refuse, progress: { _ in })
        #expect(try await copy.run().problems.isEmpty)
        let opened = try await Repository(store: world.stores[2], keys: keys)
        #expect(try await opened.rootKeys(world.fixture.identity).map(\.epoch) == [1, 2])
    }
}
