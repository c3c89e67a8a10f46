import Backup
import DRPKit
import Foundation
import Testing

@testable import Migrate

/// Against a real dockerd, with real servers in its containers.
@Suite(
    "Deployer of containers with a real Docker engine", .serialized,
    .enabled(if: DockerWorld.isWanted, DockerWorld.missing))
struct DockerDeployerServiceTests {
    static let owner = UUID()

    /// Nothing of the two clients that tests know is there before or after.
    private func withWorld(_ body: (DockerWorld) async throws -> Void) async throws {
        let clients = ["acme", "birch"]
        try await withFolder { folder in
            let world = try DockerWorld(folder: folder)
            try await world.clear(clients)
            do { try await body(world) } catch {
                try await world.clear(clients)
                throw error
            }
            try await world.clear(clients)
        }
    }

    @Test("a stack is made once, mended after a kill, keeps its data over a stop, and refuses another run")
    func lifeCycle() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let client = ClientID("acme")!
            var spec = try await world.spec("acme", owner: Self.owner)
            #expect(try await deployer.observe(client) == .absent)
            #expect(try await deployer.plan(spec).count == 5)
            #expect(try await world.objects("acme").isEmpty)

            let deployment = try await deployer.deploy(spec)
            #expect(try await deployer.observe(client) == .complete(deployment))
            let objects = try await world.objects("acme")
            #expect(objects.count == 13)
            let pids = try await DockerRole.allCases.async { try await world.pid("acme", $0) }
            #expect(try await deployer.deploy(spec) == deployment)
            #expect(try await world.objects("acme") == objects)
            #expect(try await DockerRole.allCases.async { try await world.pid("acme", $0) } == pids)

            try await world.writeAsAPI("acme", deployment)
            try await world.kill("acme", .redis)
            guard case .partial(_, let missing) = try await deployer.observe(client) else {
                Issue.record("a stack without Redis is not whole")
                return
            }
            #expect(missing == ["redis does not run"])
            #expect(try await deployer.start(client) == deployment)
            #expect(try await deployer.observe(client) == .complete(deployment))

            try await deployer.stop(client)
            try await deployer.stop(client)
            #expect(try await world.pid("acme", .mongo) == 0)
            #expect(try await deployer.start(client) == deployment)
            #expect(try await world.holdsData("acme", deployment) == (true, 1))

