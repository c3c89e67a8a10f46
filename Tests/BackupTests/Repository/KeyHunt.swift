import Crypto
import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// Tries bytes as keys of a repository's chunks: as the key of a pack, as the private key that opens those, and as a root
/// key of either.
struct KeyHunt {
    private let sealed: [UInt8]
    private let wrapped: [UInt8]
    private let associated: [UInt8]
    private let binding: Binding

    init(_ store: MemoryStore, _ keys: WriterKeys) async throws {
        let repository = try await Repository(store: store, keys: keys)
        let name = store.keys.lazy.compactMap { repository.layout.packName($0) }.first
        guard let name, let size = try await store.size(repository.layout.pack(name)),
            let pack = store[repository.layout.pack(name)]
        else { throw RepositoryError(.missing, "a pack") }
        let trailer = try await repository.storedPack(name, size: size).trailer
        let entry = trailer.entries[0]
        sealed = Array(pack[Int(entry.offset)..<Int(entry.offset + entry.sealedLength)])
        wrapped = trailer.keys[Int(entry.key)]
        associated = keys.binding.bytes(.chunk, Pack.chunkExtra(entry.id, entry.kind))
        binding = keys.binding
    }

    /// Every run of 32 bytes, and of 64 hex digits.
    static func candidates(in bytes: [UInt8]) -> [[UInt8]] {
        var found: [[UInt8]] = []
        for start in bytes.indices.dropLast(31) { found.append(Array(bytes[start..<start + 32])) }
        for start in bytes.indices.dropLast(63) {
            if let key = Hex.decode(String(decoding: bytes[start..<start + 64], as: UTF8.self)) { found.append(key) }
        }
        return found
    }

    /// - Returns: the first of them that opens a chunk.
    func opens(_ candidates: [[UInt8]]) -> [UInt8]? { candidates.first(where: isKey) }

    private func isKey(_ candidate: [UInt8]) -> Bool {
        var keys = [candidate]
        for purpose in ["x25519", "id", "catalog", "mark"] {
            let key = HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: candidate), salt: binding.bytes(.derivation),
                info: Array(purpose.utf8), outputByteCount: 32)
            keys.append(key.withUnsafeBytes { Array($0) })
        }
        return keys.contains { opensAsPackKey(SymmetricKey(data: $0)) || opensAsPrivateKey($0) }
    }

    private func opensAsPackKey(_ key: SymmetricKey) -> Bool {
        // That it does not open is what is expected.
        guard let box = try? AES.GCM.SealedBox(combined: sealed) else { return false }
        return (try? AES.GCM.open(box, using: key, authenticating: associated)) != nil
    }

    private func opensAsPrivateKey(_ bytes: [UInt8]) -> Bool {
        // Any 32 bytes are a private key; that it does not open is what is expected.
        guard let key = try? Curve25519.KeyAgreement.PrivateKey(rawRepresentation: bytes),
            let packKey = try? KeyWrap.open(wrapped, with: key, info: binding.bytes(.packKey))
        else { return false }
        return opensAsPackKey(packKey)
    }
}
