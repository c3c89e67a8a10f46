import DRPKit
import Foundation
import Testing

/// The promise where it counts: the real binary, two Docker engines with networks of their own, and nothing but a bastion
/// in between.
@Suite(
    "Sites of containers behind bastions", .serialized,
    .enabled(if: ContainerWorld.isPossible || DemoWorld.isRequired, ContainerWorld.missing))
struct ContainerTests {
    @Test(
        "clients move in and on with their sources alive; a lost site's come back elsewhere, killed once and with one broken"
    )
    func promise() async throws {
        try await ContainerWorld.run(clients: ["acme", "birch", "cedar"]) { world in
            try await Self.moveIn(world)
            try await Self.rehearse(world, "acme")
            try await Self.moveOn(world, "cedar")
            try await Self.expectClosed(world)
            try await Self.failOver(world, broken: "birch", count: 2)
            try await Self.comeBack(world, moved: "acme", left: "birch")
            try await Self.failBack(world, "acme")
        }
    }

    /// For `script/campaign`: some minutes.
    @Test(
        "twelve clients of a lost site, one of them broken, drp killed once: eleven serve with equal data, one is named",
        .enabled(if: DemoWorld.environment["DRP_CAMPAIGN"] != nil, "a campaign"))
    func twelve() async throws {
        let clients = [
            "acme", "birch", "cedar", "dune", "elm", "fern", "gale", "hazel", "iris", "jade", "kelp", "lark",
        ]
        try await ContainerWorld.run(clients: clients) { world in
            try await Self.moveIn(world)
            try await Self.failOver(world, broken: "hazel", count: clients.count)
        }
    }

    /// From plain servers into containers at north.
    static func moveIn(_ world: ContainerWorld) async throws {
        let backups = try await world.drp(["backup", "run", "--all"])
        try #require(backups.status == 0, "\(backups.stdout)\(backups.stderr)")
        var before: [String: ContainerWorld.Manifest] = [:]
        for client in world.clients { before[client] = try await world.manifest(of: client, at: "old") }
        // Two commands at once, for the two cores.
        let half = (world.clients.count + 1) / 2
        async let first: Void = moveIn(world, Array(world.clients.prefix(half)))
        async let second: Void = moveIn(world, Array(world.clients.dropFirst(half)))
        _ = try await (first, second)
        for client in world.clients {
            let after = try await world.manifest(of: client, at: "north")
            #expect(try await world.differences(try #require(before[client]), after) == "", "\(client)")
            #expect(try await world.answer(of: client)?["client"] == .text(client), "\(client)")
        }
        // Now through the bastion.
        let again = try await world.drp(["backup", "run", "--all"])
        try #require(again.status == 0, "\(again.stdout)\(again.stderr)")
    }

    private static func moveIn(_ world: ContainerWorld, _ clients: [String]) async throws {
        let moved = try await world.drp(
            ["migrate", "run"] + clients + [
                "--to", "north", "--identity", world.identity, "--confirm", clients.count == 1 ? clients[0] : "north",
            ])
        try #require(moved.status == 0, "\(clients): \(moved.stdout)\(moved.stderr)")
    }

    /// Beside production, in networks that nothing leaves.
    private static func rehearse(_ world: ContainerWorld, _ client: String) async throws {
        let address = try await world.addresses(of: client)
        let drill = ["drill", "run", client, "--to", "south", "--identity", world.identity]
        let killed = try await world.drp(drill, environment: ["DRP_FAILPOINT": "run.step.restore.after-outcome"])
        #expect(killed.status == 137, "\(killed.stdout)\(killed.stderr)")
        #expect(try await !objects(world, at: "south", named: "drill_").isEmpty)
        let ended = try await world.drp(drill)
        #expect(ended.status == 0 && ended.stdout.contains("proven"), "\(ended.stdout)\(ended.stderr)")
        #expect(ended.stdout.contains("equal: ") && ended.stdout.contains("packets out of its networks: 0 "))
        #expect(try await objects(world, at: "south", named: "d").isEmpty)
        #expect(try await world.addresses(of: client) == address)
        #expect(try await world.answer(of: client)?["client"] == .text(client))
    }

    /// Containers, networks and volumes of a site.
    private static func objects(_ world: ContainerWorld, at site: String, named prefix: String) async throws -> [String]
    {
        let engine = try await world.variables("\(site)/docker")["DOCKER_SOCKET"] ?? ""
        var found: [String] = []
        for kind in [
            ["ps", "-a", "--format", "{{.Names}}"], ["network", "ls", "--format", "{{.Name}}"], ["volume", "ls", "-q"],
        ] {
            let ended = try await world.shell(["/usr/bin/docker", "-H", "unix://\(engine)"] + kind)
            #expect(ended.status == 0, "\(ended.stderr)")
            found += ended.stdout.split(separator: "\n").map(String.init).filter { $0.hasPrefix(prefix) }
        }
        return found
    }

