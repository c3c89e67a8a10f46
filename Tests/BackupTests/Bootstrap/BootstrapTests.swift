import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite("Bootstrap")
struct BootstrapTests {
    @Test("fleet, secrets, journal and keys come back, and lead to their new places")
    func comesBack() async throws {
        let fixture = try await BundleFixture()
        let client = try fixture.fleet().clients[0]
        #expect(try await fixture.keys.make(client))
        _ = await fixture.ship()
        let head = try await fixture.journal.verifyEvents().head
        let report = try #require(try await fixture.bootstrap())
        #expect(report.number == 1 && report.damaged.isEmpty && report.lacks.isEmpty && report.secrets == 1)
        #expect(report.index.keys.map(\.client.text) == ["acme"])
        // Before `bootstrap.stored` was written: that is in no bundle.
        #expect(report.verdict.head != head && report.verdict.count == 1)

        let fleet = try FleetReader.load(fixture.folder.path("new/fleet.yaml"))
        #expect(fleet.state == fixture.folder.path("new/state"))
        #expect(fleet.clients[0].services.redis?.uri == .file(path: fixture.folder.path("new/secrets/0001-redis.uri")))
        #expect(fixture.text("new/secrets/0001-redis.uri") == BundleFixture.secret)
        let ca = try #require(fleet.clients[0].services.redis?.ca)
        #expect(ca == fixture.folder.path("new/files/0001-ca.pem"))
        #expect(fixture.text("new/files/0001-ca.pem").hasPrefix("-----BEGIN"))
        // Where the store was found, and the other one where it was.
        #expect(fleet.stores[0].kind == .folder(path: fixture.folder.path("elsewhere")))
        #expect(fleet.stores[1].kind == .folder(path: fixture.folder.path("old/attic")))
        #expect(fixture.text("new/fleet.yaml").contains("# the only one"))
        _ = try WriterKeys.read(of: client.id, state: fleet.state)
        for name in fixture.files() {
            let mode = try FileManager.default.attributesOfItem(atPath: fixture.folder.path("new/\(name)"))
            let isFolder = mode[.type] as? FileAttributeType == .typeDirectory
            #expect(mode[.posixPermissions] as? Int == (isFolder ? 0o700 : 0o600), "\(name)")
        }
        let journal = try await Journal.open(folder: fleet.state, clock: fixture.clock)
        #expect(try await journal.verifyWhole(noted: NotedHead("\(report.verdict.head)")).problems.isEmpty)
        #expect(!fixture.files().contains { $0.hasPrefix(".drp") })
    }

