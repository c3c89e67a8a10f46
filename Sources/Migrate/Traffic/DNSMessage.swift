/// Why bytes are no message that we understand.
package struct DNSFormatError: Error, Hashable, CustomStringConvertible {
    package var text: String
    package var offset: Int
    package var description: String { "\(text) at byte \(offset)" }
}

/// A DNS message (RFC 1035 4.1); in an UPDATE (RFC 2136 2) the four sections are zone, prerequisites,
/// changes and additional data. Pure: bytes in, values out.
package struct DNSMessage: Hashable, Sendable {
    package enum Operation: UInt8, Sendable {
        case query = 0
        case update = 5
    }

    package var id: UInt16
    /// Bits of the header: QR 15, opcode 14-11, AA 10, TC 9, RD 8, RA 7, Z, AD 5, CD 4, code 3-0.
    package var flags: UInt16
    package var questions: [DNSQuestion] = []
    package var answers: [DNSRecord] = []
    package var authorities: [DNSRecord] = []
    package var additionals: [DNSRecord] = []

    package init(id: UInt16, operation: Operation) {
        self.id = id
        flags = UInt16(operation.rawValue) << 11
    }

    package static func question(id: UInt16, _ name: DNSName, _ type: DNSType) -> DNSMessage {
        var message = DNSMessage(id: id, operation: .query)
        message.questions = [DNSQuestion(name: name, type: type)]
        return message
    }

    package static func update(
        id: UInt16, zone: DNSName, prerequisites: [DNSRecord], changes: [DNSRecord]
    ) -> DNSMessage {
        var message = DNSMessage(id: id, operation: .update)
        message.questions = [DNSQuestion(name: zone, type: .soa)]
        message.answers = prerequisites
        message.authorities = changes
        return message
    }

    package var isAnswer: Bool { flags & 0x8000 != 0 }
    package var operation: UInt8 { UInt8(flags >> 11 & 15) }
    package var isAuthoritative: Bool { flags & 0x0400 != 0 }
    package var isTruncated: Bool { flags & 0x0200 != 0 }
    /// RD: the server is to ask others for what it does not know.
    package var wantsRecursion: Bool {
        get { flags & 0x0100 != 0 }
        set { flags = newValue ? flags | 0x0100 : flags & ~0x0100 }
    }
    package var code: DNSCode { DNSCode(rawValue: flags & 15) }

    // MARK: Writing

    /// Never compressed: our messages are small, and it must be easy to see what is signed.
    package var wire: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: id)
        bytes.append(bigEndian: flags)
        for count in [questions.count, answers.count, authorities.count, additionals.count] {
            bytes.append(bigEndian: UInt16(count))
        }
        for question in questions {
            bytes += question.name.wire
            bytes.append(bigEndian: question.type.rawValue)
            bytes.append(bigEndian: question.class.rawValue)
        }
        for record in answers + authorities + additionals { record.write(into: &bytes) }
        return bytes
    }

    // MARK: Reading

    /// A message and where the last record of its additional section begins: TSIG signs what stands before it.
    package struct Decoded: Sendable {
        package var message: DNSMessage
        package var startOfLastAdditional: Int?
    }

    /// - Throws: for any byte that is missing, left over, or breaks a length.
    package static func decode(_ bytes: [UInt8]) throws(DNSFormatError) -> Decoded {
        var reader = DNSReader(bytes: bytes)
        var message = DNSMessage(id: try reader.integer(), operation: .query)
        message.flags = try reader.integer()
        var counts: [UInt16] = []
        for _ in 0..<4 { counts.append(try reader.integer()) }
        for _ in 0..<counts[0] {
            let name = try reader.name()
            message.questions.append(
                DNSQuestion(
                    name: name, type: DNSType(rawValue: try reader.integer()),
                    class: DNSClass(rawValue: try reader.integer())))
        }
        for _ in 0..<counts[1] { message.answers.append(try reader.record()) }
        for _ in 0..<counts[2] { message.authorities.append(try reader.record()) }
        var last: Int?
        for _ in 0..<counts[3] {
            last = reader.offset
            message.additionals.append(try reader.record())
        }
        guard reader.offset == bytes.count else { throw reader.error("bytes after the message") }
        return Decoded(message: message, startOfLastAdditional: last)
    }
}

