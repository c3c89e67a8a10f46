internal import Crypto
package import DRPKit
package import Foundation

/// Who can open backups: an X25519 public key (RFC 7748), as text `drp1…` (Bech32).
package struct Recipient: Hashable, Sendable, CustomStringConvertible {
    private static let prefix = "drp"
    let publicKey: [UInt8]

    init(publicKey: [UInt8]) { self.publicKey = publicKey }

    /// - Returns: nil unless `text` is `drp1…` with a right checksum, in lower case, of 32 bytes.
    package init?(_ text: String) {
        guard let bytes = Bech32.decode(prefix: Self.prefix, text), bytes.count == 32, text == text.lowercased() else {
            return nil
        }
        publicKey = bytes
    }

    package var description: String { Bech32.encode(prefix: Self.prefix, publicKey) }
}

/// The secret half of a recipient; its file is like one of age and must be kept away from the stores.
///
///     # created: 2026-01-31T12:00:00Z
///     # recipient: drp1…
///     DRP-SECRET-KEY-1…
package struct RecoveryIdentity: Sendable, CustomStringConvertible {
    private static let prefix = "drp-secret-key-"
    let privateKey: Curve25519.KeyAgreement.PrivateKey

    package static func generate() -> Self { Self(privateKey: Curve25519.KeyAgreement.PrivateKey()) }

    package var recipient: Recipient { Recipient(publicKey: Array(privateKey.publicKey.rawRepresentation)) }
    package var description: String { "identity of \(recipient)" }

    /// Writes the identity to a new file that only its owner can read.
    /// - Throws: `FileError.alreadyThere` if there is one: an identity is never replaced.
    package func write(to path: String, created: Date) throws {
        let secret = Bech32.encode(prefix: Self.prefix, Array(privateKey.rawRepresentation)).uppercased()
        let text = """
            # created: \(created.formatted(.iso8601))
            # recipient: \(recipient)
            \(secret)

            """
        try AtomicFile.write(path, Array(text.utf8), mode: 0o600, .createOnly)
    }

    /// - Throws: `IdentityError` if the file is missing, can be read by others than its owner, or holds
    ///   anything but comments and one key.
    package static func read(_ path: String) throws(IdentityError) -> Self {
        let content: Secret
        do throws(FileError) {
            content = try AtomicFile.readPrivate(path, limit: 64 << 10)
        } catch {
            throw IdentityError(path: path, cause: error.message)
        }
        let keys = content.withText { text in
            text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
                .filter { !$0.isEmpty && !$0.hasPrefix("#") }
        }
        guard keys.count == 1 else {
            throw IdentityError(path: path, cause: "it holds \(keys.count) keys instead of one")
        }
        guard let bytes = Bech32.decode(prefix: prefix, keys[0]),
            let key = try? Curve25519.KeyAgreement.PrivateKey(rawRepresentation: bytes)  // refuses other lengths only
        else { throw IdentityError(path: path, cause: "its key is not DRP-SECRET-KEY-1… with a right checksum") }
        return Self(privateKey: key)
    }
}

/// An identity file that cannot be used.
package struct IdentityError: DRPError, Equatable {
    package var path: String
    package var cause: String

    package var code: ErrorCode { .identityInvalid }
    package var message: String { "identity file \(path) cannot be used: \(cause)" }
}
