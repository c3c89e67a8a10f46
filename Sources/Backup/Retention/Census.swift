internal import DRPKit
internal import Foundation

/// A set of packs by their numbers in a `ChunkCatalog`: a bit each, since there is one for each backup.
struct PackSet: Sendable {
    private var words: [UInt64]

    init(packs: Int) { words = Array(repeating: 0, count: (packs + 63) / 64) }

    mutating func insert(_ pack: Int) { words[pack / 64] |= 1 << UInt64(pack % 64) }
    mutating func formUnion(_ other: PackSet) { for index in words.indices { words[index] |= other.words[index] } }
    func contains(_ pack: Int) -> Bool { words[pack / 64] & 1 << UInt64(pack % 64) != 0 }
}

/// What a repository holds and who needs it: what prune counts with.
///
/// A chunk that lies in several packs is needed from one of them, and from one under a mark only if no other has it.
struct Census: Sendable {
    struct Backup: Sendable {
        var number: Int
        var instant: Date
        var previous: ContentHash?
        /// SHA-256 of its sealed manifest.
        var hash: ContentHash
        /// Whether each of its chunks lies in a pack.
        var isGood: Bool
        var packs: PackSet
    }

    struct Pack: Sendable {
        var name: ContentHash
        var size: Int64
    }

    /// Of all backups and voids.
    var numbers: Set<Int> = []
    /// Oldest first.
    var backups: [Backup] = []
    /// Those that a running capture builds on.
    var leased: Set<Int> = []
    /// In the order of what they cover.
    var logs: [LogName] = []
    /// Those whose trailers can be read: of others nobody knows what is in them, and they stay.
    var packs: [Pack] = []
    var marks = Repository.Marks()

    var newestGood: Int? { backups.last(where: \.isGood)?.number }

    /// Packs that these backups need.
    func needs(_ numbers: Set<Int>) -> PackSet {
        var needs = PackSet(packs: packs.count)
        for backup in backups where numbers.contains(backup.number) { needs.formUnion(backup.packs) }
        return needs
    }

    /// Counts; one manifest at a time.
    /// - Throws: `RepositoryError` if a manifest cannot be read: what it needs is not known then.
    static func count(_ repository: Repository) async throws -> Census {
        var census = Census()
        // The packs before the manifests: a backup that is committed meanwhile has packs that are not counted and stay.
        census.marks = try await repository.marks()
        let catalog = try await ChunkCatalog.load(repository, marked: census.marks.packs)
        census.packs = catalog.packs.map { Pack(name: $0.name, size: $0.size) }
        census.logs = try await repository.logNames()
        census.leased = Set(try await repository.leasedBackups())
        for number in try await repository.numbers() {
            census.numbers.insert(number)
            if let backup = try await backup(number, repository, catalog) { census.backups.append(backup) }
        }
        return census
    }

    /// - Returns: nil for a void.
    private static func backup(
        _ number: Int, _ repository: Repository, _ catalog: ChunkCatalog
    ) async throws -> Backup? {
        let sealed = try await repository.store.read(repository.layout.backup(number))
        guard case .manifest(let manifest) = try repository.open(sealed, number: number) else { return nil }
        var backup = Backup(
            number: number, instant: manifest.instant, previous: manifest.previous, hash: ContentHash(hashing: sealed),
            isGood: true, packs: PackSet(packs: catalog.packs.count))
        for (id, kind) in manifest.chunks {
            if let place = catalog.location(id), place.kind == kind {
                backup.packs.insert(Int(place.pack))
            } else {
                backup.isGood = false
            }
        }
        return backup
    }
}
