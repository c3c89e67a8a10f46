import DRPKit
import Foundation
import Glibc
import Synchronization
import Testing

@testable import Migrate

/// A site whose host is the dockerd that `script/test` started, with all that tests do there by hand.
struct DockerWorld: Sendable {
    private static let environment = ProcessInfo.processInfo.environment
    private static let socketVariable = "DRP_TEST_DOCKER"
    static let isPossible = environment[socketVariable] != nil
    /// With REQUIRE_SERVICES=1 the tests run, and fail.
    static let isWanted = isPossible || environment["REQUIRE_SERVICES"] == "1"
    static let missing: Comment = "they need a dockerd: start with script/test, as root"

    let socket: String
    /// Path of the network namespace of the site's host.
    let network: String
    let addresses: [String]
    /// An address of this machine that the site's host has its default route to.
    let outside: String
    let images: DockerSite.Images
    let apiImage: String
    let reach: RelayReach
    let python: String
    /// drp's own files of the site.
    let folder: String
    /// For certificates.
    private let files: String
    let engine: DockerEngine

    /// - Parameter host: the engine's variables; nil: of the one that `script/test` started.
    init(folder: String, host: [String: String]? = nil) throws {
        func variable(_ name: String) throws -> String {
            try #require(host?[name] ?? Self.environment[name], Self.missing)
        }
        socket = try variable(Self.socketVariable)
        network = try variable("DRP_TEST_DOCKER_NETWORK")
        addresses = try variable("DRP_TEST_DOCKER_ADDRESSES").split(separator: " ").map(String.init)
        outside = try variable("DRP_TEST_DOCKER_OUTSIDE")
        images = DockerSite.Images(
            mongo: try variable("DRP_TEST_DOCKER_IMAGE_MONGO"), redis: try variable("DRP_TEST_DOCKER_IMAGE_REDIS"),
            edge: try variable("DRP_TEST_DOCKER_IMAGE_EDGE"))
        apiImage = try variable("DRP_TEST_DOCKER_IMAGE_API")
        reach = RelayReach(control: try variable("DRP_TEST_DOCKER_REACH"))
        python = try variable("DRP_TEST_PYTHON")
        self.folder = "\(folder)/site"
        files = folder
        engine = Self.engine(socket, CurlClient())
    }

    var site: DockerSite { DockerSite(name: SiteName("north")!, folder: folder, addresses: addresses, images: images) }

    /// - Parameter http: carries the requests to the engine.
    func deployer(
        _ http: (any HTTPClient)? = nil, addresses: [String]? = nil, isDrill: Bool = false
    ) -> DockerDeployer {
        var site = site
        if isDrill { (site.isDrill, site.folder) = (true, "\(folder)-drills") }
        if let addresses { site.addresses = addresses }
        return DockerDeployer(
            site, engine: http.map { Self.engine(socket, $0) } ?? engine, way: reach.way,
            administrator: ServerAdministrator(clock: SystemClock()), http: CurlClient(), clock: SystemClock(),
            host: hostCommand)
    }

    private static func engine(_ socket: String, _ http: any HTTPClient) -> DockerEngine {
        DockerEngine(http: http) { socket }
    }

    func spec(_ client: String, run: String = "run-1", owner: UUID) async throws -> DeploymentSpec {
        let files = try await certificate(client)
        return DeploymentSpec(
            client: ClientID(client)!, owner: owner, epoch: 2, run: run, apiCommand: [], apiPort: 8081,
            container: ContainerSpec(
                image: apiImage, domains: ["\(client).clients.test"],
                certificate: try String(contentsOfFile: "\(files).crt", encoding: .utf8),
                key: Secret(try String(contentsOfFile: "\(files).key", encoding: .utf8)),
                secrets: ["jwt": Secret(Self.applicationSecret)]))
    }

    static let applicationSecret = "correct-horse-battery-staple"

    /// The authority that signs the clients' certificates.
    var authority: String { "\(files)/ca.pem" }

    /// Makes a certificate for `<client>.clients.test`, once, signed by an authority that no container knows.
    private func certificate(_ client: String) async throws -> String {
        let files = "\(files)/\(client)"
        guard !FileManager.default.fileExists(atPath: "\(files).crt") else { return files }
        let script = """
            set -e
            cd "$(dirname "$1")"
            new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
            [ -e ca.pem ] || openssl req -x509 $new -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
            openssl req $new -subj "/CN=$2" -keyout "$1.key" -out "$1.csr"
            printf 'subjectAltName=DNS:%s.clients.test\\n' "$2" >"$1.ext"
            openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt"
            """
        try #require(try await Self.run("bash", ["-c", script, "bash", files, client]).status == 0)
        return files
    }

