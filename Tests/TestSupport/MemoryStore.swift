package import Backup
package import Foundation
internal import Synchronization

/// A store in memory: the twin of `FolderStore`.
package final class MemoryStore: ObjectStore {
    private let objects = Mutex<[ObjectKey: [UInt8]]>([:])
    /// Stays when the object is out of sight.
    private let locks = Mutex<[ObjectKey: Date]>([:])
    private let times = Mutex<(now: Date, written: [ObjectKey: Date])>(
        (Date(timeIntervalSince1970: 1_800_000_000), [:]))

    private let hasLocks: Bool

    package init(locks: Bool = false) { hasLocks = locks }

    /// The store's clock, which stands still until it is set.
    package var now: Date {
        get { times.withLock { $0.now } }
        set { times.withLock { $0.now = newValue } }
    }

    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        let isTaken = objects.withLock { objects in
            if rule != .replace && objects[key] != nil { return true }
            objects[key] = bytes
            return false
        }
        if isTaken { throw StoreError(.alreadyThere, key) }
        times.withLock { $0.written[key] = $0.now }
    }

    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? {
        self[key] == nil ? nil : times.withLock { $0.written[key] ?? $0.now }
    }

    package func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] {
        guard let bytes = self[key] else { throw StoreError(.missing, key) }
        return bytes
    }

    package func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        guard let bytes = self[key] else { throw StoreError(.missing, key) }
        guard range.lowerBound >= 0, range.upperBound <= bytes.count else { throw StoreError(.damaged, key) }
        return Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
    }

    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        objects.withLock { objects in
            objects.filter { $0.key.text.hasPrefix(folder.text + "/") }
                .map { StoredObject(key: $0.key, size: Int64($0.value.count)) }.sorted { $0.key < $1.key }
        }
    }

    package func folders() async throws(StoreError) -> [String] { Array(Set(keys.map { $0.parts[0] })).sorted() }
    package func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { self[key].map { Int64($0.count) } }
    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion {
        let until = objects.withLock { objects in
            objects[key] = nil
            return locks.withLock { $0[key] }
        }
        guard let until, until > now else { return .gone }
        return .locked(until: until)
    }

    package func canLock() async throws(StoreError) -> Bool { hasLocks }
    package func locking(_ lock: ObjectLock) -> any ObjectStore { LockingStore(base: self, lock: lock) }

    package func lock(_ key: ObjectKey, _ lock: ObjectLock) async throws(StoreError) {
        guard self[key] != nil else { throw StoreError(.missing, key) }
        locks.withLock { $0[key] = max($0[key] ?? lock.until, lock.until) }
    }

    package func lockedUntil(_ key: ObjectKey) async throws(StoreError) -> Date? {
        guard self[key] != nil else { throw StoreError(.missing, key) }
        return locks.withLock { $0[key] }
    }

    /// The object counts as written when it was in `other`.
    package func setWritten(_ key: ObjectKey, like other: MemoryStore) {
        let time = other.times.withLock { $0.written[key] }
        times.withLock { $0.written[key] = time }
    }

    /// A store with the same objects, which goes its own way.
    package func copy() -> MemoryStore {
        let copy = MemoryStore()
        let now = objects.withLock { $0 }
        copy.objects.withLock { $0 = now }
        return copy
    }

    /// All keys, in order.
    package var keys: [ObjectKey] { objects.withLock { $0.keys.sorted() } }
    package var byteCount: Int { objects.withLock { $0.values.reduce(0) { $0 + $1.count } } }

    /// An object, past all rules: as a hand that reaches into the store.
    package subscript(key: ObjectKey) -> [UInt8]? {
        get { objects.withLock { $0[key] } }
        set { objects.withLock { $0[key] = newValue } }
    }
}

/// Locks what lasts, in the order in which a bucket does it: with the put.
private struct LockingStore: ObjectStore {
    let base: MemoryStore
    let lock: ObjectLock

    func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        try await base.put(key, bytes, rule)
        if case .lasting = rule { try await base.lock(key, lock) }
    }
    func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] { try await base.read(key) }
    func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await base.read(key, range: range)
    }
    func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] { try await base.list(folder) }
    func folders() async throws(StoreError) -> [String] { try await base.folders() }
    func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await base.size(key) }
    func written(_ key: ObjectKey) async throws(StoreError) -> Date? { try await base.written(key) }
    func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion { try await base.delete(key) }
    func canLock() async throws(StoreError) -> Bool { true }
    func lock(_ key: ObjectKey, _ lock: ObjectLock) async throws(StoreError) { try await base.lock(key, lock) }
    func lockedUntil(_ key: ObjectKey) async throws(StoreError) -> Date? { try await base.lockedUntil(key) }
}

/// A store that fails from its n-th `put` on, as a full disk or a dead process does; reads go through.
package final class FaultyStore: ObjectStore {
    private let base: any ObjectStore
    private let left: Mutex<Int>
    private let reason: StoreError.Reason

    /// - Parameter puts: how many succeed.
    package init(_ base: any ObjectStore, puts: Int, then reason: StoreError.Reason) {
        self.base = base
        self.reason = reason
        left = Mutex(puts)
    }

    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        let fails = left.withLock { left in
            left -= 1
            return left < 0
        }
        if fails { throw StoreError(reason, key) }
        try await base.put(key, bytes, rule)
    }

    package func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] { try await base.read(key) }
    package func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await base.read(key, range: range)
    }
    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] { try await base.list(folder) }
    package func folders() async throws(StoreError) -> [String] { try await base.folders() }
    package func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await base.size(key) }
    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? { try await base.written(key) }
    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion { try await base.delete(key) }
    package func sweep() async throws(StoreError) { try await base.sweep() }
}
