import DRPKit
import Foundation
import Testing

/// The real binary and a bucket of a real Ceph gateway.
@Suite("Backups in a bucket", .serialized, .needsServices)
struct ObjectStorageTests {
    @Test("keys, two backups, verification, prune and a restore go to and from the bucket; no secret is shown")
    func wholeWay() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            _ = try await world.moveToBucket()
            // A client whose repository begins in the bucket.
            try FileManager.default.removeItem(atPath: "\(world.state)/keys")
            let keys = try await world.drp("keys", "init", "acme")
            #expect(keys.status == 0, "\(keys.stderr)")
            for _ in 0..<2 {
                let backup = try await world.drp("backup", "run", "acme", "--json")
                #expect(backup.status == 0, "\(backup.stderr)")
                try await world.change()
            }
            let check = try await world.drp("check", "acme")
            #expect(check.stdout.contains("keeps versions, locks objects"), "\(check.stdout) \(check.stderr)")
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
            let secret = try String(
                contentsOfFile: try DemoWorld.setting("DRP_TEST_S3_SECRET"), encoding: .utf8)
            for ended in [keys, check, verify, list, prune, restore] {
                #expect(!(ended.stdout + ended.stderr).contains(secret.trimmingCharacters(in: .whitespacesAndNewlines)))
            }
        }
    }

    @Test("wrong credentials and a bucket that is not there end with the name of the store, and nothing is lost")
    func refused() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            let bucket = try await world.moveToBucket()
            let access = try DemoWorld.setting("DRP_TEST_S3_ACCESS")
            let other = try DemoWorld.setting("DRP_TEST_S3_OTHER_ACCESS")
            try world.editFleet("access: {file: \(access)}", "access: {file: \(other)}")
            let denied = try await world.drp("backup", "run", "acme")
            #expect(denied.status == 10 && denied.stderr.contains("vault"), "\(denied.stderr)")
            try world.editFleet("access: {file: \(other)}", "access: {file: \(access)}")
            try world.editFleet("bucket: \(bucket)", "bucket: drp-there-is-none")
            let missing = try await world.drp("backup", "run", "acme")
            #expect(missing.status == 13 && missing.stderr.contains("no bucket drp-there-is-none"), "\(missing.stderr)")
        }
    }
}
