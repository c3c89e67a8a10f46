import DRPKit
import Foundation
import Testing

@testable import Migrate

private let server = ProcessInfo.processInfo.environment["DRP_TEST_DNS"]
private let zone = ProcessInfo.processInfo.environment["DRP_TEST_DNS_ZONE"] ?? "clients.test"
private let keyFile = ProcessInfo.processInfo.environment["DRP_TEST_TSIG_FILE"]

/// Against a real BIND. Each test has a domain of its own.
@Suite("Switch by RFC 2136 at a real BIND", .enabled(if: server != nil, "start with script/test"))
struct RFC2136ServiceTests {
    private let domain = "t\(UUID().uuidString.prefix(13).lowercased()).\(zone)"
    private let client = UUID()

    private func traffic(key: String? = nil, exchange: (any DNSExchange)? = nil) throws -> RFC2136Switch {
        let file = try #require(keyFile)
        let text = try key ?? String(contentsOfFile: file, encoding: .utf8)
        let settings = try RFC2136Switch.Settings(server: try #require(server), zone: zone, key: Secret(text))
        return RFC2136Switch(settings, clock: SystemClock(), exchange: try exchange ?? patient())
    }

    /// Other tests may hold the cooperative pool for seconds.
    private func patient() throws -> DNSClient { DNSClient(server: try address(), deadline: .seconds(60)) }

    private func address() throws -> DNSServer {
        let text = try #require(server)
        return try #require(DNSServer(text))
    }

    private func owner(_ epoch: Int) -> OwnerRecord {
        OwnerRecord(client: client, site: SiteName("b")!, epoch: epoch)
    }

    private func record(_ addresses: [String]) -> TrafficRecord {
        TrafficRecord(addresses: addresses, ttlSeconds: 0, owner: nil)
    }

    @Test("traffic is switched there and back, twice is once, and the authority serves it")
    func switches() async throws {
        let traffic = try traffic()
        #expect(try await traffic.read(domain) == record([]))
        let made = try await traffic.switchOver(
            domain, from: record([]), to: ["127.0.0.11"], owner: owner(1), ttlSeconds: 5)
        let moved = try await traffic.switchOver(
            domain, from: made.after, to: ["127.0.0.12"], owner: owner(2), ttlSeconds: 5)
        #expect(moved.change == .switched && moved.before.addresses == ["127.0.0.11"])
        let again = try await traffic.switchOver(
            domain, from: made.after, to: ["127.0.0.12"], owner: owner(2), ttlSeconds: 5)
        #expect(again.change == .alreadyThere)
        #expect(
            try await traffic.read(domain)
                == TrafficRecord(addresses: ["127.0.0.12"], ttlSeconds: 5, owner: owner(2)))
        let check = AuthorityCheck([try address()], clock: SystemClock())
        let answers = try await check.ask(domain, until: ["127.0.0.12"], deadline: .seconds(60))
        #expect(answers.map(\.agrees) == [true])
    }

    @Test("a wrong secret and an unknown key are told apart, and change nothing")
    func wrongKeys() async throws {
        let file = try String(contentsOfFile: #require(keyFile), encoding: .utf8)
        let name = try TSIGKey.parse(Secret(file)).name.description
        let secret = Data(repeating: 7, count: 32).base64EncodedString()
        for (key, word) in [(name, "BADSIG"), ("other-key", "BADKEY")] {
            let traffic = try traffic(key: "key \"\(key)\" { algorithm hmac-sha256; secret \"\(secret)\"; };")
            let error = await #expect(throws: TrafficError.self) {
                try await traffic.switchOver(
                    domain, from: record([]), to: ["127.0.0.12"], owner: owner(1), ttlSeconds: 5)
            }
            #expect(error?.code == .targetDenied && error?.message.contains(word) == true, "\(error?.message ?? "")")
        }
        #expect(try await traffic().read(domain) == record([]))
    }

    @Test("a foreign mark and a change in between are refused by name")
    func foreign() async throws {
        let traffic = try traffic()
        let theirs = OwnerRecord(client: UUID(), site: SiteName("a")!, epoch: 1)
        _ = try await traffic.switchOver(domain, from: record([]), to: ["127.0.0.11"], owner: theirs, ttlSeconds: 5)
        let error = await #expect(throws: TrafficError.self) {
            try await traffic.switchOver(
                domain, from: record(["127.0.0.11"]), to: ["127.0.0.12"], owner: owner(2), ttlSeconds: 5)
        }
        #expect(error?.reason == .notOurs && error?.message.contains("\(theirs)") == true)

        // Reads answer from memory as they were; the server has moved on since.
        let stale = StaleReads(live: try patient())
        let late = try self.traffic(exchange: stale)
        let own = "x\(domain)"
        _ = try await traffic.switchOver(own, from: record([]), to: ["127.0.0.11"], owner: owner(1), ttlSeconds: 5)
        stale.beforeUpdate = {
            _ = try await traffic.switchOver(
                own, from: record(["127.0.0.11"]), to: ["127.0.0.77"], owner: owner(2), ttlSeconds: 5)
        }
        let changed = await #expect(throws: TrafficError.self) {
            try await late.switchOver(
                own, from: record(["127.0.0.11"]), to: ["127.0.0.12"], owner: owner(3), ttlSeconds: 5)
        }
        #expect(changed?.reason == .changed && changed?.message.contains("127.0.0.77") == true)
        #expect(try await traffic.read(own).addresses == ["127.0.0.77"])
    }

    @Test("an answer lost on the way is settled by reading")
    func lostAnswer() async throws {
        let losing = StaleReads(live: try patient())
        losing.losesAnswer = true
        let outcome = try await traffic(exchange: losing).switchOver(
            domain, from: record([]), to: ["127.0.0.12"], owner: owner(1), ttlSeconds: 5)
        #expect(outcome.change == .settledByReading && outcome.before == record([]))
    }

    @Test("a server that is not there is named")
    func unreachable() async throws {
        let text = try String(contentsOfFile: #require(keyFile), encoding: .utf8)
        let settings = try RFC2136Switch.Settings(server: "127.0.0.1:1", zone: zone, key: Secret(text))
        let error = await #expect(throws: TrafficError.self) {
            try await RFC2136Switch(settings, clock: SystemClock()).read(domain)
        }
        #expect(error?.code == .targetUnreachable && error?.message.contains("127.0.0.1:1") == true)
    }
}

/// Passes messages on, and acts around the first update.
/// `@unchecked`: one test uses it from one task at a time.
private final class StaleReads: DNSExchange, @unchecked Sendable {
    private let live: DNSClient
    var beforeUpdate: (@Sendable () async throws -> Void)?
    var losesAnswer = false

    init(live: DNSClient) { self.live = live }

    func exchange(_ message: [UInt8]) async throws -> [UInt8] {
        let isUpdate = message[2] >> 3 & 15 == 5
        if isUpdate, let act = beforeUpdate {
            beforeUpdate = nil
            try await act()
        }
        let answer = try await live.exchange(message)
        if isUpdate, losesAnswer {
            losesAnswer = false
            throw TrafficError(.unreachable, "test", "the answer is lost")
        }
        return answer
    }
}
