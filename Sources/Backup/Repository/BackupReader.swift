internal import Crypto
package import DRPKit
internal import Foundation
internal import Synchronization

extension Repository {
    /// Opens content: what a restore reads from.
    /// - Parameter roots: of all epochs that will be read.
    package func reader(_ roots: [RootKey]) async throws -> BackupReader {
        var openers: [Int: BackupReader.Opener] = [:]
        for root in roots {
            guard root.client == keys.client, let keys = keys.of(epoch: root.epoch) else {
                throw RepositoryError(
                    .foreign, "the repository of \(keys.name)",
                    cause: "the root key is of \(root.name), epoch \(root.epoch)")
            }
            openers[root.epoch] = BackupReader.Opener(
                privateKey: try root.privateKey(), binding: keys.binding, ids: ChunkIDKey(keys.idKey))
        }
        return BackupReader(self, catalog: try await ChunkCatalog.load(self), openers: openers)
    }
}

/// Reads chunks: one ranged read each, opened with the key of its pack.
package final class BackupReader: ChunkSource {
    private struct KeyPlace: Hashable {
        var pack: Int32
        var key: UInt16
    }

    /// What opens the packs of one epoch.
    struct Opener: Sendable {
        var privateKey: Curve25519.KeyAgreement.PrivateKey
        var binding: Binding
        var ids: ChunkIDKey

        func packKey(_ wrapped: [UInt8], of pack: String) throws(RepositoryError) -> SymmetricKey {
            do {
                return try KeyWrap.open(wrapped, with: privateKey, info: binding.bytes(.packKey))
            } catch {
                throw RepositoryError(.damaged, pack, cause: "its key does not open")
            }
        }

        /// - Parameter place: what holds the sealed chunk.
        func open(
            _ sealed: ArraySlice<UInt8>, _ id: ChunkID, _ kind: ChunkKind, key: SymmetricKey, length: Int,
            _ compression: Compression, place: String
        ) throws -> [UInt8] {
            let subject = "chunk \(id)"
            do {
                let box = try AES.GCM.SealedBox(combined: sealed)
                let associated = binding.bytes(.chunk, Pack.chunkExtra(id, kind))
                return try AES.GCM.open(box, using: key, authenticating: associated).withUnsafeBytes {
                    try compression.decompressed($0, length: length, subject: subject)
                }
            } catch let error as RepositoryError {
                throw error
            } catch {
                throw RepositoryError(.damaged, subject, cause: "it does not authenticate in \(place)")
            }
        }

        func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws(RepositoryError) {
            guard ids.id(kind: kind, hashes: hashes) == id else {
                throw RepositoryError(.damaged, "chunk \(id)", cause: "its records are not those that its id names")
            }
        }
    }

    let repository: Repository
    private let catalog: ChunkCatalog
    let openers: [Int: Opener]
    private let packKeys = Mutex<[KeyPlace: SymmetricKey]>([:])

    init(_ repository: Repository, catalog: ChunkCatalog, openers: [Int: Opener]) {
        self.repository = repository
        self.catalog = catalog
        self.openers = openers
    }

    package func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8] {
        let (place, opener) = try find(id)
        guard place.kind == kind else {
            throw RepositoryError(.damaged, "chunk \(id)", cause: "it is of kind \(place.kind)")
        }
        let key = repository.layout.pack(catalog.packs[Int(place.pack)].name)
        let start = Int64(place.offset)
        let sealed = try OwnThread.wait { [store = repository.store] in
            try await store.read(key, range: start..<start + Int64(place.sealedLength))
        }
        return try opener.open(
            sealed[...], id, kind, key: try packKey(place, opener, of: key), length: Int(place.plainLength),
            repository.compression, place: "\(key)")
    }

    package func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws {
        try find(id).opener.verifyID(id, kind: kind, hashes: hashes)
    }

    /// The fingerprints of a chunk's records; nil if none were kept.
    func fingerprints(_ id: ChunkID) throws -> FingerprintList? {
        let (place, _) = try find(id)
        let pack = catalog.packs[Int(place.pack)]
        guard place.listLength > 0, let keys = repository.keys.of(epoch: pack.epoch) else { return nil }
        let start = Int64(place.offset) + Int64(place.sealedLength)
        let sealed = try OwnThread.wait { [store = repository.store, key = repository.layout.pack(pack.name)] in
            try await store.read(key, range: start..<start + Int64(place.listLength))
        }
        return try FingerprintList.open(sealed, of: id, place.kind, keys: keys)
    }

    /// What the list of these hashes would be.
    func fingerprints(_ hashes: [ContentHash], of id: ChunkID) throws -> FingerprintList? {
        let epoch = catalog.packs[Int(try find(id).place.pack)].epoch
        return try repository.keys.of(epoch: epoch).map { try FingerprintList(hashes, keys: $0) }
    }

    private func find(_ id: ChunkID) throws -> (place: ChunkCatalog.Location, opener: Opener) {
        guard let place = catalog.location(id) else {
            throw RepositoryError(.damaged, "chunk \(id)", cause: "no readable pack holds it")
        }
        let epoch = catalog.packs[Int(place.pack)].epoch
        guard let opener = openers[epoch] else {
            throw RepositoryError(.notRecipient, "chunk \(id)", cause: "it is of epoch \(epoch)")
        }
        return (place, opener)
    }

    /// Opens each key of a pack once.
    private func packKey(_ place: ChunkCatalog.Location, _ opener: Opener, of pack: ObjectKey) throws -> SymmetricKey {
        let keyPlace = KeyPlace(pack: place.pack, key: place.key)
        if let key = packKeys.withLock({ $0[keyPlace] }) { return key }
        let key = try opener.packKey(catalog.packs[Int(place.pack)].keys[Int(place.key)], of: "\(pack)")
        packKeys.withLock { $0[keyPlace] = key }
        return key
    }
}
