internal import Glibc

/// Rewrites a value into its canonical form: type and bytes that every server reads, independent of the encoding, the
/// order of hash tables and the version that it came from.
///
/// | type | value |
/// | --- | --- |
/// | 0 | string, plain |
/// | 1 | list: count, plain strings |
/// | 2 | set: count, plain strings in byte order |
/// | 4 | hash: count, field and value, in byte order of fields |
/// | 5 | sorted set: count, member and score (double LE), in byte order of members |
/// | 7 | a module's value, as it came |
/// | 21, 26 | stream, see `StreamCodec` |
/// | 24 | hash with times to live of fields: lowest i64 LE, count, (0 or expiry - lowest + 1, field, value), as 4 |
///
/// Not `Sendable`: one thread owns it.
package final class Canonicalizer {
    struct Member {
        var name: Piece
        var value = Piece.empty
        /// A score's bits, or a field's expiry in ms (-1 for none).
        var number: Int64 = -1
    }

    private let arena = ByteArena()
    private var members: [Member] = []

    package init() {}

    /// Appends type and value.
    /// - Returns: false, with nothing appended, for a collection without members: old servers could save
    ///   them, none accepts them.
    /// - Throws: `.malformed`, `.valueTooLarge`, `.unknown`.
    package func append(
        type: UInt8, value: UnsafeRawBufferPointer, family: RDBFamily, to output: inout [UInt8]
    ) throws(RDBError) -> Bool {
        arena.reset()
        members.removeAll(keepingCapacity: true)
        if members.capacity > 1 << 20 { members = [] }
        var reader = ByteReader(value)
        switch type {
        case 0:
            output.append(0)
            RDBWriter.string(try reader.string(arena), to: &output)
        case 1, 10, 14, 18:
            try readList(type, &reader)
            if members.isEmpty { return false }
            output.append(1)
            writeNames(to: &output)
        case 2, 11, 20:
            try readSet(type, &reader)
            if members.isEmpty { return false }
            try sort()
            output.append(2)
            writeNames(to: &output)
        case 3, 5, 12, 17:
            try readSortedSet(type, &reader)
            if members.isEmpty { return false }
            try sort()
            writeSortedSet(members, to: &output)
        case 4, 9, 13, 16, 22, 24, 25:
            try readHash(type, &reader)
            if members.isEmpty { return false }
            try sort()
            Self.writeHash(members, to: &output)
        case 15, 19, 21, 26:
            try StreamCodec(arena: arena).transcode(value, type: type, as: nil, to: &output)
            return true
        case 7:
            output.append(7)
            output.append(contentsOf: value)
            return true
        default: throw RDBError(.unknown, "a value of type \(type)")
        }
        guard reader.isAtEnd else { throw RDBError(.malformed, "bytes after the value") }
        return true
    }

    /// Byte order, the shorter first.
    static func precedes(_ left: Piece, _ right: Piece) -> Bool {
        let order = memcmp(left.start, right.start, min(left.count, right.count))
        return order != 0 ? order < 0 : left.count < right.count
    }

    private func sort() throws(RDBError) {
        members.sort { Self.precedes($0.name, $1.name) }
        for index in 1..<max(1, members.count) {
            let (left, right) = (members[index - 1].name, members[index].name)
            if left.count == right.count && memcmp(left.start, right.start, left.count) == 0 {
                throw RDBError(.malformed, "a member stands twice")
            }
        }
    }

    // MARK: reading

    private func add(_ name: Piece) { members.append(Member(name: name)) }

    private func readList(_ type: UInt8, _ reader: inout ByteReader) throws(RDBError) {
        switch type {
        case 1: for _ in 0..<(try reader.count(least: 1)) { add(try reader.string(arena)) }
        case 10: try readZiplist(try reader.string(arena))
        case 14: for _ in 0..<(try reader.count(least: 1)) { try readZiplist(try reader.string(arena)) }
        default:
            for _ in 0..<(try reader.count(least: 2)) {
                let kind = try reader.length()
                let node = try reader.string(arena)
                switch kind {
                case 1: add(node)
                case 2: try readListpack(node)
                default: throw RDBError(.malformed, "a list node of kind \(kind)")
                }
            }
        }
    }

    private func readZiplist(_ bytes: Piece) throws(RDBError) {
        var list = try ZiplistReader(bytes)
        while let entry = try list.next() { add(try entry.text(arena)) }
    }

    private func readListpack(_ bytes: Piece) throws(RDBError) {
        var list = try ListpackReader(bytes)
        while let entry = try list.next() { add(try entry.text(arena)) }
    }

    private func readSet(_ type: UInt8, _ reader: inout ByteReader) throws(RDBError) {
        switch type {
        case 2: for _ in 0..<(try reader.count(least: 1)) { add(try reader.string(arena)) }
        case 20: try readListpack(try reader.string(arena))
        default:
            var ints = ByteReader(try reader.string(arena).bytes)
            let width = try ints.little(UInt32.self)
            let count = Int(try ints.little(UInt32.self))
            guard [2, 4, 8].contains(width), ints.remaining == count * Int(width) else {
                throw RDBError(.malformed, "an intset's size")
            }
            for _ in 0..<count {
                let number =
                    switch width {
                    case 2: Int64(try ints.little(Int16.self))
                    case 4: Int64(try ints.little(Int32.self))
                    default: try ints.little(Int64.self)
                    }
                add(try arena.text(of: number))
            }
        }
    }

    private func addScored(_ name: Piece, _ score: Double) {
        members.append(Member(name: name, number: Int64(bitPattern: score.bitPattern)))
    }

    private func readSortedSet(_ type: UInt8, _ reader: inout ByteReader) throws(RDBError) {
        switch type {
        case 3:
            for _ in 0..<(try reader.count(least: 2)) {
                let name = try reader.string(arena)
                switch try reader.byte() {
                case 253: addScored(name, .nan)
                case 254: addScored(name, .infinity)
                case 255: addScored(name, -.infinity)
                case let count: addScored(name, try ScoreText.parse(try reader.take(Int(count))))
                }
            }
        case 5:
            for _ in 0..<(try reader.count(least: 9)) {
                let name = try reader.string(arena)
                members.append(Member(name: name, number: try reader.little(Int64.self)))
            }
        case 12:
            var list = try ZiplistReader(try reader.string(arena))
            while let name = try list.next() {
                guard let score = try list.next() else { throw RDBError(.malformed, "a member without a score") }
                addScored(try name.text(arena), try score.score())
            }
        default:
            var list = try ListpackReader(try reader.string(arena))
            while let name = try list.next() { addScored(try name.text(arena), try list.need().score()) }
        }
    }

    private func readHash(_ type: UInt8, _ reader: inout ByteReader) throws(RDBError) {
        switch type {
        case 4:
            for _ in 0..<(try reader.count(least: 2)) {
                let name = try reader.string(arena)
                members.append(Member(name: name, value: try reader.string(arena)))
            }
        case 9: try readZipmap(try reader.string(arena))
        case 13:
            var list = try ZiplistReader(try reader.string(arena))
            while let name = try list.next() {
                guard let value = try list.next() else { throw RDBError(.malformed, "a field without a value") }
                members.append(Member(name: try name.text(arena), value: try value.text(arena)))
            }
        case 16:
            var list = try ListpackReader(try reader.string(arena))
            while let name = try list.next() {
                members.append(Member(name: try name.text(arena), value: try list.need().text(arena)))
            }
        case 22:
            for _ in 0..<(try reader.count(least: 10)) {
                let (name, value) = (try reader.string(arena), try reader.string(arena))
                members.append(Member(name: name, value: value, number: try reader.little(Int64.self)))
            }
        case 24: try readFieldsWithExpiry(&reader)
        default:
            _ = try reader.little(Int64.self)
            var list = try ListpackReader(try reader.string(arena))
            while let name = try list.next() {
                let (name, value) = (try name.text(arena), try list.need().text(arena))
                let expiry = try list.need().number()
                members.append(Member(name: name, value: value, number: expiry == 0 ? -1 : expiry))
            }
        }
    }

    private func readFieldsWithExpiry(_ reader: inout ByteReader) throws(RDBError) {
        let lowest = try reader.little(Int64.self)
        for _ in 0..<(try reader.count(least: 3)) {
            let distance = try reader.length()
            let (name, value) = (try reader.string(arena), try reader.string(arena))
            guard distance <= UInt64(Int64.max), lowest >= 0 else { throw RDBError(.malformed, "a field's expiry") }
            let (expiry, overflow) = lowest.addingReportingOverflow(Int64(distance) - 1)
            guard !overflow else { throw RDBError(.malformed, "a field's expiry") }
            members.append(Member(name: name, value: value, number: distance == 0 ? -1 : expiry))
        }
    }

    private func readZipmap(_ bytes: Piece) throws(RDBError) {
        var map = ByteReader(bytes.bytes)
        func size(_ first: UInt8) throws(RDBError) -> Int {
            first < 254 ? Int(first) : Int(try map.little(UInt32.self))
        }
        let claimed = try map.byte()
        while true {
            let first = try map.byte()
            if first == 0xff { break }
            let name = try map.take(try size(first))
            let count = try size(try map.byte())
            let free = Int(try map.byte())
            let value = try map.take(count)
            _ = try map.take(free)
            members.append(Member(name: name, value: value))
        }
        guard map.isAtEnd, claimed >= 254 || Int(claimed) == members.count else {
            throw RDBError(.malformed, "a zipmap's count")
        }
    }

    // MARK: writing

    private func writeNames(to output: inout [UInt8]) {
        RDBWriter.length(UInt64(members.count), to: &output)
        for member in members { RDBWriter.string(member.name, to: &output) }
    }

    private func writeSortedSet(_ members: [Member], to output: inout [UInt8]) {
        output.append(5)
        RDBWriter.length(UInt64(members.count), to: &output)
        for member in members {
            RDBWriter.string(member.name, to: &output)
            RDBWriter.number(member.number, to: &output)
        }
    }

    private static func writeHash(_ members: [Member], to output: inout [UInt8]) {
        let lowest = members.lazy.map(\.number).filter { $0 >= 0 }.min()
        output.append(lowest == nil ? 4 : 24)
        if let lowest { RDBWriter.number(lowest, to: &output) }
        RDBWriter.length(UInt64(members.count), to: &output)
        for member in members {
            if let lowest { RDBWriter.length(member.number < 0 ? 0 : UInt64(member.number - lowest) + 1, to: &output) }
            RDBWriter.string(member.name, to: &output)
            RDBWriter.string(member.value, to: &output)
        }
    }
}

