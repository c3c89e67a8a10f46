import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite("The archive in a bundle")
struct ArchiveTests {
    private static let entries = [
        ArchiveEntry(name: "bundle.json", bytes: Array("{}".utf8)),
        ArchiveEntry(name: "secrets/0001-uri", bytes: [UInt8](repeating: 7, count: 512)),
        ArchiveEntry(name: "keys/acme", bytes: []),
    ]

    private func read(_ bytes: [UInt8]) throws(RepositoryError) -> [ArchiveEntry] {
        try Archive.read(bytes, subject: "bundle 1")
    }

    @Test("what is written is read again, and other programs read it as ustar")
    func roundTrip() throws {
        let bytes = Archive.write(Self.entries)
        #expect(try read(bytes) == Self.entries)
        #expect(try read(Archive.write([])).isEmpty)
        // As GNU tar and Python's tarfile make it: sum of the header with eight spaces in the sum's place.
        #expect(String(decoding: bytes[257..<265], as: UTF8.self) == "ustar\u{0}00")
        let sum = bytes[0..<148].reduce(0) { $0 + Int($1) } + 8 * 32 + bytes[156..<512].reduce(0) { $0 + Int($1) }
        #expect(Int(String(decoding: bytes[148..<154], as: UTF8.self), radix: 8) == sum)
    }

    @Test("nothing that was cut off, at any length, is read")
    func truncated() {
        let bytes = Archive.write(Self.entries)
        for length in 0..<bytes.count {
            #expect(throws: RepositoryError.self) { try read(Array(bytes[..<length])) }
        }
        #expect(throws: RepositoryError.self) { try read(bytes + [0]) }
        #expect(throws: RepositoryError.self) { try read(bytes + [UInt8](repeating: 0, count: 512)) }
    }

    @Test("a flipped bit outside of contents is refused, whatever it would mean")
    func flippedBits() {
        let bytes = Archive.write(Self.entries)
        // Content of the first entry, and of the second.
        let contents = [512..<514, 1536..<2048]
        for index in bytes.indices where !contents.contains(where: { $0.contains(index) }) {
            for bit in 0..<8 {
                var hostile = bytes
                hostile[index] ^= 1 << bit
                #expect(throws: RepositoryError.self, "byte \(index), bit \(bit)") { try read(hostile) }
            }
        }
    }

    /// A header of anything, with a right sum: as somebody would make it who knows the format.
    private func header(_ name: String, size: String = "00000000000", type: String = "0", link: String = "") -> [UInt8]
    {
        var bytes = Array(Archive.write([ArchiveEntry(name: "x", bytes: [])])[..<512])
        func put(_ text: String, at offset: Int) {
            bytes.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
        }
        bytes[0] = 0
        put(name, at: 0)
        put(size, at: 124)
        put(type, at: 156)
        put(link, at: 157)
        put("        ", at: 148)
        let sum = String(bytes.reduce(0) { $0 + Int($1) }, radix: 8)
        put(String(repeating: "0", count: 6 - sum.count) + sum + "\u{0} ", at: 148)
        return bytes
    }

    private static let end = [UInt8](repeating: 0, count: 1024)

    @Test(
        "names that lead elsewhere are refused",
        arguments: [
            "/etc/passwd", "../x", "a/../b", "a//b", "./a", ".hidden", "a/.b", "a/", "", "a\\b", "a b", "a\nb", "ä",
            "C:x", "a/b/c/d/e/f/g/h/i", String(repeating: "a", count: 100),
        ])
    func hostileNames(_ name: String) {
        let isLong = name.utf8.count == 100
        let bytes = header(name) + Self.end
        if isLong {
            // One part of 100 bytes is a name; it shows that the header above is one that is read.
            #expect(throws: Never.self) { try read(bytes) }
        } else {
            #expect(throws: RepositoryError.self) { try read(bytes) }
        }
    }

    @Test("links, folders, devices, long names and sizes beyond the end are refused")
    func hostileHeaders() {
        for type in ["1", "2", "3", "4", "5", "6", "7", "x", "g", "L", "K", "\u{0}"] {
            #expect(throws: RepositoryError.self) { try read(header("a", type: type, link: "/etc") + Self.end) }
        }
        #expect(throws: RepositoryError.self) { try read(header("a", link: "b") + Self.end) }
        for size in ["00000000001", "00000002001", "77777777777", "0000000000 ", "-0000000001", "0x000000001"] {
            #expect(throws: RepositoryError.self) { try read(header("a", size: size) + Self.end) }
        }
        let twice = header("a") + header("a") + Self.end
        #expect(throws: RepositoryError.self) { try read(twice) }
        #expect(throws: Never.self) { try read(header("a") + header("b") + Self.end) }
    }

    @Test("random damage never crashes, and never gives a name that leads out", arguments: 1...40)
    func randomDamage(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            var bytes = Archive.write(Self.entries)
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) {
                bytes.removeSubrange(0..<512 * Int.random(in: 0...2, using: &random))
            }
            // What is read has good names; anything else was refused.
            guard let entries = try? read(bytes) else { continue }
            #expect(entries.allSatisfy { Archive.isName($0.name) } && Set(entries.map(\.name)).count == entries.count)
        }
    }
}
