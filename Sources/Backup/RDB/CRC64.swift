/// CRC-64 as Redis computes it: polynomial ad93d23594c935a9 (Jones), reflected, initial 0, no final inversion.
/// "123456789" gives e9c6d914c4b8d9ca (redis/src/crc64.c). Sliced by 16: sixteen bytes a step.
package enum CRC64 {
    /// Table k holds, for each byte, the CRC of that byte followed by k zero bytes.
    private static let tables: [UInt64] = {
        var tables = [UInt64](repeating: 0, count: 16 * 256)
        for byte in 0..<256 {
            var crc = UInt64(byte)
            for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0x95ac_9329_ac4b_c9b5 : 0) }
            tables[byte] = crc
        }
        for index in 256..<16 * 256 {
            let before = tables[index - 256]
            tables[index] = tables[Int(before & 0xff)] ^ (before >> 8)
        }
        return tables
    }()

    /// - Parameter crc: the CRC of the bytes before these; 0 at the start.
    package static func update(_ crc: UInt64, _ bytes: UnsafeRawBufferPointer) -> UInt64 {
        guard let base = bytes.baseAddress else { return crc }
        return tables.withUnsafeBufferPointer { table in
            var crc = crc
            var offset = 0
            while offset + 16 <= bytes.count {
                let low = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ crc
                let high = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
                crc = fold(low, table, 15) ^ fold(high, table, 7)
                offset += 16
            }
            while offset < bytes.count {
                let byte = base.load(fromByteOffset: offset, as: UInt8.self)
                crc = table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8)
                offset += 1
            }
            return crc
        }
    }

    @inline(__always)
    private static func fold(_ word: UInt64, _ table: UnsafeBufferPointer<UInt64>, _ top: Int) -> UInt64 {
        @inline(__always) func part(_ byte: Int) -> UInt64 {
            table[(top - byte) << 8 | Int(UInt8(truncatingIfNeeded: word >> (UInt64(byte) << 3)))]
        }
        return part(0) ^ part(1) ^ part(2) ^ part(3) ^ part(4) ^ part(5) ^ part(6) ^ part(7)
    }
}
