internal import DRPKit
internal import Foundation

/// The object `epochs/<n>`: says that the writer of an earlier epoch began this one. A stranger can wrap a root key of
/// his own making to our recipients; this he cannot make.
///
/// Header `E`; the earlier epoch (u32); when, in milliseconds since 1970 (u64); the public key (32); then the mark of
/// the earlier epoch's writer over all of that (32), and the mark of this one's (32).
enum EpochLink {
    private static let letter = UInt8(ascii: "E")
    private static let bodyLength = DocumentHeader.length + 4 + 8 + 32

    /// - Parameter keys: of the new epoch, over those of the earlier ones.
    static func make(_ keys: WriterKeys, after earlier: WriterKeys, at instant: Date) -> [UInt8] {
        var body = DocumentHeader(letter: letter, epoch: keys.epoch).bytes
        body.append(little: UInt32(earlier.epoch))
        body.append(little: UInt64(max(0, instant.timeIntervalSince1970 * 1000)))
        body.append(contentsOf: keys.publicKey)
        return body + earlier.mark(.epoch, body) + keys.mark(.epoch, body)
    }

    /// - Parameter keys: of the epoch that the link is for, and of `earlier` ones: the one before it must be among them.
    /// - Throws: `.damaged` unless writers of both epochs made it.
    static func check(_ link: [UInt8], of keys: WriterKeys, earlier: [WriterKeys], subject: String)
        throws(RepositoryError)
    {
        guard link.count == bodyLength + 64 else {
            throw RepositoryError(.damaged, subject, cause: "\(link.count) bytes")
        }
        try DocumentHeader(letter: letter, epoch: keys.epoch).check(link[...], subject: subject)
        let body = Array(link.prefix(bodyLength))
        var reader = SliceReader(body.dropFirst(DocumentHeader.length), subject: subject)
        let number = Int(try reader.number(UInt32.self))
        _ = try reader.number(UInt64.self)
        guard let before = earlier.first(where: { $0.epoch == number }), before.epoch < keys.epoch else {
            throw RepositoryError(.foreign, subject, cause: "it follows epoch \(number), which is not known")
        }
        guard Array(try reader.take(32)) == keys.publicKey,
            Array(link[bodyLength..<bodyLength + 32]) == before.mark(.epoch, body),
            Array(link.suffix(32)) == keys.mark(.epoch, body)
        else { throw RepositoryError(.damaged, subject, cause: "the marks of its writers are wrong") }
    }
}
