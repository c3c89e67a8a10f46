import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("SSH certificates and keys")
struct SSHCertificateTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// Made by ssh-keygen.
    private func certificate(_ options: [String] = ["-n", "drp,ops", "-V", "20260101000000Z:20260101001000Z"]) throws
        -> (text: [UInt8], key: [UInt8])
    {
        let path = folder.path(UUID().uuidString)
        for name in [path, path + "-ca"] {
            try SSHService.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name])
        }
        try SSHService.run(
            ["/usr/bin/ssh-keygen", "-q", "-s", path + "-ca", "-I", "ann\u{1b}[31m", "-z", "18446744073709551615"]
                + options
                + [path + ".pub"])
        let line = try String(contentsOfFile: path + ".pub", encoding: .utf8)
        return (
            Array(try Data(contentsOf: URL(fileURLWithPath: path + "-cert.pub"))),
            try #require(SSHCertificate.ed25519(publicLine: line))
        )
    }

    private static let middle = Date(timeIntervalSince1970: 1_767_225_900)

    @Test("a certificate of ssh-keygen reads as ssh-keygen wrote it")
    func reads() throws {
        let (text, key) = try certificate()
        let read = try #require(SSHCertificate(text))
        #expect(read.serial == .max && read.keyID == "ann\u{1b}[31m" && read.principals == ["drp", "ops"])
        #expect(read.key == key && read.ends == Date(timeIntervalSince1970: 1_767_226_200))
        #expect(read.problem(for: key, principal: "ops", now: Self.middle) == nil)
        #expect(
            read.problem(for: key, principal: "op", now: Self.middle)
                == .otherPrincipal(wanted: "op", given: ["drp", "ops"]))
    }

    @Test("it is valid from its first second to before its last, and fetched anew well before")
    func validity() throws {
        let (text, key) = try certificate()
        let read = try #require(SSHCertificate(text))
        func isUsable(_ seconds: Double) -> Bool {
            read.problem(for: key, principal: "drp", now: Date(timeIntervalSince1970: seconds)) == nil
        }
        #expect(
            !isUsable(1_767_225_599) && isUsable(1_767_225_600) && isUsable(1_767_226_199) && !isUsable(1_767_226_200))
        let fetched = Date(timeIntervalSince1970: 1_767_225_600)
        #expect(read.isFresh(at: fetched.addingTimeInterval(569), fetched: fetched))
        #expect(!read.isFresh(at: fetched.addingTimeInterval(570), fetched: fetched))
        let forever = try #require(SSHCertificate(try certificate(["-n", "drp"]).text))
        #expect(forever.ends == nil && forever.isFresh(at: .distantFuture, fetched: fetched))
    }

    @Test("no truncation and no other text is taken for a certificate, and no flipped bit ends the process")
    func refuses() throws {
        let text = try certificate().text
        let words = String(decoding: text, as: UTF8.self).split(separator: " ")
        let blob = Array(try #require(Data(base64Encoded: String(words[1]))))
        for count in 0..<blob.count {
            let cut = "\(words[0]) \(Data(blob.prefix(count)).base64EncodedString())"
            #expect(SSHCertificate(Array(cut.utf8)) == nil, "\(count)")
        }
        for index in blob.indices {
            var flipped = blob
            flipped[index] ^= 0x80
            _ = SSHCertificate(Array("\(words[0]) \(Data(flipped).base64EncodedString())".utf8))
        }
        for wrong in [
            "", "x", "\(words[0])", "ssh-ed25519 \(words[1])", "\(words[0]) \(words[1])\n\(words[0]) \(words[1])\n",
        ] {
            #expect(SSHCertificate(Array(wrong.utf8)) == nil, "\(wrong)")
        }
    }

    @Test("public keys are taken if their two parts agree, without comment or options")
    func publicKeys() throws {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINF9j3XoiJtk8vkyN6xcdR8LXjWsCuc/6lMpH7moXwgp"
        #expect(SSHText.publicKey(key + " a comment") == key)
        for wrong in [
            "", "ssh-ed25519", key.replacing("ssh-ed25519 ", with: "ssh-rsa "), "ssh-dss AAAA", "cert-authority \(key)",
            "ssh-ed25519 !!",
        ] {
            #expect(SSHText.publicKey(wrong) == nil, "\(wrong)")
        }
    }
}
