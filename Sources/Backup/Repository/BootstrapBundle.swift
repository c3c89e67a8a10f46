internal import Crypto
internal import DRPKit
internal import Foundation

/// The object `bootstrap/<number>` at the root of a store: what a new machine needs beside the repositories, for every
/// recovery recipient. It belongs to no client.
///
/// Header `F`, epoch 0; count of recipients (u16); for each its public key (32) and the bundle's key wrapped to it
/// (`wrappedLength`); nonce (12, random); the zstd frame of a POSIX ustar archive under AES-256-GCM with the bundle's key, all
/// before the nonce as associated data; tag (16). Anybody can make one: whose it is, is told by the event chain in it.
enum BootstrapBundle {
    private static let letter = UInt8(ascii: "F")
    static let recipientCounts = 1...100
    /// Bytes of the archive at most.
    static let limit = 512 << 20

    private static var binding: Binding {
        Binding(client: UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), epoch: 0)
    }

    static func seal(_ archive: [UInt8], to recipients: [Recipient]) throws -> [UInt8] {
        precondition(recipientCounts.contains(recipients.count), "a bundle for \(recipients.count) recipients")
        let key = SymmetricKey(size: .bits256)
        var head = DocumentHeader(letter: letter, epoch: 0).bytes
        head.append(little: UInt16(recipients.count))
        for recipient in recipients {
            head += recipient.publicKey
            head += try KeyWrap.wrap(key, to: recipient.publicKey, info: binding.bytes(.bundle))
        }
        return try archive.withUnsafeBytes { archive in
            try Compression().compressed(archive) { frame in
                let box = try AES.GCM.seal(frame, using: key, authenticating: head)
                return head + Array(box.nonce) + box.ciphertext + box.tag
            }
        }
    }

    /// - Throws: `.notRecipient` if the identity is none of its recipients; `.damaged`; `.foreign` for a newer format.
    static func open(_ bundle: [UInt8], identity: RecoveryIdentity, subject: String) throws(RepositoryError) -> [UInt8]
    {
        let (wraps, length) = try recipients(bundle[...], subject: subject)
        guard let wrapped = wraps[identity.recipient] else {
            throw RepositoryError(.notRecipient, subject, cause: "\(identity.recipient) is no recipient of it")
        }
        do {
            let key = try KeyWrap.open(wrapped, with: identity.privateKey, info: binding.bytes(.bundle))
            let frame = try AES.GCM.open(
                try AES.GCM.SealedBox(combined: bundle[length...]), using: key, authenticating: bundle[..<length])
            return try frame.withUnsafeBytes { frame in
                guard let length = Compression.claimedLength(frame, limit: limit) else {
                    throw RepositoryError(.damaged, subject, cause: "it is larger than \(ByteCount(Int64(limit)))")
                }
                return try Compression().decompressed(frame, length: length, subject: subject)
            }
        } catch let error as RepositoryError {
            throw error
        } catch {
            throw RepositoryError(.damaged, subject, cause: "it does not open")
        }
    }

    /// - Returns: the key for each recipient, and how many bytes are before the nonce.
    private static func recipients(
        _ bundle: ArraySlice<UInt8>, subject: String
    ) throws(RepositoryError) -> ([Recipient: [UInt8]], Int) {
        try DocumentHeader(letter: letter, epoch: 0).check(bundle, subject: subject)
        var reader = SliceReader(bundle.dropFirst(DocumentHeader.length), subject: subject)
        let count = Int(try reader.number(UInt16.self))
        guard recipientCounts.contains(count) else {
            throw RepositoryError(.damaged, subject, cause: "it has \(count) recipients")
        }
        var wraps: [Recipient: [UInt8]] = [:]
        for _ in 0..<count {
            let recipient = Recipient(publicKey: Array(try reader.take(32)))
            wraps[recipient] = Array(try reader.take(wrappedLength))
        }
        return (wraps, bundle.count - reader.left)
    }
}
