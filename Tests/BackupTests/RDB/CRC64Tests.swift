import Backup
import TestSupport
import Testing

@Suite("CRC-64 of Redis")
struct CRC64Tests {
    @Test("the known vector of redis/src/crc64.c")
    func vector() {
        #expect(crc(Array("123456789".utf8)) == 0xe9c6_d914_c4b8_d9ca)
        #expect(crc([]) == 0)
    }

    @Test("sixteen bytes at a time give the same as bit by bit, however the bytes are cut")
    func slices() {
        var random = SeededGenerator(seed: 7)
        let bytes = (0..<1000).map { _ in UInt8.random(in: 0...255, using: &random) }
        var slow: UInt64 = 0
        for byte in bytes {
            slow ^= UInt64(byte)
            for _ in 0..<8 { slow = (slow >> 1) ^ (slow & 1 == 1 ? 0x95ac_9329_ac4b_c9b5 : 0) }
        }
        #expect(crc(bytes) == slow)
        for cut in [0, 1, 7, 15, 16, 17, 500, 999] {
            let first = bytes[..<cut].withUnsafeBytes { CRC64.update(0, $0) }
            #expect(bytes[cut...].withUnsafeBytes { CRC64.update(first, $0) } == slow)
        }
    }

    private func crc(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { CRC64.update(0, $0) } }
}
