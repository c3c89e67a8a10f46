internal import DRPKit

/// Where each chunk of a repository lies: from its indexes, and from the packs' own trailers where an index is
/// missing or damaged. Packs that are not in the store, or not of the size they had, do not count.
struct ChunkCatalog: Sendable {
    struct Location: Sendable {
        var pack: Int32
        var key: UInt16
        var kind: ChunkKind
        var offset: UInt32
        var sealedLength: UInt32
        var plainLength: UInt32
    }

    struct PackRecord: Sendable {
        var name: ContentHash
        var epoch: Int
        var keys: [[UInt8]]
    }

    private(set) var packs: [PackRecord] = []
    private var locations: [ChunkID: Location] = [:]

    /// Objects that could not be used, and why: chunks of such packs are stored again by the next backup.
    private(set) var unusable: [ObjectKey: RepositoryError] = [:]

    func location(_ id: ChunkID) -> Location? { locations[id] }
    func contains(_ id: ChunkID) -> Bool { locations[id] != nil }
    var count: Int { locations.count }

    static func load(_ repository: Repository) async throws -> ChunkCatalog {
        var catalog = ChunkCatalog()
        var uncovered: [ContentHash: Int64] = [:]
        for object in try await repository.store.list(repository.layout.packs) {
            if let name = repository.layout.packName(object.key) { uncovered[name] = object.size }
        }
        for object in try await repository.store.list(repository.layout.indexes) {
            do {
                let index = try await repository.index(object.key)
                for pack in index.packs where uncovered[pack.name] == pack.size {
                    uncovered[pack.name] = nil
                    catalog.add(pack)
                }
            } catch let error as RepositoryError {
                catalog.unusable[object.key] = error
            }
        }
        for (name, size) in uncovered.sorted(by: { $0.key < $1.key }) {
            do {
                catalog.add(try await repository.storedPack(name, size: size))
            } catch let error as RepositoryError {
                catalog.unusable[repository.layout.pack(name)] = error
            }
        }
        return catalog
    }

    private mutating func add(_ pack: StoredPack) {
        let number = Int32(packs.count)
        packs.append(PackRecord(name: pack.name, epoch: pack.epoch, keys: pack.trailer.keys))
        locations.reserveCapacity(locations.count + pack.trailer.entries.count)
        for entry in pack.trailer.entries {
            locations[entry.id] = Location(
                pack: number, key: entry.key, kind: entry.kind, offset: entry.offset,
                sealedLength: entry.sealedLength, plainLength: entry.plainLength)
        }
    }
}
