package import DRPKit
package import Foundation

/// All backups of one client in one store. `docs/repository-format.md` tells every byte of it.
package struct Repository: Sendable {
    package let store: any ObjectStore
    package let keys: WriterKeys
    /// How what it writes is locked; nil if it is not.
    package let lockTerm: LockTerm?
    let layout: RepositoryLayout
    let compression = Compression()
    let documents: SealedDocument

    /// Opens the client's repository.
    /// - Parameter lock: locks what it writes and what its backups build on, where the store can.
    /// - Throws: `RepositoryError.missing` if there is none, `.foreign` if it is of another client or of a newer format, `.damaged` if its card is; `StoreError`.
    package init(store: any ObjectStore, keys: WriterKeys, lock: LockTerm? = nil) async throws {
        try await self.init(unchecked: store, keys: keys, lock: lock)
        try await checkCard()
    }

    /// Opens nothing yet: for verification, which reports what is wrong instead.
    init(unchecked store: any ObjectStore, keys: WriterKeys) {
        self.init(store, keys, nil)
    }

    init(unchecked store: any ObjectStore, keys: WriterKeys, lock: LockTerm?) async throws(StoreError) {
        var term = lock
        if lock != nil, try await !store.canLock() { term = nil }
        self.init(term.map { store.locking($0.lock) } ?? store, keys, term)
    }

    private init(_ store: any ObjectStore, _ keys: WriterKeys, _ lockTerm: LockTerm?) {
        self.store = store
        self.keys = keys
        self.lockTerm = lockTerm
        layout = RepositoryLayout(client: keys.client)
        documents = SealedDocument(keys: keys, compression: compression)
    }

    /// The cards of all repositories in a store; a folder without a readable one is left out.
    /// What they say is proven when one of them is opened.
    package static func clients(in store: any ObjectStore) async throws -> [RepositoryCard] {
        var cards: [RepositoryCard] = []
        for folder in try await store.folders() {
            guard let client = UUID(uuidString: folder) else { continue }
            let key = RepositoryLayout(client: client).card
            do {
                let card = try RepositoryCard(try await store.read(key), subject: "\(key)")
                if card.client == client { cards.append(card) }
            } catch let error as StoreError where error.reason == .missing {
                continue
            } catch is RepositoryError {
                continue
            }
        }
        return cards
    }

    /// All backups, oldest first, and those that cannot be read.
    package func backups() async throws -> BackupList {
        var list = BackupList()
        for number in try await numbers() {
            do {
                let sealed = try await store.read(layout.backup(number))
                guard case .manifest(let manifest) = try open(sealed, number: number) else { continue }
                list.backups.append(BackupSummary(manifest))
                list.hashes[number] = ContentHash(hashing: sealed)
            } catch let error as RepositoryError where error.reason != .missing {
                list.unreadable[number] = error
            } catch let error as StoreError where error.reason == .missing {
                // A prune has removed it meanwhile.
            }
        }
        return list
    }

    /// - Throws: `RepositoryError.missing` if there is no such backup, `.damaged` or `.foreign` if it cannot be used.
    package func manifest(_ number: Int) async throws -> Manifest {
        guard (1...9_999_999_999).contains(number) else { throw RepositoryError(.missing, "backup \(number)") }
        let subject = "backup \(number) of \(keys.name)"
        do {
            guard case .manifest(let manifest) = try await backup(number) else {
                throw RepositoryError(.missing, subject, cause: "its writer was silent for too long")
            }
            return manifest
        } catch let error as StoreError where error.reason == .missing {
            throw RepositoryError(.missing, subject)
        }
    }

    /// The manifest of the newest backup; nil if there is no backup.
    package func latest() async throws -> Manifest? {
        for number in try await numbers().reversed() {
            if case .manifest(let manifest) = try await backup(number) { return manifest }
        }
        return nil
    }

    // MARK: - Objects

    /// Of all backups and voids, lowest first.
    func numbers() async throws(StoreError) -> [Int] {
        try await store.list(layout.backups).compactMap { layout.backupNumber($0.key) }.sorted()
    }

    func openManifest(_ sealed: [UInt8], number: Int) throws -> Manifest {
        let subject = "backup \(number) of \(keys.name)"
        let opened = try documents.open(sealed[...], as: .manifest, Self.extra(number), subject: subject)
        let manifest: Manifest
        do {
            manifest = try Manifest.decode(opened.plain)
        } catch {
            throw RepositoryError(.damaged, subject, cause: "its manifest does not decode")
        }
        guard manifest.format == Manifest.currentFormat, manifest.client == keys.client, manifest.epoch == opened.epoch,
            manifest.number == number
        else {
            throw RepositoryError(.foreign, subject, cause: "its manifest is of \(manifest.name), \(manifest.client)")
        }
        return manifest
    }

    func seal(_ manifest: Manifest) throws -> [UInt8] {
        try documents.seal(try manifest.encoded(), as: .manifest, Self.extra(manifest.number))
    }

    func index(_ key: ObjectKey) async throws -> PackIndex {
        let sealed = try await store.read(key)
        guard layout.indexName(key) == ContentHash(hashing: sealed) else {
            throw RepositoryError(.damaged, "\(key)", cause: "its bytes do not have its name's hash")
        }
        return try PackIndex(try documents.open(sealed[...], as: .index, subject: "\(key)").plain, subject: "\(key)")
    }

    /// Reads a pack's trailer from its end.
    func storedPack(_ name: ContentHash, size: Int64) async throws -> StoredPack {
        let key = layout.pack(name)
        guard size >= Int64(Pack.footerLength) else {
            throw RepositoryError(.damaged, "\(key)", cause: "\(size) bytes")
        }
        let footer = try await store.read(key, range: size - Int64(Pack.footerLength)..<size)
        let range = try Pack.trailerRange(footer: footer[...], size: size, subject: "\(key)")
        return try storedPack(
            name, size: size, trailer: try await store.read(key, range: range)[...], at: range.lowerBound)
    }

    /// - Parameters:
    ///   - sealed: the trailer.
    ///   - content: how many bytes of the pack are before it.
    func storedPack(_ name: ContentHash, size: Int64, trailer sealed: ArraySlice<UInt8>, at content: Int64)
        throws(RepositoryError) -> StoredPack
    {
        let subject = "\(layout.pack(name))"
        let opened = try documents.open(sealed, as: .trailer, Pack.trailerExtra(content: content), subject: subject)
        return StoredPack(
            name: name, epoch: opened.epoch, size: size,
            trailer: try PackTrailer(opened.plain[...], content: content, subject: subject))
    }

    /// Proves that card and epochs are those of the keys.
    func checkCard() async throws {
        let card: RepositoryCard
        do { card = try await Self.readCard(store, layout.card) } catch let error as RepositoryError
            where error.reason == .missing
        {
            // An erasure takes the card away first.
            try await requireNotErased()
            throw error
        }
        try card.check(keys, subject: "\(layout.card)")
        for epoch in keys.all where epoch.epoch != card.epoch { try await checkLink(epoch, earlier: keys.all) }
    }

    static func readCard(_ store: any ObjectStore, _ key: ObjectKey) async throws -> RepositoryCard {
        do {
            return try RepositoryCard(try await store.read(key), subject: "\(key)")
        } catch let error as StoreError where error.reason == .missing {
            throw RepositoryError(.missing, "the repository", cause: "the store holds no \(key)")
        }
    }

    func putOnce(_ key: ObjectKey, _ bytes: [UInt8]) async throws(StoreError) {
        do {
            try await store.put(key, bytes, .lasting)
        } catch  where error.reason == .alreadyThere {
        }
    }

    static func extra(_ number: Int) -> [UInt8] {
        var extra: [UInt8] = []
        extra.append(little: UInt64(number))
        return extra
    }
}

/// The backups of a repository, oldest first.
package struct BackupList: Sendable {
    package var backups: [BackupSummary] = []
    /// Those that are there and cannot be read, and why.
    package var unreadable: [Int: RepositoryError] = [:]
    /// SHA-256 of the sealed manifests.
    package var hashes: [Int: ContentHash] = [:]

    package init() {}
}

/// What a list says of one backup.
package struct BackupSummary: Codable, Sendable, Equatable {
    package var number: Int
    package var epoch: Int
    package var started: Date
    package var finished: Date
    package var instant: Date
    package var counters: BackupCounters
    package var hasMongo: Bool
    package var hasRedis: Bool

    package init(_ manifest: Manifest) {
        number = manifest.number
        epoch = manifest.epoch
        started = manifest.started
        finished = manifest.finished
        instant = manifest.instant
        counters = manifest.counters
        hasMongo = manifest.mongo != nil
        hasRedis = manifest.redis != nil
    }
}
