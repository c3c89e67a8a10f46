/// Reads borrowed bytes from the front; every read is checked.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var remaining: Int { bytes.count - position }
    var isAtEnd: Bool { position == bytes.count }

    private static func short() -> RDBError { RDBError(.malformed, "a value ends inside one of its parts") }

    mutating func take(_ count: Int) throws(RDBError) -> Piece {
        guard count >= 0, count <= remaining else { throw Self.short() }
        let piece = Piece(UnsafeRawBufferPointer(rebasing: bytes[position..<position + count]))
        position += count
        return piece
    }

    mutating func byte() throws(RDBError) -> UInt8 {
        guard remaining > 0 else { throw Self.short() }
        position += 1
        return bytes[position - 1]
    }

    func peek() throws(RDBError) -> UInt8 {
        guard remaining > 0 else { throw Self.short() }
        return bytes[position]
    }

    /// A little-endian number.
    mutating func little<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) throws(RDBError) -> Number {
        let size = MemoryLayout<Number>.size
        guard size <= remaining else { throw Self.short() }
        position += size
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position - size, as: type))
    }

    /// A big-endian number.
    mutating func big<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) throws(RDBError) -> Number {
        try little(type).byteSwapped
    }

    /// A signed little-endian number of 24 bits.
    mutating func little24() throws(RDBError) -> Int64 {
        let piece = try take(3)
        let raw = UInt32(piece.bytes[0]) | UInt32(piece.bytes[1]) << 8 | UInt32(piece.bytes[2]) << 16
        return Int64(Int32(bitPattern: raw << 8) >> 8)
    }
}

/// RDB's lengths and strings (redis/src/rdb.c, `rdbLoadLenByRef`, `rdbGenericLoadStringObject`).
extension ByteReader {
    /// A length or, where `isString`, the number of a string's encoding.
    private mutating func lengthOrEncoding() throws(RDBError) -> (value: UInt64, isEncoding: Bool) {
        let first = try byte()
        switch first >> 6 {
        case 0: return (UInt64(first & 63), false)
        case 1: return (UInt64(first & 63) << 8 | UInt64(try byte()), false)
        case 3: return (UInt64(first & 63), true)
        default:
            if first == 0x80 { return (UInt64(try big(UInt32.self)), false) }
            if first == 0x81 { return (try big(UInt64.self), false) }
            throw RDBError(.malformed, "length byte \(first)")
        }
    }

    mutating func length() throws(RDBError) -> UInt64 {
        let (value, isEncoding) = try lengthOrEncoding()
        guard !isEncoding else { throw RDBError(.malformed, "an encoding where a length must stand") }
        return value
    }

    /// A count of things that take at least `least` bytes each: more than fit are refused before they are read.
    mutating func count(least: Int) throws(RDBError) -> Int {
        let value = try length()
        guard value <= UInt64(remaining / least) else { throw RDBError(.malformed, "a count of \(value) is too large") }
        return Int(value)
    }

    /// A string with numbers and compression undone; it lies in the value where it can, else in `arena`.
    mutating func string(_ arena: ByteArena) throws(RDBError) -> Piece {
        let (value, isEncoding) = try lengthOrEncoding()
        guard isEncoding else {
            guard value <= UInt64(remaining) else { throw RDBError(.malformed, "a string is longer than its value") }
            return try take(Int(value))
        }
        switch value {
        case 0: return try arena.text(of: Int64(try little(Int8.self)))
        case 1: return try arena.text(of: Int64(try little(Int16.self)))
        case 2: return try arena.text(of: Int64(try little(Int32.self)))
        case 3:
            let packed = try count(least: 1)
            let plain = try length()
            guard plain <= UInt64(RDBLimits.value) else { throw RDBError(.valueTooLarge, "a string of \(plain) bytes") }
            guard plain <= UInt64(packed) * UInt64(LZF.largestRatio) else {
                throw RDBError(.malformed, "an LZF string claims \(plain) bytes out of \(packed)")
            }
            let input = try take(packed)
            let output = try arena.allocate(Int(plain))
            try LZF.decompress(input.bytes, into: output)
            return Piece(UnsafeRawBufferPointer(output))
        default: throw RDBError(.malformed, "string encoding \(value)")
        }
    }
}
