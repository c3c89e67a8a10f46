import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct KeysTests {
    @Test("Bech32 agrees with the valid and invalid strings of BIP 173")
    func bech32Vectors() {
        #expect(Bech32.encode(prefix: "a", []) == "a12uel5l")
        #expect(Bech32.decode(prefix: "a", "A12UEL5L") == [])
        #expect(Bech32.decode(prefix: "split", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w") != nil)
        #expect(Bech32.decode(prefix: "split", "split1cheo2y9e2w") == nil)
        #expect(Bech32.decode(prefix: "a", "A12UeL5L") == nil)
        #expect(Bech32.decode(prefix: "a", "a12uel5m") == nil)
    }

    @Test("any bytes come back from Bech32, and a mistyped letter is found")
    func bech32RoundTrip() {
        var random = SeededGenerator(seed: 11)
        for length in 0..<80 {
            let bytes = random.bytes(length)
            let text = Bech32.encode(prefix: "drp", bytes)
            #expect(Bech32.decode(prefix: "drp", text) == bytes)
            var digits = Array(text.utf8)
            digits[digits.count - 3] =
                digits[digits.count - 3] == UInt8(ascii: "q") ? UInt8(ascii: "p") : UInt8(ascii: "q")
            #expect(Bech32.decode(prefix: "drp", String(decoding: digits, as: UTF8.self)) == nil)
        }
    }

    @Test("an identity file is made once, 0600, and read again")
    func identityFile() throws {
        let folder = try TemporaryFolder()
        let identity = RecoveryIdentity.generate()
        let path = folder.path("identity")
        try identity.write(to: path, created: RepositoryFixture.created)
        #expect(try RecoveryIdentity.read(path).recipient == identity.recipient)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines[0] == "# created: 2027-01-15T08:00:00Z")
        #expect(lines[1] == "# recipient: \(identity.recipient)")
        #expect(lines[2].hasPrefix("DRP-SECRET-KEY-1") && lines.count == 3)
        #expect(Recipient("\(identity.recipient)") == identity.recipient)
        let error = #expect(throws: FileError.self) { try identity.write(to: path, created: RepositoryFixture.created) }
        #expect(error?.reason == .alreadyThere)
    }

    @Test("an identity that others can read, that is missing or that holds no key is refused")
    func badIdentities() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("identity")
        #expect(throws: IdentityError.self) { try RecoveryIdentity.read(path) }
        try RecoveryIdentity.generate().write(to: path, created: RepositoryFixture.created)
        chmod(path, 0o640)
        let exposed = #expect(throws: IdentityError.self) { try RecoveryIdentity.read(path) }
        #expect(exposed?.code == .identityInvalid && exposed?.message.contains("read by others") == true)
        let other = folder.path("other")
        try AtomicFile.write(other, Array("# nothing\n".utf8), mode: 0o600, .createOnly)
        #expect(throws: IdentityError.self) { try RecoveryIdentity.read(other) }
        try AtomicFile.write(other, Array("DRP-SECRET-KEY-1QQQQ\n".utf8), mode: 0o600, .replace)
        let wrong = #expect(throws: IdentityError.self) { try RecoveryIdentity.read(other) }
        #expect(wrong?.message.contains("QQQQ") == false)
    }

    @Test("writer keys come back from their file, and a changed file is refused")
    func writerKeysFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("acme")
        let keys = try RootKey.generate(client: UUID(), name: ClientID(unchecked: "acme")).writerKeys()
        try keys.write(to: path)
        let read = try WriterKeys.read(path)
        #expect(read.fingerprint == keys.fingerprint && read.idKey == keys.idKey && read.catalogKey == keys.catalogKey)
        #expect(keys.fingerprint.wholeMatch(of: /([0-9a-f]{4}-){7}[0-9a-f]{4}/) != nil)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let epoch = text.replacingOccurrences(of: "\"epoch\" : 1", with: "\"epoch\" : 2")
        try AtomicFile.write(path, Array(epoch.utf8), mode: 0o600, .replace)
        #expect(throws: WriterKeysError.self) { try WriterKeys.read(path) }
        let missing = #expect(throws: WriterKeysError.self) { try WriterKeys.read(folder.path("blue")) }
        #expect(missing?.code == .repositoryMissing)
    }

    @Test("a root key is the same after wrap and open; for another client, epoch or identity it does not open")
    func wraps() throws {
        let identity = RecoveryIdentity.generate()
        let name = ClientID(unchecked: "acme")
        let root = RootKey.generate(client: UUID(), name: name)
        let wrapped = try root.wrap(to: identity.recipient)
        let opened = try RootKey.open(wrapped, client: root.client, name: name, epoch: 1, identity: identity)
        #expect(try opened.writerKeys().fingerprint == root.writerKeys().fingerprint)
        #expect(throws: RepositoryError.self) {
            try RootKey.open(wrapped, client: UUID(), name: name, epoch: 1, identity: identity)
        }
        #expect(throws: RepositoryError.self) {
            try RootKey.open(wrapped, client: root.client, name: name, epoch: 2, identity: identity)
        }
        #expect(throws: RepositoryError.self) {
            try RootKey.open(wrapped, client: root.client, name: name, epoch: 1, identity: .generate())
        }
        for position in wrapped.indices {
            var changed = wrapped
            changed[position] ^= 1
            #expect(throws: RepositoryError.self) {
                try RootKey.open(changed, client: root.client, name: name, epoch: 1, identity: identity)
            }
        }
    }
}
