import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct PruneHistoryTests {
    /// A backup that another machine has begun.
    private struct Begun {
        var writer: BackupWriter
        var ids: [ChunkID]
        var chunks: [Chunk]

        init(_ world: PruneFixture, _ chunks: [Chunk]) async throws {
            let writer = try await world.fixture.repository.begin()
            self.writer = writer
            self.chunks = chunks
            ids = try await OwnThread.run("test") { try chunks.map { try writer.store($0) } }
        }

        /// - Returns: whether it was committed.
        func commit() async throws -> Bool {
            let date = RepositoryFixture.created
            do {
                _ = try await writer.commit(
                    mongo: RepositoryFixture.mongo(ids, chunks), redis: nil, started: date, finished: date,
                    instant: date)
                return true
            } catch let error as RepositoryError where error.reason == .aborted || error.reason == .overtaken {
                return false
            }
        }
    }

    @Test("40 histories of backups, slow backups elsewhere, prunes that die, rules that change: always whole")
    func histories() async throws {
        var counts = (committed: 0, given: 0, deaths: 0, removed: 0)
        for seed in UInt64(0)..<40 {
            var random = SeededGenerator(seed: seed)
            let world = try await PruneFixture()
            var begun: [Begun] = []
            for step in 0..<25 {
                let chunks = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    RepositoryFixture.chunk(records: 2, of: 80, seed: UInt64.random(in: 1...8, using: &random))
                }
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<3: try await world.fixture.backUp(chunks)
                case 3: begun.append(try await Begun(world, chunks))
                case 4 where !begun.isEmpty:
                    let index = Int.random(in: 0..<begun.count, using: &random)
                    if try await begun.remove(at: index).commit() { counts.committed += 1 } else { counts.given += 1 }
                default:
                    world.pass(Double.random(in: 0..<20, using: &random))
                    let keep = Policy.Keep(last: Int.random(in: 1...3, using: &random))
                    let changes = Int.random(in: 0..<20, using: &random)
                    do {
                        let report = try await world.prune(
                            keep: keep, in: MortalStore(world.store, changes: changes))
                        counts.removed += report.removed?.backups.count ?? 0
                    } catch is StoreError {
                        counts.deaths += 1
                    }
                }
                let report = try await world.fixture.verify(readData: false)
                #expect(report.isWhole, "seed \(seed), step \(step): \(report.problems)")
            }
            for _ in 0..<3 {
                world.pass(25)
                _ = try await world.prune(keep: Policy.Keep(last: 1))
            }
            #expect(try await world.garbage() == 0, "seed \(seed)")
            let report = try await world.fixture.verify()
            #expect(report.isWhole, "seed \(seed): \(report.problems)")
        }
        Swift.print("histories: \(counts)")
        #expect(counts.committed >= 5 && counts.given > 10 && counts.deaths > 20 && counts.removed > 50)
    }
}
