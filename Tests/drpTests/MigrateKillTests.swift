import DRPKit
import Foundation
import Testing

/// The migration of the shipped runbook, killed with SIGKILL at every boundary of every step and inside those that change
/// the world, each time by the real binary against real servers, and resumed.
@Suite("A migration that is killed", .serialized, .needsServices)
struct MigrateKillTests {
    /// Boundaries after the effect exclude each other in one run, since a resumed process sees the effect and goes on to the
    /// outcome: so there is a run for each of them, and it dies there at every step.
    private static let afterEffect = [
        "after-apply", "before-applied", "after-applied", "before-observe-after", "after-observe-after",
    ]
    private static let steps = [
        "preflight", "deploy", "restore", "freeze", "catch-up", "verify", "switch", "probe", "fence", "notify",
    ]
    private static let inside = [
        "deploy": ["deploy.intended", "deploy.mongod", "deploy.initiated", "deploy.databases", "deploy.api"],
        "restore": ["restore.noted", "restore.documents", "restore.restored", "restore.rotated"],
        "freeze": ["freeze.frozen"], "catch-up": ["catch-up.captured", "catch-up.restored"],
        "switch": ["switch.switched", "switch.placed"], "fence": ["fence.blocked"], "notify": ["notify.written"],
    ]

    private static func points(_ effect: String) -> [String] {
        let isFirst = effect == afterEffect[0]
        let early = ["before-intent", "after-intent", "before-observe", "after-observe", "before-apply"]
        return steps.flatMap { step -> [String] in
            let boundary = { (name: String) in "run.step.\(step).\(name)" }
            let before = isFirst ? early.map(boundary) + (inside[step] ?? []) : []
            let after = isFirst ? ["before-outcome", "after-outcome"] : []
            // What the last point inside leaves is the whole effect: this run sees it when it resumes.
            let atEffect = isFirst && inside[step] != nil ? [] : [boundary(effect)]
            return before + atEffect + after.map(boundary)
        } + (isFirst ? ["run.before-finish", "run.after-finish"] : [])
    }

    @Test(
        "at every boundary and inside of steps, it resumes, ends right, and does nothing twice", arguments: afterEffect)
    func killed(effect: String) async throws {
        try await DemoWorld.run { world in
            #expect(try await world.drp("backup", "run", "acme").status == 0)
            let serial = try await Self.serial(world)
            var run: String?
            var killed = 0
            for point in Self.points(effect) {
                let environment = ["DRP_FAILPOINT": point]
                let ended =
                    if let run {
                        try await world.drp(
                            "runs", "resume", run, "--identity", world.identity, environment: environment)
                    } else {
                        try await world.drp(
                            "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm",
                            "acme",
                            environment: environment)
                    }
                #expect(ended.status == 137, "\(point): \(ended.status) \(ended.stderr) \(ended.stdout)")
                guard ended.status == 137 else { return }
                killed += 1
                if run == nil { run = try await Self.runID(world) }
            }
            let name = try #require(run ?? nil)
            if effect != Self.afterEffect[0] {
                let ended = try await world.drp("runs", "resume", name, "--identity", world.identity)
                #expect(ended.status == 0, "\(ended.stderr)\(ended.stdout)")
            }
            try await Self.check(world, run: name, serialBefore: serial)
            print("killed \(killed) times, done nothing twice (\(effect))")
        }
    }

    /// That the world is as one undisturbed run leaves it.
    private static func check(_ world: DemoWorld, run: String, serialBefore: Int) async throws {
        let state = try await world.sqlite("SELECT state FROM runs")
        #expect(state == [["done"]])
        let done = try await world.sqlite("SELECT step FROM events WHERE kind = 'step.done' ORDER BY id")
        #expect(done.map { $0[0] } == steps)
        #expect(try await world.sqlite("SELECT count(*) FROM events WHERE kind = 'notice.moved'") == [["1"]])
        #expect(try await world.sqlite("SELECT site, epoch FROM placements") == [["south", "1"]])
        // One update of the zone and no more.
        #expect(try await serial(world) == serialBefore + 1)
        #expect(try await world.addresses(of: "acme") == [world.south])
        let source = try await world.answer(of: "acme", at: world.north)
        let target = try await world.answer(of: "acme")
        #expect(target?["orders"] != nil && target?["orders"] == source?["orders"])
        #expect(target?["served_from"] == .text(world.south))
        // One server of each kind, and none left from a killed attempt.
        for program in ["mongod", "redis-server"] {
            let here = DemoWorld.processes(inside: "\(world.folder)/sites/south").filter { pid in
                let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
                return String(decoding: line.prefix { $0 != 0 }, as: UTF8.self).contains(program)
            }
            #expect(here.count == 1, "\(program): \(here)")
        }
        for kind in ["mongo", "redis"] {
            let judged = try await world.compare(
                kind, world.uriFile("acme", kind), "\(world.folder)/sites/south/acme/secrets")
            #expect(judged.status == 0, "\(judged.stdout)\(judged.stderr)")
        }
    }

    private static func runID(_ world: DemoWorld) async throws -> String? {
        try await world.sqlite("SELECT id FROM runs").first?.first
    }

    private static func serial(_ world: DemoWorld) async throws -> Int {
        let parts = world.dnsServer.split(separator: ":")
        let zone = world.domain("acme").split(separator: ".").dropFirst().joined(separator: ".")
        let ended = try await world.shell([
            "/usr/bin/dig", "+short", "+time=2", "@\(parts[0])", "-p", "\(parts[1])", zone, "SOA",
        ])
        return Int(ended.stdout.split(separator: " ").dropFirst(2).first ?? "") ?? -1
    }
}

extension DemoWorld {
    /// Asks the project's own checkers, which share no code with drp, whether two servers hold the same.
    /// - Parameter secrets: the folder of a deployment's secrets.
    func compare(_ kind: String, _ source: String, _ secrets: String) async throws -> Ended {
        let file = try FileManager.default.contentsOfDirectory(atPath: secrets)
            .first { $0.hasPrefix(kind) && $0.contains("drp") && $0.hasSuffix(".uri") }
        guard let file else { throw WorldError("no file of a \(kind) uri in \(secrets)") }
        return try await shell(["\(Self.root)/script/compare", kind, source, "\(secrets)/\(file)"])
    }
}
