package import Backup
package import Foundation
internal import Synchronization

/// A store whose process dies at its n-th change, be it a write or a deletion: that one does not happen, and none after.
package final class MortalStore: ObjectStore {
    private let base: any ObjectStore
    private let done = Mutex(0)
    private let changes: Int

    /// - Parameter changes: how many happen.
    package init(_ base: any ObjectStore, changes: Int) {
        self.base = base
        self.changes = changes
    }

    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        try change(key)
        try await base.put(key, bytes, rule)
    }

    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion {
        try change(key)
        return try await base.delete(key)
    }

    package func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] { try await base.read(key) }
    package func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await base.read(key, range: range)
    }
    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] { try await base.list(folder) }
    package func folders() async throws(StoreError) -> [String] { try await base.folders() }
    package func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await base.size(key) }
    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? { try await base.written(key) }

    private func change(_ key: ObjectKey) throws(StoreError) {
        let isDead = done.withLock { done in
            done += 1
            return done > changes
        }
        if isDead { throw StoreError(.unreachable, key, cause: "the process died") }
    }
}
