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
            let administrator = PythonAdministrator(python: try #require(python))
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
            try await administrator.run("write", ["mongo": text(app.mongoForApp), "redis": text(app.redisForApp)])
            try await deployer.stop(client)
            #expect(try await deployer.start(client) == deployment)
            #expect(try await administrator.redisKeyCount(uri: Secret(text(app.redisForDRP))) == 1)
            #expect(try await administrator.mongoHoldsData(uri: Secret(text(app.mongoForDRP))))

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
}

/// Administers by pymongo and a plain socket; what is secret goes over standard input.
private struct PythonAdministrator: DatabaseAdministrator {
    let python: String

    func mongoAnswers(host: String, port: Int) async throws -> Bool {
        try await run("answers", ["host": host, "port": "\(port)"]) == "yes"
    }

    func initiateReplicaSet(host: String, port: Int, name: String) async throws {
        try await run("initiate", ["host": host, "port": "\(port)", "name": name])
    }

    func createUsers(host: String, port: Int, users: [DatabaseUser]) async throws {
        var request = ["host": host, "port": "\(port)", "count": "\(users.count)"]
        for (index, user) in users.enumerated() {
            request["name\(index)"] = user.name
            request["role\(index)"] = user.role
            request["password\(index)"] = user.password.withText { $0 }
        }
        try await run("users", request)
    }

    func mongoHoldsData(uri: Secret) async throws -> Bool {
        try await run("holds", ["uri": uri.withText { $0 }]) == "yes"
    }

    func redisKeyCount(uri: Secret) async throws -> Int? { Int(try await run("keys", ["uri": uri.withText { $0 }])) }

    @discardableResult
    func run(_ act: String, _ request: [String: String]) async throws -> String {
        let input = try JSONEncoder().encode(request.merging(["act": act]) { old, _ in old })
        let python = python
        return try await OwnThread.run("python") {
            let process = Process()
            let (source, sink) = (Pipe(), Pipe())
            process.executableURL = URL(fileURLWithPath: python)
            process.arguments = ["-c", Self.script]
            process.standardInput = source
            process.standardOutput = sink
            try process.run()
            source.fileHandleForWriting.write(input)
            try source.fileHandleForWriting.close()
            let output = try sink.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0, "\(act)")
            return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
        }
    }

    private static let script = """
        import json, socket, sys, time
        from urllib.parse import urlsplit
        import pymongo
        from pymongo.errors import PyMongoError, OperationFailure
        q = json.load(sys.stdin)
        def mongo(**more):
            return pymongo.MongoClient(q["host"], int(q["port"]), directConnection=True,
                                       serverSelectionTimeoutMS=2000, **more)
        def redis(uri, *commands):
            u = urlsplit(uri)
            s = socket.create_connection((u.hostname, u.port), 5)
            f = s.makefile("rb")
            answers = []
            for command in (("AUTH", u.username, u.password),) + commands:
                s.sendall(b"*%d\\r\\n" % len(command))
                for word in command:
                    s.sendall(b"$%d\\r\\n%s\\r\\n" % (len(word), word.encode()))
                answers.append(f.readline().decode().strip())
            return answers
        if q["act"] == "answers":
            try: mongo().admin.command("hello"); print("yes")
            except PyMongoError: print("no")
        elif q["act"] == "initiate":
            c = mongo()
            try:
                c.admin.command("replSetInitiate", {"_id": q["name"], "members": [
                    {"_id": 0, "host": q["host"] + ":" + q["port"]}]})
            except OperationFailure as e:
                if e.code not in (13, 23): raise
            end = time.monotonic() + 30
            while not c.admin.command("hello")["isWritablePrimary"] and time.monotonic() < end:
                time.sleep(0.05)
        elif q["act"] == "users":
            for i in range(int(q["count"])):
                n, p, r = (q[k + str(i)] for k in ("name", "password", "role"))
                try: mongo(username=n, password=p).admin.command("ping")
                except OperationFailure:
                    c = mongo() if i == 0 else mongo(username=q["name0"], password=q["password0"])
                    c.admin.command("createUser", n, pwd=p, roles=[r], customData={"managedBy": "drp"})
        elif q["act"] == "holds":
            names = set(pymongo.MongoClient(q["uri"]).list_database_names()) - {"admin", "config", "local"}
            print("yes" if names else "no")
        elif q["act"] == "keys":
            try: print(redis(q["uri"], ("DBSIZE",))[1].lstrip(":"))
            except OSError: print("none")
        elif q["act"] == "write":
            pymongo.MongoClient(q["mongo"]).shop.orders.insert_one({"a": 1})
            answers = redis(q["redis"], ("SET", "a", "b"))
            assert answers == ["+OK", "+OK"], answers
        """
}
