import Backup
import DRPKit
import Foundation
import TestSupport
import Testing

@Suite("A backup that cannot be taken", .serialized, .needsServices, .world())
struct BackupFaultTests {
    @Test("a wrong password is denied, named and not shown", arguments: ["mongo", "redis"])
    func wrongPassword(service: String) async throws {
        let world = try DemoWorld.current
        let good = world.uriFile("acme", service)
        let uri = try String(contentsOfFile: good, encoding: .utf8)
        let password = try #require(uri.split(separator: "@").first?.split(separator: ":").last)
        let bad = "\(world.folder)/wrong.uri"
        try uri.replacingOccurrences(of: password, with: "canary-wrong-password")
            .write(toFile: bad, atomically: true, encoding: .utf8)
        try await expectFailure(status: 20, code: .sourceDenied, naming: [address(in: uri)]) {
            try world.editFleet(good, bad)
        } mend: {
            try world.editFleet(bad, good)
        }
    }

    @Test("a server that is gone is named", arguments: ["mongo", "redis"])
    func serverGone(service: String) async throws {
        let world = try DemoWorld.current
        let uri = try String(contentsOfFile: world.uriFile("acme", service), encoding: .utf8)
        try await expectFailure(status: 20, code: .sourceUnreachable, naming: [address(in: uri)]) {
            world.killDaemon("north-acme-\(service)")
        } mend: {
            _ = try await world.service(service == "mongo" ? "mongodb" : "redis", "restart", "north-acme-\(service)")
            if service == "mongo" { _ = try await world.python("mongo('north-acme-mongo').admin.command('ping')") }
        }
    }

    @Test("a secret's file that is not there is named")
    func secretGone() async throws {
        let world = try DemoWorld.current
        let good = world.uriFile("acme", "redis")
        try await expectFailure(status: 2, code: .secretUnavailable, naming: ["\(good).gone"]) {
            try world.editFleet(good, "\(good).gone")
        } mend: {
            try world.editFleet("\(good).gone", good)
        }
    }

    @Test("a store that is gone is named, and is not made anew where its disk was not mounted")
    func storeGone() async throws {
        let world = try DemoWorld.current
        try await expectFailure(status: 13, code: .storeUnreachable, naming: ["\(world.folder)/elsewhere/store"]) {
            try world.editFleet("folder: \(world.store)", "folder: \(world.folder)/elsewhere/store")
        } mend: {
            #expect(!FileManager.default.fileExists(atPath: "\(world.folder)/elsewhere"))
            try world.editFleet("\(world.folder)/elsewhere/store", world.store)
        }
    }

    private func address(in uri: String) -> String {
        String(uri.split(separator: "@").last?.prefix { $0 != "/" } ?? "")
    }

    private func expectFailure(
        status: Int32, code: ErrorCode, naming words: [String], break: () throws -> Void, mend: () async throws -> Void
    ) async throws {
        try await DemoWorld.current.expectFailure(
            status: status, code: code, naming: words, break: `break`, mend: mend)
    }
}

@Suite("A backup over TLS", .serialized, .needsServices, .world(DemoWorld.Options(isTLS: true)))
struct BackupTLSTests {
    @Test("a server that another CA vouches for is not spoken to", arguments: ["mongo", "redis"])
    func wrongCA(service: String) async throws {
        let world = try DemoWorld.current
        let ca = "ca: \(world.folder)/north-acme-\(service)/ca.pem"
        let wrong = "ca: \(world.folder)/north-acme-\(service)/wrong-ca.pem"
        try await world.expectFailure(status: 20, code: .sourceUnreachable, naming: ["127.0.0.1:", "`ca`"]) {
            try world.editFleet(ca, wrong)
        } mend: {
            try world.editFleet(wrong, ca)
        }
    }
}

extension DemoWorld {
    /// The whole promise around one fault: a backup before it, a named failure that leaves nothing, a backup after it.
    /// - Parameter isDirtyAllowed: packs without a backup may stay, as after a kill.
    func expectFailure(
        status: Int32, code: ErrorCode, naming words: [String], isDirtyAllowed: Bool = false,
        break: () async throws -> Void, mend: () async throws -> Void
    ) async throws {
        try await backUp()
        let before = try await backups()
        let files = repositoryFiles()
        try await `break`()
        let failed = try await drp("backup", "run", "acme")
        try await mend()

        expectError(failed, status: status, code: code, naming: words)
        #expect(!failed.stderr.contains("canary") && !failed.stdout.contains("canary"))

        var expected = before
        expected.failures += [code.rawValue]
        #expect(try await backups() == expected)
        if !isDirtyAllowed { #expect(repositoryFiles() == files) }
        try await expectWhole()
        try await expectJournalAtRest()
        try await backUp()
        #expect(try await backups().listed == before.listed + [(before.listed.last ?? 0) + 1])
        try await expectWhole()
    }
}
