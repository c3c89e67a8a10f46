internal import Foundation

/// What ties sealed bytes to one client, epoch and purpose: associated data of AES-GCM, `info` of HPKE,
/// salt of HKDF. 26 bytes and what the purpose adds: `drp`, purpose, format (u16), uuid, epoch (u32);
/// numbers little-endian.
struct Binding: Sendable {
    enum Purpose: UInt8 {
        case derivation = 1
        case rootKey = 2
        case packKey = 3
        case chunk = 4
        case trailer = 5
        case index = 6
        case manifest = 7
        case fingerprint = 8
        case card = 9
        case recipient = 10
        case mark = 11
        case tombstone = 12
        case hold = 13
        case epoch = 14
        case fingerprints = 15
        case slice = 16
        case gap = 17
        case lease = 18
        case void = 19
        case bundle = 20
        case erasure = 21
    }

    var client: UUID
    var epoch: Int

    func bytes(_ purpose: Purpose, _ extra: [UInt8] = []) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(26 + extra.count)
        bytes.append(contentsOf: "drp".utf8)
        bytes.append(purpose.rawValue)
        bytes.append(little: UInt16(Manifest.currentFormat))
        withUnsafeBytes(of: client.uuid) { bytes.append(contentsOf: $0) }
        bytes.append(little: UInt32(epoch))
        bytes.append(contentsOf: extra)
        return bytes
    }
}

extension [UInt8] {
    mutating func append(little value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}

/// Reads numbers and runs of bytes, all little-endian and all checked.
struct SliceReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private let subject: String

    init(_ bytes: ArraySlice<UInt8>, subject: String) {
        self.bytes = bytes
        self.subject = subject
        position = bytes.startIndex
    }

    var left: Int { bytes.endIndex - position }

    mutating func take(_ count: Int) throws(RepositoryError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= left else {
            throw RepositoryError(.damaged, subject, cause: "\(count) bytes wanted, \(left) left")
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func number<Number: FixedWidthInteger & UnsignedInteger>(_: Number.Type) throws(RepositoryError) -> Number
    {
        var value: Number = 0
        for byte in try take(MemoryLayout<Number>.size).reversed() { value = value << 8 | Number(byte) }
        return value
    }

    func finish() throws(RepositoryError) {
        guard left == 0 else { throw RepositoryError(.damaged, subject, cause: "\(left) bytes are left over") }
    }
}
