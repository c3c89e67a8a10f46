import DRPKit
import Foundation
import Testing

/// A fleet whose sites north and south are Docker engines in network namespaces of their own, each behind a bastion, made by
/// `script/lib/docker-fleet`. Its clients begin with plain servers at a site `old`.
final class ContainerWorld: Sendable {
    static let isPossible = DemoWorld.isPossible && DemoWorld.environment["DRP_TEST_DOCKER"] != nil
    static let missing: Comment = "they need Docker engines: start with script/test, as root"
    private static let script = "\(DemoWorld.root)/script/lib/docker-fleet"

    let folder: String
    let clients: [String]
    private let output: String
    private let zone = "clients.test"

    private init(clients: [String]) throws {
        self.clients = clients
        output = NSTemporaryDirectory() + "drp-containers-\(UUID().uuidString.prefix(8))"
        // Short, since sockets lie below it.
        folder = "\(output)/w"
        try FileManager.default.createDirectory(atPath: "\(output)/commands", withIntermediateDirectories: true)
    }

    /// Makes a world, and ends it however `body` ends.
    static func run(
        clients: [String], environment: [String: String] = [:], _ body: (ContainerWorld) async throws -> Void
    ) async throws {
        let world = try ContainerWorld(clients: clients)
        do {
            try await world.fleet("make", clients, environment)
            try await body(world)
        } catch {
            try await world.end()
            throw error
        }
        try await world.end()
    }

    private func end() async throws {
        try await fleet("end", [])
        try FileManager.default.removeItem(atPath: output)
    }

    private func fleet(_ verb: String, _ arguments: [String], _ environment: [String: String] = [:]) async throws {
        let ended = try await shell([Self.script, verb, folder] + arguments, environment: environment)
        guard ended.status == 0 else { throw WorldError("docker-fleet \(verb): \(ended.stderr)") }
    }

    // MARK: What a test asks for

    var state: String { "\(folder)/state" }
    var identity: String { "\(folder)/recovery-1.key" }

    /// The site goes at once, as in a fire.
    func lose(_ site: String) async throws { try await fleet("lose", [site]) }
    /// It comes back with its disks.
    func find(_ site: String) async throws { try await fleet("find", [site]) }

    func drp(_ arguments: [String], environment: [String: String] = [:]) async throws -> Ended {
        try await start(arguments, environment: environment).wait(deadline: .seconds(900))
    }

    func start(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
        try child([DemoWorld.binary] + arguments + ["--fleet", "\(folder)/fleet.yaml"], environment)
    }

    func shell(_ command: [String], environment: [String: String] = [:]) async throws -> Ended {
        try await child(command, environment).wait(deadline: .seconds(900))
    }

    private func child(_ command: [String], _ environment: [String: String]) throws -> ChildProcess {
        var all = ["LC_ALL": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no", "MONGOC_DISABLE_SHM": "1"]
        for name in ["PATH", "HOME", "DRP_CACHE", "LD_LIBRARY_PATH"] { all[name] = DemoWorld.environment[name] }
        all["DRP"] = DemoWorld.binary
        all["XDG_RUNTIME_DIR"] = "\(folder)/memory"
        return try ChildProcess(
            command, environment: all.merging(environment) { $1 }, folder: output, input: nil,
            output: "\(output)/commands/\(UUID().uuidString.prefix(8))")
    }

    /// What `script/services/KIND env` says of a service, as `north/docker`.
    func variables(_ service: String) async throws -> [String: String] {
        let kind = service.split(separator: "/").last.map(String.init) ?? service
        let script = "eval \"$(\"$0\" env \"$1\")\"; set -o posix; set"
        let ended = try await shell([
            "/bin/bash", "-c", script, "\(DemoWorld.root)/script/services/\(kind)", "\(folder)/\(service)",
        ])
        let pairs = ended.stdout.split(separator: "\n").map { $0.split(separator: "=", maxSplits: 1) }
        return Dictionary(
            pairs.filter { $0.count == 2 }.map { (String($0[0]), $0[1].trimmingCharacters(in: ["'"])) },
            uniquingKeysWith: { $1 })
    }

    /// The addresses in the zone.
    func addresses(of client: String) async throws -> [String] {
        let dns = try #require(try await variables("bind")["DNS_ADDRESS"]).split(separator: ":")
        let ended = try await shell([
            "/usr/bin/dig", "+short", "+time=2", "+tries=2", "@\(dns[0])", "-p", "\(dns[1])", "\(client).\(zone)", "A",
        ])
        return ended.stdout.split(separator: "\n").map(String.init).sorted()
    }

    /// What the client's API answers by HTTPS at the address that the zone names; nil for no answer.
    func answer(of client: String) async throws -> [String: JSONValue]? {
        guard let address = try await addresses(of: client).first else { return nil }
        let ended = try await shell([
            "/usr/bin/curl", "-s", "-m", "5", "--cacert", "\(folder)/ca.pem", "--resolve",
            "\(client).\(zone):443:\(address)", "https://\(client).\(zone)/",
        ])
        guard ended.status == 0 else { return nil }
        return try JSONDecoder().decode([String: JSONValue].self, from: Data(ended.stdout.utf8))
    }

    /// Writes down what a client's databases hold, by readers that share nothing with drp.
    /// - Parameter site: `old`, or one with containers, inside whose network they are asked.
    func manifest(of client: String, at site: String) async throws -> Manifest {
        let files = "\(output)/\(client)-\(site)-\(UUID().uuidString.prefix(8))"
        let made = Manifest(mongo: "\(files)-mongo.json", redis: "\(files)-redis.json")
        let inside = site == "old" ? "" : try await variables("\(site)/docker")["DOCKER_NETWORK"] ?? ""
        for (kind, file) in [("mongo", made.mongo), ("redis", made.redis)] {
            let uri =
                site == "old"
                ? "\(folder)/old-\(client)-\(kind)/uri.admin"
                : "\(state)/sites/\(site)/\(client)/secrets/\(kind)-drp.uri"
            let script = "exec ${2:+nsenter --net=\"$2\"} \"$3\" \"$0\" --uri-file \"$1\" >\"$4\""
            let ended = try await shell([
                "/bin/bash", "-c", script, "\(DemoWorld.root)/script/data/\(kind)_manifest.py", uri, inside,
                DemoWorld.python, file,
            ])
            guard ended.status == 0 else { throw WorldError("\(kind) of \(client) at \(site): \(ended.stderr)") }
        }
        return made
    }

    /// Files of what databases held at a moment.
    struct Manifest: Sendable {
        var mongo: String
        var redis: String
    }

    /// - Returns: the differences; empty if both held the same, but for the passwords of users, which are new at each side.
    func differences(_ one: Manifest, _ other: Manifest) async throws -> String {
        var text = ""
        for (kind, left, right) in [("mongo", one.mongo, other.mongo), ("redis", one.redis, other.redis)] {
            let ended = try await shell([
                DemoWorld.python, "\(DemoWorld.root)/script/data/\(kind)_manifest.py", "--manifest", right, "--compare",
                left,
            ])
            guard ended.status != 0 else { continue }
            let lines = (ended.stdout + ended.stderr).split(separator: "\n")
            text += lines.filter { !$0.contains(": credentialsSha256: ") }.joined(separator: "\n")
        }
        return text
    }
}
