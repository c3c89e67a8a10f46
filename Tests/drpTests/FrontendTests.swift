import DRPKit
import Foundation
import Testing

/// A site with four HAProxies before it, by the real binary against real ones.
@Suite("Frontends by HAProxy's runtime API", .serialized, .needsServices)
struct FrontendTests {
    @Test("two of four are dead when a client moves in: it is served by the two that live, and the dead ones are named")
    func migrate() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let addresses = try await Self.startFrontends(world)
            world.killDaemon("front1")
            world.killDaemon("front3")
            let clock = ContinuousClock()
            let began = clock.now
            let moved = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
            #expect(moved.status == 0, "\(moved.stdout)\(moved.stderr)")
            Self.say("a move to a site with four frontends, two of them dead", clock.now - began)
            for dead in [addresses[0], addresses[2]] {
                #expect(moved.stderr.contains("frontend \(dead) is left out"), "\(moved.stderr)")
            }
            try await Self.expectServed(world, by: [addresses[1], addresses[3]])
            let outcome = try await world.sqlite("SELECT outcome FROM steps WHERE name = 'switch'")
            #expect(outcome.first?.first?.contains("no connection") == true, "\(outcome)")
            let shown = try await world.drp("traffic", "show", "acme")
            #expect(shown.status == 0, "\(shown.stdout)")
            #expect(shown.stdout.contains("frontend \(addresses[0])  DOES NOT LEAD"), "\(shown.stdout)")
            #expect(shown.stdout.contains("frontend \(addresses[1])  leads to \(world.south):"), "\(shown.stdout)")
        }
    }

    @Test(
        "two of four are killed under a client: one command converges on those that live, and takes them back in later")
    func killed() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let addresses = try await Self.startFrontends(world)
            let moved = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
            #expect(moved.status == 0, "\(moved.stdout)\(moved.stderr)")
            try await Self.expectServed(world, by: addresses)

            let clock = ContinuousClock()
            let killed = clock.now
            world.killDaemon("front2")
            world.killDaemon("front4")
            let shown = try await world.drp("traffic", "show", "acme")
            #expect(shown.status == 32, "\(shown.stdout)")
            for dead in [addresses[1], addresses[3]] {
                #expect(shown.stdout.contains("DIFFERS: it names the frontend \(dead)"), "\(shown.stdout)")
            }
            let switched = try await world.drp("traffic", "switch", "acme", "--to", "south", "--confirm", "acme")
            #expect(switched.status == 0, "\(switched.stdout)\(switched.stderr)")
            #expect(switched.stdout.contains("frontend \(addresses[1]) is left out"), "\(switched.stdout)")
            try await Self.expectServed(world, by: [addresses[0], addresses[2]])
            let time = clock.now - killed
            #expect(time < .seconds(60))
            Self.say("two of four frontends killed, until DNS names those that live alone", time)

            // They come back without a memory of where the client is, and learn it from the others.
            for name in ["front2", "front4"] { _ = try await world.service("haproxy", "restart", name) }
            let back = try await world.drp("traffic", "switch", "acme", "--to", "south", "--confirm", "acme")
            #expect(back.status == 0 && !back.stdout.contains("left out"), "\(back.stdout)\(back.stderr)")
            try await Self.expectServed(world, by: addresses)
        }
    }

    @Test("with all four dead nothing is switched, and the client is served where it was; so it is after a rollback")
    func nobodyLives() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let addresses = try await Self.startFrontends(world)
            for number in 1...4 { world.killDaemon("front\(number)") }
            let failed = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
            #expect(failed.status == 40, "\(failed.stdout)\(failed.stderr)")
            #expect((failed.stdout + failed.stderr).contains("no frontend leads to it"), "\(failed.stdout)")
            #expect(try await world.addresses(of: "acme") == [world.north])
            #expect(try await world.answer(of: "acme")?["served_from"] == .text(world.north))

            for number in 1...4 { _ = try await world.service("haproxy", "restart", "front\(number)") }
            let rows = try await world.sqlite("SELECT id FROM runs ORDER BY started DESC, id DESC LIMIT 1")
            let run = try #require(rows.first?.first)
            let killed = try await world.drp(
                "runs", "resume", run, "--identity", world.identity,
                environment: ["DRP_FAILPOINT": "run.step.switch.after-outcome"])
            #expect(killed.status == 137, "\(killed.stdout)\(killed.stderr)")
            try await Self.expectServed(world, by: addresses)
            let back = try await world.drp(
                "runs", "rollback", run, "--reason", "test", "--identity", world.identity,
                "--confirm", "acme")
            #expect(back.status == 0, "\(back.stdout)\(back.stderr)")
            #expect(try await world.addresses(of: "acme") == [world.north])
            // Out of service there: who still has the new addresses is told so, and reaches no stack that was taken back.
            let refused = try await world.shell([
                "/usr/bin/curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: \(world.domain("acme"))",
                "http://\(addresses[0]):\(world.port(of: "acme"))/",
            ])
            #expect(refused.stdout == "503", "\(refused.stdout)")
        }
    }

    // MARK: -

    /// Puts four HAProxies before site south, whose processes stay where they were.
    /// - Returns: their addresses.
    private static func startFrontends(_ world: DemoWorld) async throws -> [String] {
        let parts = world.south.split(separator: ".").map(String.init)
        let host = try #require(Int(parts[3]))
        let addresses = (1...4).map { (parts[..<3] + ["\(host + $0)"]).joined(separator: ".") }
        try await world.together(
            addresses.enumerated().map { index, address in
                {
                    try await world.service(
                        "haproxy", "start", "front\(index + 1)",
                        [
                            "--address", address, "--port", "\(world.port(of: "acme"))", "--clients", "acme",
                        ])
                }
            })
        let frontends = try addresses.enumerated().map { index, address in
            let runtime = try String(contentsOfFile: "\(world.folder)/front\(index + 1)/runtime", encoding: .utf8)
                .trimmingCharacters(in: .newlines)
            return "{address: \(address), runtime: \"\(runtime)\"}"
        }
        try world.editFleet(
            "frontends: [{address: \(world.south)}]",
            "address: \(world.south)\n    frontends: [\(frontends.joined(separator: ", "))]")
        return addresses
    }

    private static func expectServed(
        _ world: DemoWorld, by addresses: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        #expect(try await world.addresses(of: "acme") == addresses.sorted(), sourceLocation: sourceLocation)
        for address in addresses {
            #expect(
                try await world.answer(of: "acme", at: address)?["served_from"] == .text(world.south), "\(address)",
                sourceLocation: sourceLocation)
        }
    }

    private static func say(_ what: String, _ time: Duration) {
        print("\(what): \(time.formatted(.units(allowed: [.seconds], fractionalPart: .show(length: 1))))")
    }
}
