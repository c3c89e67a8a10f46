import Backup
import DRPKit
import Foundation
import TestSupport
import Testing

@Suite("Verification of a share at a time")
struct VerifySampleTests {
    @Test(
        "every pack that stays is read within the rounds that its share needs, while others come and go",
        arguments: [1_000_000, 600_000, 500_000, 300_000, 73_100, 50_000, 5_000, 4_999], [UInt64(1), 2, 3])
    func coversAll(share: Int, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var sample = VerifySample(
            share: share, round: 7, position: Int.random(in: 0..<VerifySample.circle, using: &random))
        let rounds = (1_000_000 + share - 1) / share
        #expect(sample.rounds == rounds)
        // Each with the rounds since it came or was read.
        var packs: [(name: ContentHash, age: Int)] = []
        var (read, seen) = (0, 0)
        for number in 0..<(3 * rounds + 5) {
            packs += (0..<10).map { _ in (ContentHash(hashing: random.bytes(16)), 0) }
            for _ in 0..<(number.isMultiple(of: 3) ? 10 : 6) {
                packs.remove(at: Int.random(in: packs.indices, using: &random))
            }
            for index in packs.indices {
                seen += 1
                if sample.contains(packs[index].name) {
                    read += 1
                    packs[index].age = 0
                } else {
                    packs[index].age += 1
                    if packs[index].age >= rounds { Issue.record("\(packs[index]), share \(share), seed \(seed)") }
                }
            }
            sample = sample.next
        }
        // Far off only if the window had another width than the share.
        let expected = Double(seen) * Double(share) / 1_000_000
        #expect(abs(Double(read) - expected) <= 6 * expected.squareRoot() + 3, "\(read) of \(seen), seed \(seed)")
    }

    @Test("a share that changes leaves no gap, and the rounds left count down to none")
    func changes() {
        var sample = VerifySample(share: 50_000)
        for left in (0..<20).reversed() {
            #expect(sample.roundsLeft == left)
            sample = sample.next
        }
        #expect(sample.position == 0 && sample.round == 21 && sample.roundsLeft == 19)
        let third = VerifySample(share: 300_000)
        #expect(third.roundsLeft == 3 && third.next.next.next.roundsLeft == 0)
        let wider = VerifySample(share: 400_000, round: 4, position: sample.next.position)
        #expect(wider.position == 50_000 && wider.next.position == 450_000)
        #expect(VerifySample(share: 9_000_000).share == 1_000_000 && VerifySample(share: -1).share == 1)
    }

    /// Twelve packs, of one backup each.
    private func fixture() async throws -> (RepositoryFixture, MemoryStore, [ObjectKey]) {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        for seed in 1...12 {
            try await fixture.backUp([RepositoryFixture.chunk(records: 3, of: 100, seed: UInt64(seed))])
        }
        return (fixture, store, store.keys.filter { $0.text.contains("/packs/") })
    }

    private func verify(
        _ fixture: RepositoryFixture, _ sample: VerifySample, readData: Bool = false
    ) async throws -> VerifyReport {
        let (store, keys, root) = (fixture.store, fixture.keys, fixture.root)
        guard readData else { return try await Repository.verify(store: store, keys: keys, sample: sample) }
        return try await Repository.verify(
            store: store, keys: keys, reader: { try await Repository(store: store, keys: keys).reader([root]) },
            sample: sample)
    }

    @Test("rounds read each pack once, find a flipped byte of content in one of them, and one of a trailer in each")
    func rounds() async throws {
        let (fixture, store, packs) = try await fixture()
        #expect(packs.count == 12)
        var sample = VerifySample(share: 250_000)
        var (whole, opened) = (0, 0)
        for _ in 0..<4 {
            let report = try await verify(fixture, sample, readData: true)
            #expect(report.isWhole && report.packs == 12 && report.chunks == 12)
            whole += report.sample?.packs ?? 0
            opened += report.chunksRead
            sample = sample.next
        }
        #expect(whole == 12 && opened == 12)

        let bytes = try #require(store[packs[5]])
        var found = 0
        store[packs[5]]?[20] ^= 1
        for _ in 0..<4 {
            let report = try await verify(fixture, sample)
            found += report.isWhole ? 0 : 1
            #expect(report.isWhole || report.problems[0].subject == packs[5].text)
            sample = sample.next
        }
        #expect(found == 1)
        store[packs[5]] = bytes
        store[packs[5]]?[bytes.count - 30] ^= 1
        for _ in 0..<4 {
            #expect(try await verify(fixture, sample).suffering.count == 1)
            sample = sample.next
        }
        store[packs[5]] = Array(bytes.dropLast())
        #expect(try await verify(fixture, sample).suffering.count == 1)
    }

