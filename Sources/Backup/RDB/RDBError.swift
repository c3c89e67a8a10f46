package import DRPKit

/// What is wrong with an RDB stream, a value in it, or a stored record of a Redis key.
package struct RDBError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// Bytes that no server writes.
        case malformed
        /// The bytes end inside an item.
        case truncated
        /// The CRC-64 at the end is not that of the bytes before it.
        case checksum
        /// An opcode or a type of value whose length nobody can tell.
        case unknown
        /// Known, but not kept yet.
        case unsupported
        /// More bytes than `RDBLimits.value`.
        case valueTooLarge
    }

    package var reason: Reason
    package var detail: String
    package var database: Int?
    /// The key, escaped for people (`EscapedKey`).
    package var key: String?

    package init(_ reason: Reason, _ detail: String, database: Int? = nil, key: String? = nil) {
        self.reason = reason
        self.detail = detail
        self.database = database
        self.key = key
    }

    package var code: ErrorCode {
        switch reason {
        case .malformed, .truncated, .checksum: .sourceChanged
        case .unknown, .unsupported, .valueTooLarge: .sourceUnsupported
        }
    }

    package var message: String {
        let place = key.map { "key \($0) of database \(database ?? 0): " } ?? ""
        switch reason {
        case .malformed: return "damaged Redis snapshot: \(place)\(detail)"
        case .truncated: return "the Redis snapshot ends too early: \(place)\(detail)"
        case .checksum: return "the Redis snapshot has a wrong checksum: \(detail)"
        case .unknown: return "the Redis snapshot holds what drp does not know: \(place)\(detail)"
        case .unsupported: return "the Redis snapshot holds what drp does not keep: \(place)\(detail)"
        case .valueTooLarge: return "a Redis value is too large: \(place)\(detail)"
        }
    }

    package var advice: String {
        switch reason {
        case .malformed, .truncated, .checksum:
            "Run the backup again; if it fails the same way, check the server's memory and its log."
        case .unknown, .unsupported: "Save this server by its own snapshot file until drp knows this kind of value."
        case .valueTooLarge: "Split or delete this key, then run the backup again."
        }
    }

    /// The same error, with the key that it happened to unless it names one already.
    func at(database: Int, key: UnsafeRawBufferPointer) -> RDBError {
        guard self.key == nil else { return self }
        var error = self
        error.database = database
        error.key = EscapedKey.text(key)
        return error
    }
}

/// Caps on what comes from outside, checked before anything is allocated.
package enum RDBLimits {
    /// Bytes of one value, as stored in the stream and again when decoded: 256 MiB.
    package static let value = 256 << 20
    /// The highest number of a database that is believed.
    package static let database: UInt64 = 1 << 24
}

/// A key for people: printable ASCII as it is, the rest as `\xNN`, at most 120 bytes of it.
package enum EscapedKey {
    package static func text(_ key: UnsafeRawBufferPointer) -> String {
        var text = "\""
        for byte in key.prefix(120) {
            switch byte {
            case 0x22, 0x5c: text += "\\" + String(UnicodeScalar(byte))
            case 0x20...0x7e: text += String(UnicodeScalar(byte))
            default: text += "\\x" + Hex.encode([byte])
            }
        }
        return text + (key.count > 120 ? "…\"" : "\"")
    }
}
