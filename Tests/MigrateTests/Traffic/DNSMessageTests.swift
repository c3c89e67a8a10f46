import DRPKit
import Testing

@testable import Migrate

@Suite("DNS messages")
struct DNSMessageTests {
    /// Written by dnspython 2.x: two addresses, NS, SOA, AAAA, CNAME, TXT, with compressed names.
    static let reply = Hex.decode(
        "0007840000010002000200030461636d6507636c69656e747304746573740000010001c00c000100010000001e00047f00000cc00c00"
            + "0100010000001e00047f00000bc011000200010000003c0005026e73c011c011000600010000003c0023c04f0a686f73746d6173"
            + "746572c0110000000100000e10000002580001518000000005c04f001c00010000003c0010000000000000000000000000000000"
            + "0103777777c011000500010000003c0002c00c0174c011001000010000003c00050161026263")!

    /// The same: an update of `clients.test` with a prerequisite of each kind.
    static let update = Hex.decode(
        "12342800000100020004000007636c69656e7473047465737400000600010461636d65c00c000100010000000000047f00000b045f64"
            + "7270c01e001000fe000000000000c01e000100ff000000000000c01e000100010000001e00047f00000cc033001000ff00000000"
            + "0000c033001000010000001e0041406472703d3120636c69656e743d30303030303030302d303030302d343030302d383030302d"
            + "30303030303030303030303120736974653d622065706f63683d32")!

    @Test("an answer of another implementation is read whole, compressed names and all")
    func readsReply() throws {
        let message = try DNSMessage.decode(Self.reply).message
        let domain = try #require(DNSName("acme.clients.test"))
        let zone = try #require(DNSName("clients.test"))
        let server = try #require(DNSName("ns.clients.test"))
        #expect(message.isAnswer && message.isAuthoritative && !message.isTruncated && message.code == .noError)
        #expect(message.questions == [DNSQuestion(name: domain, type: .a)])
        #expect(message.answers.map(\.data) == [.a(IPv4("127.0.0.12")!), .a(IPv4("127.0.0.11")!)])
        #expect(message.answers.allSatisfy { $0.name == domain && $0.ttl == 30 })
        #expect(message.authorities[0].data == .ns(server))
        #expect(
            message.authorities[1].data
                == .soa(
                    .init(
                        primary: server, mailbox: DNSName("hostmaster.clients.test")!, serial: 1, refresh: 3600,
                        retry: 600, expire: 86400, minimum: 5)))
        #expect(message.additionals[0].data == .aaaa([UInt8](repeating: 0, count: 15) + [1]))
        #expect(message.additionals[1].data == .cname(domain))
        #expect(message.additionals[2].data == .txt([[0x61], [0x62, 0x63]]))
        #expect(message.authorities[1].name == zone)
    }

    @Test("an update says what another implementation would say")
    func writesUpdate() throws {
        let domain = try #require(DNSName("acme.clients.test"))
        let mark = try #require(domain.child("_drp"))
        let owner = "drp=1 client=00000000-0000-4000-8000-000000000001 site=b epoch=2"
        let ours = DNSMessage.update(
            id: 0x1234, zone: try #require(DNSName("clients.test")),
            prerequisites: [.a(domain, IPv4("127.0.0.11")!), .mustNotExist(mark, .txt)],
            changes: [
                .deleteAll(domain, .a), .a(domain, IPv4("127.0.0.12")!, ttl: 30), .deleteAll(mark, .txt),
                .txt(mark, owner, ttl: 30),
            ])
        #expect(try DNSMessage.decode(Self.update).message == ours)
        #expect(try DNSMessage.decode(ours.wire).message == ours)
    }

    @Test("what is written is read back the same", arguments: [reply, update])
    func roundTrip(bytes: [UInt8]) throws {
        let message = try DNSMessage.decode(bytes).message
        #expect(try DNSMessage.decode(message.wire).message == message)
    }

    @Test("a plain question has exactly these bytes")
    func knownQuestion() throws {
        let question = DNSMessage.question(id: 7, try #require(DNSName("Acme.Clients.test.")), .a)
        #expect(Hex.encode(question.wire) == "0007000000010000000000000461636d6507636c69656e747304746573740000010001")
    }

    @Test("every truncation is refused", arguments: [reply, update])
    func truncations(bytes: [UInt8]) {
        for count in 0..<bytes.count {
            #expect(throws: DNSFormatError.self) { try DNSMessage.decode(Array(bytes[..<count])) }
        }
        #expect(throws: DNSFormatError.self) { try DNSMessage.decode(bytes + [0]) }
    }

    @Test("names that point at themselves, forwards or in circles are refused, and so are names without end")
    func hostilePointers() {
        let header: [UInt8] = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        let tail: [UInt8] = [0, 1, 0, 1]
        for name: [UInt8] in [
            [0xc0, 12], [0xc0, 14, 0xc0, 12], [0xc0, 40], [1, 0x61, 0xc0, 12], [0x40, 0], [0x80, 0], [63],
            [UInt8](repeating: 1, count: 300) + [0],
        ] {
            #expect(throws: DNSFormatError.self) { try DNSMessage.decode(header + name + tail) }
        }
        // Counts that promise 65,535 records cost nothing before they are read.
        #expect(throws: DNSFormatError.self) {
            try DNSMessage.decode([0, 1, 0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255])
        }
    }

    @Test("bytes changed at random are read or refused, and what is read can be written again")
    func fuzz() {
        for seed in UInt64(1)...3_000 {
            var generator = SeededBytes(state: seed)
            var bytes = seed.isMultiple(of: 2) ? Self.reply : Self.update
            for _ in 0..<Int(1 + generator.next() % 6) {
                bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
            }
            guard let message = try? DNSMessage.decode(bytes).message else { continue }
            #expect((try? DNSMessage.decode(message.wire).message) == message, "seed \(seed)")
        }
    }

    @Test("names are compared without regard to case and kept within their limits")
    func names() {
        #expect(DNSName("ACME.test") == DNSName("acme.TEST."))
        #expect(DNSName("a.b.test")!.isEqualToOrBelow(DNSName("B.test")!))
        #expect(!DNSName("ab.test")!.isEqualToOrBelow(DNSName("b.test")!))
        for bad in ["", ".", "a..b", " a", "a b", "a\n.b", "*.test", String(repeating: "a", count: 64), "é.test"] {
            #expect(DNSName(bad) == nil, "\(bad)")
        }
        let long = Array(repeating: String(repeating: "a", count: 63), count: 4).joined(separator: ".")
        #expect(DNSName(long) == nil)
        #expect(DNSName(labels: [[0, 0x2e, 0x61]])?.description == "\\000\\.a")
    }

    @Test("addresses are read in one form alone")
    func addresses() {
        #expect(IPv4("127.0.0.12")?.description == "127.0.0.12")
        for bad in ["127.1", "127.0.0.012", "256.0.0.1", "1.2.3.4.5", "1.2.3.", "+1.2.3.4", "::1", ""] {
            #expect(IPv4(bad) == nil, "\(bad)")
        }
        #expect(DNSServer("127.0.0.1:5353") == DNSServer(host: "127.0.0.1", port: 5353))
        #expect(DNSServer("[::1]:53") == DNSServer(host: "::1", port: 53))
        #expect(DNSServer("ns.test") == DNSServer(host: "ns.test"))
        for bad in ["", ":53", "a:0", "a:b", "a:70000", "::1", "a b"] { #expect(DNSServer(bad) == nil, "\(bad)") }
    }
}

/// SplitMix64: the same bytes for the same seed, everywhere.
struct SeededBytes: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}
