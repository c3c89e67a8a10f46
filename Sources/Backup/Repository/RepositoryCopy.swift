package import DRPKit
internal import Foundation

/// What a copy brought into one store, and what it could not bring.
package struct CopyReport: Sendable {
    package struct Problem: Sendable {
        /// The backup's number; nil for what is of no single backup.
        package var number: Int?
        package var error: any DRPError
        /// Whether stores contradict each other.
        package var isDivergence: Bool { (error as? RepositoryError)?.reason == .diverged }
    }

    /// Whether the repository was made.
    package var isNew = false
    package var backups: [BackupSummary] = []
    package var hashes: [Int: ContentHash] = [:]
    package var packs = 0
    package var bytes: Int64 = 0
    /// Tombstones, voids and slices of logs.
    package var others = 0
    package var problems: [Problem] = []
}

/// Brings one client's repository in one store up to date from those in others: what it lacks is copied as it is, each object
/// once it was opened and checked, in the order in which a backup is written, the oldest backup first. So it may end anywhere and
/// begin again, and a backup that shows is whole. Nothing is ever replaced or deleted.
///
/// What was let go in any of the stores is not copied, nor what only that needs; its tombstone is, to hold the chain.
struct RepositoryCopy: Sendable {
    struct Source: Sendable {
        var store: StoreName
        var repository: Repository
    }

    /// Whether a repository that is not there is made.
    enum Absence: Sendable { case refuse, make }

    let store: StoreName
    /// Need not be there yet.
    let target: Repository
    let absence: Absence
    /// Called with the bytes of each pack.
    let progress: @Sendable (Int64) -> Void

    /// Nearest first; one that fails is left out from then on.
    private var sources: [Source]
    private var holdings: [StoreName: Holdings] = [:]
    private var catalogs: [StoreName: ChunkCatalog] = [:]
    private var catalog = ChunkCatalog()
    private var report = CopyReport()

    init(
        to store: StoreName, _ target: Repository, from sources: [Source], absence: Absence,
        progress: @escaping @Sendable (Int64) -> Void
    ) {
        self.store = store
        self.target = target
        self.sources = sources
        self.absence = absence
        self.progress = progress
    }

    private var layout: RepositoryLayout { target.layout }
    private var name: ClientID { target.keys.name }

    /// - Throws: what the target store throws; `RepositoryError.aborted` if a prune has marked what it needs. What sources
    ///   cannot give is in the report.
    mutating func run() async throws -> CopyReport {
        try await requireNotErased()
        try await copyKeys()
        try await target.checkCard()
        var own = try await target.holdings()
        for source in sources {
            holdings[source.store] = try await from(source) { try await $0.holdings() }
        }
        let diverged = try await divergences(own)
        let gone = holdings.values.reduce(into: own.tombstones) { $0.formUnion($1.tombstones) }
        let offered = holdings.values.reduce(into: Set<Int>()) { $0.formUnion($1.objects.keys) }
        var isCatalogKnown = false
        for number in offered.union(gone).sorted() where own.objects[number] == nil {
            try Task.checkCancellation()
            if gone.contains(number) {
                if !own.tombstones.contains(number) { try await copyTombstone(number) }
                continue
            }
            if diverged.contains(number) { continue }
            if !isCatalogKnown {
                catalog = try await ChunkCatalog.load(target)
                isCatalogKnown = true
            }
            if try await copyBackup(number, own) { own.objects[number] = 0 }
        }
        try await copyLogs()
        return report
    }

    /// What one store calls erased comes into none again.
    private func requireNotErased() async throws {
        try await target.requireNotErased()
        for source in sources {
            // One that cannot be asked has nothing to give either.
            do { try await source.repository.requireNotErased() } catch is StoreError { continue }
        }
    }

    // MARK: - Sources

    private mutating func note(_ number: Int?, _ error: any DRPError) {
        if report.problems.contains(where: { $0.number == number && $0.error.message == error.message }) { return }
        report.problems.append(CopyReport.Problem(number: number, error: error))
    }