    /// From one engine to the other.
    private static func moveOn(_ world: ContainerWorld, _ client: String) async throws {
        let before = try await world.manifest(of: client, at: "north")
        let orders = try await world.answer(of: client)?["orders"]
        let moved = try await migrate(world, client, to: "south")
        try #require(moved.status == 0, "\(moved.stdout)\(moved.stderr)")
        for check in ["api: 200", "tls: no handshake", "redirect: 308", "ports: ", "isolation: "] {
            #expect(moved.stderr.contains(check), "\(check): \(moved.stderr)")
        }
        #expect(moved.stdout.contains("nothing lost, measured") && moved.stdout.contains("  down "), "\(moved.stdout)")
        let after = try await world.manifest(of: client, at: "south")
        #expect(try await world.differences(before, after) == "")
        #expect(try await world.answer(of: client)?["orders"] == orders)
        // The old side is stopped, and keeps its data.
        let engine = try await world.variables("north/docker")["DOCKER_SOCKET"] ?? ""
        let running = try await world.shell([
            "/usr/bin/docker", "-H", "unix://\(engine)", "ps", "--format", "{{.Names}}", "--filter",
            "name=drp_\(client)_",
        ])
        #expect(running.status == 0 && running.stdout == "")
        let kept = try await world.shell([
            "/usr/bin/docker", "-H", "unix://\(engine)", "volume", "ls", "-q", "--filter",
            "name=drp_\(client)_mongo-data",
        ])
        #expect(kept.stdout == "drp_\(client)_mongo-data\n")
    }