extension DNSRecord {
    func write(into bytes: inout [UInt8]) {
        let content = data.wire
        bytes += name.wire
        bytes.append(bigEndian: type.rawValue)
        bytes.append(bigEndian: `class`.rawValue)
        bytes.append(bigEndian: ttl)
        bytes.append(bigEndian: UInt16(content.count))
        bytes += content
    }
}

extension DNSData {
    var wire: [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .none: break
        case .a(let address): bytes.append(bigEndian: address.value)
        case .aaaa(let content), .other(let content): bytes = content
        case .ns(let name), .cname(let name): bytes = name.wire
        case .txt(let strings): for string in strings { bytes += [UInt8(string.count)] + string }
        case .soa(let soa):
            bytes = soa.primary.wire + soa.mailbox.wire
            for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                bytes.append(bigEndian: number)
            }
        }
        return bytes
    }
}

extension [UInt8] {
    mutating func append(bigEndian value: some FixedWidthInteger) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }
}

/// Walks over a message; every length is checked before it is used.
struct DNSReader {
    let bytes: [UInt8]
    var offset = 0

    init(bytes: [UInt8], offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    func error(_ text: String) -> DNSFormatError { DNSFormatError(text: text, offset: offset) }

    mutating func integer<Number: FixedWidthInteger>() throws(DNSFormatError) -> Number {
        let size = Number.bitWidth / 8
        guard bytes.count - offset >= size else { throw error("the message ends inside a number") }
        var value: Number = 0
        for _ in 0..<size {
            value = value << 8 | Number(truncatingIfNeeded: bytes[offset])
            offset += 1
        }
        return value
    }

    mutating func take(_ count: Int) throws(DNSFormatError) -> [UInt8] {
        guard count <= bytes.count - offset else { throw error("the message ends inside a field") }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    /// A name, compressed or not. A pointer must point before the place where the name (or the part
    /// that another pointer led to) began, so no chain of them can go in a circle.
    mutating func name() throws(DNSFormatError) -> DNSName {
        var labels: [[UInt8]] = []
        var position = offset
        var lowest = offset
        var end: Int?
        var length = 1
        while true {
            guard position < bytes.count else { throw error("the message ends inside a name") }
            let first = Int(bytes[position])
            switch first >> 6 {
            case 0 where first == 0:
                offset = end ?? position + 1
                guard let name = DNSName(labels: labels) else { throw error("a name that breaks its limits") }
                return name
            case 0:
                length += first + 1
                guard length <= 255 else { throw error("a name longer than 255 bytes") }
                guard position + 1 + first <= bytes.count else { throw error("the message ends inside a label") }
                labels.append(Array(bytes[position + 1..<position + 1 + first]))
                position += 1 + first
            case 3:
                guard position + 1 < bytes.count else { throw error("the message ends inside a pointer") }
                let target = (first & 63) << 8 | Int(bytes[position + 1])
                guard target < lowest else { throw error("a pointer that does not point backwards") }
                if end == nil { end = position + 2 }
                lowest = target
                position = target
            default:
                throw error("a label of unknown kind")
            }
        }
    }

    mutating func record() throws(DNSFormatError) -> DNSRecord {
        let owner = try name()
        let type = DNSType(rawValue: try integer())
        let kind = DNSClass(rawValue: try integer())
        let ttl: UInt32 = try integer()
        let length = Int(try integer() as UInt16)
        guard length <= bytes.count - offset else { throw error("the message ends inside a record") }
        let end = offset + length
        let data = try data(of: type, end: end)
        guard offset == end else { throw error("a record of type \(type) whose length is wrong") }
        return DNSRecord(name: owner, type: type, class: kind, ttl: ttl, data: data)
    }

    private mutating func data(of type: DNSType, end: Int) throws(DNSFormatError) -> DNSData {
        if offset == end { return .none }
        switch type {
        case .a: return .a(IPv4(value: try integer()))
        case .aaaa: return .aaaa(try take(16))
        case .ns: return .ns(try name())
        case .cname: return .cname(try name())
        case .soa:
            return .soa(
                DNSData.SOA(
                    primary: try name(), mailbox: try name(), serial: try integer(), refresh: try integer(),
                    retry: try integer(), expire: try integer(), minimum: try integer()))
        case .txt:
            var strings: [[UInt8]] = []
            while offset < end {
                let count = Int(try integer() as UInt8)
                guard count <= end - offset else { throw error("a text that is longer than its record") }
                strings.append(try take(count))
            }
            return .txt(strings)
        default: return .other(try take(end - offset))
        }
    }
}
