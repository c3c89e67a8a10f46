/// RDB's lengths, plain strings and footers, appended to bytes (redis/src/rdb.c, `rdbSaveLen`).
package enum RDBWriter {
    package static func length(_ value: UInt64, to output: inout [UInt8]) {
        if value < 1 << 6 {
            output.append(UInt8(value))
        } else if value < 1 << 14 {
            output.append(0x40 | UInt8(value >> 8))
            output.append(UInt8(truncatingIfNeeded: value))
        } else if value <= UInt64(UInt32.max) {
            output.append(0x80)
            number(UInt32(value).byteSwapped, to: &output)
        } else {
            output.append(0x81)
            number(value.byteSwapped, to: &output)
        }
    }

    static func string(_ piece: Piece, to output: inout [UInt8]) {
        length(UInt64(piece.count), to: &output)
        output.append(contentsOf: piece.bytes)
    }

    package static func string(_ bytes: [UInt8], to output: inout [UInt8]) {
        length(UInt64(bytes.count), to: &output)
        output.append(contentsOf: bytes)
    }

    /// A little-endian number.
    package static func number(_ value: some FixedWidthInteger, to output: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { output.append(contentsOf: $0) }
    }

    /// A 128-bit id of a stream's entry: ms and sequence, big-endian.
    static func id(_ id: StreamID, to output: inout [UInt8]) {
        number(id.milliseconds.byteSwapped, to: &output)
        number(id.sequence.byteSwapped, to: &output)
    }

    /// The footer of a payload for RESTORE: version and CRC-64 over all from `start` on (redis/src/cluster.c,
    /// `createDumpPayload`).
    package static func footer(version: UInt16, from start: Int, to output: inout [UInt8]) {
        number(version, to: &output)
        let crc = output.withUnsafeBytes { CRC64.update(0, UnsafeRawBufferPointer(rebasing: $0[start...])) }
        number(crc, to: &output)
    }
}
