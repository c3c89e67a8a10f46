import DRPKit
import Foundation
import Testing

@testable import Migrate

private let server = ProcessInfo.processInfo.environment["DRP_TEST_DNS"]
private let zone = ProcessInfo.processInfo.environment["DRP_TEST_DNS_ZONE"] ?? "clients.test"
private let keyFile = ProcessInfo.processInfo.environment["DRP_TEST_TSIG_FILE"]

/// What only this way has; the rest is in TrafficSwitchConformanceTests. Each test has a domain of its own.
@Suite("Switch by RFC 2136 at a real BIND", .enabled(if: server != nil, "start with script/test"))
struct RFC2136ServiceTests {
    private let domain = "t\(UUID().uuidString.prefix(13).lowercased()).\(zone)"
    private let owner = OwnerRecord(client: UUID(), site: SiteName("b")!, epoch: 1)

    private func traffic(key: String) throws -> RFC2136Switch {
        let settings = try RFC2136Switch.Settings(server: try #require(server), zone: zone, key: Secret(key))
        return RFC2136Switch(
            settings, clock: SystemClock(), exchange: DNSClient(server: settings.server, deadline: .seconds(60)))
    }

    private func record(_ addresses: [String]) -> TrafficRecord {
        TrafficRecord(addresses: addresses, ttlSeconds: 0, owner: nil)
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
                    domain, from: record([]), to: ["127.0.0.12"], owner: owner, ttlSeconds: 5)
            }
            #expect(error?.code == .targetDenied && error?.message.contains(word) == true, "\(error?.message ?? "")")
        }
        #expect(try await traffic(key: file).read(domain) == record([]))
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
