internal import Crypto
internal import DRPKit
internal import Foundation

/// What a slice says of itself, in its trailer.
struct SliceManifest: Codable, Sendable, Equatable {
    /// Where a stretch of a Redis replication stream begins.
    struct RedisPlace: Codable, Sendable, Equatable {
        var replicationID: String
        /// Of the first byte.
        var offset: Int64
    }

    var format = Manifest.currentFormat
    var client: UUID
    var log: LogKind
    var from: LogPosition
    var to: LogPosition
    /// SHA-256 of the slice or gap that it follows; nil for the first.
    var previous: ContentHash?
    /// SHA-256 of the bytes before the trailer.
    var content: ContentHash
    var digest: ContentDigest
    /// In order.
    var chunks: [ChunkID]
    var redis: RedisPlace?
}

/// Why a stretch of log is missing.
struct LogGap: Codable, Sendable, Equatable {
    var format = Manifest.currentFormat
    var client: UUID
    var log: LogKind
    var from: LogPosition
    var to: LogPosition
    var previous: ContentHash?
    var at: Date
    var reason: String
}

/// A slice that lies in the store: built as a pack is, with a manifest of its own before the table of chunks.
struct StoredSlice: Sendable {
    var name: LogName
    var epoch: Int
    var manifest: SliceManifest
    var trailer: PackTrailer

    private static let magic = Array("DRPSLICE".utf8)

    /// Seals the chunks, which are of one stretch, in order.
    static func make(
        _ name: LogName, _ chunks: [Chunk], previous: ContentHash?, redis: SliceManifest.RedisPlace? = nil,
        in repository: Repository
    ) throws -> [UInt8] {
        let keys = repository.keys
        let key = try PackKey(keys: keys)
        let ids = ChunkIDKey(keys.idKey)
        var pack = OpenPack()
        var digest = ContentDigest()
        var names: [ChunkID] = []
        for chunk in chunks {
            precondition(chunk.kind == name.log.chunkKind, "a chunk of \(chunk.kind) in a slice of \(name.log)")
            let id = ids.id(kind: chunk.kind, hashes: chunk.hashes)
            let box = try chunk.bytes.withUnsafeBytes { bytes in
                try repository.compression.compressed(bytes) { frame in
                    try AES.GCM.seal(
                        frame, using: key.key, nonce: try key.nextNonce(),
                        authenticating: keys.binding.bytes(.chunk, Pack.chunkExtra(id, chunk.kind)))
                }
            }
            pack.append(box, key: key, id: id, kind: chunk.kind, plainLength: chunk.bytes.count)
            digest.add(try RecordSplitter.digest(of: chunk.bytes, kind: chunk.kind))
            names.append(id)
        }
        let content = ContentHash(hashing: pack.bytes)
        let manifest = SliceManifest(
            client: keys.client, log: name.log, from: name.from, to: name.to, previous: previous, content: content,
            digest: digest, chunks: names, redis: redis)
        let json = try DocumentJSON.encode(manifest)
        var plain: [UInt8] = []
        plain.append(little: UInt32(json.count))
        plain += json + pack.trailer.encoded()
        let sealed = try repository.documents.seal(
            plain, as: .slice, name.extra(content: Int64(pack.bytes.count)))
        return pack.bytes + sealed + Pack.footer(trailerLength: sealed.count, magic: magic)
    }