    /// Asks a source. One that cannot be reached is left out from then on, and told of once.
    /// - Returns: nil if it has nothing that can be used.
    private mutating func from<Value: Sendable>(
        _ source: Source, _ body: (Repository) async throws -> Value
    ) async throws -> Value? {
        do {
            return try await body(source.repository)
        } catch let error as StoreError {
            if error.reason == .missing || error.reason == .damaged { return nil }
            if let error = NamedStoreError(source.store, error) { note(nil, error) }
            sources.removeAll { $0.store == source.store }
            holdings[source.store] = nil
            return nil
        } catch is RepositoryError {
            return nil
        }
    }

    /// Sources that hold the number, nearest first.
    private func sources(of number: Int) -> [Source] {
        sources.filter { holdings[$0.store]?.objects[number] != nil }
    }

    private mutating func catalog(of source: Source) async throws -> ChunkCatalog? {
        if let known = catalogs[source.store] { return known }
        let loaded = try await from(source) { try await ChunkCatalog.load($0) }
        catalogs[source.store] = loaded
        return loaded
    }

    // MARK: - Two under one number

    /// Numbers under which two stores hold different backups. Manifests are chained: where the newest that both have are equal,
    /// so are those before, unless one of them is not what was written.
    private mutating func divergences(_ own: Holdings) async throws -> Set<Int> {
        var found: [Int: String] = [:]
        let all = [Source(store: store, repository: target)] + sources
        holdings[store] = own
        defer { holdings[store] = nil }
        for (index, left) in all.enumerated() {
            for right in all[(index + 1)...] {
                guard let mine = holdings[left.store]?.objects, let others = holdings[right.store]?.objects else {
                    continue
                }
                var isChainEqual = false
                for number in Set(mine.keys).intersection(others.keys).sorted(by: >) {
                    if isChainEqual && mine[number] == others[number] { continue }
                    guard let first = try await bytes(number, left), let second = try await bytes(number, right) else {
                        continue
                    }
                    if first == second {
                        isChainEqual = true
                    } else {
                        found[number] = "store \(left.store) and store \(right.store) hold different ones"
                    }
                }
            }
        }
        for (number, cause) in found.sorted(by: { $0.key < $1.key }) {
            note(number, RepositoryError(.diverged, "backup \(number) of \(name)", cause: cause))
        }
        return Set(found.keys)
    }

    /// - Returns: nil for what does not open: it is damaged, and no other truth.
    private mutating func bytes(_ number: Int, _ source: Source) async throws -> [UInt8]? {
        let key = layout.backup(number)
        let subject = "backup \(number) of \(name)"
        guard let sealed = try await from(source, { try await $0.store.read(key) }) else { return nil }
        do { _ = try source.repository.open(sealed, number: number) } catch {
            note(number, RepositoryError(.damaged, subject, cause: "in store \(source.store), it does not open"))
            return nil
        }
        return sealed
    }

    // MARK: - Keys

    /// Wraps and links of epochs that the target does not have, and last the card. In an epoch that is there nothing is
    /// added: a recipient that was removed stays removed.
    private mutating func copyKeys() async throws {
        let key = layout.card
        let first: Int
        if try await target.store.size(key) != nil {
            first = try await Repository.readCard(target.store, key).epoch
        } else {
            guard absence == .make, let (bytes, epoch) = try await sourceCard() else { return }
            first = epoch
            guard let keys = target.keys.of(epoch: first) else { return }
            try await copyWraps(keys)
            try await target.putOnce(key, bytes)
            report.isNew = true
        }
        for epoch in target.keys.all where epoch.epoch > first {
            if try await target.store.size(layout.epoch(epoch.epoch)) != nil { continue }
            try await copyWraps(epoch)
            try await copyLink(epoch)
        }
    }

    private mutating func sourceCard() async throws -> (bytes: [UInt8], epoch: Int)? {
        let key = layout.card
        let keys = target.keys
        for source in sources {
            let found = try await from(source) { repository -> ([UInt8], Int) in
                let bytes = try await repository.store.read(key)
                let card = try RepositoryCard(bytes, subject: "\(key)")
                try card.check(keys, subject: "\(key)")
                return (bytes, card.epoch)
            }
            if let found { return found }
        }
        return nil
    }

