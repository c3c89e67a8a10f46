/// One value of the Redis serialization protocol, version 2.
package indirect enum RESPValue: Equatable, Sendable {
    case simple(String)
    case error(String)
    case integer(Int64)
    /// nil is the null bulk string.
    case bulk([UInt8]?)
    /// nil is the null array.
    case array([RESPValue]?)

    /// A simple or bulk string as text.
    package var text: String? {
        switch self {
        case .simple(let text): text
        case .bulk(let bytes?): String(decoding: bytes, as: UTF8.self)
        default: nil
        }
    }
}

/// Why bytes are no RESP.
package struct RESPFault: Error, Equatable {
    package var detail: String
}

/// Cuts bytes that come in pieces of any size into RESP values.
/// A bare newline between values is what a primary sends to keep a connection alive; it is skipped.
package struct RESPDecoder {
    package static let longestLine = 64 << 10
    package static let deepest = 16
    package static let mostElements: Int64 = 1 << 20

    private struct Open {
        var values: [RESPValue] = []
        var missing: Int
    }

    private let longestBulk: Int64
    private var bytes: [UInt8] = []
    private var position = 0
    /// Where the search for the end of the line goes on.
    private var searched = 0
    private var bulk: Int?
    private var open: [Open] = []

    package init(longestBulk: Int = 64 << 20) { self.longestBulk = Int64(longestBulk) }

    package mutating func append(_ more: UnsafeRawBufferPointer) {
        if position > 0 && (position == bytes.count || position > 64 << 10) {
            bytes.removeFirst(position)
            searched -= position
            position = 0
        }
        bytes.append(contentsOf: more)
    }

    /// The bytes after the last value, which are then forgotten.
    package mutating func takeRest() -> [UInt8] {
        let rest = Array(bytes[position...])
        bytes = []
        position = 0
        searched = 0
        return rest
    }

    private enum Step {
        case incomplete
        /// An array whose elements come next.
        case opened
        case value(RESPValue)
    }

    /// - Returns: the next value; nil until all of it is there.
    package mutating func next() throws(RESPFault) -> RESPValue? {
        while true {
            switch try step() {
            case .incomplete: return nil
            case .opened: continue
            case .value(let value): if let whole = close(with: value) { return whole }
            }
        }
    }

    /// Puts a value into the innermost open array, and full arrays into those around them.
    private mutating func close(with value: RESPValue) -> RESPValue? {
        var value = value
        while let last = open.indices.last {
            open[last].values.append(value)
            open[last].missing -= 1
            guard open[last].missing == 0 else { return nil }
            value = .array(open.removeLast().values)
        }
        return value
    }

    private mutating func step() throws(RESPFault) -> Step {
        if let size = bulk {
            guard bytes.count - position >= size + 2 else { return .incomplete }
            guard bytes[position + size] == 0x0d, bytes[position + size + 1] == 0x0a else {
                throw RESPFault(detail: "a bulk string without its end")
            }
            let value = Array(bytes[position..<position + size])
            advance(to: position + size + 2)
            bulk = nil
            return .value(.bulk(value))
        }
        while open.isEmpty, position < bytes.count, bytes[position] == 0x0a { advance(to: position + 1) }
        guard let line = try line() else { return .incomplete }
        guard let kind = line.first else { throw RESPFault(detail: "an empty line") }
        let rest = line.dropFirst()
        switch kind {
        case 0x2b: return .value(.simple(String(decoding: rest, as: UTF8.self)))
        case 0x2d: return .value(.error(String(decoding: rest, as: UTF8.self)))
        case 0x3a: return .value(.integer(try number(rest)))
        case 0x24:
            let size = try number(rest)
            if size == -1 { return .value(.bulk(nil)) }
            guard (0...longestBulk).contains(size) else { throw RESPFault(detail: "a bulk string of \(size) bytes") }
            bulk = Int(size)
            return try step()
        case 0x2a:
            let count = try number(rest)
            if count == -1 { return .value(.array(nil)) }
            guard (0...Self.mostElements).contains(count), open.count < Self.deepest else {
                throw RESPFault(detail: "an array of \(count) elements, \(open.count) deep")
            }
            if count == 0 { return .value(.array([])) }
            open.append(Open(missing: Int(count)))
            return .opened
        default: throw RESPFault(detail: "a value of kind \(kind)")
        }
    }

    private mutating func line() throws(RESPFault) -> ArraySlice<UInt8>? {
        searched = max(searched, position)
        while searched + 1 < bytes.count {
            if bytes[searched] == 0x0d {
                guard bytes[searched + 1] == 0x0a else { throw RESPFault(detail: "a line without its end") }
                let line = bytes[position..<searched]
                advance(to: searched + 2)
                return line
            }
            searched += 1
        }
        guard bytes.count - position <= Self.longestLine else { throw RESPFault(detail: "a line without an end") }
        return nil
    }

    private mutating func advance(to place: Int) {
        position = place
        searched = place
    }

    private func number(_ digits: ArraySlice<UInt8>) throws(RESPFault) -> Int64 {
        guard digits.count <= 20, let number = Int64(String(decoding: digits, as: UTF8.self)) else {
            throw RESPFault(detail: "a number that is none")
        }
        return number
    }
}

/// Commands as arrays of bulk strings.
package enum RESPEncoder {
    package static func command(_ arguments: [[UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = Array("*\(arguments.count)\r\n".utf8)
        for argument in arguments {
            bytes += Array("$\(argument.count)\r\n".utf8)
            bytes += argument
            bytes += [0x0d, 0x0a]
        }
        return bytes
    }
}
