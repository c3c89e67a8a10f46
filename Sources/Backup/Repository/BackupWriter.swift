internal import Crypto
package import DRPKit
package import Foundation
internal import Synchronization

extension Repository {
    /// Begins the next backup in this repository alone: sweeps what interrupted ones left, and learns which chunks are there.
    /// - Parameters:
    ///   - holder: the client's lease in the journal, which is then said in the store too; nil where nobody else can
    ///     write.
    ///   - keepsFingerprints: whether each chunk gets a list by which later captures can leave records out.
    /// - Throws: `RepositoryError.leased` if another writer, which lives, holds the store's lease.
    package func begin(
        holder: LeaseEntry? = nil, keepsFingerprints: Bool = false
    ) async throws -> BackupWriter {
        let targets = BackupTargets(self)
        let start = try await targets.begin(holder: holder, known: nil)
        return try await BackupWriter.make(targets, start, holder: holder, keepsFingerprints: keepsFingerprints)
    }
}

/// One backup on its way into the repositories of a client. Nothing of it is visible before `commit` has returned.
///
/// A chunk counts as known only if every living target has it. Else it is compressed and sealed once, outside of any lock;
/// it is appended to the open pack under one, and full packs go to `PackUploader`, which brings the same bytes to all
/// targets. So do indexes and the manifest.
package final class BackupWriter: ChunkSink {
    private struct State {
        var pack: OpenPack
        var key: PackKey
        /// Chunks of this backup that not every repository had, on their way included.
        var fresh: Set<ChunkID> = []
        var counters = BackupCounters()
        var failure: (any Error)?
        var hash: ContentHash?
    }

    private struct Known: Sendable {
        var target: BackupTargets.Target
        var catalog: ChunkCatalog
    }

    /// The number that the backup will have.
    package let number: Int
    private let targets: BackupTargets
    private let known: [Known]
    /// Of any target: keys and names are the same in all.
    private let repository: Repository
    private let previous: ContentHash?
    private let holder: LeaseEntry?
    private let keepsFingerprints: Bool
    private let ids: ChunkIDKey
    private let uploader: PackUploader
    private let state: Mutex<State>

    /// Learns which chunks the living targets have.
    package static func make(
        _ targets: BackupTargets, _ start: BackupStart, holder: LeaseEntry?, keepsFingerprints: Bool = false
    ) async throws -> BackupWriter {
        let known = try await targets.each { try await ChunkCatalog.load($0.repository) }
        return try BackupWriter(
            targets, known: known.map { Known(target: $0.target, catalog: $0.value) }, start, holder: holder,
            keepsFingerprints: keepsFingerprints)
    }

    private init(
        _ targets: BackupTargets, known: [Known], _ start: BackupStart, holder: LeaseEntry?, keepsFingerprints: Bool
    ) throws {
        self.targets = targets
        self.known = known
        repository = known[0].target.repository
        number = start.number
        previous = start.previous
        self.holder = holder
        self.keepsFingerprints = keepsFingerprints
        ids = ChunkIDKey(repository.keys.idKey)
        let key = try PackKey(keys: repository.keys)
        uploader = PackUploader(targets, repository)
        state = Mutex(State(pack: uploader.newPack(), key: key))
    }

    deinit { uploader.cancel() }

    /// SHA-256 of the sealed manifest, once it is committed.
    package var manifestHash: ContentHash? { state.withLock { $0.hash } }

    /// Packs that indexes name, and those of them that are not there, in each store.
    var indexedPacks: [StoreName: (all: Int, absent: Int)] {
        var found: [StoreName: (all: Int, absent: Int)] = [:]
        for known in known {
            guard let store = known.target.store else { continue }
            found[store] = (known.catalog.packs.count + known.catalog.absent.count, known.catalog.absent.count)
        }
        return found
    }

    /// What went through until now.
    package var counters: BackupCounters { state.withLock { $0.counters } }

    package func store(_ chunk: Chunk) throws -> ChunkID {
        guard chunk.bytes.count <= Pack.largestChunk, !chunk.hashes.isEmpty else {
            throw RepositoryError(.aborted, "the backup", cause: "a chunk of \(ByteCount(chunk.bytes.count))")
        }
        let id = ids.id(kind: chunk.kind, hashes: chunk.hashes)
        guard let key = try take(id, length: chunk.bytes.count) else { return id }
        do {
            let associated = repository.keys.binding.bytes(.chunk, Pack.chunkExtra(id, chunk.kind))
            let box = try chunk.bytes.withUnsafeBytes { bytes in
                try repository.compression.compressed(bytes) { frame in
                    try AES.GCM.seal(frame, using: key.key, nonce: try key.nextNonce(), authenticating: associated)
                }
            }
            let list = try keepsFingerprints ? fingerprints(of: chunk, id) : []
            try append(box, list, key: key, id: id, kind: chunk.kind, plainLength: chunk.bytes.count)
        } catch {
            // A thread that was told "known" relied on this chunk: the whole backup ends with it.
            fail(error)
            throw error
        }
        return id
    }

    /// Makes the backup durable and visible: packs, indexes, then the manifest. A target that fails is left behind.
    /// - Parameters:
    ///   - instant: whose state it is.
    ///   - fence: asked last of all before the backup becomes visible; what it throws refuses it.
    /// - Throws: whatever failed in the last target; then no backup is visible, and this one cannot go on.
    ///   `RepositoryError.overtaken` if another writer took its number.
    package func commit(
        mongo: MongoManifest?, redis: RedisManifest?, started: Date, finished: Date, instant: Date,
        fence: @Sendable () async throws -> Void = {}
    ) async throws -> Manifest {
        do {
            let packs = try await finishPacks()
            let indexes = try PackIndex.spread(packs).map { try repository.sealed($0) }
            try await targets.each { target in
                for index in indexes { try await target.repository.putIndex(index) }
            }
            let manifest = Manifest(
                client: repository.keys.client, name: repository.keys.name, epoch: repository.keys.epoch,
                number: number, previous: previous, started: started.inWholeMilliseconds,
                finished: finished.inWholeMilliseconds, instant: instant.inWholeMilliseconds, mongo: mongo,
                redis: redis, counters: counters)
            try checkChunks(of: manifest)
            Failpoint.hit("backup.stored")
            try await checkPacks(of: manifest, stored: packs)
            try await fence()
            if let holder {
                try await targets.each { [number] in try await $0.repository.requireLease(holder, number: number) }
            }
            try await put(manifest)
            await targets.end(holder, number: number)
            return manifest
        } catch {
            await targets.end(holder, number: number)
            fail(error)
            throw error
        }
    }

    /// Gives the backup up. What it stored stays invisible; the next backup uses it again.
    package func abort() async {
        fail(RepositoryError(.aborted, "the backup"))
        await targets.end(holder, number: number)
    }

    /// - Returns: the key to seal with; nil if the chunk is known or on its way.
    private func take(_ id: ChunkID, length: Int) throws -> PackKey? {
        let isKnown = known.allSatisfy { !targets.isLiving($0.target.id) || $0.catalog.contains(id) }
        return try state.withLock { state in
            if let failure = state.failure { throw failure }
            state.counters.source += Int64(length)
            state.counters.chunks += 1
            guard !isKnown, state.fresh.insert(id).inserted else { return nil }
            state.counters.new += Int64(length)
            state.counters.newChunks += 1
            return state.key
        }
    }

    private func fingerprints(of chunk: Chunk, _ id: ChunkID) throws -> [UInt8] {
        try FingerprintList(chunk.hashes, keys: repository.keys).sealed(id, chunk.kind, keys: repository.keys)
    }

    private func append(
        _ box: AES.GCM.SealedBox, _ list: [UInt8], key: PackKey, id: ChunkID, kind: ChunkKind, plainLength: Int
    ) throws {
        let sealed = box.ciphertext.count + Pack.sealOverhead + list.count
        let full = try state.withLock { state -> OpenPack? in
            if let failure = state.failure { throw failure }
            var full: OpenPack?
            if state.pack.isFull || !state.pack.hasRoom(for: sealed) { full = try replacePack(&state) }
            state.pack.append(box, key: key, id: id, kind: kind, plainLength: plainLength, list: list)
            state.counters.stored += Int64(sealed + PackEntry.length)
            return full
        }
        if let full { try uploader.push(full) }
    }

    private func replacePack(_ state: inout State) throws -> OpenPack {
        let full = state.pack
        state.pack = uploader.newPack()
        state.key = try PackKey(keys: repository.keys)
        return full
    }

    private func finishPacks() async throws -> [StoredPack] {
        let last = try state.withLock { state -> OpenPack? in
            if let failure = state.failure { throw failure }
            state.failure = RepositoryError(.aborted, "the backup", cause: "it was committed already")
            return state.pack.isEmpty ? nil : state.pack
        }
        return try await OwnThread.run("commit") { [uploader] in
            if let last { try uploader.push(last) }
            return try uploader.finish()
        }
    }

    /// The same bytes to all stores, to the first one before the others: of two writers with one number, the first store
    /// that both can reach lets one of them go on.
    private func put(_ manifest: Manifest) async throws {
        let sealed = try repository.seal(manifest)
        var first: Int?
        for target in targets.living {
            do {
                try await put(sealed, target.repository)
                first = target.id
                break
            } catch {
                try targets.leave(target, error)
            }
        }
        try await targets.each { [self, first] target in
            if target.id == first { return }
            do { try await put(sealed, target.repository) } catch let error as RepositoryError
                where error.reason == .overtaken
            {
                // Too late to take it back elsewhere: the backup is there.
                throw RepositoryError(.diverged, error.subject)
            }
        }
        state.withLock { $0.hash = ContentHash(hashing: sealed) }
    }

    /// - Throws: `.overtaken` if something else has the number.
    private func put(_ sealed: [UInt8], _ repository: Repository) async throws {
        let key = repository.layout.backup(number)
        do throws(StoreError) {
            try await repository.store.put(key, sealed, .lasting)
        } catch {
            guard error.reason == .alreadyThere else { throw error }
            // An answer that got lost, or this very manifest, copied from another store.
            guard try await repository.store.read(key) != sealed else { return }
            throw RepositoryError(.overtaken, "backup \(number) of \(repository.keys.name)")
        }
    }

    /// A manifest never names what is not there: the last guard before it becomes visible.
    private func checkChunks(of manifest: Manifest) throws {
        let fresh = state.withLock { $0.fresh }
        let living = known.filter { targets.isLiving($0.target.id) }
        for id in manifest.chunks.keys
        where !fresh.contains(id) && !living.allSatisfy({ $0.catalog.contains(id) }) {
            throw RepositoryError(
                .aborted, "the backup", cause: "its manifest names chunk \(id), which was never stored")
        }
    }

    /// A prune on another machine may have run beside this backup. What it has marked since cannot be relied on, not even
    /// what this backup stored itself; once the manifest is there, prune counts with it. `docs/explanation/prune.md`.
    private func checkPacks(of manifest: Manifest, stored: [StoredPack]) async throws {
        let fresh = state.withLock { $0.fresh }
        let reused = manifest.chunks.keys.filter { !fresh.contains($0) }
        try await targets.each { [known] target in
            var reusedPacks: Set<ContentHash> = []
            if let catalog = known.first(where: { $0.target.id == target.id })?.catalog {
                for id in reused {
                    if let place = catalog.location(id) { reusedPacks.insert(catalog.packs[Int(place.pack)].name) }
                }
            }
            let repository = target.repository
            if let term = repository.lockTerm {
                try await repository.renewLocks(
                    reusedPacks.map { repository.layout.pack($0) }, term.lock, least: term.least)
            }
            try await repository.requirePacks(reusedPacks.union(stored.map(\.name)), "the backup")
        }
    }

    private func fail(_ error: any Error) {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        uploader.cancel()
    }
}

extension Repository {
    /// The last look before a manifest becomes visible.
    /// - Throws: `.aborted` if a pack is not there, or under the mark of a prune.
    func requirePacks(_ needed: Set<ContentHash>, _ subject: String) async throws {
        // The marks before the packs: when a mark goes, what it names is gone already.
        let marked = try await marks().packs
        var missing = needed
        for object in try await store.list(layout.packs) {
            if let name = layout.packName(object.key) { missing.remove(name) }
        }
        guard missing.isEmpty, needed.isDisjoint(with: marked) else {
            throw RepositoryError(
                .aborted, subject, cause: "a prune has marked packs that it builds on; run it again")
        }
    }
}