    /// - Parameters:
    ///   - bytes: the whole object.
    /// - Throws: `.damaged` or `.foreign` if it is not the slice of this name, whole.
    init(_ bytes: [UInt8], name: LogName, in repository: Repository) throws(RepositoryError) {
        let subject = "\(repository.layout.log(name))"
        let range = try Pack.trailerRange(
            footer: bytes.suffix(Pack.footerLength), size: Int64(bytes.count), magic: Self.magic, subject: subject)
        let content = Int(range.lowerBound)
        let opened = try repository.documents.open(
            bytes[content..<Int(range.upperBound)], as: .slice, name.extra(content: range.lowerBound), subject: subject)
        var reader = SliceReader(opened.plain[...], subject: subject)
        let json = try reader.take(Int(try reader.number(UInt32.self)))
        manifest = try repository.decode(SliceManifest.self, Array(json), subject: subject)
        trailer = try PackTrailer(try reader.take(reader.left), content: range.lowerBound, subject: subject)
        self.name = name
        epoch = opened.epoch
        let known = Set(trailer.entries.filter { $0.kind == name.log.chunkKind }.map(\.id))
        guard manifest.format == Manifest.currentFormat, manifest.client == repository.keys.client,
            (manifest.log, manifest.from, manifest.to) == (name.log, name.from, name.to)
        else { throw RepositoryError(.foreign, subject, cause: "it is of another client, log or stretch") }
        guard known.isSuperset(of: manifest.chunks) else {
            throw RepositoryError(.damaged, subject, cause: "it names chunks that it does not hold")
        }
        guard ContentHash(hashing: Array(bytes[..<content])) == manifest.content else {
            throw RepositoryError(.damaged, subject, cause: "its bytes do not have the hash that it names")
        }
    }
}

/// The chunks of one slice.
struct SliceSource: ChunkSource {
    let bytes: [UInt8]
    let slice: StoredSlice
    let opener: BackupReader.Opener
    let compression: Compression

    func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8] {
        guard let entry = slice.trailer.entries.first(where: { $0.id == id }), entry.kind == kind else {
            throw RepositoryError(.damaged, "chunk \(id)", cause: "its slice does not hold it")
        }
        let sealed = bytes[Int(entry.offset)..<Int(entry.offset) + Int(entry.sealedLength)]
        let key = try opener.packKey(slice.trailer.keys[Int(entry.key)], of: slice.name.text)
        return try opener.open(
            sealed, id, kind, key: key, length: Int(entry.plainLength), compression, place: slice.name.text)
    }

    func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws {
        try opener.verifyID(id, kind: kind, hashes: hashes)
    }

    /// Opens all of it.
    /// - Throws: `.damaged` if a chunk or the digest is not what the slice says.
    func verify() throws -> ContentDigest {
        var digest = ContentDigest()
        for id in slice.manifest.chunks { digest.add(try records(id, kind: slice.name.log.chunkKind).digest) }
        guard digest == slice.manifest.digest else {
            throw RepositoryError(.damaged, slice.name.text, cause: "its digest is not that of its chunks")
        }
        return digest
    }
}

extension BackupReader {
    /// Opens a slice, whole.
    /// - Returns: the digest of its records.
    func verify(_ name: LogName) async throws -> ContentDigest {
        let bytes = try await repository.store.read(repository.layout.log(name))
        let slice = try StoredSlice(bytes, name: name, in: repository)
        guard let opener = openers[slice.epoch] else {
            throw RepositoryError(.notRecipient, name.text, cause: "it is of epoch \(slice.epoch)")
        }
        let source = SliceSource(bytes: bytes, slice: slice, opener: opener, compression: repository.compression)
        return try await OwnThread.run("verify") { try source.verify() }
    }
}

extension Repository {
    /// Names of all slices and gaps, in the order of what they cover.
    func logNames() async throws(StoreError) -> [LogName] {
        try await store.list(layout.logs).compactMap { layout.logName($0.key) }.sorted()
    }

    func gap(_ sealed: [UInt8], name: LogName) throws -> LogGap {
        let subject = "\(layout.log(name))"
        let gap: LogGap = try openJSON(sealed, as: .gap, name.extra(), subject: subject)
        try check(gap.format, gap.client, (gap.log, gap.from, gap.to) == (name.log, name.from, name.to), subject)
        return gap
    }

    func sealed(_ gap: LogGap) throws -> [UInt8] {
        let name = LogName(log: gap.log, from: gap.from, to: gap.to, isGap: true)
        return try sealJSON(gap, as: .gap, name.extra())
    }
}
