import Backup
import TestSupport
import Testing

@Suite("RDB parser")
struct RDBParserTests {
    @Test("each part of a small snapshot is told as it stands there")
    func small() throws {
        let events = try RDBSamples.events(RDBSamples.small)
        #expect(events.count == 11)
        #expect(events[0].contains("11"))
        #expect(events[4] == "0 [97] 1234567890 0 0 0 [3, 111, 110, 101]")
        #expect(events[5] == "0 [49, 50] -1 0 7 0 [195, 4, 4, 0, 97, 32, 0]")
        #expect(events[7].hasPrefix("3 [115] -1 5 0 2 "))
        #expect(events[9].hasPrefix("3 [109, 111, 100] -1 0 0 7 "))
        #expect(events[10].contains("verified"))
    }

    @Test("pieces of any size give the same as the whole", arguments: [1, 2, 3, 7, 64])
    func pieces(_ step: Int) throws {
        #expect(try RDBSamples.events(RDBSamples.small, step: step) == RDBSamples.events(RDBSamples.small))
    }

    @Test("a real snapshot byte by byte gives the same as the whole")
    func realPieces() throws {
        let bytes = try RDBSamples.fixture("redis8-small")
        #expect(try RDBSamples.events(bytes, step: 1) == RDBSamples.events(bytes))
        let other = try RDBSamples.fixture("redis6-small")
        #expect(try RDBSamples.events(other, step: 4093) == RDBSamples.events(other))
    }

    @Test("a snapshot that ends early is refused, wherever it ends")
    func truncations() {
        for count in 0..<RDBSamples.small.count {
            #expect(throws: RDBError.self, "\(count) bytes") {
                try RDBSamples.events(Array(RDBSamples.small.prefix(count)))
            }
        }
    }

    @Test("one flipped bit is refused, wherever it is")
    func flips() {
        for index in RDBSamples.small.indices {
            for bit in 0..<8 {
                var bytes = RDBSamples.small
                bytes[index] ^= 1 << UInt8(bit)
                // A version below 5 has no checksum: bytes would be left over, which the frame refuses.
                #expect(throws: (any Error).self, "byte \(index) bit \(bit)") {
                    let events = try RDBSamples.events(bytes)
                    if !events.last!.contains("verified") { throw RDBError(.checksum, "") }
                }
            }
        }
    }

    @Test("bytes after the end are not the snapshot's")
    func rest() throws {
        let parser = RDBParser()
        let bytes = RDBSamples.small + [1, 2, 3]
        let used = try bytes.withUnsafeBytes { try parser.feed($0) { _ in } }
        #expect(used == RDBSamples.small.count)
        #expect(parser.isFinished)
    }

    @Test("a checksum of 0 is told as absent")
    func absent() throws {
        let bytes = Array("REDIS0011".utf8) + [0xff] + [UInt8](repeating: 0, count: 8)
        #expect(try RDBSamples.events(bytes).last?.contains("absent") == true)
    }

    @Test(
        "unknown opcodes, types and versions are errors with a name, not guesses",
        arguments: [
            ([0xf2, 0, 0], "REDIS0012", RDBError.Reason.unknown), ([0xf6, 0], "REDIS0010", .unsupported),
            ([0xf3, 0], "REDIS0012", .unsupported), ([28, 1, 0x61, 0], "REDIS0012", .unknown),
            ([22, 1, 0x61, 0], "REDIS0012", .unknown), ([6, 1, 0x61, 0], "REDIS0009", .unsupported),
            ([], "REDIS0099", .unknown), ([], "VALKEY081", .unknown), ([], "RUBIS0011", .malformed),
            ([0x82, 1, 0x61], "REDIS0011", .unknown), ([0, 0x82], "REDIS0011", .malformed),
        ] as [([UInt8], String, RDBError.Reason)])
    func unknown(_ body: [UInt8], _ magic: String, _ reason: RDBError.Reason) {
        do {
            _ = try RDBSamples.events(RDBSamples.rdb(body, magic: magic))
            Issue.record("accepted")
        } catch let error as RDBError {
            #expect(error.reason == reason)
            #expect(!error.message.isEmpty && !error.advice.isEmpty)
        } catch { Issue.record(error) }
    }

    @Test("a value that claims too many bytes is refused at its head, with its key and database")
    func tooLarge() {
        let claims: [[UInt8]] = [
            [0x80, 0x10, 0, 0, 1], [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0xc3, 0x05, 0x80, 0xff, 0xff, 0xff, 0xff],
        ]
        for claim in claims {
            let bytes = Array("REDIS0011".utf8) + [0xfe, 4, 0, 3, 0x6b, 0x0a, 0x22] + claim
            do {
                _ = try RDBSamples.events(bytes)
                Issue.record("accepted")
            } catch let error as RDBError {
                #expect(error.reason == .valueTooLarge)
                #expect(error.message.contains(#"key "k\x0a\"" of database 4"#), "\(error.message)")
            } catch { Issue.record(error) }
        }
    }

    @Test("random damage never crashes the parser or the decoders")
    func fuzz() throws {
        let original = try RDBSamples.fixture("redis8-small")
        for seed in UInt64(1)...30 {
            var random = SeededGenerator(seed: seed)
            var bytes = original
            for _ in 0..<20 {
                bytes[Int.random(in: 9..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            #expect(throws: (any Error).self, "seed \(seed)") { _ = try RDBSamples.records(bytes) }
        }
    }
}
