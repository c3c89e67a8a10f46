import TestSupport
import Testing

@testable import Backup

@Suite("Canonical values")
struct CanonicalizerTests {
    private func packed(_ entries: [String]) -> [UInt8] {
        var list = Listpack()
        for entry in entries {
            Array(entry.utf8).withUnsafeBytes { list.append(PackedEntry.bytes(Piece($0)).normalized) }
        }
        return string(list.finish())
    }

    private func string(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        RDBWriter.string(bytes, to: &output)
        return output
    }

    /// A ziplist with every entry as text.
    private func ziplist(_ entries: [String]) -> [UInt8] {
        var body: [UInt8] = []
        var previous = 0
        for entry in entries {
            let text = Array(entry.utf8)
            let one = [UInt8(previous)] + (text.count < 64 ? [UInt8(text.count)] : [0x40, UInt8(text.count)]) + text
            previous = one.count
            body += one
        }
        var bytes: [UInt8] = []
        RDBWriter.number(UInt32(body.count + 11), to: &bytes)
        RDBWriter.number(UInt32(0), to: &bytes)
        RDBWriter.number(UInt16(entries.count), to: &bytes)
        return string(bytes + body + [0xff])
    }

    private func plain(_ entries: [String], count: Int) -> [UInt8] {
        [UInt8(count)] + entries.flatMap { string(Array($0.utf8)) }
    }

    @Test("a hash has one form, whatever its encoding and the order of its fields")
    func hashes() throws {
        for seed in UInt64(1)...40 {
            var random = SeededGenerator(seed: seed)
            let names = Set(
                (0..<Int.random(in: 1...30, using: &random)).map { _ in
                    Bool.random(using: &random)
                        ? "\(Int64.random(in: -70000...70000, using: &random))" : "f\(random.next())"
                })
            var fields = names.map {
                ($0, "\(Int64(bitPattern: random.next()) >> Int64.random(in: 0...63, using: &random))")
            }
            let flat = { fields.flatMap { [$0.0, $0.1] } }
            let one = try RDBSamples.canonical(4, plain(flat(), count: fields.count))
            fields.shuffle(using: &random)
            #expect(try RDBSamples.canonical(16, packed(flat())) == one, "seed \(seed)")
            fields.shuffle(using: &random)
            #expect(try RDBSamples.canonical(13, ziplist(flat())) == one, "seed \(seed)")
            let again = try #require(one)
            #expect(try RDBSamples.canonical(4, Array(again.dropFirst())) == one, "seed \(seed)")
        }
    }

    @Test("sets, lists and sorted sets too")
    func others() throws {
        let set = try RDBSamples.canonical(2, plain(["7", "-300", "70000"], count: 3))
        #expect(try RDBSamples.canonical(20, packed(["70000", "7", "-300"])) == set)
        let ints: [UInt8] = [4, 0, 0, 0, 3, 0, 0, 0] + [0xd4, 0xfe, 0xff, 0xff, 7, 0, 0, 0, 0x70, 0x11, 1, 0]
        #expect(try RDBSamples.canonical(11, string(ints)) == set)
        #expect(set == [2, 3] + RDBSamples.string("-300") + RDBSamples.string("7") + RDBSamples.string("70000"))

        let list = try RDBSamples.canonical(1, plain(["b", "a", "12"], count: 3))
        #expect(try RDBSamples.canonical(10, ziplist(["b", "a", "12"])) == list)
        #expect(try RDBSamples.canonical(14, [2] + ziplist(["b"]) + ziplist(["a", "12"])) == list)
        #expect(try RDBSamples.canonical(18, [2, 1] + RDBSamples.string("b") + [2] + packed(["a", "12"])) == list)

        let scores = try RDBSamples.canonical(17, packed(["b", "1.5", "a", "-3", "i", "inf"]))
        #expect(try RDBSamples.canonical(12, ziplist(["a", "-3", "b", "1.5", "i", "inf"])) == scores)
        let text: [UInt8] =
            [3] + RDBSamples.string("i") + [254] + RDBSamples.string("b") + RDBSamples.string("1.5")
            + RDBSamples.string("a") + RDBSamples.string("-3")
        #expect(try RDBSamples.canonical(3, text) == scores)
        #expect(try RDBSamples.canonical(5, Array(try #require(scores).dropFirst())) == scores)
        #expect(
            try RDBSamples.canonical(9, string([1, 1, 0x66, 2, 1, 0x76, 0x77, 0, 0xff]))
                == [4, 1] + RDBSamples.string("f") + RDBSamples.string("vw"))
    }

    @Test("times to live of fields have one form for Redis and Valkey, and a hash without any is a plain one")
    func fieldExpiries() throws {
        var valkey: [UInt8] = [2] + RDBSamples.string("b") + RDBSamples.string("2")
        RDBWriter.number(Int64(5000), to: &valkey)
        valkey += RDBSamples.string("a") + RDBSamples.string("1")
        RDBWriter.number(Int64(-1), to: &valkey)
        let one = try #require(try RDBSamples.canonical(22, valkey, .valkey))
        var redis: [UInt8] = []
        RDBWriter.number(Int64(5000), to: &redis)
        #expect(try RDBSamples.canonical(25, redis + packed(["b", "2", "5000", "a", "1", "0"])) == one)
        let fields: [UInt8] =
            [2, 1] + RDBSamples.string("b") + RDBSamples.string("2") + [0] + RDBSamples.string("a")
            + RDBSamples.string("1")
        #expect(try RDBSamples.canonical(24, redis + fields) == one)
        let value = Array(one.dropFirst())
        var back: [UInt8] = []
        try value.withUnsafeBytes { try Canonicalizer().appendValkeyHash($0, to: &back) }
        #expect(try RDBSamples.canonical(22, Array(back.dropFirst()), .valkey) == one)
        var living: [UInt8] = []
        let isKept = try value.withUnsafeBytes { try Canonicalizer().appendHash($0, livingAt: 5000, to: &living) }
        #expect(isKept)
        #expect(living == [4, 1] + RDBSamples.string("a") + RDBSamples.string("1"))
    }

    @Test("collections without members are left out, since no server takes them")
    func empty() throws {
        for type in [1, 2, 3, 4, 5, 14, 18] as [UInt8] { #expect(try RDBSamples.canonical(type, [0]) == nil) }
        #expect(try RDBSamples.canonical(0, [0]) == [0, 0])
    }

    @Test("a member that stands twice, bytes after a value and wrong counts are refused")
    func broken() {
        let values: [(UInt8, [UInt8])] = [
            (2, plain(["a", "a"], count: 2)), (4, plain(["a", "1", "a", "2"], count: 2)),
            (0, RDBSamples.string("a") + [0]),
            (11, string([2, 0, 0, 0, 2, 0, 0, 0, 1, 0])), (11, string([3, 0, 0, 0, 0, 0, 0, 0])), (16, packed(["a"])),
            (17, packed(["a", "x"])), (20, string([9, 0, 0, 0, 1, 0, 5, 2, 0xff])),
            (1, [0x80, 0xff, 0xff, 0xff, 0xff]),
            (18, [1, 3] + RDBSamples.string("a")), (24, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 0, 0]),
        ]
        for (type, value) in values {
            #expect(throws: RDBError.self, "type \(type)") { try RDBSamples.canonical(type, value) }
        }
    }
}

