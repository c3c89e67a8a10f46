import DRPKit
import Foundation
import Testing

@testable import Backup

/// A manifest as a client of the server saw its values, made beside each fixture.
private struct SeenManifest: Decodable {
    struct Key: Decodable {
        struct Stream: Decodable {
            struct Group: Decodable {
                struct Consumer: Decodable {
                    var name: String
                    var seenMs: Int64?
                    var pending: Int
                }
                var name: String
                var lastDelivered: String
                var entriesRead: UInt64?
                var consumers: [Consumer]
                var pending: [[Pending]]
            }
            var length: UInt64
            var lastId: String
            var maxDeletedId: String
            var entriesAdded: UInt64?
            var groups: [Group]
        }
        /// A pending entry is a list of texts and numbers.
        enum Pending: Decodable, Equatable {
            case text(String)
            case number(Int64)
            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                if let text = try? container.decode(String.self) {
                    self = .text(text)
                } else {
                    self = .number(try container.decode(Int64.self))
                }
            }
        }
        var db: Int
        var key: Data
        var type: String
        var expireAtMs: Int64
        var valueSha256: String
        var stream: Stream?
    }
    struct Library: Decodable {
        var code: String
        enum CodingKeys: String, CodingKey { case code = "library_code" }
    }
    var keys: [Key]
    var functionLibraries: [Library]?
}

