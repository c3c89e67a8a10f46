internal import Glibc

/// One entry of a listpack or ziplist.
enum PackedEntry {
    case bytes(Piece)
    case integer(Int64)

    func text(_ arena: ByteArena) throws(RDBError) -> Piece {
        switch self {
        case .bytes(let piece): piece
        case .integer(let number): try arena.text(of: number)
        }
    }

    func number() throws(RDBError) -> Int64 {
        guard case .integer(let number) = self else { throw RDBError(.malformed, "text where a number must stand") }
        return number
    }

    /// A sorted set's score.
    func score() throws(RDBError) -> Double {
        switch self {
        case .integer(let number): Double(number)
        case .bytes(let piece): try ScoreText.parse(piece)
        }
    }

    /// Text that is the decimal form of a 64-bit number becomes that number, as servers write it.
    var normalized: PackedEntry {
        guard case .bytes(let piece) = self, let number = Self.canonicalInteger(piece) else { return self }
        return .integer(number)
    }

    private static func canonicalInteger(_ piece: Piece) -> Int64? {
        guard (1...20).contains(piece.count) else { return nil }
        let bytes = piece.bytes
        let isNegative = bytes[0] == 0x2d
        let digits = bytes.dropFirst(isNegative ? 1 : 0)
        guard let first = digits.first, (0x30...0x39).contains(first) else { return nil }
        guard first != 0x30 || (digits.count == 1 && !isNegative) else { return nil }
        var number: Int64 = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            let (product, overflow) = number.multipliedReportingOverflow(by: 10)
            let value = Int64(digit - 0x30)
            let (sum, overflowAgain) =
                isNegative ? product.subtractingReportingOverflow(value) : product.addingReportingOverflow(value)
            guard !overflow, !overflowAgain else { return nil }
            number = sum
        }
        return number
    }

    func equals(_ other: PackedEntry) -> Bool {
        switch (self, other) {
        case (.integer(let left), .integer(let right)): left == right
        case (.bytes(let left), .bytes(let right)):
            left.count == right.count && memcmp(left.start, right.start, left.count) == 0
        default: false
        }
    }
}

/// The text of a score, as `%.17g` or a shorter form wrote it, with `inf`, `-inf` and `nan`.
enum ScoreText {
    static func parse(_ piece: Piece) throws(RDBError) -> Double {
        let bytes = piece.bytes
        let isWhole = (1...63).contains(piece.count) && bytes[0] > 0x20
        let value: Double? =
            !isWhole
            ? nil
            : withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { text in
                text.copyMemory(from: bytes)
                text[bytes.count] = 0
                let start = text.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self)
                var end: UnsafeMutablePointer<CChar>?
                let value = strtod(start, &end)
                return end == start + bytes.count ? value : nil
            }
        guard let value else { throw RDBError(.malformed, "a score is no number") }
        return value
    }
}

/// Reads a listpack: u32 LE total, u16 LE count (65535: unknown), entries, FF (redis/src/listpack.c).
struct ListpackReader {
    private var reader: ByteReader
    private let claimed: Int
    private var seen = 0

    init(_ bytes: Piece) throws(RDBError) {
        reader = ByteReader(bytes.bytes)
        let total = try reader.little(UInt32.self)
        claimed = Int(try reader.little(UInt16.self))
        guard Int(total) == bytes.count, bytes.count >= 7 else { throw RDBError(.malformed, "a listpack's size") }
    }

    /// - Returns: nil at the end, which must be the end of the bytes too.
    mutating func next() throws(RDBError) -> PackedEntry? {
        let start = reader.position
        let first = try reader.byte()
        let entry: PackedEntry
        switch first {
        case 0x00...0x7f: entry = .integer(Int64(first))
        case 0x80...0xbf: entry = .bytes(try reader.take(Int(first & 63)))
        case 0xc0...0xdf:
            let raw = Int64(first & 31) << 8 | Int64(try reader.byte())
            entry = .integer(raw >= 4096 ? raw - 8192 : raw)
        case 0xe0...0xef:
            let count = Int(first & 15) << 8 | Int(try reader.byte())
            entry = .bytes(try reader.take(count))
        case 0xf0:
            let count = Int(try reader.little(UInt32.self))
            entry = .bytes(try reader.take(count))
        case 0xf1: entry = .integer(Int64(try reader.little(Int16.self)))
        case 0xf2: entry = .integer(try reader.little24())
        case 0xf3: entry = .integer(Int64(try reader.little(Int32.self)))
        case 0xf4: entry = .integer(try reader.little(Int64.self))
        case 0xff:
            guard reader.isAtEnd, claimed == 65535 || claimed == seen else {
                throw RDBError(.malformed, "a listpack's count")
            }
            return nil
        default: throw RDBError(.malformed, "listpack encoding \(first)")
        }
        try checkBackwardLength(reader.position - start)
        seen += 1
        return entry
    }

    /// The next entry, which must be there.
    mutating func need() throws(RDBError) -> PackedEntry {
        guard let entry = try next() else { throw RDBError(.malformed, "a listpack ends too early") }
        return entry
    }

