/// The shape of a recipient's text form: `drp1` and Bech32 (BIP 173) of 32 bytes.
enum RecipientText {
    private static let alphabet = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)

    /// Whether prefix, length, characters and checksum are right: a slip of the pen is found here, and not
    /// in the night when nobody can open a backup.
    static func isRecipient(_ text: String) -> Bool {
        // 32 bytes are 52 digits of 5 bits; 6 more are the checksum.
        guard text.hasPrefix("drp1"), text.utf8.count == 4 + 52 + 6 else { return false }
        var checksum: UInt32 = 1
        func add(_ value: UInt32) {
            let generator: [UInt32] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
            let top = checksum >> 25
            checksum = (checksum & 0x1ff_ffff) << 5 ^ value
            for bit in 0..<5 where top >> bit & 1 == 1 { checksum ^= generator[bit] }
        }
        let prefix = Array("drp".utf8)
        for byte in prefix { add(UInt32(byte >> 5)) }
        add(0)
        for byte in prefix { add(UInt32(byte & 31)) }
        for byte in text.utf8.dropFirst(4) {
            guard let value = alphabet.firstIndex(of: byte) else { return false }
            add(UInt32(value))
        }
        return checksum == 1
    }
}
