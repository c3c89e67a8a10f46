import DRPKit
import Foundation
import Synchronization
import Testing

@testable import Migrate

@Suite("Deployer of local processes")
struct LocalProcessDeployerTests {
    @Test("a stack is made, observed, stopped, started and removed; every act twice is once")
    func lifeCycle() async throws {
        try await withFolder { folder in
            let world = DeployWorld()
            let deployer = try Self.deployer(folder, world)
            #expect(try await deployer.observe(Self.client) == .absent)
            #expect(try await deployer.plan(Self.spec()).count == 4)
            #expect(try await deployer.observe(Self.client) == .absent)

            let deployment = try await deployer.deploy(Self.spec())
            #expect(deployment.phase == .complete)
            #expect(try await deployer.observe(Self.client) == .complete(deployment))
            let passwords = try String(contentsOfFile: "\(folder)/acme/secrets/passwords.json", encoding: .utf8)
            let pids = Self.pids(folder)
            #expect(try await deployer.deploy(Self.spec()) == deployment)
            #expect(try String(contentsOfFile: "\(folder)/acme/secrets/passwords.json", encoding: .utf8) == passwords)
            #expect(Self.pids(folder) == pids && pids.count == 3)

            try await deployer.stop(Self.client)
            try await deployer.stop(Self.client)
            #expect(Self.pids(folder).isEmpty)
            guard case .partial(_, let missing) = try await deployer.observe(Self.client) else {
                Issue.record("a stopped stack is not whole")
                return
            }
            #expect(missing == ["mongo does not run", "redis does not run", "api does not run"])
            #expect(try await deployer.start(Self.client) == deployment)
            #expect(Self.pids(folder).count == 3)

            let error = await #expect(throws: DeployError.self) {
                try await deployer.remove(Self.client, owner: UUID())
            }
            #expect(error?.reason == .foreign && Self.pids(folder).count == 3)
            try await deployer.remove(Self.client, owner: Self.owner)
            try await deployer.remove(Self.client, owner: Self.owner)
            #expect(try await deployer.observe(Self.client) == .absent)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("acme") } == [])
        }
    }

    @Test("a deployment that breaks anywhere is finished by the next one, with the same ports and passwords")
    func breaksAnywhere() async throws {
        for act in 1...6 {
            try await withFolder { folder in
                let world = DeployWorld()
                world.state.withLock { $0.breaksAtCall = act }
                let deployer = try Self.deployer(folder, world)
                let first = try? await deployer.deploy(Self.spec())
                #expect((first == nil) == (act <= 5))
                world.state.withLock { $0.breaksAtCall = nil }
                let before = try? String(contentsOfFile: "\(folder)/acme/secrets/passwords.json", encoding: .utf8)
                let second = try await deployer.deploy(Self.spec())
                let after = try? String(contentsOfFile: "\(folder)/acme/secrets/passwords.json", encoding: .utf8)
                #expect(first == nil || first == second)
                #expect(before == after, "broken at call \(act)")
                #expect(try await deployer.observe(Self.client) == .complete(second))
                #expect(Self.pids(folder).count == 3)
                try await deployer.remove(Self.client, owner: Self.owner)
            }
        }
    }

    @Test("no secret stands in an argument, an environment or a file that others can read")
    func secrets() async throws {
        try await withFolder { folder in
            let deployer = try Self.deployer(folder, DeployWorld())
            let deployment = try await deployer.deploy(Self.spec())
            let file = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/acme/secrets/passwords.json"))
            let passwords = try JSONDecoder().decode(DeploymentFolder.Passwords.self, from: file)
            let canaries = [
                passwords.mongoForDRP, passwords.mongoForApp, passwords.redisForDRP, passwords.redisForApp,
                passwords.mongoMembers,
            ]
            #expect(Set(canaries).count == 5)
            for service in DeploymentFolder.services {
                let pid = try #require(DeploymentFolder(site: folder, client: Self.client).process(service).find()?.pid)
                for place in ["cmdline", "environ"] {
                    let bytes = try #require(ProcessTable.contents(of: "/proc/\(pid)/\(place)", atMost: 1 << 20))
                    let text = String(decoding: bytes, as: UTF8.self)
                    #expect(canaries.allSatisfy { !text.contains($0) })
                    #expect(!text.contains("SWIFT") && !text.contains("DRP_TEST"))
                }
            }
            let walk = try #require(FileManager.default.enumerator(atPath: "\(folder)/acme"))
            for case let name as String in walk {
                let path = "\(folder)/acme/\(name)"
                let attributes = try FileManager.default.attributesOfItem(atPath: path)
                let mode = try #require(attributes[.posixPermissions] as? Int)
                #expect(mode & 0o077 == 0, "\(name)")
                guard attributes[.type] as? FileAttributeType == .typeRegular, !name.hasPrefix("secrets/") else {
                    continue
                }
                let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
                #expect(canaries.allSatisfy { !text.contains($0) }, "\(name)")
            }
            for path in [deployment.secretFiles.mongoForDRP, deployment.secretFiles.redisForApp] {
                #expect(FileManager.default.fileExists(atPath: path))
            }
            try await deployer.remove(Self.client, owner: Self.owner)
        }
    }

    @Test("a folder of another owner, or of nobody, is refused and left as it is")
    func foreign() async throws {
        try await withFolder { folder in
            let deployer = try Self.deployer(folder, DeployWorld())
            let deployment = try await deployer.deploy(Self.spec())
            let error = await #expect(throws: DeployError.self) { try await deployer.deploy(Self.spec(owner: UUID())) }
            #expect(error?.reason == .foreign && error?.code == .targetNotEmpty)
            #expect(try await deployer.observe(Self.client) == .complete(deployment))
            try await deployer.remove(Self.client, owner: Self.owner)

            try PrivateFiles.makeFolder("\(folder)/acme")
            try PrivateFiles.write([1], to: "\(folder)/acme/photo.jpg")
            let other = await #expect(throws: DeployError.self) { try await deployer.deploy(Self.spec()) }
            #expect(other?.reason == .foreign)
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/acme") == ["photo.jpg"])
        }
    }

    @Test("another run takes an empty deployment over, and is refused where data lie")
    func otherRun() async throws {
        try await withFolder { folder in
            let world = DeployWorld()
            let deployer = try Self.deployer(folder, world)
            let first = try await deployer.deploy(Self.spec())
            let second = try await deployer.deploy(Self.spec(run: "run-2", epoch: 3))
            #expect(second.run == "run-2" && second.epoch == 3 && second.ports == first.ports)
            for (mongo, redis) in [(true, 0), (false, 1)] {
                world.state.withLock {
                    $0.mongoHoldsData = mongo
                    $0.redisKeys = redis
                }
                let error = await #expect(throws: DeployError.self) {
                    try await deployer.deploy(Self.spec(run: "run-3"))
                }
                #expect(error?.reason == .notEmpty && error?.code == .targetNotEmpty)
                #expect(try await deployer.deploy(Self.spec(run: "run-2", epoch: 3)) == second)
            }
            try await deployer.remove(Self.client, owner: Self.owner)
        }
    }

    @Test("two clients of a site never share a port")
    func ports() async throws {
        try await withFolder { folder in
            let deployer = try Self.deployer(folder, DeployWorld())
            let birch = ClientID("birch")!
            let first = try await deployer.deploy(Self.spec())
            try await deployer.stop(Self.client)
            var spec = Self.spec()
            spec.client = birch
            spec.apiPort = 8082
            let second = try await deployer.deploy(spec)
            let all = [first, second].flatMap { [$0.ports.mongo, $0.ports.redis, $0.ports.api] }
            #expect(Set(all).count == 6)
            try await deployer.remove(Self.client, owner: Self.owner)
            try await deployer.remove(birch, owner: Self.owner)
        }
    }

    @Test("a server that ends at once is named with its log")
    func endsAtOnce() async throws {
        try await withFolder { folder in
            let world = DeployWorld()
            world.state.withLock { $0.mongoAnswers = false }
            var site = try Self.site(folder)
            site.mongod = "/bin/false"
            let deployer = LocalProcessDeployer(site, administrator: world, http: world, clock: SystemClock())
            let error = await #expect(throws: DeployError.self) { try await deployer.deploy(Self.spec()) }
            #expect(error?.reason == .notStarted && error?.message.contains("mongo.log") == true)
            try await deployer.remove(Self.client, owner: Self.owner)
        }
    }
}

