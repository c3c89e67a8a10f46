import DRPKit
import Foundation
import Glibc
import Synchronization
import Testing

/// A whole fleet on this machine, as `script/demo` makes it: clients with little data in real servers at site north, a BIND,
/// an empty site south, a store in a folder, two recovery identities, and keys. Everything lies in one temporary folder and
/// at loopback addresses that are this world's alone, so that worlds do not meet.
///
///     @Test(.enabled(if: DemoWorld.isPossible, "…")) func moves() async throws {
///         try await DemoWorld.run { world in
///             #expect(try await world.drp("backup", "run", "acme").status == 0)
///         }
///     }
///
/// Commands run in `folder`, where `fleet.yaml` is found by itself, `recovery-1.key` too, and where `runbooks/` would win.
final class DemoWorld: Sendable {
    struct Options: Sendable {
        /// In order of their priority.
        var clients: [String] = ["acme"]
        var isTLS = false
        /// In the collection of users of each client.
        var documents = 200
        /// Of documents that nothing compresses, beside them.
        var megabytes = 0
        /// An API process of each client at site north, and its record in the zone.
        var hasAPI = true
        /// Without it there is no BIND, and the fleet file has no `traffic`.
        var hasDNS = true
        /// Names of stores of the policy beside `vault`, each a folder of that name.
        var moreStores: [String] = []
        /// Whether `keys init --all` has been run.
        var hasKeys = true
    }

