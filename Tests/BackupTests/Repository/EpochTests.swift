import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite("Epochs")
struct EpochTests {
    private let chunks = (0..<3).map { RepositoryFixture.chunk(records: 20, of: 500, seed: $0) }

    /// What `keys rotate` does.
    private func rotated(
        _ fixture: RepositoryFixture, from keys: WriterKeys? = nil, epoch: Int = 2, recipients: [Recipient]? = nil
    ) async throws -> (repository: Repository, root: RootKey) {
        let root = RootKey.generate(client: fixture.keys.client, name: fixture.keys.name, epoch: epoch)
        let old = try await Repository(store: fixture.store, keys: keys ?? fixture.keys)
        try await old.begin(
            epoch: root, recipients: recipients ?? [fixture.identity.recipient], at: RepositoryFixture.created)
        let newest = try root.writerKeys().following((keys ?? fixture.keys).all)
        return (try await Repository(store: fixture.store, keys: newest), root)
    }

    @discardableResult
    private func backUp(_ repository: Repository) async throws -> Manifest {
        let writer = try await repository.begin()
        let ids = try await OwnThread.run("test") { [chunks] in try chunks.map { try writer.store($0) } }
        return try await writer.commit(
            mongo: RepositoryFixture.mongo(ids, chunks), redis: nil, started: RepositoryFixture.created,
            finished: RepositoryFixture.created + 2.5, instant: RepositoryFixture.created + 1)
    }

    private func content(_ manifest: Manifest, _ repository: Repository, _ roots: [RootKey]) async throws -> [[UInt8]] {
        let reader = try await repository.reader(roots)
        let segments = try #require(manifest.mongo).collections[0].segments
        return try await OwnThread.run("test") { try segments.map { try reader.records($0, kind: .documents).bytes } }
    }

    @Test("after a rotation the next backup is a full one, and both it and the older ones open with the identity alone")
    func rotate() async throws {
        let fixture = try await RepositoryFixture()
        let first = try await fixture.backUp(chunks)
        let (repository, _) = try await rotated(fixture)
        #expect(try await repository.backups().backups.map(\.epoch) == [1])
        let second = try await backUp(repository)
        #expect(second.epoch == 2 && second.number == 2 && second.counters.newChunks == 3)
        #expect(try await backUp(repository).counters.newChunks == 0)
        let opened = try await Repository.open(
            store: fixture.store, client: fixture.keys.client, identity: fixture.identity)
        #expect(opened.roots.map(\.epoch) == [1, 2])
        #expect(try await opened.repository.backups().unreadable.isEmpty)
        for manifest in [first, second] {
            #expect(try await content(manifest, opened.repository, opened.roots) == chunks.map(\.bytes))
        }
        let report = try await Repository.verify(
            store: fixture.store, keys: repository.keys,
            reader: {
                try await repository.reader(opened.roots)
            })
        #expect(report.problems == [] && report.chunksRead == 6)
        // A third one follows as well, and a number left out by a half begun epoch does not matter.
        let (third, _) = try await rotated(fixture, from: repository.keys, epoch: 4)
        #expect(try await backUp(third).epoch == 4)
        #expect(try await third.rootKeys(fixture.identity).map(\.epoch) == [1, 2, 4])
    }

    @Test("an epoch that was begun in the store alone changes nothing for a writer that does not know it")
    func unknown() async throws {
        let fixture = try await RepositoryFixture()
        let manifest = try await fixture.backUp(chunks)
        _ = try await rotated(fixture)
        let roots = try await fixture.repository.rootKeys(fixture.identity)
        #expect(roots.map(\.epoch) == [1])
        #expect(try await content(manifest, fixture.repository, roots) == chunks.map(\.bytes))
        let report = try await fixture.verify()
        #expect(report.isWhole && report.unusedEpochs == [2])
        #expect(try await fixture.repository.highestEpoch() == 2)
    }