    @Test("a bundle that is damaged is passed over for the one before, and named; asked for alone, it is an error")
    func fallsBack() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        for _ in 2...3 {
            try await fixture.journal.append(event: "backup.finished")
            _ = await fixture.ship()
        }
        let key = BundleShelf.key(3)
        let bytes = try #require(fixture.vault[key])
        for index in stride(from: 0, to: bytes.count, by: 97) {
            fixture.vault[key] = bytes
            fixture.vault[key]?[index] ^= 1
            let report = try #require(try await fixture.bootstrap(to: "new-\(index)"), "byte \(index)")
            #expect(report.number == 2 && report.damaged.map(\.number) == [3], "byte \(index)")
        }
        await #expect(throws: RepositoryError.self) { try await fixture.bootstrap(at: 3) }
        #expect(try await fixture.bootstrap(at: 1)?.number == 1)
        await #expect(throws: BootstrapError(.missing, "bundle 9")) { try await fixture.bootstrap(to: "z", at: 9) }
        await #expect(throws: BootstrapError.self) { try await fixture.bootstrap(MemoryStore(), to: "z") }
        let stranger = RecoveryIdentity.generate()
        await #expect(throws: RepositoryError.self) { try await fixture.bootstrap(to: "z", identity: stranger) }
    }

    @Test("a journal that is not the one of a noted head does not come back")
    func notedHead() async throws {
        let fixture = try await BundleFixture()
        try await fixture.journal.append(event: "backup.finished")
        let head = try await fixture.journal.verifyEvents().head
        _ = await fixture.ship()
        #expect(try await fixture.bootstrap(to: "one", noted: NotedHead("1:\(head)")) != nil)
        let other = NotedHead("\(ContentHash(hashing: [1]))")
        await #expect(throws: RepositoryError.self) { try await fixture.bootstrap(to: "two", noted: other) }
    }

    @Test("a folder that holds a fleet, a state or secrets is refused and stays as it is")
    func occupied() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        for name in ["fleet.yaml", "state", "secrets", "fleet"] {
            try FileManager.default.createDirectory(
                atPath: fixture.folder.path("taken-\(name)/\(name)"), withIntermediateDirectories: true)
            await #expect(throws: BootstrapError.self) { try await fixture.bootstrap(to: "taken-\(name)") }
            #expect(fixture.files("taken-\(name)") == [name])
        }
        // Other things may be there: the binary, the identity.
        try fixture.write("recovery.key", "x")
        #expect(try await fixture.bootstrap(to: ".") != nil)
    }

    @Test("what an interrupted run left is cleared away; one that had ended is told from it")
    func interrupted() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        func make(_ name: String) throws {
            try FileManager.default.createDirectory(
                atPath: fixture.folder.path("new/\(name)"), withIntermediateDirectories: true)
        }
        // Killed while it moved things out.
        try make(".drp-bootstrap/secrets")
        try fixture.write("new/.drp-bootstrap/moving", "")
        try make("state/keys")
        #expect(try await fixture.bootstrap() != nil)
        let after = fixture.files()
        // Killed after the last move.
        try make(".drp-bootstrap-done")
        #expect(try await fixture.bootstrap() == nil)
        try make(".drp-bootstrap")
        try fixture.write("new/.drp-bootstrap/moving", "")
        #expect(try await fixture.bootstrap() == nil)
        #expect(fixture.files() == after)
        await #expect(throws: BootstrapError.self) { try await fixture.bootstrap() }
    }

    @Test("what was put there after a run was interrupted is not cleared away with what that run left")
    func interruptedAndUsed() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        try FileManager.default.createDirectory(
            atPath: fixture.folder.path("new/.drp-bootstrap/state"), withIntermediateDirectories: true)
        for marker in [false, true] {
            if marker {
                try FileManager.default.createDirectory(
                    atPath: fixture.folder.path("new/.drp-bootstrap/state"), withIntermediateDirectories: true)
                try fixture.write("new/.drp-bootstrap/moving", "")
            }
            try FileManager.default.createDirectory(
                atPath: fixture.folder.path("new/state"), withIntermediateDirectories: true)
            try fixture.write("new/state/mine", "mine")
            await #expect(throws: BootstrapError.self) { try await fixture.bootstrap() }
            #expect(fixture.text("new/state/mine") == "mine")
        }
    }

    @Test("a program that a bundle's fleet file names is not run while nobody has seen whose bundle it is")
    func runsNothing() async throws {
        let fixture = try await BundleFixture()
        let ran = fixture.folder.path("ran")
        let fleet = fixture.text("old/fleet.yaml")
        // A store whose key could not be read when the bundle was made: the fleet file still names the program.
        try fixture.write(
            "old/fleet.yaml",
            fleet.replacing(
                "attic: {site: office, folder: attic}",
                with: "attic: {site: office, s3: {endpoint: https://s3.example, bucket: backups, region: r, "
                    + "access: {command: [/bin/sh, -c, 'test -e \(ran) || exit 1; echo x >> \(ran)']}, "
                    + "secret: {file: redis.uri}}}"))
        #expect(try await fixture.keys.make(try fixture.fleet().clients[0]))
        let report = await fixture.ship()
        #expect(report.lacks.count == 1, "\(report.lacks)")
        try fixture.write("ran", "")
        let opened = try #require(
            try await fixture.bootstrap { settings in
                if case .s3(let s3) = settings.kind {
                    // As a store asks for its keys.
                    _ = try await SecretResolver(environment: [:]).resolve(s3.access)
                }
                return fixture.store(settings.name.text)
            })
        #expect(fixture.text("ran").isEmpty && opened.lacks.count == 1)
        #expect(fixture.text("new/fleet.yaml").contains("/bin/sh"))
    }

    @Test("leases of the lost machine end, its runs wait, and its placements lead to the new files")
    func takesOver() async throws {
        let fixture = try await BundleFixture()
        let acme = ClientID(unchecked: "acme")
        let lease = try await fixture.journal.acquireLease("client/acme")
        try fixture.write("old/placed.uri", "redis://:placed@127.0.0.1:2")
        let placed = PlacedServices(mongo: nil, redis: fixture.folder.path("old/placed.uri"))
        try await fixture.journal.place(
            client: acme, site: SiteName(unchecked: "office"), epoch: 7, services: try JSONValue(encoding: placed),
            run: nil)
        _ = await fixture.ship()
        let report = try #require(try await fixture.bootstrap())
        #expect(report.secrets == 2)
        let journal = try await Journal.open(folder: fixture.folder.path("new/state"), clock: fixture.clock)
        #expect(try await journal.leases().isEmpty)
        let placement = try #require(try await journal.placement(of: acme))
        #expect(placement.epoch == 7 && placement.site.text == "office")
        let file = try #require(try placement.services.decode(PlacedServices.self).redis)
        #expect(file.hasPrefix(fixture.folder.path("new/secrets/")))
        #expect(FileManager.default.contents(atPath: file) == Data("redis://:placed@127.0.0.1:2".utf8))
        try await fixture.journal.release(lease)
    }

    @Test("backups that were made after the bundle are taken over from the stores")
    func adopts() async throws {
        let fixture = try await BundleFixture()
        let client = try fixture.fleet().clients[0]
        #expect(try await fixture.keys.make(client))
        _ = await fixture.ship()
        let keys = try WriterKeys.read(of: client.id, state: fixture.folder.path("old/state"))
        let repository = try await Repository(store: fixture.vault, keys: keys)
        let lease = try await fixture.journal.acquireLease("client/acme")
        let writer = try await repository.begin(holder: lease)
        let now = fixture.clock.now
        let manifest = try await writer.commit(mongo: nil, redis: nil, started: now, finished: now, instant: now) {}
        let report = try #require(try await fixture.bootstrap())
        let vault = try #require(report.catalog[0].found.first { $0.store.text == "vault" })
        #expect(try vault.outcome.get().change.adopted == [manifest.number])
        #expect(report.problems.isEmpty)
    }
}
