/// Where one item of an RDB ends, as a small grammar for each type (`docs/explanation/capture-redis.md`).
indirect enum GrammarAtom: Sendable {
    case string
    case bytes(Int)
    case length
    /// A score as length byte and text; 253 to 255 stand alone.
    case textScore
    /// A count, then the sequence that many times.
    case counted([GrammarAtom])
    /// Annotated items of a module up to the code 0.
    case moduleItems
}

enum ValueGrammar {
    static let string: [GrammarAtom] = [.string]
    static let twoStrings: [GrammarAtom] = [.string, .string]
    static let length: [GrammarAtom] = [.length]
    static let twoLengths: [GrammarAtom] = [.length, .length]
    static let threeLengths: [GrammarAtom] = [.length, .length, .length]
    static let oneByte: [GrammarAtom] = [.bytes(1)]
    static let fourBytes: [GrammarAtom] = [.bytes(4)]
    static let eightBytes: [GrammarAtom] = [.bytes(8)]
    static let moduleAux: [GrammarAtom] = [.length, .length, .length, .moduleItems]
    static let slotImport: [GrammarAtom] = [.string, .counted([.length, .length])]

    private static let strings: [GrammarAtom] = [.counted([.string])]
    private static let pairs: [GrammarAtom] = [.counted([.string, .string])]
    private static let textScored: [GrammarAtom] = [.counted([.string, .textScore])]
    private static let scored: [GrammarAtom] = [.counted([.string, .bytes(8)])]
    private static let module: [GrammarAtom] = [.length, .moduleItems]
    private static let nodes: [GrammarAtom] = [.counted([.length, .string])]
    private static let valkeyFields: [GrammarAtom] = [.counted([.string, .string, .bytes(8)])]
    private static let redisFields: [GrammarAtom] = [.bytes(8), .counted([.length, .string, .string])]
    private static let packedFields: [GrammarAtom] = [.bytes(8), .string]
    private static let stream15 = stream(15)
    private static let stream19 = stream(19)
    private static let stream21 = stream(21)
    private static let stream26 = stream(26)

    private static func stream(_ type: UInt8) -> [GrammarAtom] {
        let consumer: [GrammarAtom] = [.string, .bytes(type >= 21 ? 16 : 8), .counted([.bytes(16)])]
        let group: [GrammarAtom] =
            [.string, .length, .length] + (type >= 19 ? [.length] : [])
            + [.counted([.bytes(24), .length]), .counted(consumer)]
        let head: [GrammarAtom] =
            [.counted([.string, .string]), .length, .length, .length]
            + (type >= 19 ? [.length, .length, .length, .length, .length] : []) + [.counted(group)]
        guard type >= 26 else { return head }
        let producer: [GrammarAtom] = [.string, .counted([.string, .length, .length])]
        return head + [.length, .length, .counted(producer), .length, .length]
    }

    /// - Throws: `.unknown` for a type whose end nobody can tell, `.unsupported` for one that is refused.
    static func value(of type: UInt8, family: RDBFamily) throws(RDBError) -> [GrammarAtom] {
        switch type {
        case 0, 9, 10, 11, 12, 13, 16, 17, 20: return string
        case 1, 2, 14: return strings
        case 3: return textScored
        case 4: return pairs
        case 5: return scored
        case 7: return module
        case 15: return stream15
        case 18: return nodes
        case 19: return stream19
        case 21: return stream21
        case 22 where family == .valkey: return valkeyFields
        case 24: return redisFields
        case 25: return packedFields
        case 26: return stream26
        case 6: throw RDBError(.unsupported, "a module value without annotations (type 6)")
        default: throw RDBError(.unknown, "a value of type \(type)")
        }
    }
}

/// Finds the end of one item in bytes that come bit by bit: whatever was seen is never looked at again.
struct Delimiter {
    private struct Frame {
        var atoms: [GrammarAtom]
        var next = 0
        var rounds: UInt64
    }

    private var frames: [Frame] = []
    /// Bytes of a string or number that were not there yet.
    private var owed = 0
    private var seen = 0

    mutating func begin(_ atoms: [GrammarAtom]) {
        frames.removeAll(keepingCapacity: true)
        frames.append(Frame(atoms: atoms, rounds: 1))
        owed = 0
        seen = 0
    }

