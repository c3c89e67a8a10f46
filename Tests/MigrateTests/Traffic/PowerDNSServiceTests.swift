import DRPKit
import Foundation
import Testing

@testable import Migrate

@Suite(
    "Switch by PowerDNS's API",
    .enabled(if: PowerDNSAuthority.isStarted, "start with script/test"))
struct PowerDNSServiceTests {
    private let domain = "p\(UUID().uuidString.prefix(13).lowercased()).clients.test"
    private let owner = OwnerRecord(client: UUID(), site: SiteName("b")!, epoch: 1)
    private let nothing = TrafficRecord(addresses: [], ttlSeconds: 0, owner: nil)

    private func traffic(
        url: String? = nil, server: String = "localhost", zone: String = "clients.test", key: String = "wrong"
    ) throws -> PowerDNSSwitch {
        let url = try url ?? PowerDNSAuthority().url
        return PowerDNSSwitch(
            try PowerDNSSwitch.Settings(url: url, server: server, zone: zone, key: Secret(key)), http: CurlClient())
    }

    @Test("a wrong key, an unknown zone and a server that is not there are told apart, and the key is never said")
    func failures() async throws {
        let key = try String(
            contentsOfFile: PowerDNSAuthority.value("DRP_TEST_POWERDNS_KEY_FILE"), encoding: .utf8
        ).trimmingCharacters(in: .whitespacesAndNewlines)
        for (traffic, name, code) in [
            (try traffic(key: "not-the-key"), domain, ErrorCode.targetDenied),
            (try traffic(zone: "other.test", key: key), "acme.other.test", .fleetInvalid),
            (try traffic(server: "remote", key: key), domain, .fleetInvalid),
            (try traffic(url: "http://127.0.0.1:1", key: key), domain, .targetUnreachable),
        ] {
            let error = await #expect(throws: TrafficError.self) { try await traffic.read(name) }
            #expect(error?.code == code, "\(error?.message ?? "")")
            #expect(error?.message.contains(key) == false && error?.message.contains("not-the-key") == false)
        }
    }

    @Test("who writes after us, before we have read back, is found and left alone")
    func overwritten() async throws {
        let authority = try PowerDNSAuthority()
        let domain = domain
        let theirs: Interference.Act = { try await authority.set(domain, "A", ["127.0.0.77"]) }
        let error = await #expect(throws: TrafficError.self) {
            try await authority.traffic(Interference(after: theirs)).switchOver(
                domain, from: nothing, to: ["127.0.0.12"], owner: owner, ttlSeconds: 5)
        }
        #expect(error?.reason == .changed && error?.message.contains("127.0.0.77") == true, "\(error?.message ?? "")")
        #expect(try await authority.traffic(Interference()).read(domain).addresses == ["127.0.0.77"])
    }

    @Test("disabled records are somebody's: they are not removed")
    func disabled() async throws {
        let authority = try PowerDNSAuthority()
        try await authority.set(domain, "A", ["127.0.0.11"], isDisabled: true)
        let error = await #expect(throws: TrafficError.self) {
            try await authority.traffic(Interference()).switchOver(
                domain, from: nothing, to: ["127.0.0.12"], owner: owner, ttlSeconds: 5)
        }
        #expect(error?.reason == .notOurs && error?.message.contains("disabled") == true)
    }
}
