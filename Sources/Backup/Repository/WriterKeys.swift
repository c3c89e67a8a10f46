internal import Crypto
package import DRPKit
package import Foundation

/// What a writer holds of one client: enough to deduplicate, list and verify, never to read content.
package struct WriterKeys: Sendable, CustomStringConvertible {
    package let client: UUID
    package let name: ClientID
    package let epoch: Int
    let publicKey: [UInt8]
    let idKey: Secret
    let catalogKey: Secret

    var binding: Binding { Binding(client: client, epoch: epoch) }

    package var description: String { "writer keys of \(name), epoch \(epoch), fingerprint \(fingerprint)" }

    /// What a person compares: the first half of SHA-256 over uuid, epoch and public key, as 8 groups of 4 digits.
    package var fingerprint: String {
        let digits = Array(ContentHash(hashing: binding.bytes(.fingerprint, publicKey)).description.prefix(32))
        return stride(from: 0, to: 32, by: 4).map { String(digits[$0..<$0 + 4]) }.joined(separator: "-")
    }

    /// HMAC-SHA-256 that only holders of these keys can make.
    func mark(_ purpose: Binding.Purpose, _ bytes: [UInt8]) -> [UInt8] {
        let key = catalogKey.withBytes {
            HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: $0), salt: binding.bytes(.derivation), info: Array("mark".utf8),
                outputByteCount: 32)
        }
        return Array(HMAC<SHA256>.authenticationCode(for: binding.bytes(purpose, bytes), using: key))
    }
}

/// Their file `<state>/keys/<client>`, 0600.
extension WriterKeys {
    private struct Stored: Codable {
        var format: Int
        var client: UUID
        var name: ClientID
        var epoch: Int
        var publicKey: String
        var idKey: String
        var catalogKey: String
        var fingerprint: String
    }

    /// - Parameter state: the state folder.
    package static func path(of client: ClientID, state: String) -> String { "\(state)/keys/\(client)" }

    /// Makes the file. Its folder must exist.
    /// - Throws: `FileError.alreadyThere` if there is one.
    package func write(to path: String) throws {
        let stored = Stored(
            format: Manifest.currentFormat, client: client, name: name, epoch: epoch, publicKey: Hex.encode(publicKey),
            idKey: idKey.withBytes { Hex.encode($0) }, catalogKey: catalogKey.withBytes { Hex.encode($0) },
            fingerprint: fingerprint)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try AtomicFile.write(path, Array(try encoder.encode(stored)) + [0x0a], mode: 0o600, .createOnly)
    }

    /// The keys of one client; keys of another one in its file would read and write the other's backups.
    /// - Throws: as `read(_:)`; `RepositoryError.foreign` if they are another client's.
    package static func read(of client: ClientID, state: String) throws -> Self {
        let path = path(of: client, state: state)
        let keys = try read(path)
        guard keys.name == client else {
            throw RepositoryError(.foreign, "writer keys \(path)", cause: "they are of client '\(keys.name)'")
        }
        return keys
    }

    /// - Throws: `WriterKeysError` if the file is missing, can be read by others, or contradicts itself.
    package static func read(_ path: String) throws(WriterKeysError) -> Self {
        let content: Secret
        do throws(FileError) {
            content = try AtomicFile.readPrivate(path, limit: 64 << 10)
        } catch {
            throw WriterKeysError(path: path, isMissing: error.reason == .missing, cause: error.message)
        }
        // The decoder's error is dropped: it may quote the text, which holds keys.
        let decoded = content.withBytes { try? JSONDecoder().decode(Stored.self, from: Data($0)) }
        guard let stored = decoded else {
            throw WriterKeysError(path: path, isMissing: false, cause: "it is no such JSON")
        }
        guard stored.format == Manifest.currentFormat, (1...Int(UInt32.max)).contains(stored.epoch),
            let publicKey = Hex.decode(stored.publicKey), publicKey.count == 32,
            let idKey = Hex.decode(stored.idKey), idKey.count == 32,
            let catalogKey = Hex.decode(stored.catalogKey), catalogKey.count == 32
        else { throw WriterKeysError(path: path, isMissing: false, cause: "a field is out of its range") }
        let keys = Self(
            client: stored.client, name: stored.name, epoch: stored.epoch, publicKey: publicKey, idKey: Secret(idKey),
            catalogKey: Secret(catalogKey))
        guard keys.fingerprint == stored.fingerprint else {
            throw WriterKeysError(path: path, isMissing: false, cause: "its fingerprint does not fit its keys")
        }
        return keys
    }
}

/// A file of writer keys that cannot be used.
package struct WriterKeysError: DRPError, Equatable {
    package var path: String
    package var isMissing: Bool
    package var cause: String

    package var code: ErrorCode { isMissing ? .repositoryMissing : .failed }
    package var message: String { "writer keys \(path) cannot be used: \(cause)" }
    package var advice: String {
        isMissing
            ? code.advice
            : "Restore this file from the state folder's backup, or make the keys again from the root key."
    }
}
