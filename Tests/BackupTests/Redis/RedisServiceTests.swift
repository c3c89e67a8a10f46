import Backup
import DRPKit
import Foundation
import Synchronization
import TestSupport
import Testing

/// The real servers that these tests need, as `script/test` names them.
private enum RedisServices {
    static func uri(_ name: String) -> Secret? { ProcessInfo.processInfo.environment[name].map { Secret($0) } }
    static let source = uri("DRP_TEST_REDIS_URI")
    static let target = uri("DRP_TEST_REDIS_TARGET_URI")
    /// A user that may do all but replication, as managed services give it.
    static let nopsync = uri("DRP_TEST_REDIS_NOPSYNC_URI")
    static let tls = uri("DRP_TEST_REDIS_TLS_URI")
    static let ca = ProcessInfo.processInfo.environment["DRP_TEST_REDIS_CA"]
    static let hasBoth = source != nil && target != nil

    static func settings(_ uri: Secret?, _ side: RedisSide, ca: String? = nil) throws -> RedisSettings {
        try RedisSettings(uri: try #require(uri), caFile: ca, side: side)
    }
}

private let quiet: @Sendable (RedisProgress) -> Void = { _ in }

@Suite("Redis, real servers", .serialized)
struct RedisServiceTests {
    private func capture(_ settings: RedisSettings, into sink: MemoryChunks) async throws -> RedisManifest {
        try await RedisCapture.capture(settings: settings, sink: sink, progress: quiet, clock: SystemClock())
    }

    @Test(
        "what was captured comes back whole into another server, and the comparison says so",
        .enabled(if: RedisServices.hasBoth, "needs DRP_TEST_REDIS_URI and DRP_TEST_REDIS_TARGET_URI"))
    func roundTrip() async throws {
        let chunks = MemoryChunks()
        let source = try RedisServices.settings(RedisServices.source, .source)
        let target = try RedisServices.settings(RedisServices.target, .target)
        let manifest = try await capture(source, into: chunks)
        #expect(!manifest.databases.isEmpty)
        let report = try await RedisRestore.restore(
            settings: target, manifest: manifest, source: chunks, onData: .replace, progress: quiet,
            clock: SystemClock())
        #expect(report.keys + report.expiredKeys == manifest.databases.reduce(0) { $0 + $1.digest.count })
        let comparison = try await RedisVerify.compare(
            settings: target, manifest: manifest, source: chunks, progress: quiet, clock: SystemClock())
        #expect(comparison.isEqual, "\(comparison.lines.filter { !$0.isEqual })")

        // A second capture of the same process adds nothing, and what was restored has the same digest.
        let again = try await capture(source, into: chunks)
        #expect(again.databases == manifest.databases)

        // A target that holds data is refused, and keeps it.
        await #expect { () async throws in
            _ = try await RedisRestore.restore(
                settings: target, manifest: manifest, source: chunks, onData: .refuse, progress: quiet,
                clock: SystemClock())
        } throws: { ($0 as? RedisError)?.code == .targetNotEmpty }
        #expect(try await !RedisServer.isEmpty(target))

        // A backup of which one key is missing differs, in that database only.
        var poorer = manifest
        poorer.functions = []
        let difference = try await RedisVerify.compare(
            settings: target, manifest: poorer, source: chunks, progress: quiet, clock: SystemClock())
        #expect(difference.isEqual == manifest.functions.isEmpty)
    }

    @Test(
        "a wrong password and a server that is gone are told apart, and no password is shown",
        .enabled(if: RedisServices.source != nil, "needs DRP_TEST_REDIS_URI"))
    func failures() async throws {
        let good = try RedisServices.settings(RedisServices.source, .source)
        var wrong = good
        wrong.password = Secret("canary-password")
        var gone = good
        gone.port = 1
        for (settings, reason) in [(wrong, RedisError.Reason.denied), (gone, .unreachable)] {
            do {
                _ = try await capture(settings, into: MemoryChunks())
                Issue.record("captured from where it cannot")
            } catch let error as RedisError {
                #expect(error.reason == reason)
                #expect(!"\(error) \(error.advice)".contains("canary"))
            }
            do {
                try await RedisServer.ping(settings)
                Issue.record("reached what it cannot")
            } catch let error as RedisError {
                #expect(error.reason == reason)
            }
        }
    }

    @Test(
        "a user that may not take a snapshot is told that PSYNC is what it lacks, and how to grant it",
        .enabled(if: RedisServices.nopsync != nil, "needs DRP_TEST_REDIS_NOPSYNC_URI"))
    func withoutPSYNC() async throws {
        let settings = try RedisServices.settings(RedisServices.nopsync, .source)
        // The password is right and all else is allowed: only the snapshot is not.
        try await RedisServer.ping(settings)
        do {
            _ = try await capture(settings, into: MemoryChunks())
            Issue.record("captured without PSYNC")
        } catch let error as RedisError {
            #expect(error.reason == .denied && error.code == .sourceDenied)
            #expect(error.message.contains("PSYNC"), "\(error.message)")
            #expect(error.advice.contains("+psync"), "\(error.advice)")
            let password = try #require(settings.password)
            password.withText { #expect(!"\(error) \(error.message)".contains($0)) }
        }
    }

    @Test(
        "a server whose certificate another authority signed is refused by name",
        .enabled(if: RedisServices.tls != nil && RedisServices.ca != nil, "needs DRP_TEST_REDIS_TLS_URI and _CA"))
    func wrongAuthority() async throws {
        let good = try RedisServices.settings(RedisServices.tls, .source, ca: RedisServices.ca)
        try await RedisServer.ping(good)
        let manifest = try await capture(good, into: MemoryChunks())
        #expect(!manifest.serverVersion.isEmpty)
        var system = good
        system.caFile = nil
        do {
            try await RedisServer.ping(system)
            Issue.record("believed a foreign certificate")
        } catch let error as RedisError {
            #expect(error.reason == .certificate)
            #expect(error.message.contains("not signed"), "\(error.message)")
        }
    }

    @Test(
        "a store that fails ends the capture with its own error",
        .enabled(if: RedisServices.source != nil, "needs DRP_TEST_REDIS_URI"))
    func brokenStore() async throws {
        struct Full: Error {}
        struct FullSink: ChunkSink {
            func store(_ chunk: Chunk) throws -> ChunkID { throw Full() }
        }
        let source = try RedisServices.settings(RedisServices.source, .source)
        await #expect(throws: Full.self) {
            _ = try await RedisCapture.capture(
                settings: source, sink: FullSink(), progress: quiet, clock: SystemClock())
        }
    }
}