    @Test(
        "the problem of a pack names the backups that suffer, from its trailer, else from its index, else from the rest"
    )
    func suffering() async throws {
        let store = MemoryStore()
        let fixture = try await RepositoryFixture(store)
        let shared = RepositoryFixture.chunk(records: 3, of: 100, seed: 1)
        try await fixture.backUp([shared])
        let first = try #require(store.keys.first { $0.text.contains("/packs/") })
        try await fixture.backUp([RepositoryFixture.chunk(records: 3, of: 100, seed: 2)])
        let second = try #require(store.keys.first { $0.text.contains("/packs/") && $0 != first })
        try await fixture.backUp([shared, RepositoryFixture.chunk(records: 3, of: 100, seed: 3)])
        let bytes = try #require(store[first])

        func problem(_ report: VerifyReport, of key: ObjectKey) -> [Int]? {
            report.problems.first { $0.subject == key.text }?.backups
        }
        store[first]?[20] ^= 1
        var report = try await fixture.verify()
        #expect(problem(report, of: first) == [1, 3] && report.suffering == [1, 3])
        // Nothing of it can be read: its index tells.
        store[first] = Array(repeating: 7, count: bytes.count)
        report = try await fixture.verify()
        #expect(problem(report, of: first) == [1, 3] && report.suffering == [1, 3])
        // The index is gone too: what no whole pack holds must have been in it.
        for index in store.keys where index.text.contains("/indexes/") { store[index] = nil }
        store[second]?[20] ^= 1
        report = try await fixture.verify()
        #expect(problem(report, of: first) == [1, 3] && problem(report, of: second) == [2])
        #expect(report.suffering == [1, 2, 3])
        store[first] = bytes
        store[second]?[20] ^= 1
        #expect(try await fixture.verify().isWhole)
    }

    @Test("a damaged wrapped key makes every backup suffer, a damaged index none")
    func keysAndIndexes() async throws {
        let (fixture, store, _) = try await fixture()
        let wrap = try #require(store.keys.first { $0.text.contains("/keys/") })
        store[wrap]?[60] ^= 1
        let report = try await fixture.verify(readData: false)
        #expect(report.problems.map(\.subject) == [wrap.text] && report.suffering == Array(1...12))
        store[wrap]?[60] ^= 1
        let index = try #require(store.keys.first { $0.text.contains("/indexes/") })
        store[index]?[60] ^= 1
        let other = try await fixture.verify(readData: false)
        #expect(other.problems.map(\.subject) == [index.text] && other.suffering.isEmpty)
    }
}

/// `DRP_BENCH_VERIFY=1 script/test --filter VerifySpeedTests`: no promise, a figure.
@Suite("The speed of verify", .enabled(if: ProcessInfo.processInfo.environment["DRP_BENCH_VERIFY"] != nil, "a figure"))
struct VerifySpeedTests {
    @Test("1 GB of packs, beside sha256sum in two processes over the same files")
    func gigabyte() async throws {
        let folder = try TemporaryFolder()
        let fixture = try await RepositoryFixture(FolderStore(root: folder.path("store")))
        let writer = try await fixture.repository.begin()
        let (ids, chunks) = try await OwnThread.run("test") { () -> ([ChunkID], [Chunk]) in
            var ids: [ChunkID] = []
            var random = SeededGenerator(seed: 1)
            for number in 0..<1024 {
                let words = (0..<131_072).map { _ in random.next() }
                var bytes = words.withUnsafeBytes { Array($0) }
                withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { bytes.replaceSubrange(0..<4, with: $0) }
                let chunk = Chunk(kind: .documents, bytes: bytes, hashes: [ContentHash(hashing: bytes)])
                ids.append(try writer.store(chunk))
                if number == 1023 { return (ids, [chunk]) }
            }
            return (ids, [])
        }
        let date = RepositoryFixture.created
        _ = try await writer.commit(
            mongo: RepositoryFixture.mongo(ids, chunks), redis: nil, started: date, finished: date, instant: date)
        for _ in 0..<3 {
            let began = ContinuousClock.now
            let report = try await fixture.verify(readData: false)
            let verify = ContinuousClock.now - began
            #expect(report.isWhole)
            let other = ContinuousClock.now
            let sums = Process()
            sums.executableURL = URL(fileURLWithPath: "/bin/sh")
            sums.arguments = [
                "-c", "find \(folder.path) -type f -path '*/packs/*' -print0 | xargs -0 -n 8 -P 2 sha256sum",
            ]
            sums.standardOutput = FileHandle.nullDevice
            try sums.run()
            sums.waitUntilExit()
            print("FIGURE verify \(verify), sha256sum -P 2 \(ContinuousClock.now - other), \(report.packBytes) bytes")
        }
    }
}
