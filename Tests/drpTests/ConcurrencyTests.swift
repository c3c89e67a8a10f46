import DRPKit
import Foundation
import TestSupport
import Testing

/// Any two commands on one client, started at once. Each pair once; with `DRP_CAMPAIGN=1` as many as 200 rounds.
@Suite(
    "Two commands at once", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct ConcurrencyTests {
    private static let seed: UInt64 = 7

    @Test("each ends well or is refused by name, and no backup is lost but those that prune may drop")
    func pairs() async throws {
        let world = try DemoWorld.current
        try world.keepTwo()
        let target = try await world.makeTarget("beside")
        let identity = ["--identity", world.identity]
        let commands = [
            ["backup", "run", "acme"], DemoWorld.prune, ["backup", "verify", "acme", "--read-data"] + identity,
            ["restore", "plan", "acme", "--target", target] + identity, ["keys", "rotate", "acme"],
            ["catalog", "rebuild", "acme"], ["hold", "set", "acme", "--reason", "an audit"],
        ]
        let pairs = commands.indices.flatMap { first in (first..<commands.count).map { (first, $0) } }
        let rounds = Campaign.isFull ? 200 : pairs.count
        var random = SeededGenerator(seed: Self.seed)
        var (refused, held) = (0, 0)
        for round in 0..<rounds {
            let (first, second) = pairs[round % pairs.count]
            let pair = Bool.random(using: &random) ? [first, second] : [second, first]
            // Marks, and something behind them that goes.
            try await world.change()
            try await world.backUp()
            let before = try await world.backups()
            let jitter = UInt32.random(in: 0..<400_000, using: &random)
            let processes = try pair.enumerated().map { place, command in
                if place == 1 { usleep(jitter) }
                return try world.start(commands[command])
            }
            for (process, command) in zip(processes, pair.map { commands[$0] }) {
                let ended = try await process.wait()
                let said =
                    "round \(round), \(pair.map { commands[$0].prefix(2).joined(separator: " ") }), jitter \(jitter): "
                    + "\(command[0]) \(command[1]) ended with \(ended.status): \(ended.stdout)\(ended.stderr)"
                switch ended.status {
                case 0: continue
                case 12:
                    expectError(ended, status: 12, code: .repositoryLeased, naming: ["client/acme"])
                    refused += 1
                case 1 where command[0] == "prune" && pair.contains(6):
                    expectError(ended, status: 1, code: .held, naming: ["an audit"])
                    held += 1
                default: Issue.record("\(said)")
                }
            }
            let after = try await world.backups()
            let kept = pair.contains(1) ? before.listed.suffix(2) : before.listed[...]
            #expect(Set(after.listed).isSuperset(of: kept), "round \(round): \(before.listed) -> \(after.listed)")
            #expect(after.listed == after.files && after.open == 0, "round \(round): \(after)")
            if pair.contains(6) {
                let released = try await world.drp("hold", "release", "acme", "--confirm", "acme")
                #expect(released.status == 0, "\(released.stderr)")
            }
            try await world.expectWhole(readData: round.isMultiple(of: 7), "round \(round)")
            try await world.expectJournalAtRest()
        }
        print("two commands at once: \(rounds) rounds of \(pairs.count) pairs, \(refused) refused, \(held) held")
        #expect(refused > 0)
        #expect(try await world.drp("events", "verify").status == 0)
        try await world.backUp()
        try await world.expectWhole()
    }
}
