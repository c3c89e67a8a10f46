package import Backup
package import DRPKit
internal import Synchronization

/// Chunks in memory, with ids under a fixed key: the twin of a repository for tests of captures and restores.
package final class MemoryChunks: ChunkSink, ChunkSource {
    private struct Key: Hashable {
        var kind: ChunkKind
        var id: ChunkID
    }

    private let ids = ChunkIDKey(Secret([UInt8](repeating: 7, count: 32)))
    private let chunks = Mutex<[Key: [UInt8]]>([:])

    package init() {}

    package func store(_ chunk: Chunk) throws -> ChunkID {
        let id = ids.id(kind: chunk.kind, hashes: chunk.hashes)
        chunks.withLock { $0[Key(kind: chunk.kind, id: id)] = chunk.bytes }
        return id
    }

    package func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8] {
        guard let bytes = chunks.withLock({ $0[Key(kind: kind, id: id)] }) else {
            throw RepositoryError(.missing, "chunk \(id)")
        }
        return bytes
    }

    package func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws {
        guard ids.id(kind: kind, hashes: hashes) == id else { throw RepositoryError(.damaged, "chunk \(id)") }
    }

    package var count: Int { chunks.withLock { $0.count } }
    package var byteCount: Int { chunks.withLock { $0.values.reduce(0) { $0 + $1.count } } }

    /// Puts other bytes in place of a chunk's, as a damaged disk would.
    package func replace(_ id: ChunkID, kind: ChunkKind, with bytes: [UInt8]) {
        chunks.withLock { $0[Key(kind: kind, id: id)] = bytes }
    }
}
