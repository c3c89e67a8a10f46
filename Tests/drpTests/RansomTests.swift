import DRPKit
import Foundation
import Testing

/// The real binary, a bucket with object lock of a real Ceph gateway, and a thief who holds its key.
@Suite("Ransom", .serialized, .needsServices)
struct RansomTests {
    private struct Attack: Decodable {
        var objects: Int
        var hidden: Int
        var versionsDeleted: Int
        var versionsRefused: Int
        var locksShortened: Int
        var unlocked: [String]
        var overwritten: Int
        var fakes: Int
        var settings: [String]
        var bucketDeleted: Bool
    }

    private struct Found: Decodable {
        struct Row: Decodable {
            struct Backup: Decodable { var number: Int }
            var backup: Backup
        }
        struct Alarm: Decodable { var kind: String }
        var backups: [Row]
        var alarms: [Alarm]
    }

    @Test("a thief with the bucket's key deletes, overwrites and uploads what he can: every backup comes back")
    func thief() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            let bucket = try await world.moveToBucket()
            try world.editFleet("stores: [vault]", "stores: [vault]\n    lock: 1d")
            try FileManager.default.removeItem(atPath: "\(world.state)/keys")
            #expect(try await world.drp("keys", "init", "acme").status == 0)
            for number in 1...3 {
                _ = try await world.python(
                    "import os; mongo('north-acme-mongo').shop.nights.insert_one({'n': \(number), 'x': os.urandom(3000)})"
                )
                let backup = try await world.drp("backup", "run", "acme")
                #expect(backup.status == 0, "\(backup.stderr)")
            }
            let check = try await world.drp("check", "acme")
            #expect(check.status == 0, "\(check.stdout)")
            // The gateway's times are those of this machine; a second is the grain of what it says.
            let before = Date(timeIntervalSince1970: (Date().timeIntervalSince1970).rounded(.up))
            while Date() <= before { await Task.yield() }
            let past = ["--repository-at", before.formatted(.iso8601)]

            let ended = try await world.hand("attack", bucket)
            try #require(ended.status == 0, "\(ended.stderr)")
            let attack = try JSONDecoder().decode(Attack.self, from: Data(ended.stdout.utf8))
            print("attack: \(ended.stdout)")
            #expect(attack.unlocked.isEmpty && attack.locksShortened == 0 && !attack.bucketDeleted)
            #expect(attack.versionsRefused == attack.objects && attack.versionsDeleted == 0)
            #expect(attack.hidden > 10 && attack.overwritten > 5 && attack.fakes == 3)

            // Noticed.
            let alarms = try await world.drp("check", "acme")
            #expect(alarms.status != 0, "\(alarms.stdout)")
            #expect(alarms.stdout.contains("E1404"), "\(alarms.stdout)")
            #expect(try await world.drp("prune", "run", "acme", "--confirm", "acme").status != 0)
            // Nothing of it is taken for a backup.
            let today = try await world.drp("restore", "plan", "acme", "--in-place", "--identity", world.identity)
            #expect(today.status != 0)

            // All of it comes back.
            let list = try await world.drp(["backup", "list", "acme", "--json"] + past)
            let found = try JSONDecoder().decode(Found.self, from: Data(list.stdout.utf8))
            #expect(found.backups.map(\.backup.number) == [1, 2, 3], "\(list.stderr)")
            let verify = try await world.drp(
                ["backup", "verify", "acme", "--read-data", "--identity", world.identity] + past)
            #expect(verify.status == 0, "\(verify.stdout) \(verify.stderr)")
            let target = try await world.makeTarget("new", mongo: "admin")
            var back = 0
            for number in 1...3 {
                let restore = try await world.drp(
                    [
                        "restore", "run", "acme", "--at", "\(number)", "--target", target, "--identity", world.identity,
                        "--replace", "--confirm", "acme",
                    ] + past)
                #expect(
                    restore.status == 0 && restore.stdout.contains("equal: "), "\(restore.stdout) \(restore.stderr)")
                let nights = try await world.python("print(mongo('new-mongo').shop.nights.count_documents({}))")
                if restore.status == 0, nights.trimmingCharacters(in: .whitespacesAndNewlines) == "\(number)" {
                    back += 1
                }
            }
            print("restored \(back) of 3 backups after the attack")
            #expect(back == 3)

            // And goes on elsewhere.
            let attic = "\(world.folder)/attic"
            try FileManager.default.createDirectory(atPath: attic, withIntermediateDirectories: false)
            try world.editFleet("policies:", "  attic: {site: office, folder: \(attic)}\n\npolicies:")
            let copy = try await world.drp(["store", "sync", "acme", "--from", "vault", "--to", "attic"] + past)
            #expect(copy.status == 0, "\(copy.stdout) \(copy.stderr)")
            try world.editFleet("stores: [vault]", "stores: [attic]")
            let backup = try await world.drp("backup", "run", "acme", "--json")
            #expect(backup.status == 0 && backup.stdout.contains("\"number\" : 4"), "\(backup.stdout) \(backup.stderr)")
            let whole = try await world.drp("backup", "verify", "acme", "--read-data", "--identity", world.identity)
            #expect(whole.status == 0, "\(whole.stdout)")
        }
    }
}
