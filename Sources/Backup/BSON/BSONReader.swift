/// The types of BSON values (bsonspec.org), deprecated ones included.
package enum BSONType: UInt8, Sendable {
    case double = 0x01
    case string = 0x02
    case document = 0x03
    case array = 0x04
    case binary = 0x05
    case undefined = 0x06
    case objectID = 0x07
    case bool = 0x08
    case date = 0x09
    case null = 0x0A
    case regex = 0x0B
    case dbPointer = 0x0C
    case code = 0x0D
    case symbol = 0x0E
    case codeWithScope = 0x0F
    case int32 = 0x10
    case timestamp = 0x11
    case int64 = 0x12
    case decimal128 = 0x13
    case maxKey = 0x7F
    case minKey = 0xFF
}

/// A BSON document in borrowed bytes, read in place without a tree.
///
/// It is valid as long as the bytes are. Making one checks length and final zero; each field is checked
/// when it is reached, and no read ever leaves the document.
package struct BSONReader {
    /// A server's reply holds at most 48 MB (its `maxMessageSizeBytes`).
    package static let maximumSize = 48_000_000
    /// The server itself refuses more than 200 levels.
    package static let maximumDepth = 220

    /// Exactly the document.
    package let bytes: UnsafeRawBufferPointer

    /// - Parameter bytes: begin with the document; what follows it is not looked at.
    package init(_ bytes: UnsafeRawBufferPointer, limit: Int = BSONReader.maximumSize) throws(BSONError) {
        guard bytes.count >= 5 else { throw BSONError(.truncated) }
        let length = Int(Int32(littleEndian: bytes.loadUnaligned(as: Int32.self)))
        guard length >= 5 else { throw BSONError(.badLength) }
        guard length <= limit else { throw BSONError(.tooLarge) }
        guard length <= bytes.count else { throw BSONError(.truncated) }
        guard bytes[length - 1] == 0 else { throw BSONError(.badLength, at: length - 1) }
        self.bytes = UnsafeRawBufferPointer(rebasing: bytes[0..<length])
    }

    package var fields: BSONFields { BSONFields(bytes) }

    /// The first field of that name; nil without one.
    package func find(_ name: StaticString) throws(BSONError) -> BSONField? {
        let wanted = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        var fields = self.fields
        while let field = try fields.next() {
            if field.name.elementsEqual(wanted) { return field }
        }
        return nil
    }

    /// The first field of that name.
    /// - Throws: `.missing` without one.
    package func require(_ name: StaticString) throws(BSONError) -> BSONField {
        guard let field = try find(name) else { throw BSONError(.missing(field: "\(name)")) }
        return field
    }

    /// Looks at every field of every level.
    package func check(depth: Int = BSONReader.maximumDepth) throws(BSONError) {
        guard depth > 0 else { throw BSONError(.tooDeep) }
        var fields = self.fields
        while let field = try fields.next() {
            switch field.type {
            case .document, .array: try field.document().check(depth: depth - 1)
            case .codeWithScope: try field.scope().check(depth: depth - 1)
            default: break
            }
        }
    }

    package var copy: [UInt8] { Array(bytes) }

    /// A copy whose top-level fields are sorted by name, the named ones left out: two that say the same are equal.
    package func sorted(without dropped: Set<String> = []) throws(BSONError) -> [UInt8] {
        var kept: [(name: String, element: UnsafeRawBufferPointer)] = []
        var fields = self.fields
        while let field = try fields.next() {
            let name = field.nameText
            if !dropped.contains(name) { kept.append((name, field.element)) }
        }
        kept.sort { $0.name < $1.name }
        var writer = BSONWriter()
        for field in kept { writer.append(element: field.element) }
        return writer.finish()
    }

    /// Hands over each of the documents that `bytes` consist of.
    package static func split(
        _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var rest = bytes
        while !rest.isEmpty {
            let document = try BSONReader(rest).bytes
            try body(document)
            rest = UnsafeRawBufferPointer(rebasing: rest[document.count...])
        }
    }
}

