internal import Foundation
internal import Synchronization

/// What a bucket held at a time: of each object the version that was newest then.
struct S3View: ObjectStore {
    private let store: S3Store
    private let time: Date
    private let cache = ViewCache()

    /// Versions by folder at the root, listed once.
    private final class ViewCache: Sendable {
        let folders = Mutex<[String: [ObjectKey: S3Version]]>([:])
    }

    init(store: S3Store, time: Date) {
        self.store = store
        self.time = time
    }

    func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] {
        try await store.read(key, version: try await version(key).id)
    }

    func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await store.read(key, range: range, version: try await version(key).id)
    }

    func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        let prefix = folder.text + "/"
        return try await versions(of: folder).values.filter { $0.key.text.hasPrefix(prefix) }
            .map { StoredObject(key: $0.key, size: $0.size) }.sorted { $0.key < $1.key }
    }

    func folders() async throws(StoreError) -> [String] {
        // What is out of sight now has no prefix in a plain list: all versions are asked for.
        let all = try await store.versions(prefix: "")
        return Set(current(all).keys.filter { $0.parts.count > 1 }.map { $0.parts[0] }).sorted()
    }

    func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await versions(of: key)[key]?.size }
    func written(_ key: ObjectKey) async throws(StoreError) -> Date? { try await versions(of: key)[key]?.written }

    func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) { throw readOnly(key) }
    func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion { throw readOnly(key) }

    private func readOnly(_ key: ObjectKey) -> StoreError {
        StoreError(.unsupported, key, cause: "this is the past, which can be read alone")
    }

    private func version(_ key: ObjectKey) async throws(StoreError) -> S3Version {
        guard let version = try await versions(of: key)[key] else { throw StoreError(.missing, key) }
        return version
    }

    private func versions(of key: ObjectKey) async throws(StoreError) -> [ObjectKey: S3Version] {
        let folder = key.parts[0]
        if let known = cache.folders.withLock({ $0[folder] }) { return known }
        let found = current(try await store.versions(prefix: folder + "/"))
        cache.folders.withLock { $0[folder] = found }
        return found
    }

    private func current(_ versions: [S3Version]) -> [ObjectKey: S3Version] {
        var newest: [ObjectKey: S3Version] = [:]
        for version in versions where version.written <= time {
            // Of two in one second the first that is listed is the newer.
            if let known = newest[version.key], known.written >= version.written { continue }
            newest[version.key] = version
        }
        return newest.filter { !$0.value.isMarker }
    }
}