    static let environment = ProcessInfo.processInfo.environment
    static let binary = environment["DRP_TEST_BINARY"] ?? ""
    static let python = environment["DRP_TEST_PYTHON"] ?? ""
    static let programs = environment["DRP_TEST_PROGRAMS"] ?? ""
    static let isPossible = [binary, python, "\(programs)/mongod", "\(programs)/redis-server"].allSatisfy {
        $0.hasPrefix("/") && FileManager.default.isExecutableFile(atPath: $0)
    }
    static let missing: Comment = "DRP_TEST_BINARY, DRP_TEST_PYTHON and DRP_TEST_PROGRAMS are set by script/test"
    static let isRequired = environment["REQUIRE_SERVICES"] == "1"
    /// The project's root.
    static let root = (0..<4).reduce(URL(fileURLWithPath: #filePath)) { url, _ in url.deletingLastPathComponent() }.path

    let options: Options
    let folder: String
    let north: String
    let south: String
    private let firstPort: Int
    private let commands = Mutex(0)
    /// What `script/services/bind env` says.
    let dns = Mutex<[String: String]>([:])

    private init(_ options: Options) throws {
        self.options = options
        // Real, since the processes of this world are found by it.
        folder =
            URL(fileURLWithPath: NSTemporaryDirectory()).resolvingSymlinksInPath().path
            + "/drp-world-\(UUID().uuidString.prefix(8))"
        var draw = SystemRandomNumberGenerator()
        let network = "127.\(Int.random(in: 10...250, using: &draw)).\(Int.random(in: 0...255, using: &draw))"
        let host = Int.random(in: 1...250, using: &draw)
        (north, south) = ("\(network).\(host)", "\(network).\(host + 1)")
        firstPort = Int.random(in: 20000...29000, using: &draw)
        for name in ["state", "store", "sites/north", "sites/south", "commands", "tmp"] + options.moreStores {
            try FileManager.default.createDirectory(
                atPath: "\(folder)/\(name)", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
    }

    /// Makes a world, and ends it however `body` ends. A few live at once; the others wait for their turn.
    static func run(_ options: Options = Options(), _ body: (DemoWorld) async throws -> Void) async throws {
        await Turnstile.shared.enter()
        do { try await runNow(options, body) } catch {
            await Turnstile.shared.leave()
            throw error
        }
        await Turnstile.shared.leave()
    }

    private static func runNow(_ options: Options, _ body: (DemoWorld) async throws -> Void) async throws {
        let world = try await make(options)
        do { try await body(world) } catch {
            await world.close()
            throw error
        }
        await world.close()
    }

    /// - Returns: a world that its owner closes.
    static func make(_ options: Options = Options()) async throws -> DemoWorld {
        let world = try DemoWorld(options)
        do { try await world.begin() } catch {
            await world.close()
            throw error
        }
        return world
    }

    // MARK: What a test asks for

    var state: String { "\(folder)/state" }
    var store: String { "\(folder)/store" }
    var journal: String { "\(state)/journal.sqlite" }
    var fleetFile: String { "\(folder)/fleet.yaml" }
    var identity: String { "\(folder)/recovery-1.key" }
    /// Of BIND, `127.0.0.1:port`.
    var dnsServer: String { dns.withLock { $0["DNS_ADDRESS"] ?? "" } }

    func domain(_ client: String) -> String { "\(client).\(dns.withLock { $0["DNS_ZONE"] ?? "clients.test" })" }

    /// Where the client's API listens.
    func port(of client: String) -> Int { firstPort + (options.clients.firstIndex(of: client) ?? 0) }

    /// The file with the URI of a client's own server at site north, whose folder holds its `ca.pem` and `wrong-ca.pem` too.
    /// - Parameters:
    ///   - service: `mongo` or `redis`.
    ///   - user: a user of `script/services`.
    func uriFile(_ client: String, _ service: String, user: String = "admin") -> String {
        "\(folder)/north-\(client)-\(service)/uri.\(user)"
    }

    /// Runs drp to its end in the world's folder. A status of 137 says SIGKILL.
    /// - Parameter environment: beside PATH, HOME, TMPDIR and LC_ALL, which are all that it has.
    func drp(
        _ arguments: String..., environment: [String: String] = [:], input: String? = nil,
        deadline: Duration = .seconds(120)
    ) async throws -> Ended {
        try await start(arguments, environment: environment, input: input).wait(deadline: deadline)
    }

    func drp(_ arguments: [String], environment: [String: String] = [:]) async throws -> Ended {
        try await start(arguments, environment: environment).wait()
    }

    /// Runs drp beside the test.
    func start(
        _ arguments: [String], environment: [String: String] = [:], input: String? = nil
    ) throws -> ChildProcess {
        try startAny([Self.binary] + arguments, environment: environment, input: input)
    }

    /// Runs any program in the world's folder to its end.
    func shell(_ command: [String], environment: [String: String] = [:], input: String? = nil) async throws -> Ended {
        try await startAny(command, environment: environment, input: input).wait()
    }

    func startAny(
        _ command: [String], environment: [String: String] = [:], input: String? = nil
    ) throws -> ChildProcess {
        var all = ["LC_ALL": "C.UTF-8", "TMPDIR": "\(folder)/tmp", "SWIFT_BACKTRACE": "enable=no"]
        // libmongoc's counters of somebody killed may lie under our pid, which it would tell on stderr.
        all["MONGOC_DISABLE_SHM"] = "1"
        for name in ["PATH", "HOME", "DRP_CACHE", "LD_LIBRARY_PATH"] { all[name] = Self.environment[name] }
        all["PATH", default: "/usr/bin:/bin"] += ":/usr/sbin:/sbin"
        let number = commands.withLock { count in
            count += 1
            return count
        }
        return try ChildProcess(
            command, environment: all.merging(environment) { $1 }, folder: folder, input: input,
            output: "\(folder)/commands/\(number)")
    }

    /// Starts another MongoDB and Redis, empty, and writes the file for `restore --target`.
    /// - Parameter mongo: the user there; that of Redis is the administrator, since a snapshot is read back.
    /// - Returns: the file's path. The servers' folders are `<name>-mongo` and `<name>-redis`.
    func makeTarget(_ name: String, mongo user: String = "restorer") async throws -> String {
        try await together(
            ["mongodb", "redis"].map { kind in
                { try await self.service(kind, "start", kind == "mongodb" ? "\(name)-mongo" : "\(name)-redis") }
            })
        let path = "\(folder)/\(name).yaml"
        try """
        services:
          mongo: {uri: {file: \(folder)/\(name)-mongo/uri.\(user)}}
          redis: {uri: {file: \(folder)/\(name)-redis/uri.admin}}

        """.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// Asks a script of `script/services` for something.
    /// - Parameter name: the folder of its state, in this world's.
    func service(_ kind: String, _ verb: String, _ name: String, _ options: [String] = []) async throws -> String {
        let command = ["\(Self.root)/script/services/\(kind)", verb, "\(folder)/\(name)"] + options
        let ended = try await shell(command, environment: ["DRP_SERVICE_OF": folder])
        guard ended.status == 0 else { throw WorldError("\(kind) \(verb): \(ended.stderr)") }
        return ended.stdout
    }

    /// Kills every process of a site at once, as a fire does.
    func killNorth() async throws {
        for client in options.clients {
            for name in ["mongo", "redis", "api"] { killDaemon("north-\(client)-\(name)") }
        }
    }

    /// Kills one daemon of `script/services`, or an API; `service(…, "restart", …)` brings the former back.
    func killDaemon(_ name: String) {
        guard let pid = pid(of: name) else { return }
        kill(pid, SIGKILL)
        // Until it is gone: its port must refuse before the test goes on.
        while FileManager.default.fileExists(atPath: "/proc/\(pid)/exe") { usleep(1000) }
    }

    /// The process of a daemon of `script/services`, or of an API (`north-acme-api`).
    func pid(of name: String) -> pid_t? {
        // None, if it was never started.
        let text = try? String(contentsOfFile: "\(folder)/\(name)/pid", encoding: .utf8)
        return text?.split(whereSeparator: \.isWhitespace).first.flatMap { pid_t($0) }
    }

    /// The addresses in the zone, sorted.
    func addresses(of client: String) async throws -> [String] {
        let parts = dnsServer.split(separator: ":")
        let ended = try await shell([
            "/usr/bin/dig", "+short", "+time=2", "+tries=2", "@\(parts[0])", "-p", "\(parts[1])", domain(client), "A",
        ])
        return ended.stdout.split(separator: "\n").map(String.init).sorted()
    }

    /// What the client's API answers at the address that the zone names; nil for no answer.
    func answer(of client: String) async throws -> [String: JSONValue]? {
        guard let address = try await addresses(of: client).first else { return nil }
        return try await answer(of: client, at: address)
    }

    func answer(of client: String, at address: String) async throws -> [String: JSONValue]? {
        let ended = try await shell([
            "/usr/bin/curl", "-s", "-m", "5", "--resolve", "\(domain(client)):\(port(of: client)):\(address)",
            "http://\(domain(client)):\(port(of: client))/",
        ])
        guard ended.status == 0 else { return nil }
        return try JSONDecoder().decode([String: JSONValue].self, from: Data(ended.stdout.utf8))
    }

    /// Asks a SQLite file by Python, which shares no code with drp.
    /// - Returns: a list of columns, all as text, for each row.
    func sqlite(_ query: String, _ file: String? = nil) async throws -> [[String]] {
        let program = """
            import json, sqlite3, sys
            rows = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True).execute(sys.argv[2])
            print(json.dumps([["" if v is None else str(v) for v in row] for row in rows]))
            """
        let ended = try await shell([Self.python, "-c", program, file ?? journal, query])
        guard ended.status == 0 else { throw WorldError("sqlite: \(ended.stderr)") }
        return try JSONDecoder().decode([[String]].self, from: Data(ended.stdout.utf8))
    }

    /// Runs Python with `mongo(name)`, a client of pymongo, and `redis(name)` of the server with that folder's name.
    /// - Returns: what it printed.
    func python(_ body: String) async throws -> String {
        let program = """
            import os, sys
            sys.path.insert(0, "\(Self.root)/script/data")
            import connections
            from pymongo import MongoClient
            def uri(name): return connections.first_line("\(folder)/%s/uri.admin" % name)
            def mongo(name): return MongoClient(uri(name), serverSelectionTimeoutMS=10000)
            def redis(name):
                ca = "\(folder)/%s/ca.pem" % name
                return connections.Redis(uri(name), ca if os.path.exists(ca) else None)

            """
        let ended = try await shell([Self.python, "-c", program + body])
        guard ended.status == 0 else { throw WorldError("python: \(ended.stderr)") }
        return ended.stdout
    }

    /// Changes text of the fleet file.
    func editFleet(_ old: String, _ new: String) throws {
        let text = try String(contentsOfFile: fleetFile, encoding: .utf8)
        guard text.contains(old) else { throw WorldError("the fleet file has no '\(old)'") }
        try text.replacingOccurrences(of: old, with: new).write(toFile: fleetFile, atomically: true, encoding: .utf8)
    }
}

/// Lets a few in at once: a dozen worlds would have each other's servers miss their deadlines.
private actor Turnstile {
    static let shared = Turnstile()

    private var free = 4
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func enter() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func leave() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}