/// The fields of one document, one after the other.
package struct BSONFields {
    private let bytes: UnsafeRawBufferPointer
    private var position = 4

    /// - Parameter bytes: exactly a document, its length and final zero checked.
    fileprivate init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// - Returns: nil after the last field.
    package mutating func next() throws(BSONError) -> BSONField? {
        let start = position
        let end = bytes.count - 1
        guard start < end else {
            guard start == end else { throw BSONError(.badLength, at: start) }
            return nil
        }
        guard let type = BSONType(rawValue: bytes[start]) else {
            throw BSONError(bytes[start] == 0 ? .badLength : .unknownType(bytes[start]), at: start)
        }
        let nameEnd = try endOfString(from: start + 1, before: end)
        let valueStart = nameEnd + 1
        let length = try valueLength(type, at: valueStart, before: end)
        guard length <= end - valueStart else { throw BSONError(.truncated, at: valueStart) }
        position = valueStart + length
        return BSONField(
            type: type, element: UnsafeRawBufferPointer(rebasing: bytes[start..<position]),
            nameLength: nameEnd - start - 1)
    }

    /// Where the zero is that ends a string without a length.
    private func endOfString(from start: Int, before end: Int) throws(BSONError) -> Int {
        var index = start
        while index < end {
            if bytes[index] == 0 { return index }
            index += 1
        }
        throw BSONError(.truncated, at: start)
    }

    /// The value's own length word, at least `minimum`.
    private func lengthWord(at start: Int, before end: Int, minimum: Int) throws(BSONError) -> Int {
        guard end - start >= 4 else { throw BSONError(.truncated, at: start) }
        let length = Int(Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: Int32.self)))
        guard length >= minimum else { throw BSONError(.badLength, at: start) }
        guard length <= end - start else { throw BSONError(.truncated, at: start) }
        return length
    }

    /// Bytes of the value: not yet known to lie before `end` for types of fixed size.
    private func valueLength(_ type: BSONType, at start: Int, before end: Int) throws(BSONError) -> Int {
        switch type {
        case .undefined, .null, .minKey, .maxKey: return 0
        case .bool: return 1
        case .int32: return 4
        case .double, .date, .timestamp, .int64: return 8
        case .objectID: return 12
        case .decimal128: return 16
        case .string, .code, .symbol: return try stringLength(at: start, before: end)
        case .binary: return try lengthWord(at: start, before: end, minimum: 0) + 5
        case .dbPointer: return try stringLength(at: start, before: end) + 12
        case .regex:
            let pattern = try endOfString(from: start, before: end)
            return try endOfString(from: pattern + 1, before: end) + 1 - start
        case .document, .array: return try lengthWord(at: start, before: end, minimum: 5)
        case .codeWithScope: return try lengthWord(at: start, before: end, minimum: 14)
        }
    }

    private func stringLength(at start: Int, before end: Int) throws(BSONError) -> Int {
        let length = try lengthWord(at: start, before: end, minimum: 1)
        guard length <= end - start - 4 else { throw BSONError(.truncated, at: start) }
        guard bytes[start + 3 + length] == 0 else { throw BSONError(.badLength, at: start) }
        return length + 4
    }
}

/// One field of a document: a type, a name and the bytes of a value, all borrowed.
package struct BSONField {
    package let type: BSONType
    /// Type byte, name, zero and value: what can be put into another document as it is.
    package let element: UnsafeRawBufferPointer
    private let nameLength: Int

    fileprivate init(type: BSONType, element: UnsafeRawBufferPointer, nameLength: Int) {
        self.type = type
        self.element = element
        self.nameLength = nameLength
    }

    /// Without the final zero; any bytes but zero, not always UTF-8.
    package var name: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: element[1..<1 + nameLength]) }
    package var nameText: String { String(decoding: name, as: UTF8.self) }
    package var value: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: element[(nameLength + 2)...]) }

    /// A string, invalid UTF-8 replaced.
    package func string() throws(BSONError) -> String {
        guard type == .string else { throw wrongType }
        return String(decoding: value[4..<value.count - 1], as: UTF8.self)
    }

    package func document() throws(BSONError) -> BSONReader {
        guard type == .document || type == .array else { throw wrongType }
        return try BSONReader(value)
    }

    /// The scope of a `codeWithScope`: what follows its code.
    package func scope() throws(BSONError) -> BSONReader {
        guard type == .codeWithScope else { throw wrongType }
        let length = Int(Int32(littleEndian: value.loadUnaligned(fromByteOffset: 4, as: Int32.self)))
        guard length >= 1, length <= value.count - 13, value[7 + length] == 0 else { throw BSONError(.badLength) }
        let scope = try BSONReader(UnsafeRawBufferPointer(rebasing: value[(8 + length)...]))
        guard scope.bytes.count == value.count - 8 - length else { throw BSONError(.badLength) }
        return scope
    }

    /// Any number that is a whole one and fits.
    package func integer() throws(BSONError) -> Int64 {
        switch type {
        case .int32: return Int64(Int32(littleEndian: value.loadUnaligned(as: Int32.self)))
        case .int64: return Int64(littleEndian: value.loadUnaligned(as: Int64.self))
        case .double:
            let bits = UInt64(littleEndian: value.loadUnaligned(as: UInt64.self))
            guard let number = Int64(exactly: Double(bitPattern: bits)) else { throw wrongType }
            return number
        default: throw wrongType
        }
    }

    /// A bool, or a number as the server reads it (`ok: 1.0`): zero is false.
    package func truth() throws(BSONError) -> Bool {
        switch type {
        case .bool: value[0] != 0
        case .int32, .int64, .double: try integer() != 0
        default: throw wrongType
        }
    }

    /// Seconds since 1970 and the ordinal in that second.
    package func timestamp() throws(BSONError) -> (seconds: UInt32, ordinal: UInt32) {
        guard type == .timestamp else { throw wrongType }
        let word = UInt64(littleEndian: value.loadUnaligned(as: UInt64.self))
        return (UInt32(word >> 32), UInt32(truncatingIfNeeded: word))
    }

    package func binary() throws(BSONError) -> (subtype: UInt8, bytes: UnsafeRawBufferPointer) {
        guard type == .binary else { throw wrongType }
        return (value[4], UnsafeRawBufferPointer(rebasing: value[5...]))
    }

    private var wrongType: BSONError { BSONError(.wrongType(field: nameText)) }
}

extension [UInt8] {
    /// Reads these bytes as one document. The reader must not leave `body`.
    package func withBSON<Result>(_ body: (BSONReader) throws -> Result) throws -> Result {
        try withUnsafeBytes { bytes in
            let reader = try BSONReader(bytes)
            guard reader.bytes.count == bytes.count else { throw BSONError(.badLength, at: reader.bytes.count) }
            return try body(reader)
        }
    }
}