    /// Nothing but the edges and sshd listens where others reach the site, and nothing of drp stays open there.
    private static func expectClosed(_ world: ContainerWorld) async throws {
        let network = try await world.variables("north/docker")["DOCKER_NETWORK"] ?? ""
        let listening = try await world.shell(["/usr/bin/nsenter", "--net=\(network)", "/usr/bin/ss", "-Hltn"])
        let places = listening.stdout.split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst(3).first }
        let target = try await world.variables("north/ssh")["SSH_TARGET"] ?? ""
        let others = places.filter { $0 != target && !$0.hasSuffix(":80") && !$0.hasSuffix(":443") }
        #expect(places.contains { $0 == target } && others.isEmpty, "\(listening.stdout)")
        // Without the folder there is nothing in it.
        let sockets = try? FileManager.default.contentsOfDirectory(atPath: "\(world.folder)/memory/drp-\(getuid())")
        #expect(sockets ?? [] == [])
    }

    /// - Parameters:
    ///   - broken: a client whose certificate cannot be read any more.
    ///   - count: of the clients that lived at north.
    static func failOver(_ world: ContainerWorld, broken: String, count: Int) async throws {
        let lost = Array(world.clients.prefix(count))
        var before: [String: (ContainerWorld.Manifest, JSONValue?)] = [:]
        for client in lost {
            let orders = try await world.answer(of: client)?["orders"]
            before[client] = (try await world.manifest(of: client, at: "north"), orders)
        }
        let brokenAddress = try await world.addresses(of: broken)
        try FileManager.default.removeItem(atPath: "\(world.folder)/certificates/\(broken).key")
        try await world.lose("north")
        let declared = try await world.drp(["failover", "declare", "north", "--reason", "fire", "--confirm", "north"])
        try #require(declared.status == 0, "\(declared.stderr)")
        let run = ["failover", "run", "north", "--identity", world.identity, "--confirm", "north"]
        let killed = try await world.drp(run, environment: ["DRP_FAILPOINT": "run.step.deploy.after-outcome"])
        #expect(killed.status == 137, "\(killed.stdout)\(killed.stderr)")
        let ended = try await world.drp(run + ["--json"])
        #expect(ended.status == 3, "\(ended.stdout)\(ended.stderr)")
        let answer = try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8))
        #expect(answer.clients.map(\.client) == lost)
        for row in answer.clients {
            guard row.client != broken else {
                #expect(row.state == "paused" && row.error?.contains(broken) == true, "\(row)")
                #expect(try await world.addresses(of: broken) == brokenAddress)
                continue
            }
            #expect(row.state == "serves" && row.data?.hasPrefix("equal: ") == true, "\(row)")
            #expect((row.rto?.seconds ?? 0) > 0)
            print("\(row.client): RTO \(row.rto?.seconds ?? -1) s")
            let (held, orders) = try #require(before[row.client])
            let after = try await world.manifest(of: row.client, at: "south")
            #expect(try await world.differences(held, after) == "", "\(row.client)")
            #expect(try await world.answer(of: row.client)?["orders"] == orders)
        }
        let withdrawn = try await world.drp(["failover", "withdraw", "north", "--reason", "it is gone"])
        #expect(withdrawn.status == 0, "\(withdrawn.stderr)")
        // They are protected where they live now.
        let names = lost.filter { $0 != broken }
        let backups = try await world.drp(["backup", "run"] + names)
        #expect(backups.status == 0, "\(backups.stdout)\(backups.stderr)")
    }

    /// The lost site is there again, with daemons and disks: it serves who lives there, and nobody else.
    private static func comeBack(_ world: ContainerWorld, moved: String, left: String) async throws {
        try await world.find("north")
        let variables = try await world.variables("north/docker")
        let engine = ["/usr/bin/docker", "-H", "unix://\(variables["DOCKER_SOCKET"] ?? "")"]
        let dns = try #require(try await world.variables("bind")["DNS_ADDRESS"])
        let old = try #require(variables["DOCKER_ADDRESSES"]?.split(separator: " ").first)
        func running() async throws -> Set<String> {
            Set(
                try await world.shell(engine + ["ps", "--format", "{{.Names}}"]).stdout.split(separator: "\n").map(
                    String.init))
        }
        #expect(try await running().isEmpty, "containers start by themselves")
        let command = [
            DemoWorld.binary, "guard", "--site", "north", "--dns", dns, "--socket", variables["DOCKER_SOCKET"] ?? "",
        ]
        // Without a word from DNS nothing is started.
        let silent = try await world.shell(command.map { $0 == dns ? "127.0.0.1:9" : $0 })
        #expect(silent.status == 75 && silent.stdout.contains("0 of 1 authorities"), "\(silent.stdout)\(silent.stderr)")
        #expect(try await running().isEmpty)
        let first = try await world.shell(command)
        #expect(first.status == 0, "\(first.stdout)\(first.stderr)")
        let roles = ["mongo", "redis", "api", "edge"]
        #expect(try await running() == Set(roles.map { "drp_\(left)_\($0)" }), "\(first.stdout)")
        // Somebody starts the old stack by hand, or the site was only cut off: it ends at the next look.
        for role in roles { _ = try await world.shell(engine + ["start", "drp_\(moved)_\(role)"]) }
        #expect(try await running().count == 8)
        let second = try await world.shell(command)
        #expect(second.status == 0 && second.stdout.contains("stays-stopped"), "\(second.stdout)\(second.stderr)")
        #expect(try await running() == Set(roles.map { "drp_\(left)_\($0)" }))
        let refused = try await world.shell(["/usr/bin/curl", "-sk", "-m", "3", "https://\(old)/"])
        #expect(refused.status == 7, "port 443 of the moved client is open at the old site")
    }

    /// Back to the site that was lost, protected there at once.
    private static func failBack(_ world: ContainerWorld, _ client: String) async throws {
        let before = try await world.manifest(of: client, at: "south")
        let run = ["failback", "run", "north", "--identity", world.identity, "--confirm", "north"]
        let kept = try await world.drp(run)
        #expect(kept.status == 40 && kept.stdout.contains("hold data of run"), "\(kept.stdout)\(kept.stderr)")
        let waiting = try await world.drp(["runs", "list", "--json"])
        let runs = try JSONDecoder().decode(Runs.self, from: Data(waiting.stdout.utf8))
        let id = try #require(runs.runs.first { $0.client == client && $0.state == "paused" }?.id)
        let back = try await world.drp([
            "runs", "rollback", id, "--reason", "the old data were looked at", "--identity", world.identity,
            "--confirm", client,
        ])
        #expect(back.status == 0, "\(back.stdout)\(back.stderr)")
        #expect(
            try await objects(world, at: "north", named: "drp_\(client)_mongo-data").count == 1,
            "data of another run are gone")
        let ended = try await world.drp(run + ["--discard-old"])
        #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        let after = try await world.manifest(of: client, at: "north")
        #expect(try await world.differences(before, after) == "")
        #expect(try await world.answer(of: client)?["client"] == .text(client))
        let backups = try await world.drp(["backup", "list", client])
        #expect(backups.status == 0 && ended.stdout.contains("protect "), "\(backups.stdout)")
    }

    private struct Runs: Decodable {
        struct Row: Decodable {
            var id: String
            var client: String
            var state: String
        }
        var runs: [Row]
    }

    private static func migrate(_ world: ContainerWorld, _ client: String, to site: String) async throws -> Ended {
        try await world.drp([
            "migrate", "run", client, "--to", site, "--identity", world.identity, "--confirm", client,
        ])
    }

    private struct Answer: Decodable {
        struct Measured: Decodable { var seconds: Double }
        struct Row: Decodable {
            var client: String
            var state: String
            var data: String?
            var error: String?
            var rto: Measured?
        }
        var clients: [Row]
    }
}
