import Backup
import Testing

@Suite("LZF")
struct LZFTests {
    @Test("literals, short and long copies, and copies that overlap themselves")
    func known() throws {
        #expect(try plain([0x02, 0x61, 0x62, 0x63], 3) == Array("abc".utf8))
        // "a", then 3 bytes from 1 back.
        #expect(try plain([0x00, 0x61, 0x20, 0x00], 4) == Array("aaaa".utf8))
        // "ab", then 9 + 1 bytes from 2 back.
        #expect(try plain([0x01, 0x61, 0x62, 0xe0, 0x01, 0x01], 12) == Array("abababababab".utf8))
    }

    @Test(
        "input that ends early, reaches before the output or gives another length is refused",
        arguments: [
            ([0x02, 0x61, 0x62], 3), ([0x20], 3), ([0xe0], 9), ([0x00, 0x61, 0x20, 0x01], 4), ([0x20, 0x00], 3),
            ([0x00, 0x61], 2), ([0x01, 0x61, 0x62], 1), ([0x00, 0x61, 0x20, 0x00], 3),
        ] as [([UInt8], Int)])
    func broken(_ input: [UInt8], _ length: Int) {
        #expect(throws: RDBError.self) { try plain(input, length) }
    }

    private func plain(_ input: [UInt8], _ length: Int) throws -> [UInt8] {
        var output = [UInt8](repeating: 0, count: length)
        try input.withUnsafeBytes { input in
            try output.withUnsafeMutableBytes { output in try LZF.decompress(input, into: output) }
        }
        return output
    }
}
