package import Backup
package import Foundation
internal import Synchronization

/// A store whose reads go wrong from the n-th on: they fail, or give other bytes; writes go through.
package final class FlakyStore: ObjectStore {
    package enum Fault: Sendable { case unreachable, missing, corrupt }

    private let base: any ObjectStore
    private let left: Mutex<Int>
    private let fault: Fault

    /// - Parameter reads: how many go well, listings included.
    package init(_ base: any ObjectStore, reads: Int, _ fault: Fault) {
        self.base = base
        self.fault = fault
        left = Mutex(reads)
    }

    /// Makes the next read the first that goes wrong, or lets so many go well.
    package func allow(_ reads: Int) { left.withLock { $0 = reads } }

    private var isGood: Bool {
        left.withLock { left in
            left -= 1
            return left >= 0
        }
    }

    private func faulty(_ key: ObjectKey, _ bytes: [UInt8]) throws(StoreError) -> [UInt8] {
        if isGood { return bytes }
        switch fault {
        case .unreachable: throw StoreError(.unreachable, key)
        case .missing: throw StoreError(.missing, key)
        case .corrupt: return bytes.map { $0 ^ 1 }
        }
    }

    package func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] {
        try faulty(key, try await base.read(key))
    }
    package func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try faulty(key, try await base.read(key, range: range))
    }
    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        if fault == .unreachable, !isGood { throw StoreError(.unreachable, folder) }
        return try await base.list(folder)
    }
    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        try await base.put(key, bytes, rule)
    }
    package func folders() async throws(StoreError) -> [String] { try await base.folders() }
    package func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await base.size(key) }
    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? { try await base.written(key) }
    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion { try await base.delete(key) }
}