    private mutating func copyWraps(_ epoch: WriterKeys) async throws {
        let layout = layout
        for source in sources {
            let wraps = try await from(source) { repository -> [(Recipient, [UInt8])] in
                var wraps: [(Recipient, [UInt8])] = []
                for recipient in try await repository.recipients(epoch: epoch) {
                    wraps.append(
                        (recipient, try await repository.store.read(layout.wrap(epoch: epoch.epoch, recipient))))
                }
                return wraps
            }
            guard let wraps, !wraps.isEmpty else { continue }
            for (recipient, bytes) in wraps {
                try await target.putOnce(layout.wrap(epoch: epoch.epoch, recipient), bytes)
                try await target.checkWrap(recipient, of: epoch)
            }
            return
        }
        throw RepositoryError(
            .missing, "epoch \(epoch.epoch) of \(name)", cause: "no store has its wrapped keys whole")
    }

    private mutating func copyLink(_ epoch: WriterKeys) async throws {
        let key = layout.epoch(epoch.epoch)
        for source in sources {
            guard let link = try await from(source, { try await $0.store.read(key) }) else { continue }
            try EpochLink.check(link, of: epoch, earlier: target.keys.all, subject: "\(key)")
            return try await target.putOnce(key, link)
        }
    }

    // MARK: - Backups

    /// Puts what was read from a source, and looks at it again.
    private func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws {
        do throws(StoreError) {
            try await target.store.put(key, bytes, rule)
        } catch {
            guard error.reason == .alreadyThere else { throw error }
            guard try await target.store.read(key) == bytes else {
                throw RepositoryError(.damaged, "\(key)", cause: "store \(store) holds something else under its name")
            }
        }
        guard try await target.store.size(key) == Int64(bytes.count) else {
            throw RepositoryError(.damaged, "\(key)", cause: "store \(store) does not have all of what it took")
        }
    }

    private mutating func copyTombstone(_ number: Int) async throws {
        let key = layout.tombstone(number)
        for source in sources where holdings[source.store]?.tombstones.contains(number) == true {
            let read = try await from(source) { repository in
                _ = try await repository.tombstone(number)
                return try await repository.store.read(key)
            }
            guard let read else { continue }
            try await put(key, read, .lasting)
            report.others += 1
            return
        }
    }

    /// - Returns: whether the target has it now.
    private mutating func copyBackup(_ number: Int, _ own: Holdings) async throws -> Bool {
        for source in sources(of: number) {
            guard let sealed = try await bytes(number, source) else { continue }
            let object = try source.repository.open(sealed, number: number)
            do {
                try await requireChain(object.previous, number, own)
                if case .manifest(let manifest) = object {
                    try await copyPacks(of: manifest)
                    try await copyIndexes()
                    try await requirePacks(of: manifest)
                }
            } catch let error as RepositoryError where error.reason == .damaged || error.reason == .diverged {
                note(number, error)
                return false
            }
            try await put(layout.backup(number), sealed, .lasting)
            let hash = ContentHash(hashing: sealed)
            report.hashes[number] = hash
            if case .manifest(let manifest) = object {
                report.backups.append(BackupSummary(manifest))
            } else {
                report.others += 1
            }
            return true
        }
        return false
    }

    /// What the target holds under the number before must be what the backup follows.
    private func requireChain(_ previous: ContentHash?, _ number: Int, _ own: Holdings) async throws {
        let before: ContentHash?
        if let known = report.hashes[number - 1] {
            before = known
        } else if own.objects[number - 1] != nil {
            before = try await target.hash(of: number - 1)
        } else {
            return
        }
        guard before == previous else {
            throw RepositoryError(
                .diverged, "backup \(number) of \(name)",
                cause: "store \(store) holds another backup \(number - 1) than the one that it follows")
        }
    }

    /// Brings the packs that a backup needs and the target lacks; where one is lost or damaged in all sources, others that
    /// hold the same chunks.
    private mutating func copyPacks(of manifest: Manifest) async throws {
        var useless: Set<ContentHash> = []
        while true {
            let missing = manifest.chunks.keys.filter { !catalog.contains($0) }
            if missing.isEmpty { return }
            var plan: Set<ContentHash> = []
            for id in missing {
                guard let pack = try await place(of: id, without: useless) else {
                    throw RepositoryError(
                        .damaged, "backup \(manifest.number) of \(name)",
                        cause: "chunk \(id) lies in no whole pack of any other store")
                }
                plan.insert(pack)
            }
            for pack in plan.sorted() {
                try Task.checkCancellation()
                if try await !copyPack(pack) { useless.insert(pack) }
            }
        }
    }