    @Test("a prune after a rotation takes what older backups alone needed, out of an index of both epochs too")
    func prune() async throws {
        let world = try await PruneFixture()
        try await world.backUp(11)
        try await world.backUp(12)
        let (repository, root) = try await rotated(world.fixture)
        try await backUp(repository)
        // One index of the packs of both, as a prune itself may write it.
        var packs: [StoredPack] = []
        for key in world.keys("indexes") {
            packs += try await repository.index(key).packs
            world.store[key] = nil
        }
        try await repository.put(PackIndex(packs: packs))
        #expect(packs.map(\.epoch).sorted() == [1, 1, 2])
        let prune = Prune(
            repository, retention: Retention(keep: Policy.Keep(last: 2), zone: .gmt), history: nil, grace: .zero)
        for _ in 0..<2 {
            _ = try await prune.run(clock: StandingClock(now: world.store.now), isConfirmed: true, mayDelete: {})
        }
        #expect(try await repository.backups().backups.map(\.epoch) == [1, 2])
        var left: [StoredPack] = []
        for key in world.keys("indexes") { left += try await repository.index(key).packs }
        #expect(left.map(\.epoch).sorted() == [1, 2])
        let report = try await Repository.verify(
            store: world.store, keys: repository.keys,
            reader: { try await repository.reader([world.fixture.root, root]) })
        #expect(report.problems == [] && report.chunksRead == 4)
    }