    private mutating func checkBackwardLength(_ size: Int) throws(RDBError) {
        let count = Listpack.backwardLengthSize(size)
        if count == 1 {
            guard try reader.byte() == UInt8(size) else { throw RDBError(.malformed, "a listpack's back length") }
            return
        }
        var value = 0
        for index in 0..<count {
            let byte = try reader.byte()
            guard (byte >> 7 == 1) == (index > 0) else { throw RDBError(.malformed, "a listpack's back length") }
            value = value << 7 | Int(byte & 127)
        }
        guard value == size else { throw RDBError(.malformed, "a listpack's back length") }
    }
}

/// Writes a listpack, each entry in its shortest form.
struct Listpack {
    private(set) var bytes: [UInt8] = [0, 0, 0, 0, 0, 0]
    private var count = 0

    static func backwardLengthSize(_ size: Int) -> Int {
        size < 128 ? 1 : size < 16384 ? 2 : size < 2_097_152 ? 3 : size < 268_435_456 ? 4 : 5
    }

    mutating func append(_ entry: PackedEntry) {
        switch entry {
        case .bytes(let piece): append(piece)
        case .integer(let number): append(number)
        }
    }

    mutating func append(_ number: Int64) {
        let start = bytes.count
        switch number {
        case 0...127: bytes.append(UInt8(number))
        case -4096...4095:
            let raw = UInt16(truncatingIfNeeded: number) & 0x1fff
            bytes.append(0xc0 | UInt8(raw >> 8))
            bytes.append(UInt8(truncatingIfNeeded: raw))
        case -32768...32767:
            bytes.append(0xf1)
            RDBWriter.number(Int16(number), to: &bytes)
        case -8_388_608...8_388_607:
            bytes.append(0xf2)
            withUnsafeBytes(of: Int32(number).littleEndian) { bytes.append(contentsOf: $0.prefix(3)) }
        case Int64(Int32.min)...Int64(Int32.max):
            bytes.append(0xf3)
            RDBWriter.number(Int32(number), to: &bytes)
        default:
            bytes.append(0xf4)
            RDBWriter.number(number, to: &bytes)
        }
        close(start)
    }

    private mutating func append(_ piece: Piece) {
        let start = bytes.count
        if piece.count < 64 {
            bytes.append(0x80 | UInt8(piece.count))
        } else if piece.count < 4096 {
            bytes.append(0xe0 | UInt8(piece.count >> 8))
            bytes.append(UInt8(truncatingIfNeeded: piece.count))
        } else {
            bytes.append(0xf0)
            RDBWriter.number(UInt32(piece.count), to: &bytes)
        }
        bytes.append(contentsOf: piece.bytes)
        close(start)
    }

    private mutating func close(_ start: Int) {
        let size = bytes.count - start
        let groups = Self.backwardLengthSize(size)
        for group in (0..<groups).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: size >> (7 * group)) & 127 | (group == groups - 1 ? 0 : 128))
        }
        count += 1
    }

    /// Replaces the entry at `offset`, which must be a number from 0 to 127 like `number`.
    mutating func setSmall(_ number: Int, at offset: Int) { bytes[offset] = UInt8(number) }

    mutating func finish() -> [UInt8] {
        bytes.append(0xff)
        withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { bytes.replaceSubrange(0..<4, with: $0) }
        withUnsafeBytes(of: UInt16(min(count, 65535)).littleEndian) { bytes.replaceSubrange(4..<6, with: $0) }
        return bytes
    }
}

/// Reads a ziplist: u32 LE total, u32 LE offset of the last entry, u16 LE count, entries, FF (redis/src/ziplist.c).
struct ZiplistReader {
    private var reader: ByteReader
    private let claimed: Int
    private var seen = 0
    private var previous = 0

    init(_ bytes: Piece) throws(RDBError) {
        reader = ByteReader(bytes.bytes)
        let total = try reader.little(UInt32.self)
        _ = try reader.little(UInt32.self)
        claimed = Int(try reader.little(UInt16.self))
        guard Int(total) == bytes.count, bytes.count >= 11 else { throw RDBError(.malformed, "a ziplist's size") }
    }

    /// - Returns: nil at the end, which must be the end of the bytes too.
    mutating func next() throws(RDBError) -> PackedEntry? {
        let start = reader.position
        var before = Int(try reader.byte())
        if before == 0xff {
            guard reader.isAtEnd, claimed == 65535 || claimed == seen else {
                throw RDBError(.malformed, "a ziplist's count")
            }
            return nil
        }
        if before == 0xfe { before = Int(try reader.little(UInt32.self)) }
        guard before == previous else { throw RDBError(.malformed, "a ziplist's back length") }
        let first = try reader.byte()
        let entry: PackedEntry
        switch first {
        case 0x00...0x3f: entry = .bytes(try reader.take(Int(first)))
        case 0x40...0x7f:
            let count = Int(first & 63) << 8 | Int(try reader.byte())
            entry = .bytes(try reader.take(count))
        case 0x80:
            let count = Int(try reader.big(UInt32.self))
            entry = .bytes(try reader.take(count))
        case 0xc0: entry = .integer(Int64(try reader.little(Int16.self)))
        case 0xd0: entry = .integer(Int64(try reader.little(Int32.self)))
        case 0xe0: entry = .integer(try reader.little(Int64.self))
        case 0xf0: entry = .integer(try reader.little24())
        case 0xfe: entry = .integer(Int64(try reader.little(Int8.self)))
        case 0xf1...0xfd: entry = .integer(Int64(first & 15) - 1)
        default: throw RDBError(.malformed, "ziplist encoding \(first)")
        }
        previous = reader.position - start
        seen += 1
        return entry
    }
}
