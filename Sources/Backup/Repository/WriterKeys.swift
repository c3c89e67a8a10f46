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
    /// Those of earlier epochs, oldest first, each without older ones of its own: to list, verify and prune what was
    /// written under them.
    package let older: [WriterKeys]

    init(
        client: UUID, name: ClientID, epoch: Int, publicKey: [UInt8], idKey: Secret, catalogKey: Secret,
        older: [WriterKeys] = []
    ) {
        self.client = client
        self.name = name
        self.epoch = epoch
        self.publicKey = publicKey
        self.idKey = idKey
        self.catalogKey = catalogKey
        self.older = older
    }

    /// Of all epochs, oldest first.
    package var all: [WriterKeys] { older + [self] }

    package func of(epoch: Int) -> WriterKeys? { all.first { $0.epoch == epoch } }

    /// These keys as the newest ones over `earlier`.
    /// - Precondition: they are the same client's, and of a later epoch than all of `earlier`.
    package func following(_ earlier: [WriterKeys]) -> WriterKeys {
        precondition(earlier.allSatisfy { $0.client == client && $0.name == name && $0.epoch < epoch })
        let alone = earlier.map {
            WriterKeys(
                client: client, name: name, epoch: $0.epoch, publicKey: $0.publicKey, idKey: $0.idKey,
                catalogKey: $0.catalogKey)
        }
        return WriterKeys(
            client: client, name: name, epoch: epoch, publicKey: publicKey, idKey: idKey, catalogKey: catalogKey,
            older: alone.sorted { $0.epoch < $1.epoch })
    }

    var binding: Binding { Binding(client: client, epoch: epoch) }

    package var description: String { "writer keys of \(name), epoch \(epoch), fingerprint \(fingerprint)" }

    /// What a person compares: the first half of SHA-256 over uuid, epoch and public key, as 8 groups of 4 digits.
    package var fingerprint: String {
        let digits = Array(ContentHash(hashing: binding.bytes(.fingerprint, publicKey)).description.prefix(32))
        return stride(from: 0, to: 32, by: 4).map { String(digits[$0..<$0 + 4]) }.joined(separator: "-")
    }

    /// HMAC-SHA-256 that only holders of these keys can make.
    func mark(_ purpose: Binding.Purpose, _ bytes: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: binding.bytes(purpose, bytes), using: derived("mark")))
    }

    /// A key out of the catalog key: HKDF-SHA-256 (RFC 5869), salt is the binding, info the purpose.
    func derived(_ purpose: String) -> SymmetricKey {
        catalogKey.withBytes {
            HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: $0), salt: binding.bytes(.derivation), info: Array(purpose.utf8),
                outputByteCount: 32)
        }
    }
}

/// Their file `<state>/keys/<client>`, 0600.
extension WriterKeys {
    private struct Stored: Codable {
        struct Epoch: Codable {
            var epoch: Int
            var publicKey: String
            var idKey: String
            var catalogKey: String
            var fingerprint: String
        }

        var format: Int
        var client: UUID
        var name: ClientID
        /// Oldest first.
        var epochs: [Epoch]
    }

    /// - Parameter state: the state folder.
    package static func path(of client: ClientID, state: String) -> String { "\(state)/keys/\(client)" }

    /// Makes the file. Its folder must exist.
    /// - Throws: `FileError.alreadyThere` if there is one and `rule` is `.createOnly`.
    package func write(to path: String, _ rule: AtomicFile.Rule = .createOnly) throws {
        let stored = Stored(
            format: Manifest.currentFormat, client: client, name: name,
            epochs: all.map { keys in
                Stored.Epoch(
                    epoch: keys.epoch, publicKey: Hex.encode(keys.publicKey),
                    idKey: keys.idKey.withBytes { Hex.encode($0) },
                    catalogKey: keys.catalogKey.withBytes { Hex.encode($0) }, fingerprint: keys.fingerprint)
            })
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try AtomicFile.write(path, Array(try encoder.encode(stored)) + [0x0a], mode: 0o600, rule)
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
        guard stored.format == Manifest.currentFormat, !stored.epochs.isEmpty else {
            throw WriterKeysError(path: path, isMissing: false, cause: "a field is out of its range")
        }
        var epochs: [WriterKeys] = []
        for epoch in stored.epochs {
            guard epoch.epoch > epochs.last?.epoch ?? 0, epoch.epoch <= Int(UInt32.max),
                let publicKey = Hex.decode(epoch.publicKey), publicKey.count == 32,
                let idKey = Hex.decode(epoch.idKey), idKey.count == 32,
                let catalogKey = Hex.decode(epoch.catalogKey), catalogKey.count == 32
            else { throw WriterKeysError(path: path, isMissing: false, cause: "a field is out of its range") }
            let keys = Self(
                client: stored.client, name: stored.name, epoch: epoch.epoch, publicKey: publicKey,
                idKey: Secret(idKey), catalogKey: Secret(catalogKey))
            guard keys.fingerprint == epoch.fingerprint else {
                throw WriterKeysError(path: path, isMissing: false, cause: "its fingerprint does not fit its keys")
            }
            epochs.append(keys)
        }
        return epochs[epochs.endIndex - 1].following(epochs.dropLast())
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
