import DRPKit
import Foundation
import Testing

/// The real binary and the stand-in for Azure of `script/services/azure`.
@Suite("Backups in an Azure container", .serialized, .needsServices)
struct AzureStorageTests {
    private static let environment = ProcessInfo.processInfo.environment

    private static func setting(_ name: String) throws -> String {
        try #require(environment[name], "\(name) is not set")
    }

    /// Puts the world's store into a new container.
    /// - Parameter permissions: of a SAS that is used instead of the account's key.
    /// - Returns: the secrets, which nothing may show.
    private func moveToContainer(
        _ world: DemoWorld, _ account: String, permissions: String? = nil
    ) async throws -> [String] {
        let container = "drp-\(UUID().uuidString.lowercased())"
        let file = try Self.setting("DRP_TEST_AZURE_KEYS") + "/\(account).key"
        let made = try await world.shell(
            [
                DemoWorld.python, DemoWorld.root + "/script/lib/make_container.py",
                try Self.setting("DRP_TEST_AZURE") + "/\(account)", account, file, container,
            ] + (permissions.map { [$0] } ?? []))
        try #require(made.status == 0, "\(made.stderr)")
        var access = "key: {file: \(file)}"
        var secrets = [try String(contentsOfFile: file, encoding: .utf8)]
        if permissions != nil {
            let sas = made.stdout.trimmingCharacters(in: .newlines)
            try sas.write(toFile: "\(world.folder)/sas", atomically: true, encoding: .utf8)
            access = "sas: {file: \(world.folder)/sas}"
            secrets.append(try #require(sas.components(separatedBy: "sig=").last))
        }
        try world.editFleet(
            "folder: \(world.store)",
            """
            azure: {account: \(account), container: \(container), endpoint: "\(try Self.setting("DRP_TEST_AZURE_TLS"))/\
            \(account)", ca: \(try Self.setting("DRP_TEST_AZURE_CA")), \(access)}
            """)
        return secrets
    }

    @Test(
        "keys, two backups, verification, prune and a restore go to and from the container; no secret is shown",
        arguments: [
            ("drplocks", nil, "refuses a second writer, keeps versions, locks objects"),
            ("drpplain", "rcwdl", "refuses a second writer, keeps no versions, has no locks"),
        ])
    func wholeWay(account: String, permissions: String?, traits: String) async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            let secrets = try await moveToContainer(world, account, permissions: permissions)
            // A client whose repository begins in the container.
            try FileManager.default.removeItem(atPath: "\(world.state)/keys")
            let keys = try await world.drp("keys", "init", "acme")
            #expect(keys.status == 0, "\(keys.stderr)")
            for _ in 0..<2 {
                let backup = try await world.drp("backup", "run", "acme", "--json")
                #expect(backup.status == 0, "\(backup.stderr)")
                try await world.change()
            }
            let check = try await world.drp("check", "acme")
            #expect(check.stdout.contains(traits), "\(check.stdout) \(check.stderr)")
            #expect(check.stdout.contains("its SAS ends at") == (permissions != nil))
            let stores = try await world.drp("store", "list")
            #expect(stores.stdout.contains("azure") && stores.stdout.contains("yes"), "\(stores.stdout)")
            let verify = try await world.drp("backup", "verify", "acme", "--read-data", "--identity", world.identity)
            #expect(verify.status == 0, "\(verify.stdout) \(verify.stderr)")
            let list = try await world.drp("backup", "list", "acme", "--json")
            #expect(list.stdout.components(separatedBy: "\"number\"").count - 1 == 2, "\(list.stdout)")
            let prune = try await world.drp("prune", "plan", "acme")
            #expect(prune.status == 0, "\(prune.stdout) \(prune.stderr)")
            let target = try await world.makeTarget("new")
            let restore = try await world.drp(
                "restore", "run", "acme", "--target", target, "--identity", world.identity)
            #expect(restore.status == 0 && restore.stdout.contains("equal: "), "\(restore.stdout) \(restore.stderr)")
            for ended in [keys, check, stores, verify, list, prune, restore] {
                for secret in secrets { #expect(!(ended.stdout + ended.stderr).contains(secret)) }
            }
        }
    }

    @Test("a wrong key, a SAS that may not write and a container that is not there end with the store's name")
    func refused() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            let secrets = try await moveToContainer(world, "drpplain", permissions: "rl")
            let readOnly = try await world.drp("backup", "run", "acme")
            #expect(readOnly.status == 10 && readOnly.stderr.contains("vault"), "\(readOnly.stderr)")
            let other = try Self.setting("DRP_TEST_AZURE_KEYS") + "/drplocks.key"
            try world.editFleet("sas: {file: \(world.folder)/sas}", "key: {file: \(other)}")
            let denied = try await world.drp("backup", "run", "acme")
            #expect(denied.status == 10 && denied.stderr.contains("AuthenticationFailed"), "\(denied.stderr)")
            let good = try Self.setting("DRP_TEST_AZURE_KEYS") + "/drpplain.key"
            try world.editFleet("key: {file: \(other)}", "key: {file: \(good)}")
            try world.editFleet("container: drp-", "container: drp-no-")
            let missing = try await world.drp("backup", "run", "acme")
            #expect(missing.status == 13 && missing.stderr.contains("no container drp-no-"), "\(missing.stderr)")
            for ended in [readOnly, denied, missing] {
                for secret in secrets { #expect(!ended.stderr.contains(secret)) }
            }
        }
    }
}
