internal import Crypto
package import DRPKit
package import Foundation
internal import Synchronization

extension Repository {
    /// Begins the next backup: sweeps what interrupted ones left, and learns which chunks are there.
    /// - Parameters:
    ///   - holder: the client's lease in the journal, which is then said in the store too; nil where nobody else can
    ///     write.
    ///   - keepsFingerprints: whether each chunk gets a list by which later captures can leave records out.
    /// - Throws: `RepositoryError.leased` if another writer, which lives, holds the store's lease.
    package func begin(
        holder: LeaseEntry? = nil, keepsFingerprints: Bool = false
    ) async throws -> BackupWriter {
        try await store.sweep()
        let last: Int?
        if let holder { last = try await takeLease(holder) } else { last = try await numbers().last }
        return try BackupWriter(
            self, catalog: try await ChunkCatalog.load(self), number: (last ?? 0) + 1,
            previous: try await hash(of: last), holder: holder, keepsFingerprints: keepsFingerprints)
    }
}

/// One backup on its way into a repository. Nothing of it is visible before `commit` has returned.
///
/// Threads that store chunks compress and seal them outside of any lock; a chunk is appended to the open pack
/// under one, and full packs go to `PackUploader`.
package final class BackupWriter: ChunkSink {
    private struct State {
        var pack: OpenPack
        var key: PackKey
        /// Chunks of this backup that the repository did not have, on their way included.
        var fresh: Set<ChunkID> = []
        var counters = BackupCounters()
        var failure: (any Error)?
    }

    /// The number that the backup will have.
    package let number: Int
    private let repository: Repository
    private let catalog: ChunkCatalog
    private let previous: ContentHash?
    private let holder: LeaseEntry?
    private let keepsFingerprints: Bool
    private let ids: ChunkIDKey
    private let uploader: PackUploader
    private let state: Mutex<State>

    init(
        _ repository: Repository, catalog: ChunkCatalog, number: Int, previous: ContentHash?, holder: LeaseEntry?,
        keepsFingerprints: Bool
    ) throws {
        self.repository = repository
        self.catalog = catalog
        self.number = number
        self.previous = previous
        self.holder = holder
        self.keepsFingerprints = keepsFingerprints
        ids = ChunkIDKey(repository.keys.idKey)
        uploader = PackUploader(repository)
        state = Mutex(State(pack: uploader.newPack(), key: try PackKey(keys: repository.keys)))
    }

    deinit { uploader.cancel() }

    /// What went through until now.
    package var counters: BackupCounters { state.withLock { $0.counters } }

    /// Objects of the repository that could not be used; their chunks are stored again.
    package var unusable: [ObjectKey: RepositoryError] { catalog.unusable }

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

    /// Makes the backup durable and visible: packs, indexes, then the manifest.
    /// - Parameters:
    ///   - instant: whose state it is.
    ///   - fence: asked last of all before the backup becomes visible; what it throws refuses it.
    /// - Throws: whatever failed; then no backup is visible, and this one cannot go on.
    ///   `RepositoryError.overtaken` if another writer took its number.
    package func commit(
        mongo: MongoManifest?, redis: RedisManifest?, started: Date, finished: Date, instant: Date,
        fence: @Sendable () async throws -> Void = {}
    ) async throws -> Manifest {
        do {
            let packs = try await finishPacks()
            for index in PackIndex.spread(packs) { try await repository.put(index) }
            let manifest = Manifest(
                client: repository.keys.client, name: repository.keys.name, epoch: repository.keys.epoch,
                number: number, previous: previous, started: started.inWholeMilliseconds,
                finished: finished.inWholeMilliseconds, instant: instant.inWholeMilliseconds, mongo: mongo,
                redis: redis, counters: counters)
            try checkChunks(of: manifest)
            Failpoint.hit("backup.stored")
            try await checkPacks(of: manifest, stored: packs)
            try await fence()
            if let holder { try await repository.requireLease(holder, number: number) }
            try await put(manifest)
            await end()
            return manifest
        } catch {
            await end()
            fail(error)
            throw error
        }
    }

    /// Says in the store that this backup goes on. A store that does not answer gets the next beat.
    package func beat() async throws {
        guard let holder else { return }
        do {
            try await repository.requireLease(holder, number: number)
            try await repository.putLease(holder, number: number)
        } catch is StoreError {
        }
    }

    /// Gives the backup up. What it stored stays invisible; the next backup uses it again.
    package func abort() async {
        fail(RepositoryError(.aborted, "the backup"))
        await end()
    }

    /// Gives the store's lease back; one that stays there is one of a process that has ended.
    private func end() async {
        guard let holder else { return }
        await Task { [repository, number] in try? await repository.giveLeaseBack(holder, number: number) }.value
    }

    /// - Returns: the key to seal with; nil if the chunk is known or on its way.
    private func take(_ id: ChunkID, length: Int) throws -> PackKey? {
        let isKnown = catalog.contains(id)
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

    private func put(_ manifest: Manifest) async throws {
        let sealed = try repository.seal(manifest)
        do throws(StoreError) {
            try await repository.store.put(repository.layout.backup(number), sealed, .lasting)
        } catch {
            guard error.reason == .alreadyThere else { throw error }
            throw RepositoryError(.overtaken, "backup \(number) of \(repository.keys.name)")
        }
    }

    /// A manifest never names what is not there: the last guard before it becomes visible.
    private func checkChunks(of manifest: Manifest) throws {
        let fresh = state.withLock { $0.fresh }
        for id in manifest.chunks.keys where !fresh.contains(id) && !catalog.contains(id) {
            throw RepositoryError(
                .aborted, "the backup", cause: "its manifest names chunk \(id), which was never stored")
        }
    }

    /// A prune on another machine may have run beside this backup. What it has marked since cannot be relied on, not even
    /// what this backup stored itself; once the manifest is there, prune counts with it. `docs/explanation/prune.md`.
    private func checkPacks(of manifest: Manifest, stored: [StoredPack]) async throws {
        var needed = Set(stored.map(\.name))
        for id in manifest.chunks.keys where catalog.contains(id) {
            if let place = catalog.location(id) { needed.insert(catalog.packs[Int(place.pack)].name) }
        }
        // The marks before the packs: when a mark goes, what it names is gone already.
        let marked = try await repository.marks().packs
        var missing = needed
        for object in try await repository.store.list(repository.layout.packs) {
            if let name = repository.layout.packName(object.key) { missing.remove(name) }
        }
        guard missing.isEmpty, needed.isDisjoint(with: marked) else {
            throw RepositoryError(
                .aborted, "the backup", cause: "a prune has marked packs that it builds on; run it again")
        }
    }

    private func fail(_ error: any Error) {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        uploader.cancel()
    }
}
