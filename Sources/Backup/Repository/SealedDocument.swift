internal import Crypto
internal import DRPKit
internal import Foundation

/// Ten bytes before everything that is sealed as one: `DRP`, a letter for what it is, format (u16), epoch (u32).
struct DocumentHeader {
    static let length = 10
    var letter: UInt8
    var epoch: Int

    var bytes: [UInt8] {
        var bytes = Array("DRP".utf8)
        bytes.append(letter)
        bytes.append(little: UInt16(Manifest.currentFormat))
        bytes.append(little: UInt32(epoch))
        return bytes
    }

    init(letter: UInt8, epoch: Int) {
        self.letter = letter
        self.epoch = epoch
    }

    /// The letter of an object, if it begins as one that has one.
    static func letter(of object: [UInt8]) -> UInt8? { object.count >= length ? object[3] : nil }

    /// Reads the header of an object that must be of one kind.
    /// - Throws: `.foreign` for a newer format, `.damaged` for anything else.
    init(_ object: ArraySlice<UInt8>, letter: UInt8, subject: String) throws(RepositoryError) {
        self.letter = letter
        var reader = SliceReader(object, subject: subject)
        guard Array(try reader.take(4)) == Array("DRP".utf8) + [letter] else {
            throw RepositoryError(.damaged, subject, cause: "it does not begin as such an object does")
        }
        let format = try reader.number(UInt16.self)
        guard format == UInt16(Manifest.currentFormat) else {
            throw RepositoryError(.foreign, subject, cause: Manifest.unknown(format: Int(format)))
        }
        epoch = Int(try reader.number(UInt32.self))
    }

    /// - Throws: as above, and `.foreign` for another epoch.
    func check(_ object: ArraySlice<UInt8>, subject: String) throws(RepositoryError) {
        let other = try Self(object, letter: letter, subject: subject).epoch
        guard other == epoch else {
            throw RepositoryError(.foreign, subject, cause: "it is of epoch \(other), not of \(epoch)")
        }
    }
}

/// Trailers, indexes, manifests and all else that has a letter below: header, nonce (12 random bytes), then zstd under
/// AES-256-GCM with the catalog key, tag (16) last. The binding of the purpose is the associated data. Sealed under the
/// newest epoch, opened under that of the header.
struct SealedDocument: Sendable {
    static let overhead = DocumentHeader.length + 12 + 16
    /// Plain bytes of one document at most.
    private static let limit = 512 << 20

    private struct EpochKey {
        var binding: Binding
        var key: SymmetricKey
    }

    /// An opened document, and the epoch whose keys opened it.
    struct Opened {
        var plain: [UInt8]
        var epoch: Int
    }

    private let newest: EpochKey
    private let epochs: [Int: EpochKey]
    private let compression: Compression

    init(keys: WriterKeys, compression: Compression) {
        func key(_ keys: WriterKeys) -> EpochKey {
            EpochKey(binding: keys.binding, key: keys.catalogKey.withBytes { SymmetricKey(data: $0) })
        }
        newest = key(keys)
        epochs = Dictionary(uniqueKeysWithValues: keys.all.map { ($0.epoch, key($0)) })
        self.compression = compression
    }

    func seal(_ plain: [UInt8], as purpose: Binding.Purpose, _ extra: [UInt8] = []) throws -> [UInt8] {
        try plain.withUnsafeBytes { plain in
            try compression.compressed(plain) { frame in
                let box = try AES.GCM.seal(
                    frame, using: newest.key, authenticating: newest.binding.bytes(purpose, extra))
                var sealed = DocumentHeader(letter: purpose.letter, epoch: newest.binding.epoch).bytes
                sealed.append(contentsOf: box.nonce)
                sealed.append(contentsOf: box.ciphertext)
                sealed.append(contentsOf: box.tag)
                return sealed
            }
        }
    }

    func open(
        _ sealed: ArraySlice<UInt8>, as purpose: Binding.Purpose, _ extra: [UInt8] = [], subject: String
    ) throws(RepositoryError) -> Opened {
        let epoch = try DocumentHeader(sealed, letter: purpose.letter, subject: subject).epoch
        guard let sealer = epochs[epoch] else {
            throw RepositoryError(.foreign, subject, cause: "it is of epoch \(epoch), whose keys are not here")
        }
        do {
            let box = try AES.GCM.SealedBox(combined: sealed.dropFirst(DocumentHeader.length))
            let frame = try AES.GCM.open(
                box, using: sealer.key, authenticating: sealer.binding.bytes(purpose, extra))
            let plain = try frame.withUnsafeBytes { frame in
                guard let length = Compression.claimedLength(frame, limit: Self.limit) else {
                    throw RepositoryError(.damaged, subject, cause: "it is larger than \(ByteCount(Self.limit))")
                }
                return try compression.decompressed(frame, length: length, subject: subject)
            }
            return Opened(plain: plain, epoch: epoch)
        } catch let error as RepositoryError {
            throw error
        } catch {
            throw RepositoryError(.damaged, subject, cause: "it does not authenticate as this client's")
        }
    }
}

extension Binding.Purpose {
    /// Of the header of a sealed document.
    var letter: UInt8 {
        switch self {
        case .trailer: UInt8(ascii: "T")
        case .index: UInt8(ascii: "I")
        case .manifest: UInt8(ascii: "M")
        case .mark: UInt8(ascii: "P")
        case .tombstone: UInt8(ascii: "B")
        case .hold: UInt8(ascii: "H")
        case .slice: UInt8(ascii: "S")
        case .gap: UInt8(ascii: "G")
        case .lease: UInt8(ascii: "L")
        case .void: UInt8(ascii: "V")
        case .derivation, .rootKey, .packKey, .chunk, .fingerprint, .card, .recipient, .epoch, .fingerprints, .bundle,
            .erasure:
            preconditionFailure("\(self) is no document")
        }
    }
}
