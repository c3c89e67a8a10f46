internal import DRPKit

/// The trailers of some packs in one object, `indexes/<sha-256 of it>`: a cache, made again from the packs.
///
/// Plain form: count of packs (u32); for each its name (32), its epoch (u32), its bytes (u64), the length of its
/// trailer (u32) and the trailer as `PackTrailer` encodes it.
struct PackIndex: Sendable {
    /// About the plain bytes of one index; many packs are spread over several.
    private static let target = 8 << 20

    var packs: [StoredPack]

    init(packs: [StoredPack]) { self.packs = packs }

    init(_ bytes: [UInt8], subject: String) throws(RepositoryError) {
        var reader = SliceReader(bytes[...], subject: subject)
        packs = []
        for _ in 0..<(try reader.number(UInt32.self)) {
            guard let name = ContentHash(try reader.take(32)) else {
                throw RepositoryError(.damaged, subject, cause: "a pack has no name")
            }
            let epoch = Int(try reader.number(UInt32.self))
            guard let size = Int64(exactly: try reader.number(UInt64.self)), size <= largestObject
            else { throw RepositoryError(.damaged, subject, cause: "a pack's size is out of range") }
            let trailer = try reader.take(Int(try reader.number(UInt32.self)))
            packs.append(
                StoredPack(
                    name: name, epoch: epoch, size: size,
                    trailer: try PackTrailer(trailer, content: size, subject: subject)))
        }
        try reader.finish()
    }

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: UInt32(packs.count))
        for pack in packs {
            let trailer = pack.trailer.encoded()
            pack.name.withBytes { bytes.append(contentsOf: $0) }
            bytes.append(little: UInt32(pack.epoch))
            bytes.append(little: UInt64(pack.size))
            bytes.append(little: UInt32(trailer.count))
            bytes.append(contentsOf: trailer)
        }
        return bytes
    }

    /// Spreads packs over as many indexes as it needs; none for none.
    static func spread(_ packs: [StoredPack]) -> [PackIndex] {
        var indexes: [PackIndex] = []
        var room = 0
        for pack in packs {
            if room <= 0 {
                indexes.append(PackIndex(packs: []))
                room = target
            }
            indexes[indexes.count - 1].packs.append(pack)
            room -= pack.trailer.entries.count * PackEntry.length
        }
        return indexes
    }
}

/// A pack that lies in the store.
struct StoredPack: Sendable, Equatable {
    var name: ContentHash
    /// Whose keys sealed it.
    var epoch: Int
    var size: Int64
    var trailer: PackTrailer
}