/// Other forms of canonical values: for a server that cannot read them, and for comparing two servers.
extension Canonicalizer {
    /// A canonical hash with expiries as Valkey writes it: type 22, expiry i64 LE in ms or -1 after each value.
    package func appendValkeyHash(_ value: UnsafeRawBufferPointer, to output: inout [UInt8]) throws(RDBError) {
        try readCanonicalHash(value)
        output.append(22)
        RDBWriter.length(UInt64(members.count), to: &output)
        for member in members {
            RDBWriter.string(member.name, to: &output)
            RDBWriter.string(member.value, to: &output)
            RDBWriter.number(member.number, to: &output)
        }
    }

    /// A canonical hash without the fields that are or will be gone at `cut` (ms since 1970).
    /// - Returns: false, with nothing appended, if no field stays.
    package func appendHash(
        _ value: UnsafeRawBufferPointer, livingAt cut: Int64, to output: inout [UInt8]
    ) throws(RDBError) -> Bool {
        try readCanonicalHash(value)
        members.removeAll { $0.number >= 0 && $0.number <= cut }
        if members.isEmpty { return false }
        Self.writeHash(members, to: &output)
        return true
    }

    /// A canonical sorted set with -0.0 as 0.0: servers from 7.2 on keep no difference.
    package func appendSortedSet(_ value: UnsafeRawBufferPointer, to output: inout [UInt8]) throws(RDBError) {
        arena.reset()
        members.removeAll(keepingCapacity: true)
        var reader = ByteReader(value)
        try readSortedSet(5, &reader)
        for index in members.indices where members[index].number == Int64.min { members[index].number = 0 }
        writeSortedSet(members, to: &output)
    }

    /// A canonical stream in another form.
    package func appendStream(
        _ value: UnsafeRawBufferPointer, type: UInt8, as form: StreamForm, to output: inout [UInt8]
    ) throws(RDBError) {
        arena.reset()
        try StreamCodec(arena: arena).transcode(value, type: type, as: form, to: &output)
    }

    private func readCanonicalHash(_ value: UnsafeRawBufferPointer) throws(RDBError) {
        arena.reset()
        members.removeAll(keepingCapacity: true)
        var reader = ByteReader(value)
        try readFieldsWithExpiry(&reader)
    }
}