@Suite("Payloads for RESTORE")
struct RestorePayloadTests {
    private func record(_ value: [UInt8], expiry: Int64? = nil) throws -> [UInt8] {
        var output: [UInt8] = []
        try value.withUnsafeBytes { value in
            try Array("k".utf8).withUnsafeBytes { name in
                let key = RDBKey(
                    database: 2, expiry: expiry, type: value[0], name: name,
                    value: UnsafeRawBufferPointer(rebasing: value.dropFirst()))
                let isKept = try RedisRecord.build(key, family: .redis, Canonicalizer(), into: &output)
                #expect(isKept)
            }
        }
        return output
    }

    private func payload(_ bytes: [UInt8], _ family: RDBFamily, _ version: Int) throws -> (type: UInt8, version: UInt16)
    {
        var scratch: [UInt8] = []
        return try bytes.withUnsafeBytes { raw in
            try RestorePayload.with(
                try RedisRecord(raw), for: RestoreTarget(family: family, rdbVersion: version), Canonicalizer(),
                scratch: &scratch
            ) { ($0[0], $1) }
        }
    }

    @Test("a record says database, expiry and key, and its length")
    func layout() throws {
        let bytes = try record([0, 1, 0x76], expiry: 258)
        #expect(bytes == [25, 0, 0, 0, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x6b, 0, 1, 0x76].lengthFirst)
        for count in 0..<bytes.count {
            #expect(throws: RDBError.self, "\(count) bytes") {
                try bytes.prefix(count).withUnsafeBytes { (part: UnsafeRawBufferPointer) in _ = try RedisRecord(part) }
            }
        }
    }

    @Test("each kind goes out in the form and with the lowest version that the target reads")
    func forms() throws {
        #expect(try payload(try record([0, 1, 0x76]), .redis, 9) == (0, 9))
        let stream: [UInt8] = [15, 0, 0, 1, 1, 0]
        let stored = try record(stream)
        #expect(try payload(stored, .redis, 9) == (15, 9))
        #expect(try payload(stored, .redis, 10) == (19, 10))
        #expect(try payload(stored, .redis, 13) == (21, 11))
        #expect(try payload(stored, .valkey, 80) == (21, 11))
        let hash: [UInt8] = [24, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0x66, 1, 0x76]
        #expect(try payload(try record(hash), .redis, 12) == (24, 12))
        #expect(try payload(try record(hash), .valkey, 80) == (22, 80))
        #expect(throws: RDBError.self) { try payload(try record(hash), .redis, 11) }
    }

    @Test("functions go out as FUNCTION DUMP gives them")
    func functions() {
        let payload = RedisFunctionRecord.payload([Array("ab".utf8)])
        #expect(payload.prefix(6) == [0xf5, 2, 0x61, 0x62, 10, 0])
        #expect(payload.count == 14)
    }
}

extension [UInt8] {
    /// The same with its own count in the first byte.
    fileprivate var lengthFirst: [UInt8] { [UInt8(count)] + dropFirst() }
}
