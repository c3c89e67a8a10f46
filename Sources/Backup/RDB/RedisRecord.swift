/// One key as it is hashed, stored and restored.
///
///     u32 LE total length | u32 LE database | i64 LE expiry ms or -1 | u32 LE key length | key | u8 type | value
///
/// Type and value are canonical (`Canonicalizer`). A view: valid as long as the bytes.
package struct RedisRecord {
    package static let fixedBytes = 21

    package let bytes: UnsafeRawBufferPointer
    package let database: Int
    /// Milliseconds since 1970; nil without a time to live.
    package let expiry: Int64?
    package let key: UnsafeRawBufferPointer
    package let type: UInt8
    package let value: UnsafeRawBufferPointer

    /// - Throws: `.malformed` unless `bytes` are exactly one record.
    package init(_ bytes: UnsafeRawBufferPointer) throws(RDBError) {
        var reader = ByteReader(bytes)
        guard bytes.count >= Self.fixedBytes, Int(try reader.little(UInt32.self)) == bytes.count else {
            throw RDBError(.malformed, "a stored record's length")
        }
        self.bytes = bytes
        database = Int(try reader.little(UInt32.self))
        let expiry = try reader.little(Int64.self)
        self.expiry = expiry == -1 ? nil : expiry
        let keyLength = Int(try reader.little(UInt32.self))
        key = try reader.take(keyLength).bytes
        type = try reader.byte()
        value = try reader.take(reader.remaining).bytes
    }

    /// Replaces `output` with the record of `key`.
    /// - Returns: false for an empty collection, which is left out.
    /// - Throws: `RDBError` that names the key.
    package static func build(
        _ key: RDBKey, family: RDBFamily, _ canonicalizer: Canonicalizer, into output: inout [UInt8]
    ) throws(RDBError) -> Bool {
        output.removeAll(keepingCapacity: true)
        RDBWriter.number(UInt32(0), to: &output)
        RDBWriter.number(UInt32(key.database), to: &output)
        // -1 stands for none; a real -1 is as much in the past as -2.
        RDBWriter.number(key.expiry.map { $0 == -1 ? -2 : $0 } ?? -1, to: &output)
        RDBWriter.number(UInt32(key.name.count), to: &output)
        output.append(contentsOf: key.name)
        do throws(RDBError) {
            guard try canonicalizer.append(type: key.type, value: key.value, family: family, to: &output) else {
                return false
            }
            guard output.count <= RDBLimits.value else {
                throw RDBError(.valueTooLarge, "over \(RDBLimits.value >> 20) MiB")
            }
        } catch { throw error.at(database: key.database, key: key.name) }
        let total = UInt32(output.count).littleEndian
        output.withUnsafeMutableBytes { $0.storeBytes(of: total, as: UInt32.self) }
        return true
    }
}

/// A function library as it is stored: u32 LE total length, then its source.
package enum RedisFunctionRecord {
    package static func build(_ source: [UInt8]) -> [UInt8] {
        var record: [UInt8] = []
        RDBWriter.number(UInt32(source.count + 4), to: &record)
        record.append(contentsOf: source)
        return record
    }

    /// What FUNCTION RESTORE takes for these sources: F5 and a string each, version 10, CRC-64.
    package static func payload(_ sources: [[UInt8]]) -> [UInt8] {
        var payload: [UInt8] = []
        for source in sources {
            payload.append(0xf5)
            RDBWriter.string(source, to: &payload)
        }
        RDBWriter.footer(version: 10, from: 0, to: &payload)
        return payload
    }
}
