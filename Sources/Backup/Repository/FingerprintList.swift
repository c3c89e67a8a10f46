internal import Crypto
internal import CryptoExtras
internal import DRPKit
internal import Foundation

/// The fingerprints of a chunk's records: 12 bytes each, in order. With them a writer that cannot read the chunk finds
/// which of its records a stream still has. They lie behind the sealed chunk, sealed under the catalog key: whoever knew
/// them could not read a record either, but could tell whether two backups have it.
struct FingerprintList: Sendable, Equatable {
    /// Bytes of one fingerprint.
    static let length = 12

    var bytes: [UInt8]

    var count: Int { bytes.count / Self.length }

    /// AES-256 as a MAC over the two blocks of a hash (CBC-MAC of one fixed length), cut to 96 bits.
    init(_ hashes: [ContentHash], keys: WriterKeys) throws {
        let key = keys.derived("fingerprint")
        bytes = []
        bytes.reserveCapacity(hashes.count * Self.length)
        for hash in hashes {
            var block = Array(hash.bytes.prefix(16))
            try AES.permute(&block, key: key)
            for (index, byte) in hash.bytes.suffix(16).enumerated() { block[index] ^= byte }
            try AES.permute(&block, key: key)
            bytes.append(contentsOf: block.prefix(Self.length))
        }
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    /// Nonce (12, random), ciphertext, tag (16).
    func sealed(_ id: ChunkID, _ kind: ChunkKind, keys: WriterKeys) throws -> [UInt8] {
        let key = keys.catalogKey.withBytes { SymmetricKey(data: $0) }
        let associated = keys.binding.bytes(.fingerprints, Pack.chunkExtra(id, kind))
        let box = try AES.GCM.seal(bytes, using: key, authenticating: associated)
        return Array(box.nonce) + box.ciphertext + box.tag
    }

    /// - Throws: `.damaged` if it is not the chunk's list.
    static func open(
        _ sealed: [UInt8], of id: ChunkID, _ kind: ChunkKind, keys: WriterKeys
    ) throws(RepositoryError) -> Self {
        let subject = "the fingerprints of chunk \(id)"
        let key = keys.catalogKey.withBytes { SymmetricKey(data: $0) }
        let plain: Data
        do {
            plain = try AES.GCM.open(
                try AES.GCM.SealedBox(combined: sealed), using: key,
                authenticating: keys.binding.bytes(.fingerprints, Pack.chunkExtra(id, kind)))
        } catch {
            throw RepositoryError(.damaged, subject, cause: "they do not authenticate")
        }
        guard plain.count.isMultiple(of: length) else {
            throw RepositoryError(.damaged, subject, cause: "\(plain.count) bytes")
        }
        return Self(bytes: Array(plain))
    }
}
