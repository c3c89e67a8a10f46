import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

/// Every request of a small backup, prune and restore is failed in turn, in every way, until a run passes untouched. Faults
/// are made where the program hands requests over; the gateway behind them is real.
@Suite("Faults of an S3 store", .serialized, .enabled(if: S3Bucket.endpoint != nil, "start with script/test"))
struct S3FaultServiceTests {
    private struct Count {
        var requests = 0
        var named = 0

        func tell(_ fault: HTTPFault, _ work: String) {
            print(
                "\(fault) at \(requests) requests of a \(work): \(named) failed by name, the others ended well; 0 lost")
        }
    }

    /// One of many in CI, all of them in the campaign.
    private static let step = S3Bucket.environment["DRP_CAMPAIGN"] == "1" ? 1 : 6

    @Test("backup: it is there and whole, or it failed by name; older ones are whole", arguments: HTTPFault.allCases)
    func backup(_ fault: HTTPFault) async throws {
        let bucket = try await S3Bucket()
        let fixture = try await RepositoryFixture(bucket.store())
        try await fixture.backUp([chunk(1)])
        var (count, number) = (Count(), 1 + Int(fault.hashInOrder) % Self.step)
        while true {
            let http = FaultyHTTP(bucket.http, fault, at: number)
            let before = try await fixture.repository.numbers()
            do {
                let manifest = try await fixture.backUp(
                    [chunk(1), chunk(UInt64(number) + 10)], to: bucket.store(http: http))
                #expect(try await fixture.repository.numbers() == before + [manifest.number])
            } catch is StoreError {
                count.named += 1
                // It may be there in spite of a failure that was told; half of it never is.
                #expect(try await fixture.repository.numbers().count <= before.count + 1)
            } catch is RepositoryError {
                count.named += 1
            }
            guard http.wasHarmed else { break }
            count.requests += 1
            number += Self.step
        }
        #expect(try await fixture.verify().isWhole)
        #expect(count.requests > 0)
        count.tell(fault, "backup")
    }

    @Test("restore: right bytes, or none", arguments: HTTPFault.allCases)
    func restore(_ fault: HTTPFault) async throws {
        let bucket = try await S3Bucket()
        let fixture = try await RepositoryFixture(bucket.store())
        let chunks = [chunk(1), chunk(2), chunk(3)]
        let manifest = try await fixture.backUp(chunks)
        let segments = try #require(manifest.mongo).collections[0].segments
        var (count, number) = (Count(), 1)
        while true {
            let http = FaultyHTTP(bucket.http, fault, at: number)
            let store = bucket.store(http: http)
            do {
                let repository = try await Repository(store: store, keys: fixture.keys)
                let reader = try await repository.reader([fixture.root])
                let read = try await OwnThread.run("test") {
                    try segments.map { try reader.records($0, kind: .documents).bytes }
                }
                #expect(read == chunks.map(\.bytes))
            } catch let error as any DRPError {
                #expect(error is StoreError || error is RepositoryError)
                count.named += 1
            }
            guard http.wasHarmed else { break }
            count.requests += 1
            number += 1
        }
        #expect(count.requests > 0)
        // A single fault is outlived, but for bytes that were changed on their way without TLS.
        if ![.corrupted, .errorInside, .staleList, .forbidden].contains(fault) { #expect(count.named == 0) }
        count.tell(fault, "restore")
    }

    @Test("prune: nothing that is kept is lost, and the next one ends what was begun", arguments: HTTPFault.allCases)
    func prune(_ fault: HTTPFault) async throws {
        let bucket = try await S3Bucket()
        let fixture = try await RepositoryFixture(bucket.store())
        // The store's clock is not ours to set: the backups are of the days before.
        let now = SystemClock().now
        for seed in 1...4 { try await fixture.backUp([chunk(UInt64(seed))], at: now - Double(5 - seed) * 86_400) }
        var (count, number) = (Count(), 1 + Int(fault.hashInOrder) % Self.step)
        var newest = 4
        while true {
            let http = FaultyHTTP(bucket.http, fault, at: number)
            do {
                try await prune(fixture, bucket.store(http: http))
            } catch let error as any DRPError {
                #expect(error is StoreError || error is RepositoryError || error is PruneError)
                count.named += 1
            }
            // Older ones go; the newest two never do.
            let kept = try await fixture.repository.numbers()
            #expect(Array(kept.suffix(2)) == [newest - 1, newest])
            guard http.wasHarmed else { break }
            count.requests += 1
            number += Self.step
            newest = try await fixture.backUp([chunk(UInt64(number) + 100)], at: SystemClock().now - 1).number
        }
        try await prune(fixture, bucket.store())
        try await prune(fixture, bucket.store())
        #expect(try await fixture.repository.numbers().count == 2)
        #expect(try await fixture.verify().isWhole)
        count.tell(fault, "prune")
    }

    @Test("sync: what it copies is whole, and the next one ends what was begun", arguments: HTTPFault.allCases)
    func sync(_ fault: HTTPFault) async throws {
        let bucket = try await S3Bucket()
        let fixture = try await RepositoryFixture(MemoryStore())
        try await fixture.backUp([chunk(1)])
        try await copy(fixture, to: bucket.store())
        var (count, number) = (Count(), 1 + Int(fault.hashInOrder) % Self.step)
        while true {
            try await fixture.backUp([chunk(1), chunk(UInt64(number) + 10)])
            let http = FaultyHTTP(bucket.http, fault, at: number)
            do {
                try await copy(fixture, to: bucket.store(http: http))
            } catch let error as any DRPError {
                #expect(error is StoreError || error is RepositoryError || error is NamedStoreError)
                count.named += 1
            }
            let report = try await Repository.verify(store: bucket.store(), keys: fixture.keys)
            #expect(report.isWhole, "request \(number): \(report.problems)")
            try await copy(fixture, to: bucket.store())
            let numbers = try await Repository(store: bucket.store(), keys: fixture.keys).numbers()
            #expect(try await numbers == fixture.repository.numbers())
            guard http.wasHarmed else { break }
            count.requests += 1
            number += Self.step
        }
        #expect(count.requests > 0)
        count.tell(fault, "sync")
    }

    private func copy(_ fixture: RepositoryFixture, to store: S3Store) async throws {
        var copy = RepositoryCopy(
            to: StoreName(unchecked: "bucket"), Repository(unchecked: store, keys: fixture.keys),
            from: [RepositoryCopy.Source(store: StoreName(unchecked: "memory"), repository: fixture.repository)],
            absence: .make, progress: { _ in })
        if let problem = try await copy.run().problems.first { throw problem.error }
    }

    private func prune(_ fixture: RepositoryFixture, _ store: S3Store) async throws {
        let repository = try await Repository(store: store, keys: fixture.keys)
        _ = try await Prune(
            repository, retention: Retention(keep: Policy.Keep(last: 2), zone: .gmt), history: nil, grace: .zero
        ).run(clock: SystemClock(), isConfirmed: true, mayDelete: {})
    }

    private func chunk(_ seed: UInt64) -> Chunk { RepositoryFixture.chunk(records: 4, of: 200, seed: seed) }
}

extension HTTPFault {
    fileprivate var hashInOrder: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
