internal import DRPKit

/// Which log of a client.
package enum LogKind: String, Codable, Sendable, CaseIterable {
    /// The oplog of the replica set.
    case mongo
    /// The replication stream of the Redis server.
    case redis

    var number: UInt8 { self == .mongo ? 1 : 2 }
    var chunkKind: ChunkKind { self == .mongo ? .oplog : .redisStream }
}

/// A place in a log: seconds since 1970 in the upper half; below, what tells places of one second apart. In an oplog this
/// is the BSON timestamp. Text form: 16 lower-case hex digits.
package struct LogPosition: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    package var value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package init(seconds: UInt32, ordinal: UInt32) { value = UInt64(seconds) << 32 | UInt64(ordinal) }

    /// - Returns: nil unless `text` is the text form of one.
    package init?(_ text: some StringProtocol) {
        guard let value = UInt64(text, radix: 16), Self(value).description == text else { return nil }
        self.value = value
    }

    package var seconds: Int64 { Int64(value >> 32) }

    package var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    package static func < (left: Self, right: Self) -> Bool { left.value < right.value }

    package init(from decoder: any Decoder) throws {
        guard let position = Self(try decoder.singleValueContainer().decode(String.self)) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not 16 hex digits"))
        }
        self = position
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// An object under `logs`: a slice, or a gap in its place. The name tells what it covers, and so which one follows.
package struct LogName: Hashable, Sendable, Comparable {
    package var log: LogKind
    package var from: LogPosition
    /// After the last one that it covers; later than `from`.
    package var to: LogPosition
    package var isGap = false

    package static func < (left: Self, right: Self) -> Bool {
        (left.log.number, left.from, left.to) < (right.log.number, right.from, right.to)
    }

    var text: String { "\(log.rawValue)/\(from)-\(to)\(isGap ? ".gap" : "")" }

    /// What ties its bytes to it, with the bytes of chunks before it.
    func extra(content: Int64 = 0) -> [UInt8] {
        var extra = [log.number]
        extra.append(little: from.value)
        extra.append(little: to.value)
        extra.append(little: UInt64(content))
        return extra
    }
}

extension RepositoryLayout {
    var logs: ObjectKey { root.appending("logs") }

    func log(_ name: LogName) -> ObjectKey { name.text.split(separator: "/").reduce(logs) { $0.appending(String($1)) } }

    /// - Returns: nil if `key` is not the name of a slice or gap.
    func logName(_ key: ObjectKey) -> LogName? {
        let parts = key.text.split(separator: "/")
        guard parts.count == 4, let log = LogKind(rawValue: String(parts[2])) else { return nil }
        let isGap = parts[3].hasSuffix(".gap")
        let ends = (isGap ? parts[3].dropLast(4) : parts[3]).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let from = LogPosition(ends[0]), let to = LogPosition(ends[1]), from < to else {
            return nil
        }
        let name = LogName(log: log, from: from, to: to, isGap: isGap)
        return self.log(name) == key ? name : nil
    }
}
