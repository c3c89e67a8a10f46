package import DRPKit

/// Which numbers of the client's one chain a repository holds.
package struct Holdings: Sendable {
    /// Of backups and voids, with the bytes of each object.
    var objects: [Int: Int64] = [:]
    /// Of backups that were let go here.
    var tombstones: Set<Int> = []

    package var numbers: Set<Int> { Set(objects.keys) }

    /// What each store lacks that another one holds, in order; what any of them has let go counts for none.
    package static func lacking(_ stores: [StoreName: Holdings]) -> [StoreName: [Int]] {
        let all = stores.values.reduce(into: Set<Int>()) { $0.formUnion($1.objects.keys) }
        let gone = stores.values.reduce(into: Set<Int>()) { $0.formUnion($1.tombstones) }
        return stores.compactMapValues { holdings in
            let lacking = all.subtracting(gone).subtracting(holdings.objects.keys).sorted()
            return lacking.isEmpty ? nil : lacking
        }
    }
}

extension Repository {
    package func holdings() async throws -> Holdings {
        async let tombstones = store.list(layout.tombstones)
        var holdings = Holdings()
        for object in try await store.list(layout.backups) {
            if let number = layout.backupNumber(object.key) { holdings.objects[number] = object.size }
        }
        holdings.tombstones = Set(try await tombstones.compactMap { layout.tombstoneNumber($0.key) })
        return holdings
    }

    /// Objects and bytes, by what they are.
    package struct Stats: Sendable, Codable, Hashable {
        package var packs = 0
        package var packBytes: Int64 = 0
        package var backups = 0
        package var objects = 0
        package var bytes: Int64 = 0
    }

    package func stats() async throws(StoreError) -> Stats {
        var stats = Stats()
        for object in try await store.list(layout.root) {
            stats.objects += 1
            stats.bytes += object.size
            if layout.packName(object.key) != nil {
                stats.packs += 1
                stats.packBytes += object.size
            }
            if layout.backupNumber(object.key) != nil { stats.backups += 1 }
        }
        return stats
    }
}
