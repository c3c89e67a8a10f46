import Crypto
import DRPKit
import Foundation
import Testing

@testable import Backup

/// The published vectors of RFC 9180 for the suite that repositories use.
@Suite struct HPKEVectorTests {
    struct Vector: Decodable {
        struct Message: Decodable { var aad, ct, pt: String }
        var info, skRm, pkRm, enc, key, baseNonce: String
        var mode, kemId, kdfId, aeadId: Int
        var encryptions: [Message]
    }

    private func vectors() throws -> [Vector] {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let file = folder.appending(path: "../../Fixtures/hpke-vectors.json")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode([Vector].self, from: Data(contentsOf: file))
    }

    private func bytes(_ hex: String) throws -> [UInt8] { try #require(Hex.decode(hex)) }

    @Test("HPKE of the suite in use opens the messages of RFC 9180's vectors, and none with another one's data")
    func opens() throws {
        var opened = 0
        for vector in try vectors() {
            #expect(vector.mode == 0 && vector.kemId == 0x20 && vector.kdfId == 1 && vector.aeadId == 2)
            let key = try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: try bytes(vector.skRm))
            #expect(Hex.encode(key.publicKey.rawRepresentation) == vector.pkRm)
            var recipient = try HPKE.Recipient(
                privateKey: key, ciphersuite: hpkeSuite, info: Data(try bytes(vector.info)),
                encapsulatedKey: Data(try bytes(vector.enc)))
            for message in vector.encryptions {
                let ciphertext = Data(try bytes(message.ct))
                let plain = try recipient.open(ciphertext, authenticating: Data(try bytes(message.aad)))
                #expect(Hex.encode(plain) == message.pt)
                opened += 1
            }
        }
        #expect(opened == 8)
    }

    @Test("a wrapped key is the first message under the vectors' key and nonce, and opens with their info alone")
    func wrappedKey() throws {
        for vector in try vectors() {
            let secret = (0..<32).map { UInt8($0) }
            let box = try AES.GCM.seal(
                secret, using: SymmetricKey(data: try bytes(vector.key)),
                nonce: AES.GCM.Nonce(data: try bytes(vector.baseNonce)))
            let wrapped = try bytes(vector.enc) + Array(box.ciphertext) + Array(box.tag)
            #expect(wrapped.count == wrappedLength)
            let key = try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: try bytes(vector.skRm))
            let info = try bytes(vector.info)
            #expect(try KeyWrap.open(wrapped, with: key, info: info) == SymmetricKey(data: secret))
            #expect(throws: (any Error).self) { try KeyWrap.open(wrapped, with: key, info: info + [0]) }
            for position in wrapped.indices {
                var changed = wrapped
                changed[position] ^= 1
                #expect(throws: (any Error).self) { try KeyWrap.open(changed, with: key, info: info) }
            }
        }
    }
}
