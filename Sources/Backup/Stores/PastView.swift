internal import Foundation
internal import Synchronization

/// One version of an object, or the mark of its deletion.
struct ObjectVersion: Sendable {
    var key: ObjectKey
    /// Empty for what was written before the store kept versions.
    var id: String
    var size: Int64
    var written: Date
    var isMarker: Bool
}

/// A store that tells and reads older versions.
protocol VersionedStore: ObjectStore {
    /// - Parameter version: nil for the newest.
    func read(_ key: ObjectKey, version: String?) async throws(StoreError) -> [UInt8]

    /// - Parameter version: nil for the newest.
    func read(_ key: ObjectKey, range: Range<Int64>, version: String?) async throws(StoreError) -> [UInt8]

    /// All versions of all objects whose names begin so, newest first for each.
    func versions(prefix: String) async throws(StoreError) -> [ObjectVersion]
}

extension VersionedStore {
    package func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] { try await read(key, version: nil) }

    package func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await read(key, range: range, version: nil)
    }

    /// Names of all objects below a folder, also of those that are out of sight.
    func versionedKeys(below folder: ObjectKey) async throws(StoreError) -> [ObjectKey] {
        Set(try await versions(prefix: folder.text + "/").map(\.key)).sorted()
    }

    /// - Returns: false for an empty range, of which nobody needs to be asked.
    /// - Throws: `.damaged` for one that no object can have.
    static func isWanted(_ range: Range<Int64>, of key: ObjectKey) throws(StoreError) -> Bool {
        guard range.lowerBound >= 0, range.count <= largestObject else {
            throw StoreError(.damaged, key, cause: "bytes \(range) were asked for")
        }
        return !range.isEmpty
    }
}

/// What a store held at a time: of each object the version that was newest then.
struct PastView: ObjectStore {
    private let store: any VersionedStore
    private let time: Date
    private let cache = ViewCache()

    /// Versions by folder at the root, listed once.
    private final class ViewCache: Sendable {
        let folders = Mutex<[String: [ObjectKey: ObjectVersion]]>([:])
    }

    init(store: any VersionedStore, time: Date) {
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

    private func version(_ key: ObjectKey) async throws(StoreError) -> ObjectVersion {
        guard let version = try await versions(of: key)[key] else { throw StoreError(.missing, key) }
        return version
    }

    private func versions(of key: ObjectKey) async throws(StoreError) -> [ObjectKey: ObjectVersion] {
        let folder = key.parts[0]
        if let known = cache.folders.withLock({ $0[folder] }) { return known }
        let found = current(try await store.versions(prefix: folder + "/"))
        cache.folders.withLock { $0[folder] = found }
        return found
    }

    private func current(_ versions: [ObjectVersion]) -> [ObjectKey: ObjectVersion] {
        var newest: [ObjectKey: ObjectVersion] = [:]
        for version in versions where version.written <= time {
            // Of two in one second the first that is listed is the newer.
            if let known = newest[version.key], known.written >= version.written { continue }
            newest[version.key] = version
        }
        return newest.filter { !$0.value.isMarker }
    }
}
