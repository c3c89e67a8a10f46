import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

/// What a client's databases hold, taken and put back through a bastion: nothing of drp ever speaks to their addresses.
@Suite(
    "Databases behind a bastion", .serialized,
    .enabled(if: SSHService.isThere && MongoTestServers.hasBoth, "needs sshd and the servers of script/test"))
struct SiteReachServiceTests {
    private func file(_ name: String, _ folder: TemporaryFolder) throws -> SecretSource {
        let uri = try #require(ProcessInfo.processInfo.environment[name])
        try Data(uri.utf8).write(to: URL(fileURLWithPath: folder.path(name)))
        return .file(path: folder.path(name))
    }

    @Test("MongoDB and Redis are captured, restored and compared through forwarded sockets")
    func roundTrip() async throws {
        let service = try SSHService()
        let transport = service.transport(try service.site())
        do { try await roundTrip(service, transport.reach) } catch {
            await transport.close()
            throw error
        }
        await transport.close()
        #expect(service.left == [])
    }

    private func roundTrip(_ service: SSHService, _ reach: SiteReach) async throws {
        let way = try #require(reach.way(into: SSHService.siteName))
        #expect(reach.way(into: SiteName(unchecked: "elsewhere")) == nil)
        let source = try await ClientDatabases(
            Services(
                mongo: .init(uri: try file("DRP_TEST_MONGO_URI", service.folder), ca: nil),
                redis: .init(uri: try file("DRP_TEST_REDIS_URI", service.folder), ca: nil, role: .store)),
            side: .source, resolver: SecretResolver(), way: way)
        // Other suites empty the targets that all share.
        defer { for kind in ["mongodb", "redis"] { service.stopServer(kind) } }
        let (mongoFile, redisFile) = (try service.startServer("mongodb"), try service.startServer("redis"))
        let target = try await ClientDatabases(
            Services(
                mongo: .init(uri: .file(path: mongoFile), ca: nil),
                redis: .init(uri: .file(path: redisFile), ca: nil, role: .store)),
            side: .target, resolver: SecretResolver(), way: way)
        let (mongo, mongoTarget) = (try #require(source.mongo), try #require(target.mongo))
        #expect(mongo.socket?.hasPrefix(service.memory) == true && mongo.socket != mongoTarget.socket)

        let chunks = HeldChunks()
        let manifest = try await MongoCapture.capture(settings: mongo, sink: chunks, progress: { _ in })
        #expect(manifest.collections.contains { $0.digest.count > 0 })
        let direct = try await MongoCapture.capture(
            settings: MongoTestServers.source, sink: HeldChunks(), progress: { _ in })
        #expect(manifest.collections.map(\.digest) == direct.collections.map(\.digest))
        try await MongoRestore.restore(
            settings: mongoTarget, manifest: manifest, source: chunks, progress: { _ in })
        #expect(
            try await MongoVerify.verify(settings: mongoTarget, manifest: manifest, source: chunks).differences == [])

        let (redis, redisTarget) = (try #require(source.redis), try #require(target.redis))
        let keys = MemoryChunks()
        let snapshot = try await RedisCapture.capture(
            settings: redis, sink: keys, progress: { _ in }, clock: SystemClock())
        #expect(!snapshot.databases.isEmpty)
        _ = try await RedisRestore.restore(
            settings: redisTarget, manifest: snapshot, source: keys, onData: .refuse, progress: { _ in },
            clock: SystemClock())
        let comparison = try await RedisVerify.compare(
            settings: redisTarget, manifest: snapshot, source: keys, progress: { _ in }, clock: SystemClock())
        #expect(comparison.isEqual)

        // What fails names the server, not the socket that stands for it.
        var wrong = mongo
        wrong.uri = mongo.uri.withText { text in Secret(text.replacing(/:[0-9a-f]{32}@/, with: ":canary-password@")) }
        let denied = await #expect(throws: MongoError.self) {
            try await MongoPreflight.ping(settings: wrong, side: .source)
        }
        #expect(
            denied?.reason == .denied && denied.map { "\($0)".contains("canary") } == false,
            "\(String(describing: denied))")
        #expect(denied?.message.contains(service.memory) == false && denied?.message.contains("127.0.0.1:") == true)
    }

    @Test(
        "a URI through a socket keeps login, database and options, and looks for no other server",
        arguments: [
            ("mongodb://u:p%40@a:1", "mongodb://u:p%40@%2Fs%2Ff1.sock/?directConnection=true"),
            ("mongodb://a", "mongodb://%2Fs%2Ff1.sock/?directConnection=true"),
            (
                "mongodb://u:p@[::1]:1/app?replicaSet=rs0&authSource=x",
                "mongodb://u:p@%2Fs%2Ff1.sock/app?replicaSet=rs0&authSource=x&directConnection=true"
            ),
            ("mongodb://u:p@a:1?directConnection=false", "mongodb://u:p@%2Fs%2Ff1.sock/?directConnection=true"),
        ])
    func uris(uri: String, wanted: String) throws {
        #expect(MongoURI(uri)?.through("/s/f1.sock") == wanted)
    }

    @Test("a URI of several servers, or of a name that stands for several, is refused without its password")
    func severalServers() throws {
        for uri in ["mongodb://u:canary@a:1,b:2/", "mongodb+srv://u:canary@a/", "mongodb://u:canary@%2Fx.sock/", "x"] {
            let error = #expect(throws: MongoError.self) { try MongoSettings(uri: Secret(uri)).onlyServer(.source) }
            #expect(error?.reason == .badURI && error.map { "\($0) \($0.advice)".contains("canary") } == false)
        }
        let server = try MongoSettings(uri: Secret("mongodb://u:p@[::1]/x")).onlyServer(.source)
        #expect(server == HostPort(host: "::1", port: 27_017))
    }
}
