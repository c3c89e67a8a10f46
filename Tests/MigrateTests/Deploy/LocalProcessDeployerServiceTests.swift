import DRPKit
import Foundation
import Testing

@testable import Migrate

private let programs = ProcessInfo.processInfo.environment["DRP_TEST_PROGRAMS"]
private let python = ProcessInfo.processInfo.environment["DRP_TEST_PYTHON"]

/// With a real mongod and redis-server, and Python's own web server as the API.
@Suite(
    "Deployer of local processes with real servers",
    .enabled(if: programs != nil && python != nil, "start with script/test"))
struct LocalProcessDeployerServiceTests {
    @Test("a deployed stack keeps what is written to it over a stop and a start, and then refuses another run")
    func lifeCycle() async throws {
        try await withFolder { folder in
            let administrator = ServerAdministrator(clock: SystemClock())
            var site = LocalProcessSite(name: SiteName("b")!, folder: folder, address: "127.0.0.12")
            site.mongod = "\(try #require(programs))/mongod"
            let deployer = LocalProcessDeployer(
                site, administrator: administrator, http: CurlClient(), clock: SystemClock())
            let script = """
                import http.server, os
                http.server.ThreadingHTTPServer((os.environ["ADDRESS"], int(os.environ["PORT"])),
                    http.server.SimpleHTTPRequestHandler).serve_forever()
                """
            let client = ClientID("acme")!
            var spec = DeploymentSpec(
                client: client, owner: UUID(), epoch: 2, run: "run-1",
                apiCommand: [try #require(python), "-c", script], apiPort: 18_081)
            let deployment = try await deployer.deploy(spec)
            #expect(try await deployer.deploy(spec) == deployment)
            #expect(try await deployer.observe(client) == .complete(deployment))

            let app = deployment.secretFiles
            try await write(mongo: text(app.mongoForApp), redis: text(app.redisForApp))
            try await deployer.stop(client)
            #expect(try await deployer.start(client) == deployment)
            #expect(try await administrator.redisKeyCount(.init(uri: Secret(text(app.redisForDRP)))) == 1)
            #expect(try await administrator.mongoHoldsData(.init(uri: Secret(text(app.mongoForDRP)))))

            spec.run = "run-2"
            let error = await #expect(throws: DeployError.self) { try await deployer.deploy(spec) }
            #expect(error?.reason == .notEmpty)
            try await deployer.remove(client, owner: spec.owner)
            #expect(try await deployer.observe(client) == .absent)
        }
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(in: .newlines)
    }

    /// As an application would; the URIs go over standard input.
    private func write(mongo: String, redis: String) async throws {
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
        let result = try await DockerWorld.run(try #require(python), ["-c", script], input: "\(mongo)\n\(redis)\n")
        try #require(result.status == 0)
    }
}
