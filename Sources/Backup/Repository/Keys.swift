internal import Crypto
package import DRPKit
package import Foundation

/// HPKE (RFC 9180), base mode, as everywhere in the repository.
let hpkeSuite = HPKE.Ciphersuite(kem: .Curve25519_HKDF_SHA256, kdf: .HKDF_SHA256, aead: .AES_GCM_256)

/// Length of an encapsulated X25519 key, and of 32 bytes sealed with it.
let encapsulatedLength = 32
let wrappedLength = encapsulatedLength + 32 + 16

/// Bytes that only the holder of a private key can read: encapsulated key, then ciphertext.
enum KeyWrap {
    static func wrap(_ key: SymmetricKey, to publicKey: [UInt8], info: [UInt8]) throws -> [UInt8] {
        let recipient = try Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey)
        var sender = try HPKE.Sender(recipientKey: recipient, ciphersuite: hpkeSuite, info: Data(info))
        let sealed = try key.withUnsafeBytes { try sender.seal(Data($0)) }
        return Array(sender.encapsulatedKey) + Array(sealed)
    }

    /// - Parameter wrapped: `wrappedLength` bytes.
    static func open(
        _ wrapped: some Collection<UInt8>, with key: Curve25519.KeyAgreement.PrivateKey, info: [UInt8]
    ) throws -> SymmetricKey {
        var recipient = try HPKE.Recipient(
            privateKey: key, ciphersuite: hpkeSuite, info: Data(info),
            encapsulatedKey: Data(wrapped.prefix(encapsulatedLength)))
        return SymmetricKey(data: try recipient.open(Data(wrapped.dropFirst(encapsulatedLength))))
    }
}

/// The key that opens everything of one client and epoch. It is random, stands nowhere but wrapped to the
/// recipients, and is held only while keys are made or content is read.
package struct RootKey: Sendable, CustomStringConvertible {
    package let client: UUID
    package let name: ClientID
    package let epoch: Int
    private let secret: SymmetricKey

    package static func generate(client: UUID, name: ClientID, epoch: Int = 1) -> Self {
        Self(client: client, name: name, epoch: epoch, secret: SymmetricKey(size: .bits256))
    }

    package var description: String { "root key of \(name), epoch \(epoch)" }

    var binding: Binding { Binding(client: client, epoch: epoch) }

    /// The half that a writer needs: it can add and list, never read content.
    package func writerKeys() throws -> WriterKeys {
        WriterKeys(
            client: client, name: name, epoch: epoch, publicKey: Array(try privateKey().publicKey.rawRepresentation),
            idKey: derived("id"), catalogKey: derived("catalog"))
    }

    /// Opens the keys of packs.
    func privateKey() throws -> Curve25519.KeyAgreement.PrivateKey {
        try derived("x25519").withBytes { try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: $0) }
    }

    /// The root key for one recipient: header `DRPK`, format (u16), epoch (u32), `wrappedLength` bytes, and
    /// the writer's mark over all of it and the recipient, so that a wrap that someone else put there shows.
    package func wrap(to recipient: Recipient) throws -> [UInt8] {
        let header = DocumentHeader(letter: WrappedRoot.letter, epoch: epoch).bytes
        let body = header + (try KeyWrap.wrap(secret, to: recipient.publicKey, info: binding.bytes(.rootKey)))
        return body + (try writerKeys().mark(.recipient, Array(recipient.description.utf8) + body))
    }

    /// - Throws: `.notRecipient` if `identity` does not open it, `.damaged` if it is not what was written.
    package static func open(
        _ wrapped: [UInt8], client: UUID, name: ClientID, epoch: Int, identity: RecoveryIdentity
    ) throws -> Self {
        let subject = "the wrapped root key of \(name)"
        let body = try WrappedRoot.body(wrapped, epoch: epoch, subject: subject)
        let secret: SymmetricKey
        do {
            secret = try KeyWrap.open(
                body.dropFirst(DocumentHeader.length), with: identity.privateKey,
                info: Binding(client: client, epoch: epoch).bytes(.rootKey))
        } catch {
            throw RepositoryError(.notRecipient, subject, cause: "\(identity.recipient) does not fit")
        }
        let root = Self(client: client, name: name, epoch: epoch, secret: secret)
        try WrappedRoot.check(wrapped, recipient: identity.recipient, keys: root.writerKeys())
        return root
    }

    /// HKDF-SHA-256 (RFC 5869): salt is the binding, info the purpose.
    private func derived(_ purpose: String) -> Secret {
        let key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: secret, salt: binding.bytes(.derivation), info: Array(purpose.utf8), outputByteCount: 32)
        return Secret(key.withUnsafeBytes { Array($0) })
    }
}

/// The object `keys/<epoch>/<recipient>`; `RootKey.wrap` tells its bytes.
enum WrappedRoot {
    static let letter = UInt8(ascii: "K")
    private static let length = DocumentHeader.length + wrappedLength + 32

    /// All before the mark.
    static func body(_ wrapped: [UInt8], epoch: Int, subject: String) throws(RepositoryError) -> ArraySlice<UInt8> {
        guard wrapped.count == length else {
            throw RepositoryError(.damaged, subject, cause: "\(wrapped.count) bytes instead of \(length)")
        }
        try DocumentHeader(letter: letter, epoch: epoch).check(wrapped[...], subject: subject)
        return wrapped.dropLast(32)
    }

    /// Proves without any identity that the wrap is what `keys init` wrote.
    static func check(_ wrapped: [UInt8], recipient: Recipient, keys: WriterKeys) throws(RepositoryError) {
        let subject = "the root key wrapped to \(recipient)"
        let body = try body(wrapped, epoch: keys.epoch, subject: subject)
        guard keys.mark(.recipient, Array(recipient.description.utf8) + body) == Array(wrapped.suffix(32)) else {
            throw RepositoryError(.damaged, subject, cause: "the mark of its writer is wrong")
        }
    }
}
