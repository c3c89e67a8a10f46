internal import DRPKit
package import Foundation
internal import Glibc

/// A store in a local folder.
///
/// An object is written to a temporary file of the folder `.drp-tmp`, flushed, moved to its name without
/// replacing, and its folder flushed: after a power cut it is there as a whole or not at all. The root may
/// be a symbolic link, nothing below it is followed. Files are 0600, folders 0700. Beside it, `.drp-reserve` keeps a
/// little room for what makes room.
/// Each call blocks a thread of its own, never the cooperative pool.
package struct FolderStore: ObjectStore {
    /// A temporary file of this age that nobody holds is stale.
    private static let staleAge: Int64 = 60
    private static let temporaryFolder = ".drp-tmp"

    package let root: String
    /// Whether what is put may use the reserve up.
    private var mayUseReserve = false

    /// - Parameter root: the folder's path; its last part is made by the first `put`.
    package init(root: String) { self.root = root }

    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        try await blocking(key) {
            while true {
                do { return try place(key, bytes, rule) } catch let error as StoreError {
                    guard mayUseReserve, error.reason == .full,
                        try FolderReserve(root: try openRoot(.mustExist)).give(bytes.count)
                    else { throw error }
                }
            }
        }
    }

    package func makingRoom() -> any ObjectStore {
        var store = self
        store.mayUseReserve = true
        return store
    }

    package func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] {
        try await blocking(key) {
            let file = try openForReading(key)
            let size = try file.status().size
            guard size <= largestObject else { throw StoreError(.damaged, key, cause: "it holds \(size) bytes") }
            return try file.read(at: 0, count: Int(size))
        }
    }

    package func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        guard range.lowerBound >= 0, range.count <= largestObject else {
            throw StoreError(.damaged, key, cause: "bytes \(range) were asked for")
        }
        return try await blocking(key) {
            let file = try openForReading(key)
            // Asked before anything is allocated for a length that came from outside.
            guard try file.status().size >= range.upperBound else {
                throw StoreError(.damaged, key, cause: "it is shorter than \(range.upperBound) bytes")
            }
            return try file.read(at: range.lowerBound, count: range.count)
        }
    }

    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        try await blocking(folder) {
            guard let open = try openFolder(folder.parts) else { return [] }
            var found: [StoredObject] = []
            try collect(open, folder, into: &found)
            return found.sorted { $0.key < $1.key }
        }
    }

    package func folders() async throws(StoreError) -> [String] {
        try await blocking(nil) {
            let open = try openRoot(.mustExist)
            let entries = try open.entries().filter { ObjectKey.isPart($0) }
            return try entries.filter { try open.status(of: $0)?.isFolder == true }.sorted()
        }
    }

    package func size(_ key: ObjectKey) async throws(StoreError) -> Int64? {
        try await blocking(key) {
            guard let folder = try openFolder(key.parts.dropLast()), let status = try folder.status(of: key.name)
            else { return nil }
            guard status.isFile else { throw StoreError(.damaged, key, cause: "it is no plain file") }
            return status.size
        }
    }

    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? {
        try await blocking(key) {
            guard let folder = try openFolder(key.parts.dropLast()), let status = try folder.status(of: key.name)
            else { return nil }
            return Date(timeIntervalSince1970: Double(status.changed))
        }
    }

    @discardableResult
    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion {
        try await blocking(key) {
            guard let folder = try openFolder(key.parts.dropLast()) else { return .gone }
            guard unlinkat(folder.number, key.name, 0) == 0 || errno == ENOENT else {
                throw StoreError(errno: errno, key)
            }
            Failpoint.hit("store.deleted")
            try folder.flush()
            return .gone
        }
    }

    package func sweep() async throws(StoreError) {
        try await sweep(olderThan: Self.staleAge)
        try await blocking(nil) { try FolderReserve(root: try openRoot(.mustExist)).fill() }
    }

    /// Removes temporary files that are older than `age` seconds by the store's own clock and that no live
    /// writer holds: each holds a lock (flock) on its file, which ends with its process.
    func sweep(olderThan age: Int64) async throws(StoreError) {
        try await blocking(nil) {
            guard let folder = try openRoot(.mustExist).folder(Self.temporaryFolder) else { return }
            let probe = try TemporaryFile(in: folder, key: nil)
            defer { probe.discard() }
            let now = try probe.file.status().changed
            for name in try folder.entries() where name != probe.name && name.hasPrefix(TemporaryFile.prefix) {
                guard let file = try folder.file(name), try now - file.status().changed >= age,
                    flock(file.number, LOCK_EX | LOCK_NB) == 0
                else { continue }
                guard unlinkat(folder.number, name, 0) == 0 || errno == ENOENT else {
                    throw StoreError(errno: errno, nil)
                }
            }
        }
    }

    // MARK: - On the blocking thread

    private enum Absence { case mustExist, make }

    private func blocking<Result: Sendable>(
        _ key: ObjectKey?, _ body: @escaping @Sendable () throws -> Result
    ) async throws(StoreError) -> Result {
        do {
            return try await OwnThread.run("store", body)
        } catch let error as StoreError {
            throw StoreError(error.reason, error.key ?? key, cause: located(error))
        } catch {
            throw StoreError(.unreachable, key, cause: "\(error)")
        }
    }

    /// What the folder's disk or owner has to mend names the folder: a client may have several stores.
    private func located(_ error: StoreError) -> String? {
        switch error.reason {
        case .denied, .full, .unreachable:
            error.cause.map { $0.contains(root) ? $0 : "\($0), in folder \(root)" } ?? "in folder \(root)"
        case .missing, .alreadyThere, .damaged, .unsupported, .skewed, .claimed: error.cause
        }
    }

    private func place(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) throws {
        let root = try openRoot(.make)
        let temporary = try TemporaryFile(in: try root.madeFolder(Self.temporaryFolder), key: key)
        do {
            try temporary.file.write(bytes)
            Failpoint.hit("store.written")
            try temporary.file.flush()
            var folder = root
            for part in key.parts.dropLast() { folder = try folder.madeFolder(part) }
            Failpoint.hit("store.flushed")
            try temporary.move(to: key.name, in: folder, rule)
            Failpoint.hit("store.placed")
            try folder.flush()
        } catch {
            temporary.discard()
            throw error
        }
    }

    private func openRoot(_ absence: Absence) throws -> Descriptor {
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
        var number = open(root, flags)
        if number < 0 && errno == ENOENT && absence == .make {
            // Only the last part: a missing parent is rather a disk that is not mounted.
            guard mkdir(root, 0o700) == 0 || errno == EEXIST else { throw StoreError(errno: errno, nil, path: root) }
            number = open(root, flags)
        }
        guard number >= 0 else { throw StoreError(errno: errno, nil, path: root) }
        return Descriptor(number)
    }

    /// - Returns: nil if a folder on the way is missing.
    private func openFolder(_ parts: some Sequence<String>) throws -> Descriptor? {
        var folder = try openRoot(.mustExist)
        for part in parts {
            guard let next = try folder.folder(part) else { return nil }
            folder = next
        }
        return folder
    }

    private func openForReading(_ key: ObjectKey) throws -> Descriptor {
        guard let folder = try openFolder(key.parts.dropLast()), let file = try folder.file(key.name) else {
            throw StoreError(.missing, key)
        }
        guard try file.status().isFile else { throw StoreError(.damaged, key, cause: "it is no plain file") }
        return file
    }

    private func collect(_ folder: Descriptor, _ key: ObjectKey, into found: inout [StoredObject]) throws {
        for name in try folder.entries() where ObjectKey.isPart(name) {
            guard let status = try folder.status(of: name), let child = ObjectKey(key.text + "/" + name) else {
                continue
            }
            if status.isFile {
                found.append(StoredObject(key: child, size: status.size))
            } else if status.isFolder, let next = try folder.folder(name) {
                try collect(next, child, into: &found)
            }
        }
    }
}
