internal import DRPKit

/// Where each chunk of a repository lies: from its indexes, and from the packs' own trailers where an index is
/// missing or damaged. Packs that are not in the store, or not of the size they had, do not count.
///
/// A pack under the mark of a prune may soon be gone: its chunks can be read, where no other pack has them, but a backup
/// does not know them and stores them again.
struct ChunkCatalog: Sendable {
    struct Location: Sendable {
        var pack: Int32
        var key: UInt16
        var kind: ChunkKind
        var offset: UInt32
        var sealedLength: UInt32
        var plainLength: UInt32
        var listLength: UInt32
    }

    struct PackRecord: Sendable {
        var name: ContentHash
        var epoch: Int
        var size: Int64
        var keys: [[UInt8]]
        var isMarked: Bool
    }

    private(set) var packs: [PackRecord] = []
    private var locations: [ChunkID: Location] = [:]

    /// The indexes that are there, and which packs each names.
    private(set) var indexes: [ObjectKey: [ContentHash]] = [:]

    /// Packs that an index names and that are not there, or not of the size they had.
    private(set) var absent: Set<ContentHash> = []

    /// Packs that no index names.
    private(set) var unindexed: Set<ContentHash> = []

    /// Objects that could not be used, and why: chunks of such packs are stored again by the next backup.
    private(set) var unusable: [ObjectKey: RepositoryError] = [:]

    func location(_ id: ChunkID) -> Location? { locations[id] }

    /// Whether a backup may rely on the chunk.
    func contains(_ id: ChunkID) -> Bool {
        guard let location = locations[id] else { return false }
        return !packs[Int(location.pack)].isMarked
    }

    var count: Int { locations.count }

    static func load(_ repository: Repository) async throws -> ChunkCatalog {
        // The marks before the packs: when a mark goes, what it names is gone already.
        let marks = try await repository.marks()
        var catalog = try await load(repository, marked: marks.packs)
        catalog.unusable.merge(marks.damaged) { first, _ in first }
        return catalog
    }

    static func load(_ repository: Repository, marked: Set<ContentHash>) async throws -> ChunkCatalog {
        async let indexes = repository.store.list(repository.layout.indexes)
        var catalog = ChunkCatalog()
        var uncovered: [ContentHash: Int64] = [:]
        for object in try await repository.store.list(repository.layout.packs) {
            if let name = repository.layout.packName(object.key) { uncovered[name] = object.size }
        }
        for object in try await indexes {
            do {
                let index = try await repository.index(object.key)
                catalog.indexes[object.key] = index.packs.map(\.name)
                for pack in index.packs where uncovered[pack.name] == pack.size {
                    uncovered[pack.name] = nil
                    catalog.add(pack, isMarked: marked.contains(pack.name))
                }
            } catch let error as RepositoryError {
                catalog.unusable[object.key] = error
            } catch let error as StoreError where error.reason == .missing {
                // A prune has replaced it meanwhile: the trailers of its packs tell.
            }
        }
        catalog.absent = Set(catalog.indexes.values.joined()).subtracting(catalog.packs.map(\.name))
        catalog.unindexed = Set(uncovered.keys)
        for (name, size) in uncovered.sorted(by: { $0.key < $1.key }) {
            do {
                catalog.add(
                    try await repository.storedPack(name, size: size), isMarked: marked.contains(name))
            } catch let error as RepositoryError {
                catalog.unusable[repository.layout.pack(name)] = error
            } catch let error as StoreError where error.reason == .missing {
                // A prune has removed it meanwhile: no backup that is kept needs it.
            }
        }
        return catalog
    }

    mutating func add(_ pack: StoredPack, isMarked: Bool) {
        let number = Int32(packs.count)
        packs.append(
            PackRecord(
                name: pack.name, epoch: pack.epoch, size: pack.size, keys: pack.trailer.keys, isMarked: isMarked))
        locations.reserveCapacity(locations.count + pack.trailer.entries.count)
        for entry in pack.trailer.entries {
            if isMarked, locations[entry.id] != nil { continue }
            locations[entry.id] = Location(
                pack: number, key: entry.key, kind: entry.kind, offset: entry.offset,
                sealedLength: entry.sealedLength, plainLength: entry.plainLength, listLength: entry.listLength)
        }
    }

    /// Notes whether an index names the pack.
    mutating func cover(_ pack: ContentHash, isIndexed: Bool) {
        if isIndexed { unindexed.remove(pack) } else { unindexed.insert(pack) }
    }
}
