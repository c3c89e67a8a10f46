import Backup
import Testing

@Suite("BSON")
struct BSONReaderTests {
    /// One field of every type, deprecated ones included.
    static let zoo: [UInt8] = BSONWriter.document { zoo in
        func raw(_ name: String, _ type: BSONType, _ value: [UInt8]) {
            value.withUnsafeBytes { zoo.append(name, type, value: $0) }
        }
        raw("double", .double, [0, 0, 0, 0, 0, 0, 0x45, 0x40])
        zoo.append("string", "ünï")
        zoo.append("document", document: { $0.append("", Int32(1)) })
        zoo.append("array", strings: ["a", "b"])
        zoo.append("binary", binary: [1, 2, 3], subtype: 0x80)
        raw("undefined", .undefined, [])
        raw("objectID", .objectID, Array(1...12))
        zoo.append("bool", true)
        raw("date", .date, [255, 255, 255, 255, 255, 255, 255, 255])
        raw("null", .null, [])
        raw("regex", .regex, [0x61, 0, 0x69, 0])
        raw("dbPointer", .dbPointer, [2, 0, 0, 0, 0x63, 0] + Array(1...12))
        raw("code", .code, [2, 0, 0, 0, 0x78, 0])
        raw("symbol", .symbol, [2, 0, 0, 0, 0x79, 0])
        raw("codeWithScope", .codeWithScope, [15, 0, 0, 0, 2, 0, 0, 0, 0x78, 0, 5, 0, 0, 0, 0])
        zoo.append("int32", Int32(-2))
        zoo.append("timestamp", seconds: 1_700_000_000, ordinal: 7)
        zoo.append("int64", Int64.min)
        raw("decimal128", .decimal128, Array(repeating: 9, count: 16))
        raw("maxKey", .maxKey, [])
        raw("minKey", .minKey, [])
    }

    @Test("known bytes are read, and written the same")
    func knownBytes() throws {
        // bsonspec.org, first example: {"hello": "world"}
        let bytes: [UInt8] = Array("\u{16}\0\0\0\u{2}hello\0\u{6}\0\0\0world\0\0".utf8)
        #expect(BSONWriter.document { $0.append("hello", "world") } == bytes)
        let text = try bytes.withBSON { try $0.require("hello").string() }
        #expect(text == "world")
    }

    @Test("every type is read, and its field can be copied into an equal document")
    func everyType() throws {
        try Self.zoo.withBSON { zoo in
            try zoo.check()
            var writer = BSONWriter()
            var names: [String] = []
            var fields = zoo.fields
            while let field = try fields.next() {
                #expect(field.nameText == "\(field.type)")
                names.append(field.nameText)
                writer.append(element: field.element)
            }
            #expect(names.count == 21)
            #expect(writer.finish() == Self.zoo)
            #expect(try zoo.require("double").integer() == 42)
            #expect(try zoo.require("int32").integer() == -2)
            #expect(try zoo.require("int64").integer() == .min)
            #expect(try zoo.require("bool").truth())
            let stamp = try zoo.require("timestamp").timestamp()
            #expect(stamp.seconds == 1_700_000_000 && stamp.ordinal == 7)
            let binary = try zoo.require("binary").binary()
            #expect(binary.subtype == 0x80 && Array(binary.bytes) == [1, 2, 3])
            #expect(throws: BSONError(.wrongType(field: "string"))) { try zoo.require("string").integer() }
            #expect(throws: BSONError(.missing(field: "nothing"))) { try zoo.require("nothing") }
        }
    }

    @Test("a document cut off anywhere is refused")
    func truncations() {
        for length in 0..<Self.zoo.count {
            #expect(throws: BSONError.self) { try Array(Self.zoo[0..<length]).withBSON { try $0.check() } }
            guard length >= 5 else { continue }
            // The same with a length and a final zero that pretend to be right: a field's own end gives it away,
            // unless the cut is between two fields.
            var pretending = Array(Self.zoo[0..<length])
            pretending[0] = UInt8(length & 0xFF)
            pretending[1] = UInt8(length >> 8)
            pretending[length - 1] = 0
            _ = try? pretending.withBSON { try $0.check() }
        }
    }