    // MARK: A host of one's own

    private static let service = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "script/services/docker").path(percentEncoded: false)

    /// Starts, restarts or stops an engine whose state is in `state`.
    static func host(_ verb: String, _ state: String) async throws {
        // What a test starts has signals blocked and files open by which its end is seen: a daemon must have neither.
        let launch = """
            import os, signal, sys
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.closerange(3, 4096)
            os.execv(sys.argv[1], sys.argv[1:])
            """
        let result = try await run("python3", ["-c", launch, service, verb, state])
        try #require(result.status == 0, "\(verb) of an engine")
    }

    /// The variables of that engine.
    static func variables(_ state: String) async throws -> [String: String] {
        let script = """
            eval "$("$0" env "$1")"
            printf '%s\\n' "DRP_TEST_DOCKER=$DOCKER_SOCKET" "DRP_TEST_DOCKER_NETWORK=$DOCKER_NETWORK" \\
                "DRP_TEST_DOCKER_ADDRESSES=$DOCKER_ADDRESSES" "DRP_TEST_DOCKER_OUTSIDE=$DOCKER_OUTSIDE" \\
                "DRP_TEST_DOCKER_REACH=$DOCKER_REACH" "DRP_TEST_DOCKER_IMAGE_MONGO=$DOCKER_IMAGE_MONGO" \\
                "DRP_TEST_DOCKER_IMAGE_REDIS=$DOCKER_IMAGE_REDIS" "DRP_TEST_DOCKER_IMAGE_EDGE=$DOCKER_IMAGE_EDGE" \\
                "DRP_TEST_DOCKER_IMAGE_API=$DOCKER_IMAGE_API"
            """
        let lines = try await run("bash", ["-c", script, service, state]).output.split(separator: "\n")
        let pairs = lines.map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        return Dictionary(uniqueKeysWithValues: pairs.map { ($0[0], $0[1]) })
    }

    // MARK: By hand

    /// A program in the network of the site's host.
    @Sendable func hostCommand(_ command: [String]) async throws -> CommandResult {
        try await CommandRunner().run(["nsenter", "--net=\(network)"] + command, deadline: .seconds(30))
    }

    /// A program of this machine, with its output.
    static func run(
        _ program: String, _ arguments: [String], input: String = ""
    ) async throws -> (status: Int32, output: String) {
        try await OwnThread.run("program") {
            let process = Process()
            let (source, sink) = (Pipe(), Pipe())
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [program] + arguments
            process.standardInput = source
            process.standardOutput = sink
            process.standardError = FileHandle.nullDevice
            try process.run()
            source.fileHandleForWriting.write(Data(input.utf8))
            try source.fileHandleForWriting.close()
            let output = try sink.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            return (process.terminationStatus, String(decoding: output, as: UTF8.self))
        }
    }

    /// Whether a connection from inside a network namespace comes about within half a second.
    func connects(from network: String, to host: String, _ port: Int) async throws -> Bool {
        // Python keeps the time itself: signals are blocked in what a test starts.
        let script = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)"
        return try await Self.run("nsenter", ["--net=\(network)", python, "-S", "-c", script, host, "\(port)"]).status
            == 0
    }

    /// The network namespace of a running container.
    func network(_ client: String, _ role: DockerRole, isDrill: Bool = false) async throws -> String {
        "/proc/\(try await pid(client, role, isDrill: isDrill))/ns/net"
    }

    func pid(_ client: String, _ role: DockerRole, isDrill: Bool = false) async throws -> Int64 {
        let name = Self.names(client, isDrill: isDrill).container(role)
        let state = try await inspect("containers", name).object?["State"]
        return try #require(state?.object?["Pid"]?.integer)
    }

    static func names(_ client: String, isDrill: Bool = false) -> DockerNames {
        DockerNames(client: ClientID(client)!, isDrill: isDrill)
    }

    /// All that the engine tells of an object.
    func inspect(_ kind: String, _ name: String) async throws -> JSONValue {
        let path = kind == "containers" || kind == "images" ? [kind, name, "json"] : [kind, name]
        return try JSONValue(
            json: String(decoding: try await engine.send("inspect", .get, path).body, as: UTF8.self))
    }

    func kill(_ client: String, _ role: DockerRole) async throws {
        try await engine.send("kill", .post, ["containers", Self.names(client).container(role), "kill"])
    }

    /// What stands under a client's names: name and id of each object.
    func objects(_ client: String, isDrill: Bool = false) async throws -> [String: String] {
        let inventory = try await DockerInventory(engine, Self.names(client, isDrill: isDrill))
        var objects: [String: String] = [:]
        for container in inventory.containers { objects["container \(container.names[0])"] = container.id }
        for network in inventory.networks { objects["network \(network.name)"] = network.id }
        for volume in inventory.volumes { objects["volume \(volume.name)"] = volume.name }
        return objects
    }

    func passwords(_ client: String) throws -> DeploymentFolder.Passwords {
        try #require(try DeploymentFolder(site: folder, client: ClientID(client)!).knownPasswords())
    }

    /// Writes a document and a key as the API would: from its network, with its URIs, by the addresses of the databases.
    func writeAsAPI(_ client: String, _ deployment: Deployment) async throws {
        let inside = try #require(deployment.inside)
        let text = try [deployment.secretFiles.mongoForApp, deployment.secretFiles.redisForApp].map {
            try String(contentsOfFile: $0, encoding: .utf8).trimmingCharacters(in: .newlines)
        }
        let mongo = text[0].replacing(
            "@mongo:27017/?replicaSet=\(client)", with: "@\(inside.mongo)/?directConnection=true")
        let redis = text[1].replacing("@redis:6379", with: "@\(inside.redis)")
        let script = """
            import pymongo, socket, sys
            from urllib.parse import urlsplit
            mongo, redis = sys.stdin.read().split()
            pymongo.MongoClient(mongo, serverSelectionTimeoutMS=5000).shop.orders.insert_one({"a": 1})
            u = urlsplit(redis)
            s = socket.create_connection((u.hostname, u.port), 5)
            s.sendall(b"AUTH %s %s\\r\\nSET a b\\r\\n" % (u.username.encode(), u.password.encode()))
            f = s.makefile("rb")
            assert [f.readline(), f.readline()] == [b"+OK\\r\\n"] * 2
            """
        let network = try await network(client, .api)
        let result = try await Self.run(
            "nsenter", ["--net=\(network)", python, "-c", script], input: "\(mongo)\n\(redis)\n")
        try #require(result.status == 0)
    }

    func holdsData(_ client: String, _ deployment: Deployment) async throws -> (mongo: Bool, keys: Int?) {
        let administrator = ServerAdministrator(clock: SystemClock())
        let (inside, passwords) = (try #require(deployment.inside), try passwords(client))
        return (
            try await administrator.mongoHoldsData(
                .init(
                    uri: DockerURIs.mongoInternal(passwords, at: inside.mongo),
                    socket: try await reach.way(inside.mongo))),
            try await administrator.redisKeyCount(
                .init(
                    uri: DockerURIs.redis(passwords, at: inside.redis), socket: try await reach.way(inside.redis)))
        )
    }

    /// Takes away whatever a test left of these clients, whosever it is.
    func clear(_ clients: [String]) async throws {
        for names in clients.flatMap({ [Self.names($0), Self.names($0, isDrill: true)] }) {
            try await PacketCounter(names, run: hostCommand).end()
            let inventory = try await DockerInventory(engine, names)
            for container in inventory.containers {
                try await engine.removeContainer(container.id, clock: SystemClock())
            }
            for network in inventory.networks { try await engine.removeNetwork(network.id) }
            for volume in inventory.volumes { try await engine.removeVolume(volume.name) }
        }
    }
}

