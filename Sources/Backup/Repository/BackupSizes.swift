internal import DRPKit

/// What one backup takes in its repository as it is now, counted from its manifest, the other manifests and the trailers.
///
/// `source >= unique.plain`, and `new + shared = unique` in every number. The sum of `new.stored` over all backups, and
/// of trailers and footers over all packs, is the size of all packs, unless a backup that never came to its end, or one
/// that was deleted, left chunks that nobody needs.
package struct BackupSizes: Codable, Sendable, Equatable {
    /// Some chunks, each counted once.
    package struct Part: Codable, Sendable, Equatable {
        package var chunks = 0
        /// Bytes of records.
        package var plain: Int64 = 0
        package var compressed: Int64 = 0
        /// Compressed and sealed, with their fingerprints: what they take in packs.
        package var stored: Int64 = 0

        package init() {}
    }

    /// Bytes of records; those of a chunk that stands in the backup twice count twice.
    package var source: Int64 = 0
    /// All that the backup needs.
    package var unique = Part()
    /// Of that, what no earlier backup has.
    package var new = Part()
    /// Of that, what an earlier backup has too.
    package var shared = Part()
    /// Of all that the backup needs, what no other backup has, be it earlier or later: what its deletion would free.
    package var alone = Part()
    /// Chunks that are in no readable pack: they count nowhere else.
    package var missing = 0
    /// Other backups that cannot be read, whose chunks are not known.
    package var unread: [Int] = []

    package init() {}

    /// Source bytes for each stored byte.
    package var ratio: Double { unique.stored > 0 ? Double(source) / Double(unique.stored) : 1 }
}

extension Repository {
    /// Counts what a backup takes. Reads all manifests and indexes, no pack.
    /// - Throws: `StoreError`.
    package func sizes(of manifest: Manifest) async throws -> BackupSizes {
        var sizes = BackupSizes()
        var earlier: Set<ChunkID> = []
        var later: Set<ChunkID> = []
        for number in try await numbers() where number != manifest.number {
            do {
                guard case .manifest(let other) = try await backup(number) else { continue }
                let chunks = other.chunks.keys
                if number < manifest.number { earlier.formUnion(chunks) } else { later.formUnion(chunks) }
            } catch is RepositoryError {
                sizes.unread.append(number)
            }
        }
        let catalog = try await ChunkCatalog.load(self)
        var counts: [ChunkID: Int] = [:]
        for (id, _) in manifest.references { counts[id, default: 0] += 1 }
        for (id, count) in counts {
            guard let place = catalog.location(id) else {
                sizes.missing += 1
                continue
            }
            sizes.source += Int64(place.plainLength) * Int64(count)
            sizes.unique.add(place)
            if earlier.contains(id) { sizes.shared.add(place) } else { sizes.new.add(place) }
            if !earlier.contains(id) && !later.contains(id) { sizes.alone.add(place) }
        }
        return sizes
    }
}

extension BackupSizes.Part {
    fileprivate mutating func add(_ place: ChunkCatalog.Location) {
        chunks += 1
        plain += Int64(place.plainLength)
        compressed += Int64(place.sealedLength) - Int64(Pack.sealOverhead)
        stored += Int64(place.sealedLength) + Int64(place.listLength)
    }
}