    private mutating func place(of id: ChunkID, without useless: Set<ContentHash>) async throws -> ContentHash? {
        for source in sources {
            guard let catalog = try await catalog(of: source), let place = catalog.location(id) else { continue }
            let pack = catalog.packs[Int(place.pack)].name
            if !useless.contains(pack) { return pack }
        }
        return nil
    }

    /// - Returns: whether the target has it now, read back and hashed.
    private mutating func copyPack(_ name: ContentHash) async throws -> Bool {
        if catalog.packs.contains(where: { $0.name == name && $0.isMarked }) {
            throw RepositoryError(
                .aborted, "the copy",
                cause: "a prune of store \(store) has marked packs that it builds on; run it again")
        }
        let key = layout.pack(name)
        for source in sources {
            guard try await catalog(of: source)?.packs.contains(where: { $0.name == name }) == true else { continue }
            let read = try await from(source) { repository -> (StoredPack, [UInt8]) in
                let bytes = try await repository.store.read(key)
                guard ContentHash(hashing: bytes) == name else {
                    throw RepositoryError(.damaged, "\(key)", cause: "its bytes do not have its name's hash")
                }
                let range = try Pack.trailerRange(
                    footer: bytes.suffix(Pack.footerLength), size: Int64(bytes.count), subject: "\(key)")
                let pack = try repository.storedPack(
                    name, size: Int64(bytes.count), trailer: bytes[Int(range.lowerBound)..<Int(range.upperBound)],
                    at: range.lowerBound)
                return (pack, bytes)
            }
            guard let (pack, bytes) = read else { continue }
            try await put(key, bytes, .lasting)
            guard ContentHash(hashing: try await target.store.read(key)) == name else {
                throw StoreError(.damaged, key, cause: "store \(store) gives back other bytes than it took")
            }
            catalog.add(pack, isMarked: false)
            catalog.cover(pack.name, isIndexed: false)
            report.packs += 1
            report.bytes += pack.size
            progress(pack.size)
            return true
        }
        return false
    }

    /// The sources' indexes of packs that no index of the target names. Without one, the trailers tell.
    private mutating func copyIndexes() async throws {
        let layout = layout
        for source in sources where !catalog.unindexed.isEmpty {
            guard let indexes = try await catalog(of: source)?.indexes else { continue }
            for (key, packs) in indexes.sorted(by: { $0.key < $1.key })
            where catalog.indexes[key] == nil && packs.contains(where: { catalog.unindexed.contains($0) }) {
                let read = try await from(source) { try await $0.store.read(key) }
                guard let bytes = read, layout.indexName(key) == ContentHash(hashing: bytes) else { continue }
                try await put(key, bytes, .createOnly)
                for pack in packs { catalog.cover(pack, isIndexed: true) }
            }
        }
    }

    private func requirePacks(of manifest: Manifest) async throws {
        var needed: Set<ContentHash> = []
        for id in manifest.chunks.keys {
            if let place = catalog.location(id) { needed.insert(catalog.packs[Int(place.pack)].name) }
        }
        try await target.requirePacks(needed, "the copy into store \(store)")
    }

    // MARK: - Logs

    /// Slices and gaps that the target lacks; none that are older than its own, which a prune may have taken.
    private mutating func copyLogs() async throws {
        let own = try await target.logNames()
        let oldest = Dictionary(own.map { ($0.log, $0.from) }, uniquingKeysWith: { min($0, $1) })
        var known = Set(own)
        for source in sources {
            for name in try await from(source, { try await $0.logNames() }) ?? [] {
                guard !known.contains(name), oldest[name.log].map({ name.from >= $0 }) ?? true else { continue }
                let key = layout.log(name)
                let read = try await from(source) { repository in
                    let bytes = try await repository.store.read(key)
                    if name.isGap {
                        _ = try repository.gap(bytes, name: name)
                    } else {
                        _ = try StoredSlice(bytes, name: name, in: repository)
                    }
                    return bytes
                }
                guard let bytes = read else { continue }
                try await put(key, bytes, .lasting)
                known.insert(name)
                report.others += 1
            }
        }
    }
}
