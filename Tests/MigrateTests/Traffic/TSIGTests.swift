import DRPKit
import Foundation
import Testing

@testable import Migrate

@Suite("TSIG")
struct TSIGTests {
    static let time = Date(timeIntervalSince1970: 1_700_000_000)
    static let key = TSIGKey(name: DNSName("dr-key")!, secret: Secret(Array(0..<32)))
    /// The update of `DNSMessageTests`, signed by dnspython with `key` at `time`.
    static let request =
        Array(DNSMessageTests.update[..<11]) + [1] + DNSMessageTests.update[12...]
        + Hex.decode(
            "0664722d6b65790000fa00ff00000000003d0b686d61632d7368613235360000006553f100012c0020f730474672eb582d806ce98665"
                + "d8022d0c62e264cbb652f288e2e8d6c5f1dede123400000000")!
    static let mac = Hex.decode("f730474672eb582d806ce98665d8022d0c62e264cbb652f288e2e8d6c5f1dede")!
    /// The answer NXRRSET to it, signed by dnspython.
    static let answer = Hex.decode(
        "1234a808000100000000000107636c69656e7473047465737400000600010664722d6b65790000fa00ff00000000003d0b686d6163"
            + "2d7368613235360000006553f100012c00206db2c76c0e095ced32a889ef8e6a3311259c9b99031505d89d26e0057b20a2fd1234"
            + "00000000")!

    @Test("signatures of another implementation are right, on requests and on answers")
    func verifiesKnown() throws {
        let request = try TSIG.verify(Self.request, with: Self.key, at: Self.time, answering: nil)
        #expect(request == (try DNSMessage.decode(DNSMessageTests.update).message))
        let answer = try TSIG.verify(Self.answer, with: Self.key, at: Self.time, answering: Self.mac)
        #expect(answer.code == .setMissing && answer.additionals.isEmpty)
    }

    @Test("the same message gets the same signature as another implementation's")
    func signsKnown() throws {
        let plain = try DNSMessage.decode(Self.answer).message
        var message = plain
        message.additionals = []
        let signed = TSIG.sign(message, with: Self.key, at: Self.time, answering: Self.mac)
        #expect(signed.wire == Self.answer)
    }

    @Test("an answer bound to another request is refused")
    func wrongRequest() {
        #expect(throws: TSIG.Failure.wrongSignature) {
            try TSIG.verify(Self.answer, with: Self.key, at: Self.time, answering: Array(Self.mac.reversed()))
        }
        #expect(throws: TSIG.Failure.wrongSignature) {
            try TSIG.verify(Self.answer, with: Self.key, at: Self.time, answering: nil)
        }
    }

    @Test("one flipped bit anywhere is refused")
    func flippedBits() {
        for index in Self.answer.indices {
            for bit in 0..<8 {
                var bytes = Self.answer
                bytes[index] ^= 1 << UInt8(bit)
                // A name's case and the id, which the signature carries itself, may change unseen; the caller
                // compares the id.
                guard let message = try? TSIG.verify(bytes, with: Self.key, at: Self.time, answering: Self.mac) else {
                    continue
                }
                var expected = try? DNSMessage.decode(Self.answer).message
                expected?.additionals = []
                expected?.id = message.id
                #expect(message == expected, "byte \(index) bit \(bit)")
            }
        }
    }

    @Test("every truncation is refused")
    func truncations() {
        for count in Self.answer.indices {
            #expect(throws: TSIG.Failure.self) {
                try TSIG.verify(Array(Self.answer[..<count]), with: Self.key, at: Self.time, answering: Self.mac)
            }
        }
    }

    @Test("a signature outside the fudge is refused and says which clock is ahead", arguments: [-301, 301])
    func wrongTime(offset: Int) {
        #expect(throws: TSIG.Failure.wrongTime(Int64(-offset))) {
            try TSIG.verify(
                Self.answer, with: Self.key, at: Self.time.addingTimeInterval(Double(offset)), answering: Self.mac)
        }
    }

    @Test("an unsigned answer is no answer, and BADKEY, BADSIG and BADTIME are told apart")
    func refusals() {
        #expect(throws: TSIG.Failure.unsigned(.noError)) {
            try TSIG.verify(DNSMessageTests.reply, with: Self.key, at: Self.time, answering: Self.mac)
        }
        for (code, number) in [(DNSCode.badSignature, 16), (.badKey, 17)] {
            var message = DNSMessage(id: 1, operation: .update)
            message.flags |= 0x8009
            let content = TSIG.Content(
                algorithm: TSIGKey.algorithm, time: 0, fudge: 300, mac: [], originalID: 1,
                error: DNSCode(rawValue: UInt16(number)), other: [])
            message.additionals = [
                DNSRecord(name: Self.key.name, type: .tsig, class: .any, ttl: 0, data: .other(content.wire))
            ]
            #expect(throws: TSIG.Failure.refused(code)) {
                try TSIG.verify(message.wire, with: Self.key, at: Self.time, answering: Self.mac)
            }
        }
    }

    @Test("a key file of BIND is read in all its forms")
    func keyFile() throws {
        let secret = Data((0..<32).map { UInt8($0) }).base64EncodedString()
        for text in [
            "key \"dr-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"\(secret)\";\n};\n",
            "# made by hand\nkey dr-key{secret \"\(secret)\";algorithm \"HMAC-SHA256\";};",
            "/* key \"x\" */ key \"DR-KEY.\" { // here\n algorithm hmac-sha256.; secret \"\(secret)\"; };",
        ] {
            let key = try TSIGKey.parse(Secret(text))
            #expect(key.name == Self.key.name && key.secret == Self.key.secret)
        }
    }

    @Test("a wrong key file is refused without a word of its content")
    func wrongKeyFile() throws {
        let secret = "Q0FOQVJZLWNhbmFyeS1DQU5BUlktY2FuYXJ5LUNBTkFSWQ=="
        let good = "key \"dr-key\" { algorithm hmac-sha256; secret \"\(secret)\"; };"
        for text in [
            "", "CANARY", "key \"a b\" { algorithm hmac-sha256; secret \"\(secret)\"; };",
            good.replacingOccurrences(of: "sha256", with: "md5"), good.replacingOccurrences(of: "secret", with: "sec"),
            good.replacingOccurrences(of: "==", with: "=!"), good + good, good + "/*", String(good.dropLast(4)),
            String(repeating: good, count: 2_000),
        ] {
            let error = #expect(throws: TrafficError.self) { try TSIGKey.parse(Secret(text)) }
            #expect(error?.code == .fleetInvalid)
            #expect(!(error?.description.contains("CANARY") ?? true) && !(error?.description.contains(secret) ?? true))
        }
        for count in 0..<good.count - 1 {
            #expect(throws: TrafficError.self) { try TSIGKey.parse(Secret(String(good.prefix(count)))) }
        }
    }
}