    @Test("a damaged wrap closes the backups of its epoch and of later ones, not those before")
    func suffering() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        try await fixture.backUp(chunks)
        let (repository, _) = try await rotated(fixture)
        try await backUp(repository)
        let layout = RepositoryLayout(client: fixture.keys.client)
        for (epoch, closed) in [(2, [2]), (1, [1, 2])] {
            let key = layout.wrap(epoch: epoch, fixture.identity.recipient)
            store[key]?[50] ^= 1
            let report = try await Repository.verify(store: store, keys: repository.keys)
            #expect(report.problems.map(\.subject) == ["\(key)"] && report.problems.map(\.backups) == [closed])
            store[key]?[50] ^= 1
        }
    }

    @Test("the root key of one epoch opens nothing of another")
    func apart() async throws {
        let fixture = try await RepositoryFixture()
        let first = try await fixture.backUp(chunks)
        let (repository, root) = try await rotated(fixture)
        let second = try await backUp(repository)
        for (manifest, wrong) in [(first, root), (second, fixture.root)] {
            let error = await #expect(throws: RepositoryError.self) {
                try await content(manifest, repository, [wrong])
            }
            #expect(error?.reason == .notRecipient)
        }
        // The writer of before does not know the new epoch, and says so.
        let old = try await Repository(store: fixture.store, keys: fixture.keys)
        let unreadable = try await old.backups().unreadable
        #expect(unreadable.keys.sorted() == [2] && unreadable[2]?.reason == .foreign)
    }

    @Test("an epoch of a stranger's making is not taken for ours, whatever he puts into the store")
    func stranger() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        try await fixture.backUp(chunks)
        // He knows uuid, name and recipients, and makes everything else himself: an epoch 1 of his own to follow.
        let forged = RootKey.generate(client: fixture.keys.client, name: fixture.keys.name, epoch: 2)
        let base = try RootKey.generate(client: fixture.keys.client, name: fixture.keys.name).writerKeys()
        let layout = RepositoryLayout(client: fixture.keys.client)
        store[layout.wrap(epoch: 2, fixture.identity.recipient)] = try forged.wrap(to: fixture.identity.recipient)
        for link in [nil, EpochLink.make(try forged.writerKeys(), after: base, at: RepositoryFixture.created)] {
            store[layout.epoch(2)] = link
            let opened = try await Repository.open(
                store: store, client: fixture.keys.client, identity: fixture.identity)
            #expect(opened.roots.map(\.epoch) == [1])
            #expect(try await opened.repository.latest()?.number == 1)
        }
        let report = try await fixture.verify()
        #expect(report.problems == [] && report.unusedEpochs == [2])
        // In the place of ours it is refused.
        let own = RootKey.generate(client: fixture.keys.client, name: fixture.keys.name)
        store[layout.wrap(epoch: 1, fixture.identity.recipient)] = try own.wrap(to: fixture.identity.recipient)
        await #expect(throws: RepositoryError.self) { try await fixture.repository.rootKeys(fixture.identity) }
        await #expect(throws: RepositoryError.self) {
            try await Repository.open(store: store, client: fixture.keys.client, identity: fixture.identity)
        }
        #expect(try await fixture.verify(readData: false).problems.count == 1)
    }

    @Test("each byte of a link counts")
    func link() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let (repository, _) = try await rotated(fixture)
        let key = RepositoryLayout(client: fixture.keys.client).epoch(2)
        let link = try #require(store[key])
        for position in link.indices {
            store[key]?[position] ^= 1
            await #expect(throws: RepositoryError.self, "byte \(position)") {
                try await Repository(store: store, keys: repository.keys)
            }
            store[key] = link
        }
        for other in [nil, [], Array(link.dropLast()), link + [0]] {
            store[key] = other
            await #expect(throws: RepositoryError.self) { try await Repository(store: store, keys: repository.keys) }
        }
    }

    @Test("a recipient that is added opens older backups too; one that is removed opens nothing, nor what comes")
    func recipients() async throws {
        let fixture = try await RepositoryFixture()
        let first = try await fixture.backUp(chunks)
        let drill = RecoveryIdentity.generate()
        try await fixture.repository.add(drill.recipient, roots: [fixture.root])
        try await fixture.repository.add(drill.recipient, roots: [fixture.root])
        #expect(
            try await Set(fixture.repository.recipients(epoch: fixture.keys)) == [
                drill.recipient, fixture.identity.recipient,
            ])
        let opened = try await Repository.open(store: fixture.store, client: fixture.keys.client, identity: drill)
        #expect(try await content(first, opened.repository, opened.roots) == chunks.map(\.bytes))
        #expect(try await fixture.verify().isWhole)

        try await fixture.repository.remove(drill.recipient)
        try await fixture.repository.remove(drill.recipient)
        let (repository, _) = try await rotated(fixture)
        let second = try await backUp(repository)
        await #expect(throws: RepositoryError.self) {
            try await Repository.open(store: fixture.store, client: fixture.keys.client, identity: drill)
        }
        // What it kept, the old root key, opens the old backup, and never the new one.
        #expect(try await content(first, repository, opened.roots) == chunks.map(\.bytes))
        await #expect(throws: RepositoryError.self) { try await content(second, repository, opened.roots) }
    }

    @Test("keys of several epochs come back from their file; epochs out of order are refused")
    func file() async throws {
        let folder = try TemporaryFolder()
        let fixture = try await RepositoryFixture()
        let (repository, _) = try await rotated(fixture, epoch: 3)
        let path = folder.path("acme")
        try repository.keys.write(to: path)
        let read = try WriterKeys.read(path)
        #expect(read.all.map(\.epoch) == [1, 3])
        #expect(read.all.map(\.fingerprint) == repository.keys.all.map(\.fingerprint))
        #expect(read.of(epoch: 1)?.catalogKey == fixture.keys.catalogKey && read.of(epoch: 2) == nil)
        #expect(throws: FileError.self) { try repository.keys.write(to: path) }
        var stored = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path))) as? [String: Any])
        stored["epochs"] = (stored["epochs"] as? [Any])?.reversed() as [Any]?
        try AtomicFile.write(path, Array(JSONSerialization.data(withJSONObject: stored)), mode: 0o600, .replace)
        #expect(throws: WriterKeysError.self) { try WriterKeys.read(path) }
    }
}
