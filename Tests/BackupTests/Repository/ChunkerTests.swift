import Backup
import DRPKit
import Foundation
import TestSupport
import Testing

@Suite struct ChunkerTests {
    private func cut(_ records: [[UInt8]]) -> [Chunk] {
        var chunks: [Chunk] = []
        var chunker = Chunker(kind: .documents)
        for record in records {
            record.withUnsafeBytes { bytes in
                chunker.append(bytes, hash: ContentHash(hashing: bytes)) { chunks.append($0) }
            }
        }
        chunker.finish { chunks.append($0) }
        return chunks
    }

    private func records(_ count: Int, seed: UInt64) -> [[UInt8]] {
        var random = SeededGenerator(seed: seed)
        return (0..<count).map { _ in RepositoryFixture.record(Int.random(in: 200...4000, using: &random), &random) }
    }

    @Test("chunks keep their bounds, their average, and every record in order")
    func bounds() throws {
        let records = records(15_000, seed: 5)
        let chunks = cut(records)
        #expect(chunks.flatMap(\.bytes) == records.flatMap { $0 })
        #expect(chunks.dropLast().allSatisfy { (Chunker.minimum...Chunker.maximum).contains($0.bytes.count) })
        let average = chunks.reduce(0) { $0 + $1.bytes.count } / chunks.count
        #expect((700 << 10..<1400 << 10).contains(average), "average \(average), seed 5")
        for chunk in chunks {
            #expect(try hashes(chunk.bytes, .documents) == chunk.hashes)
        }
    }

    @Test("after an insertion the cuts fall where they fell before")
    func resync() {
        let before = records(15_000, seed: 6)
        var after = before
        after.insert(contentsOf: records(3, seed: 7), at: 2_000)
        let known = Set(cut(before).map { ContentHash(hashing: $0.bytes) })
        let chunks = cut(after)
        let fresh = chunks.filter { !known.contains(ContentHash(hashing: $0.bytes)) }
        #expect(fresh.count <= 4, "\(fresh.count) of \(chunks.count) chunks are new, seeds 6 and 7")
    }

    @Test("a record larger than a chunk stands alone")
    func giant() {
        var random = SeededGenerator(seed: 8)
        let giant = RepositoryFixture.record(5 << 20, &random)
        let chunks = cut([RepositoryFixture.record(1000, &random), giant, RepositoryFixture.record(1000, &random)])
        #expect(chunks.map(\.bytes.count) == [1000, 5 << 20, 1000])
        #expect(chunks.map(\.hashes.count) == [1, 1, 1])
    }

    private func hashes(_ bytes: [UInt8], _ kind: ChunkKind) throws -> [ContentHash] {
        var hashes: [ContentHash] = []
        try bytes.withUnsafeBytes { bytes in
            try RecordSplitter.forEach(in: bytes, kind: kind) { hashes.append(ContentHash(hashing: $0)) }
        }
        return hashes
    }

    @Test("broken lengths in a chunk are refused", arguments: [ChunkKind.documents, .redisKeys])
    func splitter(_ kind: ChunkKind) throws {
        #expect(try hashes([], kind) == [])
        #expect(try hashes([5, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0], kind).count == 2)
        for broken: [UInt8] in [[5, 0, 0, 0], [5, 0, 0], [3, 0, 0, 0, 0], [0, 0, 0, 0], [255, 255, 255, 255, 0]] {
            #expect(throws: RepositoryError.self) { try hashes(broken, kind) }
        }
    }
}
