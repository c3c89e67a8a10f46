/// Who wrote an RDB: types 22 and F3 mean different things to the two.
package enum RDBFamily: Sendable, Equatable, Codable {
    case redis
    case valkey
}

/// One key as it stands in the stream; all pointers are valid during the call that brings it only.
package struct RDBKey {
    package var database: Int
    /// Milliseconds since 1970; nil without a time to live.
    package var expiry: Int64?
    /// Seconds since the last use, with an LRU policy.
    package var idle: UInt64?
    /// The LFU counter, with an LFU policy.
    package var frequency: UInt8?
    package var type: UInt8
    package var name: UnsafeRawBufferPointer
    /// The value as it stands in the stream, without its type: what DUMP gives between type and footer.
    package var value: UnsafeRawBufferPointer
}

package enum RDBEvent {
    case header(version: Int, family: RDBFamily)
    case aux(name: [UInt8], value: [UInt8])
    /// The source of one function library.
    case function([UInt8])
    case database(Int)
    case key(RDBKey)
    case end(RDBChecksum)
}

package enum RDBChecksum: Sendable, Equatable {
    case verified
    /// The server does not compute it (`rdbchecksum no`), or is older than RDB 5.
    case absent
}

/// Reads an RDB stream of versions 1 to 14 and 80 as it comes, in pieces of any size; needs memory for its largest
/// key only. Not `Sendable`: one thread owns it. After an error it is of no further use.
package final class RDBParser {
    private enum Phase { case magic, opcode, item(UInt8), name(UInt8), value(UInt8), checksum, finished }

    private var phase = Phase.magic
    private var delimiter = Delimiter()
    private let arena = ByteArena()
    private var storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 8)
    /// Bytes of `storage` that are filled, that are delimited, that begin the item at hand.
    private var filled = 0
    private var position = 0
    private var itemStart = 0
    private var nameEnd = 0
    private var crc: UInt64 = 0
    private var crcEnd = 0
    private var consumedBefore: Int64 = 0

    private var version = 0
    private var family = RDBFamily.redis
    private var database = 0
    private var expiry: Int64?
    private var idle: UInt64?
    private var frequency: UInt8?

    package init() {}

    deinit { storage.deallocate() }

    package var isFinished: Bool { if case .finished = phase { true } else { false } }

    /// Takes the next bytes and tells what became complete with them.
    /// - Returns: how many of `bytes` belong to the RDB: all, until its end is among them.
    /// - Throws: `RDBError`, or what `handle` throws.
    package func feed(_ bytes: UnsafeRawBufferPointer, _ handle: (RDBEvent) throws -> Void) throws -> Int {
        guard !isFinished else { return 0 }
        makeRoom(bytes.count)
        if bytes.count > 0 { UnsafeMutableRawBufferPointer(rebasing: storage[filled...]).copyMemory(from: bytes) }
        filled += bytes.count
        while try step(handle) {}
        if isFinished { return bytes.count - (filled - position) }
        updateCRC()
        compact()
        return bytes.count
    }

    /// To be called when no more bytes will come.
    /// - Throws: `.truncated` unless the end was seen.
    package func finish() throws(RDBError) {
        guard isFinished else {
            throw RDBError(.truncated, "after \(consumedBefore + Int64(filled)) bytes")
        }
    }

    private var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[..<filled]) }

    /// - Returns: whether to go on with the bytes at hand.
    private func step(_ handle: (RDBEvent) throws -> Void) throws -> Bool {
        switch phase {
        case .magic: return try readMagic(handle)
        case .opcode:
            guard position < filled else { return false }
            itemStart = position
            let opcode = storage[position]
            position += 1
            try begin(opcode)
            return true
        case .item(let opcode):
            guard try delimiter.advance(bytes, &position) else { return false }
            phase = .opcode
            try item(opcode, handle)
            return true
        case .name(let type):
            guard try delimiter.advance(bytes, &position) else { return false }
            nameEnd = position
            phase = .value(type)
            do throws(RDBError) {
                delimiter.begin(try ValueGrammar.value(of: type, family: family))
            } catch { throw try named(error) }
            return true
        case .value(let type):
            do throws(RDBError) {
                guard try delimiter.advance(bytes, &position) else { return false }
            } catch { throw try named(error) }
            phase = .opcode
            try key(type, handle)
            return true
        case .checksum: return try readChecksum(handle)
        case .finished: return false
        }
    }

    private func readMagic(_ handle: (RDBEvent) throws -> Void) throws -> Bool {
        guard filled >= 9 else { return false }
        let isValkey = bytes.starts(with: Array("VALKEY".utf8))
        guard isValkey || bytes.starts(with: Array("REDIS".utf8)) else {
            throw RDBError(.malformed, "it does not begin with REDIS or VALKEY")
        }
        let digits = bytes[(isValkey ? 6 : 5)..<9]
        guard digits.allSatisfy({ (0x30...0x39).contains($0) }) else { throw RDBError(.malformed, "its version") }
        version = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        family = isValkey ? .valkey : .redis
        guard isValkey ? version == 80 : (1...14).contains(version) else {
            throw RDBError(.unknown, "version \(version) of the format")
        }
        position = 9
        phase = .opcode
        try handle(.header(version: version, family: family))
        return true
    }

    private func begin(_ opcode: UInt8) throws(RDBError) {
        switch opcode {
        case 0xff: phase = .checksum
        case 0xfe, 0xf8: start(opcode, ValueGrammar.length)
        case 0xfd: start(opcode, ValueGrammar.fourBytes)
        case 0xfc: start(opcode, ValueGrammar.eightBytes)
        case 0xfb: start(opcode, ValueGrammar.twoLengths)
        case 0xfa: start(opcode, ValueGrammar.twoStrings)
        case 0xf9: start(opcode, ValueGrammar.oneByte)
        case 0xf7: start(opcode, ValueGrammar.moduleAux)
        case 0xf5: start(opcode, ValueGrammar.string)
        case 0xf4: start(opcode, ValueGrammar.threeLengths)
        case 0xf3 where family == .valkey: start(opcode, ValueGrammar.slotImport)
        case 0xf6: throw RDBError(.unsupported, "functions of a release candidate of 7.0 (opcode F6)")
        case 0xf3: throw RDBError(.unsupported, "metadata of keys (opcode F3)")
        case 0xf0...0xff: throw RDBError(.unknown, "opcode \(opcode)")
        default:
            delimiter.begin(ValueGrammar.string)
            phase = .name(opcode)
        }
    }

    private func start(_ opcode: UInt8, _ atoms: [GrammarAtom]) {
        delimiter.begin(atoms)
        phase = .item(opcode)
    }

    private func item(_ opcode: UInt8, _ handle: (RDBEvent) throws -> Void) throws {
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[itemStart + 1..<position]))
        arena.reset()
        switch opcode {
        case 0xfe:
            let number = try reader.length()
            guard number < RDBLimits.database else { throw RDBError(.malformed, "database number \(number)") }
            database = Int(number)
            try handle(.database(database))
        case 0xfc: expiry = try reader.little(Int64.self)
        case 0xfd: expiry = Int64(try reader.little(Int32.self)) * 1000
        case 0xf8: idle = try reader.length()
        case 0xf9: frequency = try reader.byte()
        case 0xfa:
            let name = try reader.string(arena)
            let value = try reader.string(arena)
            try handle(.aux(name: Array(name.bytes), value: Array(value.bytes)))
        case 0xf5: try handle(.function(Array(try reader.string(arena).bytes)))
        default: break  // hints that carry no data: sizes, slots, what modules keep beside the keys
        }
    }

    private func key(_ type: UInt8, _ handle: (RDBEvent) throws -> Void) throws {
        let name = try name()
        let value = UnsafeRawBufferPointer(rebasing: bytes[nameEnd..<position])
        try handle(
            .key(
                RDBKey(
                    database: database, expiry: expiry, idle: idle, frequency: frequency, type: type, name: name,
                    value: value)))
        expiry = nil
        idle = nil
        frequency = nil
    }

    private func name() throws(RDBError) -> UnsafeRawBufferPointer {
        arena.reset()
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[itemStart + 1..<nameEnd]))
        return try reader.string(arena).bytes
    }

    private func named(_ error: RDBError) throws(RDBError) -> RDBError {
        error.at(database: database, key: try name())
    }

    private func readChecksum(_ handle: (RDBEvent) throws -> Void) throws -> Bool {
        updateCRC()
        var stored: UInt64 = 0
        if version >= 5 {
            guard filled - position >= 8 else { return false }
            stored = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            position += 8
        }
        guard stored == 0 || stored == crc else {
            throw RDBError(.checksum, "the bytes give \(Hex64.text(crc)), the stream says \(Hex64.text(stored))")
        }
        phase = .finished
        try handle(.end(stored == 0 ? .absent : .verified))
        return false
    }

    private func updateCRC() {
        crc = CRC64.update(crc, UnsafeRawBufferPointer(rebasing: bytes[crcEnd..<position]))
        crcEnd = position
    }

    /// Drops what is done with, so that the item at hand begins at 0.
    private func compact() {
        let keepFrom: Int
        switch phase {
        case .name, .value, .item: keepFrom = itemStart
        default: keepFrom = position
        }
        guard keepFrom > 0 else { return }
        let rest = UnsafeRawBufferPointer(rebasing: storage[keepFrom..<filled])
        storage.copyMemory(from: rest)
        filled -= keepFrom
        position -= keepFrom
        nameEnd -= min(nameEnd, keepFrom)
        crcEnd -= keepFrom
        itemStart = 0
        consumedBefore += Int64(keepFrom)
        if storage.count > 8 << 20 && filled < 1 << 20 { resize(1 << 20) }
    }

    private func makeRoom(_ count: Int) {
        if storage.count - filled < count { resize(max(storage.count * 2, filled + count)) }
    }

    private func resize(_ size: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        larger.copyMemory(from: bytes)
        storage.deallocate()
        storage = larger
    }
}

/// 16 hex digits.
enum Hex64 {
    static func text(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