/// The relay of `script/services/docker`, in place of forwards by SSH.
struct RelayReach: Sendable {
    let control: String

    @Sendable func way(_ place: HostPort) async throws -> String {
        let control = control
        return try await OwnThread.run("relay") {
            let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: control.utf8) }
            let connected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(connected == 0, "the relay at \(control)")
            let line = Array("\(place)\n".utf8)
            try #require(write(descriptor, line, line.count) == line.count)
            var answer = [UInt8](repeating: 0, count: 128)
            let count = read(descriptor, &answer, answer.count)
            try #require(count > 1, "the relay's answer")
            return String(decoding: answer.prefix(count - 1), as: UTF8.self)
        }
    }
}

/// Carries requests until drp dies: the engine does the last one, and nobody hears of it. So it leaves what a death before the
/// next request would leave as well.
final class BreakingClient: HTTPClient {
    struct Broken: Error {}

    private let http = CurlClient()
    private let state: Mutex<(sent: Int, breaksAt: Int)>

    /// - Parameter breaksAt: counted from 1, only of those requests that change something.
    init(breaksAt: Int) { state = Mutex((0, breaksAt)) }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let (isOver, breaks) = state.withLock { state in
            let isOver = state.sent >= state.breaksAt
            if request.method != .get { state.sent += 1 }
            return (isOver, state.sent >= state.breaksAt)
        }
        if isOver { throw Broken() }
        let response = try await http.send(request)
        if breaks { throw Broken() }
        return response
    }
}
