/// Writes one BSON document from front to back.
package struct BSONWriter {
    private var bytes: [UInt8] = [0, 0, 0, 0]

    package init() {}

    /// A whole document made by `body`.
    package static func document(_ body: (inout BSONWriter) throws -> Void) rethrows -> [UInt8] {
        var writer = BSONWriter()
        try body(&writer)
        return writer.finish()
    }

    package mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

    package mutating func append(_ name: String, _ text: String) {
        begin(.string, name)
        let utf8 = text.utf8
        append(word: Int32(utf8.count + 1))
        bytes.append(contentsOf: utf8)
        bytes.append(0)
    }

    package mutating func append(_ name: String, _ number: Int32) {
        begin(.int32, name)
        append(word: number)
    }

    package mutating func append(_ name: String, _ number: Int64) {
        begin(.int64, name)
        append(word: number)
    }

    package mutating func append(_ name: String, _ truth: Bool) {
        begin(.bool, name)
        bytes.append(truth ? 1 : 0)
    }

    package mutating func append(_ name: String, seconds: UInt32, ordinal: UInt32) {
        begin(.timestamp, name)
        append(word: UInt64(seconds) << 32 | UInt64(ordinal))
    }

    package mutating func append(_ name: String, binary: some Collection<UInt8>, subtype: UInt8) {
        begin(.binary, name)
        append(word: Int32(binary.count))
        bytes.append(subtype)
        bytes.append(contentsOf: binary)
    }

    /// - Parameter document: whole BSON.
    package mutating func append(_ name: String, document: some Collection<UInt8>) {
        begin(.document, name)
        bytes.append(contentsOf: document)
    }

    package mutating func append(_ name: String, _ type: BSONType, value: UnsafeRawBufferPointer) {
        begin(type, name)
        bytes.append(contentsOf: value)
    }

    /// A field of another document as it is.
    package mutating func append(element: UnsafeRawBufferPointer) { bytes.append(contentsOf: element) }

    /// The same value under another name.
    package mutating func append(_ name: String, valueOf field: BSONField) {
        append(name, field.type, value: field.value)
    }

    package mutating func append(_ name: String, document body: (inout BSONWriter) throws -> Void) rethrows {
        try nest(.document, name, body)
    }

    /// - Parameter body: names the elements "0", "1" and so on.
    package mutating func append(_ name: String, array body: (inout BSONWriter) throws -> Void) rethrows {
        try nest(.array, name, body)
    }

    /// - Parameter documents: whole BSON each.
    package mutating func append(_ name: String, documents: some Sequence<[UInt8]>) {
        append(
            name,
            array: { array in
                for (index, document) in documents.enumerated() { array.append("\(index)", document: document) }
            })
    }

    package mutating func append(_ name: String, strings: some Sequence<String>) {
        append(
            name,
            array: { array in
                for (index, text) in strings.enumerated() { array.append("\(index)", text) }
            })
    }

    /// - Returns: the document; the writer is empty after it.
    package mutating func finish() -> [UInt8] {
        close(from: 0)
        defer { bytes = [0, 0, 0, 0] }
        return bytes
    }

    private mutating func nest(
        _ type: BSONType, _ name: String, _ body: (inout BSONWriter) throws -> Void
    ) rethrows {
        begin(type, name)
        let start = bytes.count
        append(word: Int32(0))
        try body(&self)
        close(from: start)
    }

    private mutating func close(from start: Int) {
        bytes.append(0)
        let length = Int32(bytes.count - start).littleEndian
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: length, toByteOffset: start, as: Int32.self) }
    }

    private mutating func begin(_ type: BSONType, _ name: String) {
        bytes.append(type.rawValue)
        for byte in name.utf8 {
            precondition(byte != 0, "a field's name holds no zero")
            bytes.append(byte)
        }
        bytes.append(0)
    }

    private mutating func append(word: some FixedWidthInteger) {
        withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
    }
}