    @Test("no flipped bit makes the reader leave the document")
    func flippedBits() {
        for bit in 0..<Self.zoo.count * 8 {
            var flipped = Self.zoo
            flipped[bit / 8] ^= 1 << (bit % 8)
            // Any outcome but a crash: half of the flips give other, valid BSON.
            _ = try? flipped.withBSON { document in
                try document.check()
                var fields = document.fields
                while let field = try fields.next() { _ = field.value.count }
            }
        }
    }

    @Test("random bytes never make the reader leave them", arguments: [UInt64(1), 2, 3])
    func garbage(seed: UInt64) {
        var generator = Xorshift(state: seed)
        for _ in 0..<20_000 {
            var bytes = (0..<Int(generator.next() % 60 + 5)).map { _ in UInt8(generator.next() % 20) }
            bytes[0] = UInt8(bytes.count)
            (bytes[1], bytes[2], bytes[3]) = (0, 0, 0)
            bytes[bytes.count - 1] = 0
            _ = try? bytes.withBSON { try $0.check() }
        }
    }

    @Test("a random document is read as it was written", arguments: [UInt64(11), 12, 13])
    func randomDocuments(seed: UInt64) throws {
        var generator = Xorshift(state: seed)
        for _ in 0..<200 {
            let document = Self.randomDocument(&generator, depth: 4)
            try document.withBSON { reader in
                try reader.check()
                let rewritten = try Self.rewrite(reader)
                #expect(rewritten == document)
            }
        }
    }

    @Test("nesting beyond the limit is refused, not followed")
    func depth() {
        var document = BSONWriter.document { _ in }
        for _ in 0..<300 {
            let inner = document
            document = BSONWriter.document { $0.append("d", document: inner) }
        }
        #expect(throws: BSONError.self) { try document.withBSON { try $0.check() } }
    }

    @Test("documents one after the other are split, and a torn last one is refused")
    func splitting() throws {
        let document = BSONWriter.document { $0.append("a", Int32(1)) }
        let three = document + document + document
        var count = 0
        try three.withUnsafeBytes { try BSONReader.split($0) { _ in count += 1 } }
        #expect(count == 3)
        #expect(throws: BSONError(.truncated)) {
            try Array(three.dropLast()).withUnsafeBytes { try BSONReader.split($0) { _ in } }
        }
    }

    @Test("the order of top-level fields does not count where it must not")
    func sorting() throws {
        let left = BSONWriter.document {
            $0.append("b", Int32(1))
            $0.append("a", "x")
            $0.append("ns", "dropped")
        }
        let right = BSONWriter.document {
            $0.append("a", "x")
            $0.append("b", Int32(1))
        }
        let sortedLeft = try left.withBSON { try $0.sorted(without: ["ns"]) }
        let sortedRight = try right.withBSON { try $0.sorted() }
        #expect(sortedLeft == sortedRight)
    }

    private static func rewrite(_ reader: BSONReader) throws -> [UInt8] {
        var writer = BSONWriter()
        var fields = reader.fields
        while let field = try fields.next() {
            switch field.type {
            case .document: writer.append(field.nameText, document: try rewrite(field.document()))
            case .string: writer.append(field.nameText, try field.string())
            case .int64: writer.append(field.nameText, try field.integer())
            default: writer.append(element: field.element)
            }
        }
        return writer.finish()
    }

    private static func randomDocument(_ generator: inout Xorshift, depth: Int) -> [UInt8] {
        var writer = BSONWriter()
        for index in 0..<generator.next() % 6 {
            switch generator.next() % (depth > 0 ? 5 : 4) {
            case 0: writer.append("i\(index)", Int64(bitPattern: generator.next()))
            case 1: writer.append("", String(repeating: "é", count: Int(generator.next() % 50)))
            case 2: writer.append("b", binary: Array(repeating: 7, count: Int(generator.next() % 30)), subtype: 0)
            case 3: writer.append("t", generator.next() % 2 == 0)
            default: writer.append("d\(index)", document: randomDocument(&generator, depth: depth - 1))
            }
        }
        return writer.finish()
    }
}

/// A seeded generator: the same seed, the same documents.
private struct Xorshift: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
