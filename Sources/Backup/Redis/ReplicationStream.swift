internal import DRPKit
internal import NIOCore

/// The frame of a snapshot in a replication stream: keep-alive newlines, then `$EOF:<40 hex>` or `$<length>` and CR LF,
/// the RDB, and with `$EOF:` the same 40 digits again. Pure: bytes in, the RDB's bytes out.
package struct SnapshotFrame {
    private enum State {
        case preamble([UInt8])
        case marked([UInt8])
        case counted(Int64)
        case mark(expected: [UInt8], seen: Int)
        case complete
    }

    private var state = State.preamble([])

    package init() {}

    package var isComplete: Bool { if case .complete = state { true } else { false } }

    /// - Parameter parse: takes bytes of the RDB; returns how many belonged to it and whether it ended with them.
    /// - Throws: `RDBError`, what `parse` throws, or `RESPFault` for an error line of the server.
    package mutating func feed(
        _ bytes: UnsafeRawBufferPointer, _ parse: (UnsafeRawBufferPointer) throws -> (used: Int, isFinished: Bool)
    ) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            switch state {
            case .preamble(var line):
                let byte = rest.removeFirst()
                if byte == 0x0a {
                    state = line.isEmpty ? .preamble([]) : try Self.begin(line)
                    continue
                }
                line.append(byte)
                guard line.count <= 512 else { throw RDBError(.malformed, "no frame around it") }
                state = .preamble(line)
            case .marked(let mark):
                let (used, isFinished) = try parse(UnsafeRawBufferPointer(rebasing: rest))
                rest = rest.dropFirst(used)
                if isFinished { state = .mark(expected: mark, seen: 0) }
            case .counted(let missing):
                let part = rest.prefix(Int(min(missing, Int64(rest.count))))
                let (used, isFinished) = try parse(UnsafeRawBufferPointer(rebasing: part))
                let left = missing - Int64(part.count)
                guard isFinished == (left == 0), used == part.count else {
                    throw RDBError(.malformed, "its length is not the announced one")
                }
                rest = rest.dropFirst(part.count)
                state = left == 0 ? .complete : .counted(left)
            case .mark(let expected, let seen):
                guard rest.removeFirst() == expected[seen] else {
                    throw RDBError(.malformed, "the mark of its end does not follow")
                }
                state = seen + 1 == expected.count ? .complete : .mark(expected: expected, seen: seen + 1)
            case .complete: return  // early 7.0 sends newlines here
            }
        }
    }

    private static func begin(_ line: [UInt8]) throws -> State {
        let text = String(decoding: line.last == 0x0d ? line.dropLast() : line[...], as: UTF8.self)
        if text.hasPrefix("-") { throw RESPFault(detail: String(text.dropFirst())) }
        if text.hasPrefix("$EOF:") {
            let mark = Array(text.utf8.dropFirst(5))
            guard mark.count == 40 else { throw RDBError(.malformed, "the mark of its end has not 40 digits") }
            return .marked(mark)
        }
        guard text.hasPrefix("$"), let length = Int64(text.dropFirst()), length > 0 else {
            throw RDBError(.malformed, "no frame around it")
        }
        return .counted(length)
    }
}

/// Asks a server for a snapshot as a replica does and hands its bytes on. Blocking, on the connection's thread.
struct ReplicationStream {
    /// A primary sends a newline each second while it prepares; a loaded one may pause.
    private static let patience = TimeAmount.minutes(2)

    let connection: RedisConnection

    /// - Returns: the replication id and offset whose state the snapshot is.
    func begin() throws -> (id: String, offset: Int64) {
        do { try connection.command("PING") } catch let error as RedisError where error.reason == .denied {
            // A user may be allowed replication and no PING. One that is not logged in fails below as well.
            guard error.detail.contains("NOPERM") else { throw error }
        }
        // Each is an offer: a server that does not know it says so and goes on without.
        for offer in [
            ["listening-port", "1"], ["capa", "eof", "capa", "psync2"], ["rdb-only", "1"], ["version", "9.9.9"],
        ] {
            do { try connection.command((["REPLCONF"] + offer).map { Array($0.utf8) }) } catch let error as RedisError {
                switch error.reason {
                case .refused, .unsupported: continue
                case .denied: throw denied(error)
                default: throw error
                }
            }
        }
        let answer: RESPValue
        do { answer = try connection.command("PSYNC", "?", "-1", patience: Self.patience) } catch let error
            as RedisError
        {
            switch error.reason {
            case .unsupported:
                throw connection.error(.unsupported, "it does not serve PSYNC, so no snapshot can be taken")
            case .denied: throw denied(error)
            default: throw error
            }
        }
        let words = answer.text?.split(separator: " ") ?? []
        guard words.count == 3, words[0] == "FULLRESYNC", words[1].utf8.count == 40, let offset = Int64(words[2]) else {
            throw connection.error(.unsupported, "it does not answer PSYNC with a full snapshot")
        }
        return (String(words[1]), offset)
    }

    private func denied(_ error: RedisError) -> RedisError {
        guard error.detail.contains("NOPERM") else { return error }
        return connection.error(
            .denied, "a snapshot is taken with REPLCONF and PSYNC, and this user may not run both (\(error.detail))")
    }

    /// Reads the whole snapshot.
    /// - Throws: `.broken` if it ends before its mark; `RDBError` if it is not whole.
    func run(_ parser: RDBParser, _ handle: (RDBEvent) throws -> Void) throws {
        var frame = SnapshotFrame()
        func feed(_ bytes: UnsafeRawBufferPointer) throws {
            do {
                try frame.feed(bytes) { part in (try parser.feed(part, handle), parser.isFinished) }
            } catch let fault as RESPFault {
                throw RedisError.reply(fault.detail, to: "PSYNC", connection.settings.side, connection.settings.server)
            }
        }
        try connection.takeRest().withUnsafeBytes(feed)
        while !frame.isComplete {
            guard let buffer = try connection.bytes(until: .now() + Self.patience) else {
                throw connection.error(.broken, "the snapshot ended before its mark")
            }
            try buffer.withUnsafeReadableBytes(feed)
        }
        try parser.finish()
    }
}
