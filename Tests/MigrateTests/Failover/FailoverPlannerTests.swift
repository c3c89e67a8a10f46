import Foundation
import Testing

@testable import DRPKit
@testable import Migrate

@Suite("FailoverPlanner")
struct FailoverPlannerTests {
    private static let now = Date(timeIntervalSince1970: 1_795_599_012)
    private static let lost = SiteName(unchecked: "par")

    private static func site(_ name: String, memory: String? = nil, isReserve: Bool = false) -> Site {
        let hosts =
            memory.map { [Site.Host(name: "h1", address: "10.0.0.1", port: 22, memory: ByteCount($0), disk: nil)] }
            ?? []
        return Site(
            name: SiteName(unchecked: name), provider: nil, isReserve: isReserve, bastion: nil, hosts: hosts,
            frontends: [Site.Frontend(address: "10.0.0.5", runtime: nil)], folder: nil, programs: [:])
    }

    private static func client(
        _ id: String, at site: String = "par", priority: Int = 1, memory: String? = nil
    ) -> Client {
        Client(
            id: ClientID(unchecked: id), environment: EnvironmentName(unchecked: "production"),
            site: SiteName(unchecked: site), priority: priority, policy: nil,
            objectives: Objectives(rpo: .seconds(300), rto: .seconds(2400)),
            needs: memory.map { Client.Needs(memory: ByteCount($0), disk: nil) }, services: Services(), domains: [],
            contacts: [], hours: nil)
    }

    private static func fleet(_ clients: [Client], _ sites: [Site]) -> Fleet {
        Fleet(
            name: "f", state: "/s", site: SiteName(unchecked: "office"), recovery: [], sites: [site("par")] + sites,
            stores: [], policies: [], environments: [], clients: clients, traffic: nil, notices: nil)
    }

    private static func plan(
        _ fleet: Fleet, _ change: (inout FailoverPlanner.Knowledge) -> Void = { _ in },
        _ ask: (inout FailoverPlanner.Request) -> Void = { _ in }
    ) -> FailoverPlan {
        var known = FailoverPlanner.Knowledge()
        for client in fleet.clients {
            known.points[client.id] = RestorePoint(
                number: 7, instant: now.addingTimeInterval(-120), sourceBytes: ByteCount(1))
        }
        change(&known)
        var request = FailoverPlanner.Request(site: lost)
        ask(&request)
        return FailoverPlanner(fleet: fleet, known: known).plan(request, now: now)
    }

    @Test("the clients of the site go in the order of their priority, one wave for each, those of other sites stay")
    func order() {
        let fleet = Self.fleet(
            [
                Self.client("cedar", priority: 3), Self.client("birch", priority: 1), Self.client("elm", at: "gra"),
                Self.client("acme", priority: 1),
            ], [Self.site("gra")])
        let plan = Self.plan(fleet)
        #expect(plan.rows.map(\.client.text) == ["acme", "birch", "cedar"])
        #expect(plan.rows.map(\.wave) == [1, 1, 2])
        #expect(plan.rows.allSatisfy { $0.target?.text == "gra" && $0.state == .waits && $0.rpo == 120 })
        #expect(plan.ends == nil && plan.declared == nil)
    }

    @Test("room is summed: reserves first, then others, and a client for which there is none is named")
    func capacity() {
        let clients = (1...4).map { Self.client("c\($0)", priority: $0, memory: "4GiB") }
        let fleet = Self.fleet(
            clients + [Self.client("old", at: "gra", memory: "4GiB")],
            [Self.site("gra", memory: "8GiB"), Self.site("rbx", memory: "8GiB", isReserve: true)])
        let plan = Self.plan(fleet)
        #expect(plan.rows.map { $0.target?.text } == ["rbx", "rbx", "gra", nil])
        #expect(plan.rows[3].state == .impossible)
        #expect(plan.rows[3].problem?.contains("needs \(ByteCount(4 << 30)) of memory") == true)
        let wished = Self.plan(fleet) { _ in
        } _: {
            $0.to = SiteName(unchecked: "gra")
        }
        #expect(wished.rows.map { $0.target?.text } == ["gra", nil, nil, nil])
    }

    @Test("what has moved with this failover counts there, and what was begun goes on")
    func goesOn() {
        let fleet = Self.fleet(
            [Self.client("acme", memory: "4GiB"), Self.client("birch", memory: "4GiB"), Self.client("cedar")],
            [Self.site("gra", memory: "4GiB")])
        let run = RunID(declared: Self.now, client: ClientID(unchecked: "acme"), runbook: "failover", salt: 1)
        let plan = Self.plan(fleet) { known in
            known.places[ClientID(unchecked: "acme")] = SiteName(unchecked: "gra")
            known.moved[ClientID(unchecked: "acme")] = run
            known.open[ClientID(unchecked: "cedar")] = run
        }
        #expect(plan.rows.map(\.state) == [.moved, .impossible, .begun])
        // One that moved away by itself before is none of this site's.
        let other = Self.plan(fleet) { $0.places[ClientID(unchecked: "acme")] = SiteName(unchecked: "gra") }
        #expect(other.rows.map(\.client.text) == ["birch", "cedar"])
    }

    @Test("the end of each is predicted by how many are worked on at once, or unknown")
    func prediction() {
        let fleet = Self.fleet((1...5).map { Self.client("c\($0)") }, [Self.site("gra")])
        let plan = Self.plan(fleet) {
            $0.seconds = 60
        } _: {
            $0.parallel = 2
        }
        #expect(plan.rows.map(\.ends) == [60, 60, 120, 120, 180])
        #expect(plan.ends == 180)
    }

    @Test("only and exclude choose; a client without a known backup is told, and tried")
    func selection() {
        let fleet = Self.fleet(["a", "b", "c"].map { Self.client($0) }, [Self.site("gra")])
        let plan = Self.plan(fleet) {
            $0.points[ClientID(unchecked: "b")] = nil
        } _: {
            $0.only = [ClientID(unchecked: "b"), ClientID(unchecked: "c")]
            $0.exclude = [ClientID(unchecked: "c")]
        }
        #expect(plan.rows.map(\.client.text) == ["b"])
        #expect(plan.rows[0].state == .waits && plan.rows[0].problem == "the journal knows of no backup")
    }

    @Test("1,000 clients are planned at once")
    func many() {
        let clients = (1...1000).map { Self.client("c\($0)", priority: $0 % 7, memory: "1GiB") }
        let plan = Self.plan(
            Self.fleet(clients, [Self.site("gra", memory: "600GiB"), Self.site("rbx", memory: "500GiB")]))
        #expect(plan.rows.count == 1000 && plan.rows.allSatisfy { $0.target != nil })
        #expect(plan.rows.map(\.priority) == plan.rows.map(\.priority).sorted())
    }
}
