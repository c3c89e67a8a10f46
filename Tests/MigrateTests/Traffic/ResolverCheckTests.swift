import DRPKit
import Foundation
import Testing

@testable import Migrate

@Suite("What resolvers say, and what records should be")
struct ResolverCheckTests {
    private let domain = "acme.clients.test"

    private func ask(_ answers: [FakePrimary], since change: ResolverCheck.Change?) async throws -> [ResolverAnswer] {
        let servers = answers.indices.map { DNSServer(host: "127.0.0.1", port: $0 + 1) }
        return try await ResolverCheck(servers, clock: SleepingClock()) { answers[$0.port - 1] }
            .ask(domain, serving: ["127.0.0.12"], ttlSeconds: 30, since: change)
    }

    private func telling(_ address: String, ttl: UInt32) -> FakePrimary {
        FakePrimary([.a(RFC2136SwitchTests.domain, IPv4(address)!, ttl: ttl)])
    }

    @Test(
        "an old answer within its time is no fault; after it, or with more time than any record had, the TTL is ignored"
    )
    func judges() async throws {
        let now = SleepingClock().now
        let resolvers = [
            telling("127.0.0.12", ttl: 30), telling("127.0.0.11", ttl: 25), telling("127.0.0.12", ttl: 300),
        ]
        let fresh = try await ask(resolvers, since: .init(at: now.addingTimeInterval(-3), oldTTLSeconds: 60))
        #expect(fresh.map(\.agrees) == [true, false, true] && fresh.map(\.ignoresTTL) == [false, false, true])
        #expect(fresh[0].complaint == nil)
        #expect(fresh[1].complaint == "resolver 127.0.0.1:2 still says 127.0.0.11, for 25 s at most")
        let late = try await ask(resolvers, since: .init(at: now.addingTimeInterval(-66), oldTTLSeconds: 60))
        #expect(late.map(\.ignoresTTL) == [false, true, true])
        let unknown = try await ask(resolvers, since: nil)
        #expect(unknown.map(\.ignoresTTL) == [false, false, true])
    }

    @Test("one that cannot be asked is said, and nothing fails")
    func unreachable() async throws {
        let check = ResolverCheck([DNSServer(host: "127.0.0.1", port: 1)], clock: SleepingClock()) { _ in
            FailingExchange(error: TrafficError(.unreachable, "fake", "no connection"))
        }
        let answers = try await check.ask(domain, serving: ["127.0.0.12"], ttlSeconds: 30, since: nil)
        #expect(answers.map(\.problem) == ["no connection"] && answers[0].ignoresTTL == false)
    }

    @Test("records are compared with what the journal says of the client")
    func expected() {
        let uuid = RFC2136SwitchTests.client
        func differences(
            _ addresses: [String], _ owner: OwnerRecord?, ttl: Int = 30, oneEach: Bool = false
        ) -> [String] {
            ExpectedTraffic(
                site: SiteName("b")!, addresses: ["127.0.0.12", "127.0.0.13"], isOneEach: oneEach, epoch: 2, uuid: uuid
            ).compare(TrafficRecord(addresses: addresses, ttlSeconds: ttl, owner: owner)).differences
        }
        let ours = RFC2136SwitchTests.owner()
        #expect(differences(["127.0.0.12", "127.0.0.13"], ours) == [])
        #expect(differences(["127.0.0.13"], ours) == [])
        #expect(differences(["127.0.0.13"], nil) == [])
        #expect(differences([], ours) == ["it has no address"])
        #expect(differences(["127.0.0.12", "127.0.0.99"], ours).first?.contains("127.0.0.99") == true)
        #expect(differences(["127.0.0.12", "127.0.0.13"], ours, oneEach: true).count == 1)
        #expect(differences(["127.0.0.12"], ours, ttl: 3600).first?.contains("3600 s") == true)
        #expect(differences(["127.0.0.12"], RFC2136SwitchTests.owner(site: "a", epoch: 1)).count == 2)
        #expect(differences(["127.0.0.12"], RFC2136SwitchTests.owner(RFC2136SwitchTests.other)).count == 1)
    }
}
