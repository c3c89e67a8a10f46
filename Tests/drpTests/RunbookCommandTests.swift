import DRPKit
import Foundation
import Testing

@Suite("Runbooks and reports by command", .serialized, .needsServices, .world())
struct RunbookCommandTests {
    @Test("the shipped runbooks are found; a wrong one is named with its line")
    func list() async throws {
        let world = try DemoWorld.current
        let listed = try await world.drp("runbook", "list", "--json")
        let answer = try JSONDecoder().decode(List.self, from: Data(listed.stdout.utf8))
        #expect(listed.status == 0 && answer.runbooks.map(\.name) == ["drill", "failback", "failover", "migrate"])
        try "runbook: bad\nabout: x\nfor: client\nsteps:\n  - notify\n  - frieze\n".write(
            toFile: "\(world.folder)/bad.yaml", atomically: true, encoding: .utf8)
        let bad = try await world.drp("runbook", "check", "\(world.folder)/bad.yaml")
        expectError(bad, status: 2, code: .runbookInvalid, naming: ["bad.yaml:6", "frieze", "freeze"])
        let good = try await world.drp("runbook", "check", "migrate", "failover", "failback", "drill")
        #expect(good.status == 0, "\(good.stderr)")
    }

    @Test("by hand: with this client's real values and the servers' own tools, and without any secret")
    func byHand() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let shown = try await world.drp("runbook", "show", "failover", "--for", "acme", "--to", "south")
        #expect(shown.status == 0, "\(shown.stderr)")
        let repository = URL(fileURLWithPath: try world.repository(of: "acme")).lastPathComponent
        let wanted = [
            "# failover: acme", "update add \(world.domain("acme")) 5 A \(world.south)", "client=", repository,
            "\(world.store)", "read-repository.py", "setUserWriteBlockMode", "min-replicas-to-write",
            world.uriFile("acme", "mongo"), "## 1. preflight", "## 8. notify", "ops@acme.example",
        ]
        for text in wanted { #expect(shown.stdout.contains(text), "\(text): \(shown.stdout)") }
        for service in ["mongo", "redis"] {
            let uri = try String(contentsOfFile: world.uriFile("acme", service), encoding: .utf8)
            let password = try #require(uri.split(separator: "@").first?.split(separator: ":").last)
            #expect(!shown.stdout.contains(password))
        }
        let plain = try await world.drp("runbook", "show", "migrate")
        #expect(plain.stdout.contains("  - freeze: {"), "\(plain.stdout)")
    }

    @Test("a month without runs is reported as one that proves nothing")
    func month() async throws {
        let world = try DemoWorld.current
        let report = try await world.drp("report", "month")
        #expect(report.status == 0 && report.stdout.contains("0 drills and 0 migrations"), "\(report.stdout)")
        #expect(report.stdout.contains("0 of 1 clients have a drill"), "\(report.stdout)")
        let page = try await world.drp("report", "month", "--html")
        #expect(page.stdout.hasPrefix("<!DOCTYPE html>") && page.stdout.contains("class=\"bad\">never</td>"))
        let json = try await world.drp("report", "month", "2026-01", "--json")
        let value = try JSONDecoder().decode([String: JSONValue].self, from: Data(json.stdout.utf8))
        #expect(value["month"] == "2026-01" && value["runs"] == .list([]))
        let wrong = try await world.drp("report", "month", "january")
        #expect(wrong.status == 2)
    }

    private struct List: Decodable {
        struct Row: Decodable { var name: String }
        var runbooks: [Row]
    }
}
