import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// A machine with a fleet of one client, whose stores `vault` and `attic` are in memory.
final class BundleFixture: Sendable {
    let folder: TemporaryFolder
    let identity = RecoveryIdentity.generate()
    let other = RecoveryIdentity.generate()
    let clock: StandingClock
    let stores: [StoreName: MemoryStore]
    let journal: Journal

    static let secret = "redis://:canary-of-a-secret@127.0.0.1:1"

    init(now: Date = Date(timeIntervalSince1970: 1_800_000_000)) async throws {
        folder = try TemporaryFolder()
        clock = StandingClock(now: now)
        stores = [StoreName(unchecked: "vault"): MemoryStore(), StoreName(unchecked: "attic"): MemoryStore()]
        journal = try await Journal.open(folder: folder.path("old/state"), clock: clock)
        try write("old/redis.uri", Self.secret + "\n")
        try write("old/ca.pem", "-----BEGIN CERTIFICATE-----\n")
        try write(
            "old/fleet.yaml",
            """
            # The fleet of a test.
            fleet: toucan
            state: state
            site: office
            recovery: [\(identity.recipient), \(other.recipient)]
            sites: {office: {}, paris: {}}
            stores:
              vault: {site: office, folder: vault}
              attic: {site: office, folder: attic}
              unused: {site: office, folder: unused}
            policies:
              standard: {schedule: "daily 02:30 Europe/Paris", stores: [vault, attic]}
            environments:
              production: {policy: standard}
            clients:
              - id: acme
                environment: production
                site: paris
                services:
                  redis: {uri: {file: redis.uri}, ca: ca.pem}  # the only one

            """)
    }

    var vault: MemoryStore { store("vault") }
    func store(_ name: String) -> MemoryStore {
        stores[StoreName(unchecked: name)] ?? MemoryStore()
    }

    func write(_ name: String, _ text: String) throws {
        try AtomicFile.write(folder.path(name), Array(text.utf8), mode: 0o600, .replace)
    }

    func fleet() throws -> Fleet { try FleetReader.load(folder.path("old/fleet.yaml")) }

    var keys: ClientKeys {
        get throws { ClientKeys(fleet: try fleet(), journal: journal, clock: clock, open: open()) }
    }

    /// - Parameter broken: a store that cannot be reached.
    func open(broken: String? = nil) -> StoreOpener {
        { [self] settings in
            if settings.name.text == broken { throw StoreError(.unreachable, nil, cause: "it is broken") }
            return store(settings.name.text)
        }
    }

    func ship(broken: String? = nil, clock: (any WallClock)? = nil) async -> BundleShipper.Report {
        await BundleShipper(
            fleetFile: folder.path("old/fleet.yaml"), journal: journal, clock: clock ?? self.clock,
            resolver: SecretResolver(environment: [:]), program: "0.1.0", open: open(broken: broken)
        ).ship()
    }

    func bootstrap(
        _ store: MemoryStore? = nil, to name: String = "new", identity: RecoveryIdentity? = nil, at: Int? = nil,
        noted: NotedHead? = nil, opening: StoreOpener? = nil
    ) async throws -> Bootstrap.Report? {
        try await Bootstrap(
            store: store ?? vault, storeFolder: folder.path("elsewhere"), identity: identity ?? self.identity,
            folder: folder.path(name), clock: clock, open: opening ?? open()
        ).run(at: at, noted: noted)
    }

    func files(_ name: String = "new") -> [String] {
        let found = FileManager.default.enumerator(atPath: folder.path(name))?.compactMap { $0 as? String } ?? []
        return found.sorted()
    }

    func text(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: folder.path(name)) ?? Data(), as: UTF8.self)
    }
}
