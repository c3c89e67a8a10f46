import Testing

@testable import DRPKit
@testable import Migrate

@Suite("What a drill proves")
struct DrillEvidenceTests {
    private static func fleet(_ client: Client) -> Fleet {
        Fleet(
            name: "f", state: "/s", site: SiteName(unchecked: "office"), recovery: [], sites: [], stores: [],
            policies: [], environments: [], clients: [client], traffic: nil, notices: nil)
    }

    private static func client(_ secrets: [(String, String)], room: Int) -> Client {
        var files = [String: SecretSource](minimumCapacity: room)
        for (name, path) in secrets { files[name] = .file(path: path) }
        let api = Services.API(launch: .image("api:1"), port: 8080, secrets: files)
        return Client(
            id: ClientID(unchecked: "acme"), environment: EnvironmentName(unchecked: "production"),
            site: SiteName(unchecked: "par"), priority: 1, policy: nil,
            objectives: Objectives(rpo: .seconds(300), rto: .seconds(2400)), needs: nil,
            services: Services(api: api, mongo: nil, redis: nil), domains: [], contacts: [], hours: nil)
    }

    @Test("evidence stays good while the fleet file says the same, whatever the order of its secrets, and no longer")
    func order() {
        let secrets = (0..<20).map { ("secret\($0)", "/run/\($0)") }
        let one = Self.client(secrets, room: 0)
        let before = Self.fleet(one).rehearsed(one)
        for room in [1, 50, 500] {
            let other = Self.client(secrets.reversed(), room: room)
            #expect(Self.fleet(other).rehearsed(other) == before)
        }
        for index in secrets.indices {
            var changed = secrets
            changed[index].1 += "x"
            let other = Self.client(changed, room: 0)
            #expect(Self.fleet(other).rehearsed(other) != before)
        }
        var other = one
        other.services.api?.port = 9090
        #expect(Self.fleet(other).rehearsed(other) != before)
    }
}