// MARK: Fixtures

extension LocalProcessDeployerTests {
    static let client = ClientID("acme")!
    static let owner = UUID()

    static func spec(owner: UUID = owner, run: String = "run-1", epoch: Int = 2) -> DeploymentSpec {
        DeploymentSpec(
            client: client, owner: owner, epoch: epoch, run: run, apiCommand: ["sleep", "1000"], apiPort: 8081)
    }

    /// Programs that only wait stand in for the servers.
    static func site(_ folder: String) throws -> LocalProcessSite {
        let program = "\(folder)/waits"
        try PrivateFiles.write(Array("#!/bin/sh\nexec sleep 1000\n".utf8), to: program)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: program)
        var site = LocalProcessSite(name: SiteName("b")!, folder: folder, address: "127.0.0.12")
        site.mongod = program
        site.redisServer = program
        return site
    }

    static func deployer(_ folder: String, _ world: DeployWorld) throws -> LocalProcessDeployer {
        LocalProcessDeployer(try site(folder), administrator: world, http: world, clock: SystemClock())
    }

    static func pids(_ folder: String) -> [Int32] {
        let place = DeploymentFolder(site: folder, client: client)
        return DeploymentFolder.services.compactMap { place.process($0).find()?.pid }
    }
}

/// Databases and an API that answer as told.
final class DeployWorld: DatabaseAdministrator, HTTPClient {
    struct State {
        var calls = 0
        var breaksAtCall: Int?
        var mongoAnswers = true
        var mongoHoldsData = false
        var redisKeys = 0
    }

    struct Broken: Error {}

    let state = Mutex(State())

    private func called() throws {
        try state.withLock { state in
            state.calls += 1
            if state.calls == state.breaksAtCall { throw Broken() }
        }
    }

    func mongoAnswers(_ endpoint: DatabaseEndpoint) async throws -> Bool {
        try called()
        return state.withLock { $0.mongoAnswers }
    }

    func initiateReplicaSet(host: String, port: Int, name: String) async throws { try called() }
    func createUsers(host: String, port: Int, users: [DatabaseUser]) async throws { try called() }

    func mongoHoldsData(_ endpoint: DatabaseEndpoint) async throws -> Bool {
        try called()
        return state.withLock { $0.mongoHoldsData }
    }

    func redisKeyCount(_ endpoint: DatabaseEndpoint) async throws -> Int? {
        try called()
        return state.withLock { $0.redisKeys }
    }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        try called()
        return HTTPResponse(status: 200, headers: [], body: [])
    }
}
