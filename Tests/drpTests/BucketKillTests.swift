import DRPKit
import Foundation
import Testing

/// The real binary, killed between the requests that it makes to a real gateway.
@Suite("A backup into a bucket that is killed", .serialized, .needsServices)
struct BucketKillTests {
    /// One of so many in CI, each of them in the campaign.
    private static let step = ProcessInfo.processInfo.environment["DRP_CAMPAIGN"] == "1" ? 1 : 9

    @Test("after any answer of the store leaves what was there whole, and the next run works by itself")
    func killed() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            let bucket = try await world.moveToBucket()
            try FileManager.default.removeItem(atPath: "\(world.state)/keys")
            #expect(try await world.drp("keys", "init", "acme").status == 0)
            #expect(try await world.drp("backup", "run", "acme").status == 0)
            var (kills, claims, number) = (0, 0, 1)
            while true {
                try await world.change()
                let ended = try await world.drp(
                    "backup", "run", "acme", environment: ["DRP_FAILPOINT": "store.answered:\(number)"])
                guard ended.status == 137 else {
                    #expect(ended.status == 0, "\(number): \(ended.stderr)")
                    break
                }
                kills += 1
                var next = try await world.drp("backup", "run", "acme")
                // This gateway has claims in versioned buckets: a dead writer's keep its name for 30 minutes, since its put
                // might still arrive. Here a hand takes them away instead of time.
                if next.status == 75 {
                    claims += 1
                    #expect(try await world.hand("forget-claims", bucket).status == 0)
                    next = try await world.drp("backup", "run", "acme")
                }
                #expect(next.status == 0, "\(number): \(next.stderr)")
                number += Self.step
            }
            print("backup run into a bucket: killed \(kills) times, \(claims) claims had to age")
            #expect(kills > 2)
            let verify = try await world.drp("backup", "verify", "acme", "--read-data", "--identity", world.identity)
            #expect(verify.status == 0, "\(verify.stdout) \(verify.stderr)")
        }
    }
}
