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

    @Test("a wrong key, an unknown zone and a server that is not there are told apart, and the key is never said")
    func failures() async throws {
        let authority = try PowerDNSAuthority()
        let (url, key) = (authority.url, authority.key)
        await expect(.targetDenied, url, "localhost", "clients.test", "not-the-key")
        await expect(.fleetInvalid, url, "localhost", "other.test", key)
        await expect(.fleetInvalid, url, "remote", "clients.test", key)
        await expect(.targetUnreachable, "http://127.0.0.1:1", "localhost", "clients.test", key)
    }

    private func expect(_ code: ErrorCode, _ url: String, _ server: String, _ zone: String, _ key: String) async {
        do {
            let settings = try PowerDNSSwitch.Settings(url: url, server: server, zone: zone, key: Secret(key))
            let found = try await PowerDNSSwitch(settings, http: CurlClient(), clock: SystemClock()).read(
                "acme.\(zone)")
            Issue.record("it was read: \(found)")
        } catch {
            let error = error as? TrafficError
            #expect(error?.code == code && error?.message.contains(key) == false, "\(error?.message ?? "")")
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