    /// Moves `position` on as far as the bytes reach.
    /// - Returns: whether the item ends at `position`; else more bytes are needed.
    /// - Throws: `.malformed`, or `.valueTooLarge` once the item takes more than `RDBLimits.value`.
    mutating func advance(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) throws(RDBError) -> Bool {
        guard pay(bytes, &position) else { return false }
        while let depth = frames.indices.last {
            if frames[depth].next == frames[depth].atoms.count {
                frames[depth].rounds -= 1
                frames[depth].next = 0
            }
            if frames[depth].rounds == 0 {
                frames.removeLast()
                continue
            }
            let atom = frames[depth].atoms[frames[depth].next]
            switch atom {
            case .string:
                guard let (head, body) = try Self.stringSize(bytes, position) else { return false }
                frames[depth].next += 1
                try owe(head, body, &position)
            case .bytes(let count):
                frames[depth].next += 1
                try owe(0, UInt64(count), &position)
            case .length:
                guard let (head, _) = try Self.length(bytes, position) else { return false }
                frames[depth].next += 1
                try owe(head, 0, &position)
            case .textScore:
                guard position < bytes.count else { return false }
                frames[depth].next += 1
                let count = bytes[position]
                try owe(1, count < 253 ? UInt64(count) : 0, &position)
            case .counted(let atoms):
                guard let (head, count) = try Self.length(bytes, position) else { return false }
                frames[depth].next += 1
                try owe(head, 0, &position)
                if count > 0 { frames.append(Frame(atoms: atoms, rounds: count)) }
            case .moduleItems:
                guard let (head, code) = try Self.length(bytes, position) else { return false }
                try owe(head, 0, &position)
                switch code {
                case 0: frames[depth].next += 1
                case 1, 2: frames.append(Frame(atoms: ValueGrammar.length, rounds: 1))
                case 3: frames.append(Frame(atoms: ValueGrammar.fourBytes, rounds: 1))
                case 4: frames.append(Frame(atoms: ValueGrammar.eightBytes, rounds: 1))
                case 5: frames.append(Frame(atoms: ValueGrammar.string, rounds: 1))
                default: throw RDBError(.malformed, "item code \(code) in a module's value")
                }
            }
            guard pay(bytes, &position) else { return false }
        }
        return true
    }

    private mutating func owe(_ head: Int, _ body: UInt64, _ position: inout Int) throws(RDBError) {
        position += head
        seen += head
        guard body <= UInt64(RDBLimits.value - min(seen, RDBLimits.value)) else {
            throw RDBError(.valueTooLarge, "over \(RDBLimits.value >> 20) MiB")
        }
        seen += Int(body)
        owed = Int(body)
    }

    private mutating func pay(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) -> Bool {
        let paid = min(owed, bytes.count - position)
        position += paid
        owed -= paid
        return owed == 0
    }

    /// - Returns: the length's own bytes and its value; nil if it is not all there.
    private static func length(
        _ bytes: UnsafeRawBufferPointer, _ position: Int
    ) throws(RDBError) -> (head: Int, value: UInt64)? {
        guard position < bytes.count else { return nil }
        let first = bytes[position]
        let size: Int
        switch first {
        case 0x00...0x3f: return (1, UInt64(first))
        case 0x40...0x7f: size = 2
        case 0x80: size = 5
        case 0x81: size = 9
        default: throw RDBError(.malformed, "length byte \(first)")
        }
        guard position + size <= bytes.count else { return nil }
        switch size {
        case 2: return (2, UInt64(first & 63) << 8 | UInt64(bytes[position + 1]))
        case 5:
            return (5, UInt64(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: position + 1, as: UInt32.self))))
        default: return (9, UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: position + 1, as: UInt64.self)))
        }
    }

    /// - Returns: the bytes before a string's own, and those; nil if the former are not all there.
    private static func stringSize(
        _ bytes: UnsafeRawBufferPointer, _ position: Int
    ) throws(RDBError) -> (head: Int, body: UInt64)? {
        guard position < bytes.count else { return nil }
        switch bytes[position] {
        case 0xc0: return (1, 1)
        case 0xc1: return (1, 2)
        case 0xc2: return (1, 4)
        case 0xc3:
            guard let packed = try length(bytes, position + 1),
                let plain = try length(bytes, position + 1 + packed.head)
            else { return nil }
            guard plain.value <= UInt64(RDBLimits.value) else {
                throw RDBError(.valueTooLarge, "a string of \(plain.value) bytes")
            }
            return (1 + packed.head + plain.head, packed.value)
        default: return try length(bytes, position).map { ($0.head, $0.value) }
        }
    }
}
