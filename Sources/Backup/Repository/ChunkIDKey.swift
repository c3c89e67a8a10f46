internal import Crypto
package import DRPKit

/// The client's id key: gives a chunk the id by which it is found again.
package struct ChunkIDKey: Sendable {
    private let key: SymmetricKey

    package init(_ secret: Secret) { key = secret.withBytes { SymmetricKey(data: $0) } }

    /// HMAC-SHA-256 (RFC 2104) over the kind in one byte and the hashes of all records, in order.
    package func id(kind: ChunkKind, hashes: [ContentHash]) -> ChunkID {
        var code = HMAC<SHA256>(key: key)
        withUnsafeBytes(of: kind.rawValue) { code.update(data: $0) }
        hashes.withUnsafeBytes { code.update(data: $0) }
        return ChunkID(code.finalize().withUnsafeBytes { ContentHash(bytes: $0) })
    }
}
