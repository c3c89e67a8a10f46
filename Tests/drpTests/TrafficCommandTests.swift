import DRPKit
import Foundation
import Synchronization
import Testing

/// `drp traffic` by the real binary, against real BINDs.
@Suite("Traffic by hand", .serialized, .needsServices)
struct TrafficCommandTests {
    private static let options = DemoWorld.Options(documents: 5, hasAPI: false)

    @Test("what is shown, planned, switched and taken back, word for word")
    func transcript() async throws {
        try await DemoWorld.run(Self.options) { world in
            try await Self.set(world, "acme.clients.test 5 A \(world.north)")
            try await Transcript.expect(
                "traffic",
                [
                    "traffic show acme", "traffic switch acme --to south",
                    "traffic switch acme --to south --confirm birch",
                    "traffic switch acme --to south --confirm acme", "traffic switch acme --to south --confirm acme",
                    "traffic show acme", "traffic rollback acme", "traffic rollback acme --confirm acme",
                    "traffic rollback acme --confirm acme", "traffic show acme", "traffic switch acme --to soth",
                    "traffic switch acme --to 10.0.0.1 south",
                ], in: world)
            #expect(try await world.addresses(of: "acme") == [world.north])
            #expect(try await Self.mark(world).hasSuffix("site=north epoch=2"))
            let kinds = try await world.sqlite(
                "SELECT kind FROM events WHERE kind LIKE 'traffic.%' ORDER BY id")
            #expect(
                kinds.flatMap(\.self) == ["switching", "switched", "switching", "switched"].map { "traffic.\($0)" })
        }
    }

    @Test("records that are not the client's own are refused and stay as they are")
    func foreign() async throws {
        try await DemoWorld.run(Self.options) { world in
            try await Self.set(world, "acme.clients.test 5 A 127.0.0.99")
            let unknown = try await Self.switchOver(world)
            expectError(unknown, status: 32, code: .targetDiffers, naming: ["127.0.0.99", world.north])
            let other = "drp=1 client=\(UUID().uuidString.lowercased()) site=north epoch=7"
            try await Self.set(world, "_drp.acme.clients.test 5 TXT \"\(other)\"")
            let theirs = try await Self.switchOver(world)
            expectError(theirs, status: 32, code: .targetDiffers, naming: ["another client"])
            #expect(try await world.addresses(of: "acme") == ["127.0.0.99"])
            #expect(try await Self.mark(world) == other)
            let shown = try await world.drp("traffic", "show", "acme")
            #expect(shown.status == 32 && shown.stdout.contains("another client's"), "\(shown.stdout)")
            // And what somebody changed after a switch is not taken back over their heads.
            try await Self.set(world, "_drp.acme.clients.test")
            try await Self.set(world, "acme.clients.test 5 A \(world.north)")
            #expect(try await Self.switchOver(world).status == 0)
            try await Self.set(world, "acme.clients.test 5 A 127.0.0.98")
            let back = try await world.drp("traffic", "rollback", "acme", "--confirm", "acme")
            expectError(back, status: 32, code: .targetDiffers, naming: ["127.0.0.98"])
            #expect(try await world.addresses(of: "acme") == ["127.0.0.98"])
        }
    }

    @Test("killed before or after the change, it goes on, and the way back leads to where it was")
    func killed() async throws {
        try await DemoWorld.run(Self.options) { world in
            try await Self.set(world, "acme.clients.test 5 A \(world.north)")
            for point in ["traffic.recorded", "traffic.switched"] {
                for goesOn in [false, true] {
                    let ended = try await Self.switchOver(world, environment: ["DRP_FAILPOINT": point])
                    #expect(ended.status == 137, "\(point): \(ended.stderr)")
                    if goesOn { #expect(try await Self.switchOver(world).status == 0) }
                    let back = try await world.drp("traffic", "rollback", "acme", "--confirm", "acme")
                    // What was never changed has no way back.
                    let isBack = goesOn || point == "traffic.switched"
                    #expect(back.status == (isBack ? 0 : 2), "\(point): \(back.stdout)\(back.stderr)")
                    #expect(try await world.addresses(of: "acme") == [world.north])
                }
            }
        }
    }

    @Test("one frozen secondary is found, and a resolver that ignores the TTL is told of and holds nothing up")
    func authorities() async throws {
        try await DemoWorld.run(Self.options) { world in
            try await Self.set(world, "acme.clients.test 5 A \(world.north)")
            _ = try await world.service("bind", "start", "second", ["--secondary-of", "\(world.folder)/bind"])
            _ = try await world.service(
                "bind", "start", "resolver", ["--resolver-of", "\(world.folder)/bind", "--min-ttl", "60"])
            let second = try Self.address(world, "second")
            let resolver = try Self.address(world, "resolver")
            try world.editFleet("authorities: [\"", "authorities: [\"\(second)\", \"")
            try world.editFleet("  ttl: 5s\n", "  ttl: 5s\n  resolvers: [\"\(resolver)\"]\n")
            let before = try await world.drp("traffic", "show", "acme")
            #expect(before.status == 0, "\(before.stdout)\(before.stderr)")
            #expect(before.stdout.contains("resolver \(resolver) ignores the TTL"), "\(before.stdout)")

            let switched = try await Self.switchOver(world, "--wait", "2s")
            #expect(switched.status == 32, "\(switched.stdout)\(switched.stderr)")
            #expect(
                switched.stdout.contains("STALE: authority \(second): still \(world.north)"), "\(switched.stdout)")
            #expect(switched.stdout.contains("1 of 2 authorities"), "\(switched.stdout)")
            #expect(
                switched.stdout.contains("resolver \(resolver) ignores the TTL: it still says \(world.north)"),
                "\(switched.stdout)")
            #expect(try await world.addresses(of: "acme") == [world.south])

            let frozen = try await world.drp("traffic", "show", "acme", "--json")
            #expect(frozen.status == 32 && frozen.stdout.contains("authority \(second) says \(world.north)"))
            let thawed = try await world.shell([
                "/usr/sbin/rndc", "-c", "\(world.folder)/second/rndc.conf", "retransfer", "clients.test",
            ])
            #expect(thawed.status == 0, "\(thawed.stderr)")
            let back = try await world.drp("traffic", "rollback", "acme", "--confirm", "acme", "--wait", "1s")
            #expect(back.status == 32 && back.stdout.contains("still \(world.south)"), "\(back.stdout)\(back.stderr)")
        }
    }

    @Test("by PowerDNS's API all goes the same way")
    func powerdns() async throws {
        try await DemoWorld.run(Self.options) { world in
            _ = try await world.service("powerdns", "start", "powerdns")
            let folder = "\(world.folder)/powerdns"
            func line(_ file: String) throws -> String {
                try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8).trimmingCharacters(in: .newlines)
            }
            let (url, address) = (try line("url"), try line("address"))
            let text = try String(contentsOfFile: world.fleetFile, encoding: .utf8)
            let old = try #require(text.split(separator: "\n").first { $0.contains("rfc2136") })
            try world.editFleet(
                String(old),
                "  dns: {powerdns: {url: \"\(url)\", zone: clients.test, key: {file: \(folder)/api-key}, authorities: [\"\(address)\"]}}"
            )
            let made = try await world.drp("traffic", "switch", "acme", "--to", "north", "--confirm", "acme")
            #expect(made.status == 0, "\(made.stdout)\(made.stderr)")
            let shown = try await world.drp("traffic", "show", "acme")
            #expect(shown.status == 0, "\(shown.stdout)\(shown.stderr)")
            #expect(shown.stdout.contains("authority \(address)  \(world.north)"), "\(shown.stdout)")
            #expect(try await Self.switchOver(world).status == 0)
            let back = try await world.drp("traffic", "rollback", "acme", "--confirm", "acme")
            #expect(back.status == 0 && back.stdout.contains("1 of 1 authorities"), "\(back.stdout)\(back.stderr)")
            let check = try await world.drp("check", "acme")
            #expect(check.stdout.contains("let nobody else change them while drp switches"), "\(check.stdout)")
        }
    }

    @Test("a switch that a run has made goes back with its run")
    func ofRun() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let moved = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
            #expect(moved.status == 0, "\(moved.stdout)\(moved.stderr)")
            let shown = try await world.drp("traffic", "show", "acme")
            #expect(shown.status == 0 && shown.stdout.contains("site south, epoch 1"), "\(shown.stdout)\(shown.stderr)")
            let back = try await world.drp("traffic", "rollback", "acme", "--confirm", "acme")
            expectError(back, status: 2, code: .usage, naming: ["drp runs rollback", "acme-migrate"])
            #expect(try await world.addresses(of: "acme") == [world.south])
        }
    }

    // MARK: -

    private static func switchOver(
        _ world: DemoWorld, _ more: String..., environment: [String: String] = [:]
    ) async throws -> Ended {
        try await world.drp(
            ["traffic", "switch", "acme", "--to", "south", "--confirm", "acme"] + more, environment: environment)
    }

    /// Sets one record set of the zone past drp; a name alone is emptied.
    private static func set(_ world: DemoWorld, _ record: String) async throws {
        let (server, key) = world.dns.withLock { ($0["DNS_ADDRESS"] ?? "", $0["DNS_TSIG_FILE"] ?? "") }
        let words = record.split(separator: " ")
        let kind = words.count > 2 ? words[2] : "TXT"
        let ended = try await world.shell(
            ["/usr/bin/nsupdate", "-k", key],
            input: """
                server \(server.replacingOccurrences(of: ":", with: " "))
                zone clients.test
                update delete \(words[0]) \(kind)
                \(words.count > 2 ? "update add \(record)" : "")
                send

                """)
        guard ended.status == 0 else { throw WorldError("nsupdate: \(ended.stderr)") }
    }

    private static func mark(_ world: DemoWorld) async throws -> String {
        let parts = world.dnsServer.split(separator: ":")
        let ended = try await world.shell([
            "/usr/bin/dig", "+short", "@\(parts[0])", "-p", "\(parts[1])", "_drp.acme.clients.test", "TXT",
        ])
        return ended.stdout.trimmingCharacters(in: CharacterSet(charactersIn: "\"\n"))
    }

    private static func address(_ world: DemoWorld, _ name: String) throws -> String {
        try String(contentsOfFile: "\(world.folder)/\(name)/address", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
