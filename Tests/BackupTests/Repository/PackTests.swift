import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct PackTests {
    private let entry = PackEntry(
        id: ChunkID(ContentHash(hashing: [1])), kind: .documents, key: 0, offset: 10, sealedLength: 90,
        plainLength: 1000, listLength: 40)
    private let key = [UInt8](repeating: 7, count: 80)

    @Test("a trailer is written as the format says, and read back")
    func knownBytes() throws {
        let trailer = PackTrailer(keys: [key], entries: [entry])
        let bytes = trailer.encoded()
        let known =
            "0100" + String(repeating: "07", count: 80) + "01000000" + "\(entry.id)" + "01" + "0000" + "0a000000"
            + "5a000000" + "e8030000" + "28000000"
        #expect(Hex.encode(bytes) == known)
        #expect(try PackTrailer(bytes[...], content: 140, subject: "pack") == trailer)
    }

    @Test("every truncation of a trailer is refused, and chunks that pass the pack's end")
    func refused() throws {
        let bytes = PackTrailer(keys: [key], entries: [entry, entry]).encoded()
        for length in 0..<bytes.count {
            #expect(throws: RepositoryError.self) { try PackTrailer(bytes[..<length], content: 140, subject: "pack") }
        }
        #expect(throws: RepositoryError.self) { try PackTrailer((bytes + [0])[...], content: 140, subject: "pack") }
        #expect(throws: RepositoryError.self) { try PackTrailer(bytes[...], content: 139, subject: "pack") }
        for wrong in [("key", 1), ("sealed", 2), ("plain", 3), ("list", 4)] {
            var other = entry
            if wrong.1 == 1 { other.key = 1 }
            if wrong.1 == 2 { other.sealedLength = 27 }
            if wrong.1 == 3 { other.plainLength = .max }
            if wrong.1 == 4 { other.listLength = 28 }
            let bytes = PackTrailer(keys: [key], entries: [other]).encoded()
            #expect(throws: RepositoryError.self, "\(wrong.0)") {
                try PackTrailer(bytes[...], content: 1 << 33, subject: "pack")
            }
        }
    }

    @Test("a footer that claims more than the pack holds is refused")
    func footers() throws {
        let footer = Pack.footer(trailerLength: 100)
        #expect(Hex.encode(footer) == "64000000" + Hex.encode("DRPPACK1".utf8))
        #expect(try Pack.trailerRange(footer: footer[...], size: 200, subject: "pack") == 88..<188)
        #expect(throws: RepositoryError.self) { try Pack.trailerRange(footer: footer[...], size: 111, subject: "pack") }
        let short = Pack.footer(trailerLength: 37)
        #expect(throws: RepositoryError.self) { try Pack.trailerRange(footer: short[...], size: 200, subject: "pack") }
    }

    @Test("a frame that claims another length than the trailer is refused before anything is allocated")
    func frames() throws {
        let compression = Compression()
        let bytes = [UInt8](repeating: 5, count: 100_000)
        let frame = try bytes.withUnsafeBytes { try compression.compressed($0) { Array($0) } }
        func open(_ frame: [UInt8], _ length: Int) throws -> [UInt8] {
            try frame.withUnsafeBytes { try compression.decompressed($0, length: length, subject: "chunk") }
        }
        #expect(try open(frame, 100_000) == bytes)
        #expect(throws: RepositoryError.self) { try open(frame, 99_999) }
        #expect(throws: RepositoryError.self) { try open(Array(frame.dropLast()), 100_000) }
        #expect(throws: RepositoryError.self) { try open(frame + frame, 100_000) }
        #expect(throws: RepositoryError.self) { try open([], 0) }
    }

    @Test("the binding of associated data has the bytes that the format says")
    func binding() throws {
        let client = try #require(UUID(uuidString: "00112233-4455-6677-8899-aabbccddeeff"))
        let bytes = Binding(client: client, epoch: 258).bytes(.chunk, [9])
        #expect(Hex.encode(bytes) == "64727004" + "0100" + "00112233445566778899aabbccddeeff" + "02010000" + "09")
    }
}
