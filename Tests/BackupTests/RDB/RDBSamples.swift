import Backup
import Foundation
import TestSupport
import Testing

/// RDBs for tests: written by hand, or by real servers (`Tests/Fixtures`).
enum RDBSamples {
    static let fixtures = ["redis-small", "redis6-small", "redis8-small"]

    static func fixture(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: path(name + ".rdb"))) }

    static func path(_ name: String) -> URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Fixtures").appendingPathComponent(name)
    }

    /// A plain string below 64 bytes.
    static func string(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

    /// Magic, `body`, FF and the right checksum.
    static func rdb(_ body: [UInt8], magic: String = "REDIS0011") -> [UInt8] {
        var bytes = Array(magic.utf8) + body + [0xff]
        let crc = bytes.withUnsafeBytes { CRC64.update(0, $0) }
        RDBWriter.number(crc, to: &bytes)
        return bytes
    }

    /// A function, two databases, and keys of several kinds.
    static let small: [UInt8] = {
        var body: [UInt8] = [0xfa] + string("redis-ver") + string("7.2.0")
        body += [0xf5] + string("#!lua name=lib")
        body += [0xfe, 0, 0xfb, 2, 1]
        body += [0xfc, 0xd2, 0x02, 0x96, 0x49, 0, 0, 0, 0, 0] + string("a") + string("one")
        body += [0xf9, 7, 0] + [0xc0, 0x0c] + [0xc3, 4, 4, 0x00, 0x61, 0x20, 0x00]
        body += [0xfe, 3, 0xf8, 5, 2] + string("s") + [2] + string("y") + string("x")
        body += [5] + string("z") + [1] + string("m") + [0, 0, 0, 0, 0, 0, 0xf8, 0x3f]
        body +=
            [7] + string("mod") + [0x81, 1, 2, 3, 4, 5, 6, 7, 8, 2, 9, 5] + string("v") + [
                4, 1, 2, 3, 4, 5, 6, 7, 8, 0,
            ]
        return rdb(body)
    }()

    /// All events as text, fed in pieces of `step` bytes.
    static func events(_ bytes: [UInt8], step: Int = .max) throws -> [String] {
        let parser = RDBParser()
        var events: [String] = []
        var rest = bytes[...]
        while !rest.isEmpty && !parser.isFinished {
            let part = rest.prefix(step)
            let used = try part.withUnsafeBytes { try parser.feed($0) { events.append(describe($0)) } }
            rest = rest.dropFirst(used)
            if used == 0 { break }
        }
        try parser.finish()
        return events
    }

    private static func describe(_ event: RDBEvent) -> String {
        guard case .key(let key) = event else { return "\(event)" }
        return "\(key.database) \(Array(key.name)) \(key.expiry ?? -1) \(key.idle ?? 0) \(key.frequency ?? 0) "
            + "\(key.type) \(Array(key.value))"
    }

    /// All records, by database and key.
    static func records(_ bytes: [UInt8]) throws -> (info: RedisSnapshotInfo, functions: [[UInt8]], keys: [[UInt8]]) {
        var reader = RedisSnapshot.RecordReader()
        var functions: [[UInt8]] = []
        var keys: [[UInt8]] = []
        let parser = RDBParser()
        _ = try bytes.withUnsafeBytes { bytes in
            try parser.feed(bytes) { event in
                try reader.take(event) { stored in
                    switch stored {
                    case .function(let record): functions.append(record)
                    case .key(let record, _, _): keys.append(Array(record))
                    }
                }
            }
        }
        try parser.finish()
        return (reader.info, functions, keys)
    }

    /// Canonical type and value of a value as it stands in a stream; nil for an empty collection.
    static func canonical(_ type: UInt8, _ value: [UInt8], _ family: RDBFamily = .redis) throws -> [UInt8]? {
        var output: [UInt8] = []
        let isKept = try value.withUnsafeBytes {
            try Canonicalizer().append(type: type, value: $0, family: family, to: &output)
        }
        return isKept ? output : nil
    }
}
