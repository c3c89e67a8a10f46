import Backup
import DRPKit
import Foundation
import Testing

/// Against servers that a test starts itself, out of DRP_TEST_PROGRAMS.
@Suite(
    "MongoDB servers that do not fit", .serialized,
    .enabled(if: MongoTestServers.mongod != nil, "DRP_TEST_PROGRAMS names no folder with mongod"))
struct MongoOwnServerServiceTests {
    private let program = MongoTestServers.mongod ?? ""

    @Test("a standalone server is refused as a source, with the way to mend it")
    func standalone() async throws {
        let server = try OwnMongod(program, port: 27_981)
        defer { server.stop() }
        let settings = MongoSettings(uri: Secret("mongodb://127.0.0.1:\(server.port)/"))
        let error = await #expect(throws: MongoError.self) {
            try await MongoCapture.capture(settings: settings, sink: HeldChunks(), progress: { _ in })
        }
        #expect(error?.reason == .unsupported)
        #expect(error?.code == .sourceUnsupported)
        #expect(error?.advice.contains("rs.initiate()") == true)
    }

    @Test("a certificate of another CA is named as such; the right CA is accepted")
    func wrongCA() async throws {
        let server = try OwnMongod(program, port: 27_982) { folder in
            _ = try OwnMongod.certificate("other", in: folder)
            return [
                "--tlsMode", "requireTLS", "--tlsCertificateKeyFile", try OwnMongod.certificate("right", in: folder),
                "--tlsAllowConnectionsWithoutCertificates", "--tlsCAFile", "\(folder)/right.crt",
            ]
        }
        defer { server.stop() }
        func settings(_ certificate: String) -> MongoSettings {
            MongoSettings(
                uri: Secret("mongodb://127.0.0.1:\(server.port)/"), caFile: "\(server.folder)/\(certificate).crt")
        }
        try await MongoPreflight.ping(settings: settings("right"), side: .source)
        var wrong = settings("other")
        wrong.selectionTimeout = .seconds(1)
        let error = await #expect(throws: MongoError.self) {
            try await MongoPreflight.ping(settings: wrong, side: .source)
        }
        #expect(error?.reason == .untrusted)
        #expect(error?.code == .sourceUnreachable)
    }
}