            spec.run = "run-2"
            let error = await #expect(throws: DeployError.self) { try await deployer.deploy(spec) }
            #expect(error?.reason == .notEmpty)
            #expect(try await world.objects("acme") == objects)
            #expect(try await deployer.observe(client) == .complete(deployment))
        }
    }

    @Test("after a reboot of the host nothing starts by itself, and a start brings all back with its data")
    func reboot() async throws {
        try await withFolder { folder in
            let state = "\(folder)/d"
            do {
                try await DockerWorld.host("start", state)
                let world = try DockerWorld(folder: folder, host: try await DockerWorld.variables(state))
                let client = ClientID("acme")!
                let deployment = try await world.deployer().deploy(
                    try await world.spec("acme", owner: Self.owner))
                try await world.writeAsAPI("acme", deployment)
                try await DockerWorld.host("restart", state)
                let again = try DockerWorld(folder: folder, host: try await DockerWorld.variables(state))
                guard case .partial(_, let missing) = try await again.deployer().observe(client) else {
                    throw DeployError(.notStarted, "test", "after a reboot the stack is whole, or gone")
                }
                #expect(missing == DockerRole.allCases.map { "\($0.rawValue) does not run" })
                #expect(try await again.deployer().start(client) == deployment)
                #expect(try await again.deployer().observe(client) == .complete(deployment))
                #expect(try await again.holdsData("acme", deployment) == (true, 1))
            } catch {
                try await DockerWorld.host("stop", state)
                throw error
            }
            try await DockerWorld.host("stop", state)
        }
    }

    @Test("another run takes an empty stack over, with new passwords")
    func takeOver() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            var spec = try await world.spec("acme", owner: Self.owner)
            _ = try await deployer.deploy(spec)
            let before = try world.passwords("acme")
            (spec.run, spec.epoch) = ("run-2", 3)
            let second = try await deployer.deploy(spec)
            #expect(second.run == "run-2" && second.epoch == 3)
            #expect(try world.passwords("acme").mongoForDRP != before.mongoForDRP)
            let volume = try await world.inspect("volumes", "drp_acme_mongo-data")
            #expect(volume.object?["Labels"]?.object?["drp.run"]?.text == "run-2")
        }
    }

    @Test("two clients share a host, and when one goes, nothing of it stays and nothing of the other is touched")
    func removal() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let (acme, birch) = (ClientID("acme")!, ClientID("birch")!)
            let first = try await deployer.deploy(try await world.spec("acme", owner: Self.owner))
            let other = UUID()
            let second = try await deployer.deploy(try await world.spec("birch", owner: other))
            #expect(first.address == world.addresses[0] && second.address == world.addresses[1])
            let kept = try await world.objects("birch")

            let error = await #expect(throws: DeployError.self) { try await deployer.remove(acme, owner: other) }
            #expect(error?.reason == .foreign)
            #expect(try await deployer.observe(acme) == .complete(first))
            try await deployer.remove(acme, owner: Self.owner)
            try await deployer.remove(acme, owner: Self.owner)
            #expect(try await deployer.observe(acme) == .absent)
            #expect(try await world.objects("acme").isEmpty)
            #expect(!FileManager.default.fileExists(atPath: first.folder))
            #expect(try await world.objects("birch") == kept)
            #expect(try await deployer.observe(birch) == .complete(second))

            let crowded = world.deployer(addresses: [world.addresses[1]])
            let full = await #expect(throws: DeployError.self) {
                try await crowded.deploy(try await world.spec("acme", owner: Self.owner))
            }
            #expect(full?.reason == .settings && full?.message.contains("frontends") == true)
        }
    }

    @Test(
        "what others made under the same names is refused and left as it is",
        arguments: ["container", "network", "volume"])
    func foreign(kind: String) async throws {
        try await withWorld { world in
            let labels: JSONValue = ["drp.client": "acme", "drp.site": "north", "drp.owner": .text(UUID().uuidString)]
            for labels in [[:], labels] {
                switch kind {
                case "container":
                    try await world.engine.createContainer(
                        "drp_acme_redis", ["Image": .text(world.images.redis), "Cmd": ["x"], "Labels": labels])
                case "network":
                    let body: JSONValue = ["Name": "drp_acme_mongo", "Labels": labels]
                    #expect(try await world.engine.createNetwork("drp_acme_mongo", body))
                default:
                    try await world.engine.createVolume(
                        "drp_acme_mongo-data", ["Name": "drp_acme_mongo-data", "Labels": labels])
                }
                let before = try await world.objects("acme")
                #expect(before.count == 1)
                let deployer = world.deployer()
                let spec = try await world.spec("acme", owner: Self.owner)
                let acts: [@Sendable () async throws -> Void] = [
                    { _ = try await deployer.plan(spec) }, { _ = try await deployer.deploy(spec) },
                    { try await deployer.remove(spec.client, owner: spec.owner) },
                ]
                for act in acts {
                    let error = await #expect(throws: DeployError.self) { try await act() }
                    #expect(error?.reason == .foreign)
                }
                #expect(try await world.objects("acme") == before)
                try await world.clear(["acme"])
            }
        }
    }

    @Test("a stack whose files drp has lost is seen, never deployed over, and can be removed")
    func lostFiles() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let spec = try await world.spec("acme", owner: Self.owner)
            let deployment = try await deployer.deploy(spec)
            try FileManager.default.removeItem(atPath: deployment.folder)
            guard case .partial(let seen, let missing) = try await deployer.observe(spec.client) else {
                Issue.record("it is there")
                return
            }
            #expect(seen.owner == Self.owner && seen.run == "run-1" && missing.count == 1)
            let error = await #expect(throws: DeployError.self) { try await deployer.deploy(spec) }
            #expect(error?.reason == .notEmpty)
            try await deployer.remove(spec.client, owner: Self.owner)
            #expect(try await world.objects("acme").isEmpty)
        }
    }

    @Test("no password, key or secret can be read from the engine, from an argument or from an environment")
    func secrets() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let spec = try await world.spec("acme", owner: Self.owner)
            let deployment = try await deployer.deploy(spec)
            let passwords = try world.passwords("acme")
            var canaries = [
                passwords.mongoForDRP, passwords.mongoForApp, passwords.redisForDRP, passwords.redisForApp,
                passwords.mongoMembers, DockerWorld.applicationSecret,
            ]
            canaries += try #require(spec.container).key.withText { key in
                key.split(separator: "\n").filter { !$0.contains("-----") }.map(String.init)
            }
            #expect(canaries.count > 7)
            var told: [String] = []
            for object in try await world.objects("acme").keys {
                let words = object.split(separator: " ").map(String.init)
                let name = words[1].replacing("/", with: "")
                told.append(try await world.inspect("\(words[0])s", name).json())
            }
            for role in DockerRole.allCases {
                let pid = try await world.pid("acme", role)
                for place in ["cmdline", "environ"] {
                    let bytes = try #require(ProcessTable.contents(of: "/proc/\(pid)/\(place)", atMost: 1 << 20))
                    told.append(String(decoding: bytes, as: UTF8.self))
                }
            }
            #expect(told.count == 13 + 8 && told.allSatisfy { !$0.isEmpty })
            for canary in canaries { #expect(told.allSatisfy { !$0.contains(canary) }) }
            // The API has them all the same, as files that nobody but its user can read.
            let files = "/proc/\(try await world.pid("acme", .api))/root/run/drp"
            for name in ["jwt", "mongo.uri", "redis.uri"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(files)/\(name)")
                #expect(attributes[.posixPermissions] as? Int == 0o400)
                #expect(attributes[.ownerAccountID] as? Int == 10_001)
            }
            #expect(try String(contentsOfFile: "\(files)/jwt", encoding: .utf8) == DockerWorld.applicationSecret)
            for file in [deployment.secretFiles.mongoForDRP, deployment.secretFiles.redisForApp] {
                let attributes = try FileManager.default.attributesOfItem(atPath: file)
                #expect(attributes[.posixPermissions] as? Int == 0o600)
            }
        }
    }

    @Test("containers have limits, no rights, a root that cannot be written, and do not start by themselves")
    func hardening() async throws {
        try await withWorld { world in
            _ = try await world.deployer().deploy(try await world.spec("acme", owner: Self.owner))
            for role in DockerRole.allCases {
                let all = try await world.inspect("containers", "drp_acme_\(role.rawValue)").object
                let host = try #require(all?["HostConfig"]?.object)
                #expect(host["RestartPolicy"]?.object?["Name"] == "no")
                #expect(host["ReadonlyRootfs"] == true && host["Privileged"] == false)
                #expect(host["CapDrop"] == ["ALL"] && host["CapAdd"] == .null)
                #expect(try #require(host["Memory"]?.integer) > 0 && host["PidsLimit"]?.integer != nil)
                let status = try #require(
                    ProcessTable.contents(of: "/proc/\(try await world.pid("acme", role))/status", atMost: 1 << 16))
                let text = String(decoding: status, as: UTF8.self)
                #expect(text.contains("CapEff:\t0000000000000000") && text.contains("NoNewPrivs:\t1"))
                #expect(text.contains("Uid:\t10001"))
            }
        }
    }

    @Test("the edge answers HTTPS for the client's names alone, redirects HTTP, and nothing else is published")
    func edge() async throws {
        try await withWorld { world in
            let deployment = try await world.deployer().deploy(try await world.spec("acme", owner: Self.owner))
            let http = CurlClient()
            func request(_ scheme: String, _ name: String, _ port: Int) -> HTTPRequest {
                var request = HTTPRequest(url: "\(scheme)://\(name)/")
                request.route = .init(host: name, port: port, address: deployment.address)
                request.caFile = world.authority
                return request
            }
            let answer = try await http.send(request("https", "acme.clients.test", 443))
            #expect(answer.status == 200 && answer.header("X-DRP-Client") == "acme")
            #expect(String(decoding: answer.body, as: UTF8.self).contains("\"sessions\": 0"))
            let redirect = try await http.send(request("http", "acme.clients.test", 80))
            #expect(redirect.status == 308 && redirect.header("Location") == "https://acme.clients.test/")
            let other = await #expect(throws: HTTPError.self) {
                try await http.send(request("https", "birch.clients.test", 443))
            }
            #expect(other?.reason == .untrusted)

            let rules = try await DockerWorld.run(
                "nsenter", ["--net=\(world.network)", "/usr/sbin/iptables", "-t", "nat", "-S", "DOCKER"])
            let published = rules.output.split(separator: "\n").filter { $0.contains("DNAT") }
            #expect(published.allSatisfy { $0.contains("-d \(deployment.address)/32") })
            let ports = published.compactMap { $0.firstMatch(of: #/--dport (\d+)/#)?.output.1 }
            #expect(Set(ports) == ["80", "443"] && published.count == 2)
        }
    }

    @Test("a drill's stack stands beside production, comes to nobody, and each packet that leaves it is counted")
    func drill() async throws {
        try await withWorld { world in
            let production = try await world.deployer().deploy(try await world.spec("acme", owner: Self.owner))
            let before = try await world.objects("acme")
            let deployer = world.deployer(isDrill: true)
            let spec = try await world.spec("acme", run: "drill-1", owner: Self.owner)
            let drill = try await deployer.deploy(spec)
            #expect(try await deployer.deploy(spec) == drill)
            #expect(try await deployer.observe(spec.client) == .complete(drill))
            let (theirs, ours) = (try #require(production.inside), try #require(drill.inside))
            #expect(theirs.mongo != ours.mongo && theirs.edge != ours.edge)
            #expect(try await deployer.packets(of: spec.client) == PacketCount(left: 0, toHost: 0, tried: 0))

            try await withListener(world, in: "/proc/self/ns/net") { port in
                let inside = try await world.network("acme", .api)
                #expect(try await world.connects(from: inside, to: world.outside, port))
                for role in DockerRole.allCases {
                    let network = try await world.network("acme", role, isDrill: true)
                    #expect(try await !world.connects(from: network, to: world.outside, port), "\(role)")
                    #expect(try await !world.connects(from: network, to: theirs.mongo.host, 27_017), "\(role)")
                    #expect(try await !world.connects(from: network, to: production.address, 443), "\(role)")
                }
                #expect(try await deployer.packets(of: spec.client)?.left == 0)
                #expect((try await deployer.packets(of: spec.client)?.tried ?? 0) > 0)
                // With a way out, which nobody gives it but this test, the very first packet is seen.
                let api = try await world.network("acme", .api, isDrill: true)
                for command in ["-I", "-D"] {
                    let rule = try await world.hostCommand([
                        PacketCounter.iptables, "-w", "10", command, "FORWARD", "-i", "drp+", "-j", "ACCEPT",
                    ])
                    #expect(rule.status == .exited(0))
                    if command == "-I" { _ = try await world.connects(from: api, to: world.outside, port) }
                }
                #expect((try await deployer.packets(of: spec.client)?.left ?? 0) > 0)
                let gateway = ours.edge.host.replacing(#/\d+$/#) { "\((Int($0.output) ?? 0) - 1)" }
                #expect(try await !world.connects(from: api, to: gateway, 22))
                #expect((try await deployer.packets(of: spec.client)?.toHost ?? 0) > 0)
            }
            try await deployer.remove(spec.client, owner: Self.owner)
            try await deployer.remove(spec.client, owner: Self.owner)
            let rules = try await world.hostCommand([PacketCounter.save, "-t", "mangle"])
            #expect(!String(decoding: rules.output, as: UTF8.self).contains("drill_"))
            await #expect(throws: DeployError.self) { try await deployer.packets(of: spec.client) }
            #expect(try await world.objects("acme", isDrill: true).isEmpty)
            #expect(try await world.objects("acme") == before)
            #expect(try await world.deployer().observe(spec.client) == .complete(production))
        }
    }

    @Test(
        "a fenced stack stays closed: over a restart of its Redis, and for the host's guard, until it is started again")
    func fenced() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let acme = ClientID("acme")!
            let deployment = try await deployer.deploy(try await world.spec("acme", owner: Self.owner))
            let inside = try #require(deployment.inside)
            let passwords = try world.passwords("acme")
            var redis = try RedisSettings(uri: DockerURIs.redis(passwords, at: inside.redis), side: .target)
            redis.socket = try await world.reach.way(inside.redis)
            let block = WriteBlock(ClientDatabases(mongo: nil, redis: redis))
            try await block.set(true)
            try await world.kill("acme", .redis)
            try await world.engine.startContainer("drp_acme_redis")
            try await deployer.ready(.redis, deployment, deployer.folder(of: acme))
            #expect(try await block.isOn())
            try await block.set(false)

            try await deployer.fence(acme)
            try await deployer.fence(acme)
            let guardian = HostGuard(
                site: world.site.name, engine: world.engine, authorities: [], clock: SystemClock())
            let decisions = try await guardian.run()
            #expect(decisions.map(\.verdict) == [.fenced] && decisions[0].changed.isEmpty)
            // Somebody starts it all the same.
            try await world.engine.startContainer("drp_acme_redis")
            #expect(try await guardian.run().first?.changed == ["redis"])
            #expect(try await deployer.start(acme) == deployment)
            #expect(try await guardian.run().map(\.verdict) == [.unknown])
            #expect(try await deployer.observe(acme) == .complete(deployment))
        }
    }

    @Test("isolation is tried inside the containers' own networks, and a link too many is found")
    func isolationReport() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let acme = ClientID("acme")!
            #expect(try await deployer.isolation(of: acme) == nil)
            _ = try await deployer.deploy(try await world.spec("acme", owner: Self.owner))
            _ = try await deployer.deploy(try await world.spec("birch", owner: UUID()))
            let report = try #require(try await deployer.isolation(of: acme))
            // Four between its own, and each of four containers to two databases of the other client.
            #expect(report == IsolationReport(tried: 12, breaches: []))
            try await world.engine.connect("drp_acme_redis", to: "drp_acme_mongo", [:])
            try await world.engine.connect("drp_acme_edge", to: "drp_birch_redis", [:])
            let linked = try #require(try await deployer.isolation(of: acme))
            #expect(linked.breaches.count == 2)
            #expect(linked.breaches[0].hasPrefix("its edge reaches drp_birch_redis at "), "\(linked.breaches)")
            #expect(linked.breaches[1].hasPrefix("its redis reaches its own MongoDB at "), "\(linked.breaches)")
            try await world.kill("acme", .redis)
            await #expect(throws: DeployError.self) { try await deployer.isolation(of: acme) }
        }
    }

    @Test("redis and mongo of a client, two clients, databases and the world never meet; the API meets its own")
    func isolation() async throws {
        try await withWorld { world in
            let deployer = world.deployer()
            let acme = try await deployer.deploy(try await world.spec("acme", owner: Self.owner))
            let birch = try await deployer.deploy(try await world.spec("birch", owner: UUID()))
            let (ours, theirs) = (try #require(acme.inside), try #require(birch.inside))
            try await withListener(world, in: "/proc/self/ns/net") { outsidePort in
                try await withListener(world, in: world.network) { hostPort in
                    var networks: [DockerRole: String] = [:]
                    for role in DockerRole.allCases { networks[role] = try await world.network("acme", role) }
                    func connects(_ role: DockerRole, _ host: String, _ port: Int) async throws -> Bool {
                        try await world.connects(from: try #require(networks[role]), to: host, port)
                    }
                    // What must work: these places listen, and the way to them is open where it should be.
                    #expect(try await connects(.api, ours.mongo.host, 27_017))
                    #expect(try await connects(.api, ours.redis.host, 6379))
                    #expect(try await connects(.api, world.outside, outsidePort))
                    #expect(try await world.connects(from: "/proc/self/ns/net", to: world.addresses[3], hostPort))
                    #expect(try await world.connects(from: world.network, to: theirs.mongo.host, 27_017))

                    #expect(try await !connects(.redis, ours.mongo.host, 27_017))
                    #expect(try await !connects(.mongo, ours.redis.host, 6379))
                    #expect(try await !connects(.edge, ours.mongo.host, 27_017))
                    #expect(try await !connects(.edge, ours.redis.host, 6379))
                    for role in DockerRole.allCases {
                        #expect(try await !connects(role, theirs.mongo.host, 27_017), "\(role)")
                        #expect(try await !connects(role, theirs.redis.host, 6379), "\(role)")
                        #expect(try await !connects(role, theirs.edge.host, 8443), "\(role)")
                    }
                    for (role, gateway) in [(DockerRole.mongo, ours.mongo.host), (.redis, ours.redis.host)] {
                        #expect(try await !connects(role, world.outside, outsidePort), "\(role)")
                        #expect(try await !connects(role, world.addresses[3], hostPort), "\(role)")
                        #expect(try await !connects(role, acme.address, 443), "\(role)")
                        // The host's own end of the bridge, one below the first member.
                        let bridge = gateway.replacing(#/\d+$/#) { "\((Int($0.output) ?? 0) - 1)" }
                        #expect(try await !connects(role, bridge, hostPort), "\(role)")
                    }
                }
            }
        }
    }

    /// Somebody who takes connections in a network namespace, at all of its addresses.
    private func withListener(
        _ world: DockerWorld, in network: String, _ body: (Int) async throws -> Void
    ) async throws {
        let process = Process()
        let (input, output) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: "/usr/bin/nsenter")
        let script = """
            import socket, sys
            s = socket.create_server(("0.0.0.0", 0))
            print(s.getsockname()[1], flush=True)
            sys.stdin.read()
            """
        process.arguments = ["--net=\(network)", world.python, "-c", script]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        // It ends with its input.
        defer { input.fileHandleForWriting.closeFile() }
        let line = output.fileHandleForReading.availableData
        try await body(try #require(Int(String(decoding: line, as: UTF8.self).trimmingCharacters(in: .newlines))))
    }

    @Test("a deployment that breaks after any request is finished by the next one, beside another client's")
    func breaksAnywhere() async throws {
        try await withWorld { world in
            let acme = try await world.spec("acme", owner: Self.owner)
            let birch = try await world.spec("birch", owner: Self.owner)
            async let odd = breaks(world, acme, from: 1)
            async let even = breaks(world, birch, from: 2)
            let last = try await max(odd, even)
            #expect(last > 20)
        }
    }

    /// Breaks a deployment after every second request and deploys again, until nothing breaks any more.
    /// - Returns: The number of the request that was never sent.
    private func breaks(_ world: DockerWorld, _ spec: DeploymentSpec, from first: Int) async throws -> Int {
        let client = spec.client.text
        let deployer = world.deployer()
        for breaksAt in stride(from: first, to: 100, by: 2) {
            var broke = false
            do { _ = try await world.deployer(BreakingClient(breaksAt: breaksAt)).deploy(spec) } catch is BreakingClient
                .Broken
            { broke = true }
            let deployment = try await deployer.deploy(spec)
            #expect(try await deployer.observe(spec.client) == .complete(deployment), "broken at \(breaksAt)")
            #expect(try await world.objects(client).count == 13, "broken at \(breaksAt)")
            try await deployer.remove(spec.client, owner: Self.owner)
            #expect(try await world.objects(client).isEmpty, "broken at \(breaksAt)")
            if !broke { return breaksAt }
        }
        return 100
    }
}

extension Sequence {
    /// One after the other.
    fileprivate func async<Value>(_ transform: (Element) async throws -> Value) async throws -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}
