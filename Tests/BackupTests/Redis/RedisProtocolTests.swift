import Backup
import DRPKit
import Testing

@Suite("RESP")
struct RESPDecoderTests {
    private static let bytes = Array(
        "\n+OK\r\n:-12\r\n$5\r\na\r\nbc\r\n\n-ERR no\r\n*3\r\n$-1\r\n*0\r\n*1\r\n:7\r\n*-1\r\n$0\r\n\r\n".utf8)
    private static let values: [RESPValue] = [
        .simple("OK"), .integer(-12), .bulk(Array("a\r\nbc".utf8)), .error("ERR no"),
        .array([.bulk(nil), .array([]), .array([.integer(7)])]), .array(nil), .bulk([]),
    ]

    private func decode(_ bytes: [UInt8], step: Int) throws -> [RESPValue] {
        var decoder = RESPDecoder(longestBulk: 1000)
        var values: [RESPValue] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            rest.prefix(step).withUnsafeBytes { decoder.append($0) }
            rest = rest.dropFirst(step)
            while let value = try decoder.next() { values.append(value) }
        }
        return values
    }

    @Test("all kinds of values, in pieces of any size", arguments: [1, 2, 3, 5, 1000])
    func pieces(_ step: Int) throws { #expect(try decode(Self.bytes, step: step) == Self.values) }

    @Test(
        "an answer that is cut off gives no value",
        arguments: ["+OK\r", "$3\r\nab", "*2\r\n:1\r\n", "$", "$3\r\nabc\r"])
    func cut(_ text: String) throws { #expect(try decode(Array(text.utf8), step: 1).isEmpty) }

    @Test(
        "what is not RESP, and lengths beyond the caps, are refused",
        arguments: [
            "?\r\n", "$1001\r\n", "$-2\r\n", "$x\r\n", "$2\r\nabcd", "*9999999\r\n", "+a\rb\r\n", "\r\n",
            String(repeating: "*1\r\n", count: 20), "+" + String(repeating: "x", count: 70000),
        ])
    func refused(_ text: String) { #expect(throws: RESPFault.self) { try decode(Array(text.utf8), step: 4096) } }

    @Test("what follows an answer can be taken raw")
    func rest() throws {
        var decoder = RESPDecoder()
        Array("+FULLRESYNC x 1\r\n\n$EOF:".utf8).withUnsafeBytes { decoder.append($0) }
        #expect(try decoder.next() == .simple("FULLRESYNC x 1"))
        #expect(decoder.takeRest() == Array("\n$EOF:".utf8))
        #expect(RESPEncoder.command([Array("GET".utf8), []]) == Array("*2\r\n$3\r\nGET\r\n$0\r\n\r\n".utf8))
    }
}

@Suite("Frame of a snapshot")
struct SnapshotFrameTests {
    private static let mark = String(repeating: "0123456789", count: 4)

    private func run(_ bytes: [UInt8], step: Int) throws -> (isComplete: Bool, isWhole: Bool) {
        var frame = SnapshotFrame()
        let parser = RDBParser()
        var rest = bytes[...]
        while !rest.isEmpty {
            try rest.prefix(step).withUnsafeBytes {
                try frame.feed($0) { part in (try parser.feed(part) { _ in }, parser.isFinished) }
            }
            rest = rest.dropFirst(step)
        }
        return (frame.isComplete, parser.isFinished)
    }

    @Test(
        "both kinds of frames, with keep-alives before and newlines after, in pieces of any size",
        arguments: [1, 3, 41, 100_000])
    func frames(_ step: Int) throws {
        let rdb = RDBSamples.small
        let marked = Array("\n\n$EOF:\(Self.mark)\r\n".utf8) + rdb + Array(Self.mark.utf8)
        #expect(try run(marked, step: step) == (true, true))
        #expect(try run(marked + [0x0a, 0x0a], step: step) == (true, true))
        #expect(try run(Array("\n$\(rdb.count)\r\n".utf8) + rdb, step: step) == (true, true))
        #expect(try run(marked.dropLast(), step: step) == (false, true))
    }

    @Test("a wrong mark, a wrong length, no frame: refused")
    func refused() {
        let rdb = RDBSamples.small
        let all: [[UInt8]] = [
            Array("$EOF:\(Self.mark)\r\n".utf8) + rdb + [0x0a] + Array(Self.mark.utf8),
            Array("$EOF:\(Self.mark)\r\n".utf8) + rdb + Array(Self.mark.utf8.reversed()),
            Array("$EOF:12\r\n".utf8) + rdb, Array("$\(rdb.count + 1)\r\n".utf8) + rdb + [0],
            Array("$\(rdb.count - 1)\r\n".utf8) + rdb, Array("$-5\r\n".utf8), Array("+OK\r\n".utf8),
            [UInt8](repeating: 0x61, count: 600),
        ]
        for bytes in all {
            #expect(throws: RDBError.self) { try run(bytes, step: 1) }
            #expect(throws: RDBError.self) { try run(bytes, step: 100_000) }
        }
        #expect(throws: RESPFault.self) { try run(Array("-ERR no disk\r\n".utf8), step: 4) }
    }
}

@Suite("Redis settings and errors")
struct RedisSettingsTests {
    private func settings(_ uri: String) throws -> RedisSettings { try RedisSettings(uri: Secret(uri), side: .source) }

    @Test("host, port, user, password and TLS are read from the URI")
    func parts() throws {
        let all = try settings("rediss://us%40er:p%3Aa%2Fss@[::1]:7000/3\n")
        #expect(all.host == "::1" && all.port == 7000 && all.isTLS && all.user == "us@er")
        #expect(all.password == Secret("p:a/ss") && all.server == "[::1]:7000")
        let short = try settings("redis://db.example")
        #expect(short.port == 6379 && !short.isTLS && short.user == nil && short.password == nil)
        #expect(try settings("redis://:only@h").password == Secret("only"))
    }

    @Test(
        "a URI that is not right is refused without being shown",
        arguments: [
            "canary", "http://u:canary@h", "redis://u:canary@", "redis://u:canary@h:0", "redis://u:canary@h:99999",
            "redis://u:%zzcanary@h", "redis://u:canary@h/x", "redis://u:canary@[::1", "redis://u:canary@h:1:2",
        ])
    func refused(_ uri: String) {
        do {
            _ = try settings(uri)
            Issue.record("accepted")
        } catch let error as RedisError {
            #expect(error.code == .fleetInvalid)
            #expect(!"\(error) \(error.advice) \(String(reflecting: error))".contains("canary"))
        } catch { Issue.record(error) }
    }

    @Test(
        "INFO tells family, version and what RESTORE takes",
        arguments: [
            ("redis_version:6.2.14", RDBFamily.redis, 9), ("redis_version:7.0.15", .redis, 10),
            ("redis_version:7.2.4", .redis, 11), ("redis_version:8.2.3", .redis, 12),
            ("redis_version:8.6.2", .redis, 13),
            ("redis_version:7.2.4\r\nvalkey_version:8.1.8", .valkey, 11),
            ("redis_version:7.2.4\r\nvalkey_version:9.1.2", .valkey, 80),
        ])
    func info(_ text: String, _ family: RDBFamily, _ version: Int) throws {
        let info = try #require(
            RedisServerInfo(info: "# Server\r\n\(text)\r\nevicted_keys:4\r\ndb0:keys=3,expires=1\r\n"))
        #expect(info.family == family && info.rdbVersion == version && info.keys == [0: 3] && info.evictedKeys == 4)
        #expect(RedisServerInfo(info: "# Server\r\n") == nil)
    }
}
