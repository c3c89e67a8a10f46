internal import Crypto
package import DRPKit
internal import Foundation
internal import Synchronization

extension Repository {
    /// Opens content: what a restore reads from.
    package func reader(_ root: RootKey) async throws -> BackupReader {
        guard root.client == keys.client, root.epoch == keys.epoch else {
            throw RepositoryError(.foreign, "the repository of \(keys.name)", cause: "the root key is of \(root.name)")
        }
        return BackupReader(self, catalog: try await ChunkCatalog.load(self), privateKey: try root.privateKey())
    }
}

/// Reads chunks: one ranged read each, opened with the key of its pack.
package final class BackupReader: ChunkSource {
    private struct KeyPlace: Hashable {
        var pack: Int32
        var key: UInt16
    }

    private let repository: Repository
    private let catalog: ChunkCatalog
    private let privateKey: Curve25519.KeyAgreement.PrivateKey
    private let ids: ChunkIDKey
    private let packKeys = Mutex<[KeyPlace: SymmetricKey]>([:])

    init(_ repository: Repository, catalog: ChunkCatalog, privateKey: Curve25519.KeyAgreement.PrivateKey) {
        self.repository = repository
        self.catalog = catalog
        self.privateKey = privateKey
        ids = ChunkIDKey(repository.keys.idKey)
    }

    package func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8] {
        let subject = "chunk \(id)"
        guard let place = catalog.location(id) else {
            throw RepositoryError(.damaged, subject, cause: "no readable pack holds it")
        }
        guard place.kind == kind else { throw RepositoryError(.damaged, subject, cause: "it is of kind \(place.kind)") }
        let key = repository.layout.pack(catalog.packs[Int(place.pack)].name)
        let start = Int64(place.offset)
        let sealed = try OwnThread.wait { [store = repository.store] in
            try await store.read(key, range: start..<start + Int64(place.sealedLength))
        }
        let packKey = try packKey(place, of: key)
        do {
            let box = try AES.GCM.SealedBox(combined: sealed)
            let associated = repository.keys.binding.bytes(.chunk, Pack.chunkExtra(id, kind))
            return try AES.GCM.open(box, using: packKey, authenticating: associated).withUnsafeBytes {
                try repository.compression.decompressed($0, length: Int(place.plainLength), subject: subject)
            }
        } catch let error as RepositoryError {
            throw error
        } catch {
            throw RepositoryError(.damaged, subject, cause: "it does not authenticate in \(key)")
        }
    }

    package func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws {
        guard ids.id(kind: kind, hashes: hashes) == id else {
            throw RepositoryError(.damaged, "chunk \(id)", cause: "its records are not those that its id names")
        }
    }

    /// Opens each key of a pack once.
    private func packKey(_ place: ChunkCatalog.Location, of pack: ObjectKey) throws -> SymmetricKey {
        let keyPlace = KeyPlace(pack: place.pack, key: place.key)
        if let key = packKeys.withLock({ $0[keyPlace] }) { return key }
        let wrapped = catalog.packs[Int(place.pack)].keys[Int(place.key)]
        do {
            let key = try KeyWrap.open(wrapped, with: privateKey, info: repository.keys.binding.bytes(.packKey))
            packKeys.withLock { $0[keyPlace] = key }
            return key
        } catch {
            throw RepositoryError(.damaged, "\(pack)", cause: "its key does not open")
        }
    }
}
