/// What a target reads: decides in which form a value is sent to it.
package struct RestoreTarget: Sendable {
    package var family: RDBFamily
    package var rdbVersion: Int

    package init(family: RDBFamily, rdbVersion: Int) {
        self.family = family
        self.rdbVersion = rdbVersion
    }

    /// How this server keeps a stream.
    package var streamForm: StreamForm {
        if rdbVersion < 10 { return .type15 }
        if rdbVersion < 11 { return .type19 }
        return family == .redis && rdbVersion >= 13 ? .type26 : .type21
    }

    var readsFieldExpiry: Bool { family == .valkey ? rdbVersion >= 80 : rdbVersion >= 12 }
}

/// Values as RESTORE takes them.
package enum RestorePayload {
    /// Calls `body` with type and value in a form that `target` reads, and the lowest version that has the type: the
    /// footer's version must not be above the server's own, and says nothing else.
    /// - Parameter scratch: its content is replaced.
    /// - Throws: `.unsupported` for what the target cannot keep; what `body` throws.
    package static func with<Result>(
        _ record: RedisRecord, for target: RestoreTarget, _ canonicalizer: Canonicalizer, scratch: inout [UInt8],
        _ body: (UnsafeRawBufferPointer, _ version: UInt16) throws -> Result
    ) throws -> Result {
        let stored = UnsafeRawBufferPointer(rebasing: record.bytes[(record.bytes.count - record.value.count - 1)...])
        scratch.removeAll(keepingCapacity: true)
        switch record.type {
        case 0, 1, 2, 4, 5, 7: return try body(stored, 9)
        case 24:
            guard target.readsFieldExpiry else {
                throw RDBError(
                    .unsupported, "a hash with times to live of fields, which the target does not know",
                    database: record.database, key: EscapedKey.text(record.key))
            }
            guard target.family == .valkey else { return try body(stored, 12) }
            try canonicalizer.appendValkeyHash(record.value, to: &scratch)
            return try scratch.withUnsafeBytes { try body($0, 80) }
        case 21, 26:
            let form = target.streamForm
            // A stream of 7.2 is read by newer servers as it is.
            if record.type == form.rawValue || (record.type == 21 && form == .type26) {
                return try body(stored, record.type == 26 ? 13 : 11)
            }
            try canonicalizer.appendStream(record.value, type: record.type, as: form, to: &scratch)
            let version: UInt16 = form == .type15 ? 9 : form == .type19 ? 10 : 11
            return try scratch.withUnsafeBytes { try body($0, version) }
        default: throw RDBError(.malformed, "a stored record of type \(record.type)")
        }
    }
}

/// Records as two servers are compared by them: what a restore cannot or need not carry over is taken out on both
/// sides.
///
/// - keys and hash fields that expire by `cut`: they may be gone on one side;
/// - the active time of consumers, and what Redis 8.6 knows of producers; with a target below 7.0 also the
///   counters of streams and groups, which it works out anew;
/// - the sign of a score that is zero.
package struct ComparableForm: Sendable {
    /// Milliseconds since 1970.
    package var cut: Int64
    package var streamForm: StreamForm

    /// - Parameter target: what holds the restored data.
    package init(cut: Int64, target: RestoreTarget) {
        self.cut = cut
        streamForm = target.rdbVersion < 10 ? .type15 : .type19
    }

    /// Calls `body` with the record to compare.
    /// - Parameter scratch: its content is replaced.
    /// - Returns: nil for a key that is left out.
    package func with<Result>(
        _ record: RedisRecord, _ canonicalizer: Canonicalizer, scratch: inout [UInt8],
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result? {
        if let expiry = record.expiry, expiry <= cut { return nil }
        guard [5, 21, 24, 26].contains(record.type) else { return try body(record.bytes) }
        scratch.removeAll(keepingCapacity: true)
        scratch.append(contentsOf: record.bytes.prefix(record.bytes.count - record.value.count - 1))
        switch record.type {
        case 5: try canonicalizer.appendSortedSet(record.value, to: &scratch)
        case 24: guard try canonicalizer.appendHash(record.value, livingAt: cut, to: &scratch) else { return nil }
        default: try canonicalizer.appendStream(record.value, type: record.type, as: streamForm, to: &scratch)
        }
        let total = UInt32(scratch.count).littleEndian
        scratch.withUnsafeMutableBytes { $0.storeBytes(of: total, as: UInt32.self) }
        return try scratch.withUnsafeBytes { try body($0) }
    }
}
