import Foundation
import Synchronization

@testable import Backup
@testable import DRPKit

/// The repository alone: sealing and opening chunks beside bare zstd, and opening one with many chunks.
enum Vault {
    private static let client = UUID()

    /// - Parameter threads: those that seal or open; the uploader has one more.
    static func measure(_ settings: MongoSettings, folder: String, threads: Int) async throws {
        let content = try await OwnThread.run("bench") { try Content.read(settings) }
        let bytes = content.bytes
        try await Baselines.measure("zstd 3", bytes: bytes) { try await content.compress(threads) }

        let root = RootKey.generate(client: client, name: ClientID(unchecked: "bench"))
        let store = FolderStore(root: folder)
        let repository = try await Repository.initialize(
            store: store, root: root, recipients: [RecoveryIdentity.generate().recipient], created: Date())
        try await Baselines.measure("seal", bytes: bytes) { try await seal(content, into: repository, threads) }

        let frames = try await frames(of: content, threads)
        let compression = Compression()
        try await Baselines.measure("bare decompression", bytes: bytes) {
            try await Work.share(threads) { work in
                while let index = work.next(below: frames.count) {
                    let length = content.chunks[index].bytes.count
                    _ = try frames[index].withUnsafeBytes {
                        try compression.decompressed($0, length: length, subject: "bench")
                    }
                }
            }
        }
        try await Baselines.measure("open, ids checked", bytes: bytes) { try await open(repository, root, threads) }
    }

    /// Hash, cut, id, zstd 3, AES-256-GCM, write, flush, manifest.
    private static func seal(_ content: Content, into repository: Repository, _ threads: Int) async throws {
        let writer = try await repository.begin()
        let stored = Mutex<(ids: [ChunkID], digest: ContentDigest)>(([], ContentDigest()))
        try await Work.share(threads) { work in
            var chunker = Chunker(kind: .documents)
            var ids: [ChunkID] = []
            var digest = ContentDigest()
            while let index = work.next(below: content.chunks.count) {
                try content.chunks[index].bytes.withUnsafeBytes { bytes in
                    try RecordSplitter.forEach(in: bytes, kind: .documents) { record in
                        let hash = ContentHash(hashing: record)
                        digest.add(hash, length: record.count)
                        try chunker.append(record, hash: hash) { ids.append(try writer.store($0)) }
                    }
                }
            }
            try chunker.finish { ids.append(try writer.store($0)) }
            stored.withLock {
                $0.ids += ids
                $0.digest.add(digest)
            }
        }
        let (ids, digest) = stored.withLock { $0 }
        _ = try await writer.commit(
            mongo: manifest(ids, digest), redis: nil, started: Date(), finished: Date(), instant: Date())
    }

    private static func open(_ repository: Repository, _ root: RootKey, _ threads: Int) async throws {
        let reader = try await repository.reader([root])
        guard let ids = try await repository.latest()?.mongo?.collections[0].segments else { return }
        try await Work.share(threads) { work in
            while let index = work.next(below: ids.count) {
                _ = try reader.records(ids[index], kind: .documents)
            }
        }
    }

    private static func frames(of content: Content, _ threads: Int) async throws -> [[UInt8]] {
        let compression = Compression()
        let frames = Mutex<[Int: [UInt8]]>([:])
        try await Work.share(threads) { work in
            while let index = work.next(below: content.chunks.count) {
                let frame = try content.chunks[index].bytes.withUnsafeBytes {
                    try compression.compressed($0) { Array($0) }
                }
                frames.withLock { $0[index] = frame }
            }
        }
        return frames.withLock { frames in content.chunks.indices.map { frames[$0] ?? [] } }
    }

    // MARK: - Many chunks

    /// Makes a repository of tiny chunks, ten backups of a tenth each, and the writer's keys beside it.
    static func fill(_ folder: String, chunks: Int) async throws {
        let root = RootKey.generate(client: client, name: ClientID(unchecked: "bench"))
        let repository = try await Repository.initialize(
            store: FolderStore(root: "\(folder)/store"), root: root,
            recipients: [RecoveryIdentity.generate().recipient], created: Date())
        try repository.keys.write(to: "\(folder)/keys")
        for backup in 0..<10 {
            let writer = try await repository.begin()
            let (ids, digest) = try await OwnThread.run("bench") {
                var ids: [ChunkID] = []
                var digest = ContentDigest()
                for number in 0..<chunks / 10 {
                    var record = [UInt8](repeating: 0, count: 64)
                    withUnsafeBytes(of: UInt32(64).littleEndian) { record.replaceSubrange(0..<4, with: $0) }
                    withUnsafeBytes(of: UInt64(backup * chunks + number)) { record.replaceSubrange(8..<16, with: $0) }
                    let hash = ContentHash(hashing: record)
                    digest.add(hash, length: 64)
                    ids.append(try writer.store(Chunk(kind: .documents, bytes: record, hashes: [hash])))
                }
                return (ids, digest)
            }
            _ = try await writer.commit(
                mongo: manifest(ids, digest), redis: nil, started: Date(), finished: Date(), instant: Date())
        }
    }

    /// Opens it, lists its backups, and learns where every chunk is.
    static func open(_ folder: String) async throws {
        let keys = try WriterKeys.read("\(folder)/keys")
        try await Baselines.measure("open and list", bytes: 0) {
            let repository = try await Repository(store: FolderStore(root: "\(folder)/store"), keys: keys)
            let backups = try await repository.backups()
            let catalog = try await ChunkCatalog.load(repository)
            guard backups.backups.count == 10, catalog.count > 0 else { throw CancellationError() }
        }
    }

    private static func manifest(_ ids: [ChunkID], _ digest: ContentDigest) -> MongoManifest {
        MongoManifest(
            serverVersion: "bench", clusterSeconds: 1, clusterOrdinal: 1, catalog: [], users: [],
            collections: [
                CollectionManifest(
                    database: "bench", collection: "documents", digest: digest, segments: ids.map { Segment($0) },
                    isCapped: false)
            ])
    }
}