@Suite("RDBs of real servers")
struct FixtureTests {
    @Test(
        "every key, type, time to live and value of a real snapshot is what a client of that server saw",
        arguments: RDBSamples.fixtures)
    func values(_ name: String) throws {
        let (info, functions, keys) = try RDBSamples.records(try RDBSamples.fixture(name))
        let data = try Data(contentsOf: RDBSamples.path(name + ".manifest.json"))
        let seen = try JSONDecoder().decode(SeenManifest.self, from: data)
        #expect(info.checksum == .verified)
        #expect(
            functions.map { Array($0.dropFirst(4)) }
                == (seen.functionLibraries ?? []).map { Array($0.code.utf8) })
        #expect(keys.count == seen.keys.count)
        var wanted: [String: SeenManifest.Key] = [:]
        for key in seen.keys { wanted["\(key.db) \(Hex.encode(key.key))"] = key }
        for bytes in keys {
            try bytes.withUnsafeBytes { raw in
                let record = try RedisRecord(raw)
                let label = EscapedKey.text(record.key)
                guard let key = wanted.removeValue(forKey: "\(record.database) \(Hex.encode(record.key))") else {
                    Issue.record("\(label) is not in the manifest")
                    return
                }
                #expect(record.expiry ?? -1 == key.expireAtMs, "\(label)")
                let types: [UInt8: String] = [
                    0: "string", 1: "list", 2: "set", 4: "hash", 5: "zset", 21: "stream", 24: "hash",
                ]
                #expect(types[record.type] == key.type, "\(label)")
                #expect(try ClientView.digest(record) == key.valueSha256, "\(label) \(key.type)")
                if let stream = key.stream { try compare(record, stream, hasCounters: info.rdbVersion >= 10) }
            }
        }
        #expect(wanted.isEmpty)
    }

    private func compare(_ record: RedisRecord, _ seen: SeenManifest.Key.Stream, hasCounters: Bool) throws {
        let view = try ClientView.stream(record)
        #expect(view.length == seen.length)
        #expect(view.last == seen.lastId)
        if hasCounters {
            #expect(view.maxDeleted == seen.maxDeletedId)
            #expect(view.added == seen.entriesAdded)
        }
        #expect(view.groups.map(\.name) == seen.groups.map(\.name))
        for (group, other) in zip(view.groups, seen.groups) {
            #expect(group.lastDelivered == other.lastDelivered)
            if hasCounters { #expect(group.entriesRead == (other.entriesRead ?? .max)) }
            #expect(group.pending == other.pending.count)
            #expect(group.consumers.map(\.0) == other.consumers.map(\.name))
            #expect(group.consumers.map(\.1) == other.consumers.map(\.pending))
        }
    }

    @Test("a value has one canonical form, whether 6.0 packed it as a ziplist or 8.0 as a listpack")
    func oneForm() throws {
        func byKey(_ name: String) throws -> [String: [UInt8]] {
            var all: [String: [UInt8]] = [:]
            for bytes in try RDBSamples.records(try RDBSamples.fixture(name)).keys {
                try bytes.withUnsafeBytes { raw in
                    let record = try RedisRecord(raw)
                    all["\(record.database) \(Hex.encode(record.key))"] = bytes
                }
            }
            return all
        }
        let form = ComparableForm(cut: 0, target: RestoreTarget(family: .redis, rdbVersion: 9))
        func comparable(_ bytes: [UInt8]) throws -> [UInt8]? {
            var scratch: [UInt8] = []
            return try bytes.withUnsafeBytes { raw in
                try form.with(try RedisRecord(raw), Canonicalizer(), scratch: &scratch) { Array($0) }
            }
        }
        let old = try byKey("redis6-small")
        let new = try byKey("redis8-small")
        var compared = 0
        var differing: [String] = []
        for (key, left) in old {
            guard let right = new[key] else { continue }
            try left.withUnsafeBytes { raw in
                let record = try RedisRecord(raw)
                // Streams with groups hold the times at which each server delivered.
                guard record.type != 21 else { return }
                compared += 1
                guard try comparable(left) != comparable(right) else { return }
                differing.append(EscapedKey.text(record.key))
                // The fields and values are the same: what differs is the times to live, which 6.0 does not know.
                #expect(record.type == 4)
                #expect(try right.withUnsafeBytes { try RedisRecord($0).type } == 24)
                #expect(try digest(left) == digest(right))
            }
        }
        #expect(differing.sorted() == ["\"hash:fieldttl\"", "\"hash:fieldttlbig\""])
        #expect(compared > 200, "\(compared)")
    }

    private func digest(_ bytes: [UInt8]) throws -> String {
        try bytes.withUnsafeBytes { try ClientView.digest(try RedisRecord($0)) }
    }

    @Test(
        "streams come back the same from each older and newer form",
        arguments: [StreamForm.type15, .type19, .type21, .type26])
    func streamForms(_ form: StreamForm) throws {
        for name in RDBSamples.fixtures {
            for bytes in try RDBSamples.records(try RDBSamples.fixture(name)).keys {
                try bytes.withUnsafeBytes { raw in
                    let record = try RedisRecord(raw)
                    guard record.type == 21 else { return }
                    var sent: [UInt8] = []
                    try Canonicalizer().appendStream(record.value, type: 21, as: form, to: &sent)
                    var back: [UInt8] = []
                    let value = Array(sent.dropFirst())
                    #expect(sent[0] == form.rawValue)
                    let isKept = try value.withUnsafeBytes {
                        try Canonicalizer().append(type: form.rawValue, value: $0, family: .redis, to: &back)
                    }
                    #expect(isKept)
                    // What the older form lacks is filled in the same way again.
                    var again: [UInt8] = []
                    let filled = Array(back.dropFirst())
                    try filled.withUnsafeBytes {
                        try Canonicalizer().appendStream($0, type: 21, as: form, to: &again)
                    }
                    #expect(again == sent)
                    if form == .type21 || form == .type26 { #expect(Array(raw.suffix(back.count)) == back) }
                }
            }
        }
    }
}

/// Canonical values as a client sees them: the digest of `redis_manifest.py`'s `valueSha256`, and a stream's groups.
private enum ClientView {
    struct Stream {
        struct Group {
            var name: String
            var lastDelivered: String
            var entriesRead: UInt64
            var pending: Int
            var consumers: [(String, Int)] = []
        }
        var length: UInt64 = 0
        var last = ""
        var maxDeleted = ""
        var added: UInt64 = 0
        var groups: [Group] = []
    }

    static func digest(_ record: RedisRecord) throws -> String {
        var bytes: [UInt8] = []
        func part(_ piece: Piece) {
            RDBWriter.number(UInt64(piece.count), to: &bytes)
            bytes.append(contentsOf: piece.bytes)
        }
        let arena = ByteArena()
        var reader = ByteReader(record.value)
        switch record.type {
        case 0: bytes.append(contentsOf: try reader.string(arena).bytes)
        case 1, 2: for _ in 0..<(try reader.length()) { part(try reader.string(arena)) }
        case 4: for _ in 0..<(try reader.length()) * 2 { part(try reader.string(arena)) }
        case 5:
            for _ in 0..<(try reader.length()) {
                part(try reader.string(arena))
                RDBWriter.number(try reader.little(UInt64.self), to: &bytes)
            }
        case 24:
            _ = try reader.little(Int64.self)
            for _ in 0..<(try reader.length()) {
                _ = try reader.length()
                part(try reader.string(arena))
                part(try reader.string(arena))
            }
        case 21:
            try entries(&reader, arena) { id, fields in
                part(id)
                RDBWriter.number(UInt64(fields.count / 2), to: &bytes)
                for field in fields { part(field) }
            }
        default: Issue.record("type \(record.type)")
        }
        return ContentHash(hashing: bytes).description
    }

    private static func entries(
        _ reader: inout ByteReader, _ arena: ByteArena, _ body: (Piece, [Piece]) throws -> Void
    ) throws {
        for _ in 0..<(try reader.length()) {
            var base = ByteReader(try reader.string(arena).bytes)
            let (ms, seq) = (try base.big(UInt64.self), try base.big(UInt64.self))
            var list = try ListpackReader(try reader.string(arena))
            let count = try list.need().number()
            _ = try list.need()
            let names = try (0..<(try list.need().number())).map { _ in try list.need().text(arena) }
            _ = try list.need()
            for _ in 0..<count {
                let flags = try list.need().number()
                let id =
                    "\(ms &+ UInt64(bitPattern: try list.need().number()))-\(seq &+ UInt64(bitPattern: try list.need().number()))"
                var fields: [Piece] = []
                if flags == 2 {
                    for name in names { fields += [name, try list.need().text(arena)] }
                } else {
                    for _ in 0..<(try list.need().number()) * 2 { fields.append(try list.need().text(arena)) }
                }
                _ = try list.need()
                try Array(id.utf8).withUnsafeBytes { try body(Piece($0), fields) }
            }
        }
    }

    static func stream(_ record: RedisRecord) throws -> Stream {
        let arena = ByteArena()
        var reader = ByteReader(record.value)
        var view = Stream()
        func id() throws -> String { "\(try reader.length())-\(try reader.length())" }
        try entries(&reader, arena) { _, _ in }
        view.length = try reader.length()
        view.last = try id()
        _ = try id()
        view.maxDeleted = try id()
        view.added = try reader.length()
        for _ in 0..<(try reader.length()) {
            let name = Data(try reader.string(arena).bytes).base64EncodedString()
            var group = Stream.Group(name: name, lastDelivered: try id(), entriesRead: try reader.length(), pending: 0)
            group.pending = Int(try reader.length())
            for _ in 0..<group.pending {
                _ = try reader.take(24)
                _ = try reader.length()
            }
            for _ in 0..<(try reader.length()) {
                let name = Data(try reader.string(arena).bytes).base64EncodedString()
                _ = try reader.take(16)
                let pending = Int(try reader.length())
                _ = try reader.take(16 * pending)
                group.consumers.append((name, pending))
            }
            view.groups.append(group)
        }
        #expect(reader.isAtEnd)
        return view
    }
}
