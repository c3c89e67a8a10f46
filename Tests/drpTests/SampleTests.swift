import DRPKit
import Foundation
import Testing

@testable import drp

@Suite("A share on the command line")
struct SampleShareTests {
    @Test(
        "a share is a percentage above nothing, and is shown as it was given",
        arguments: [
            ("5%", 50_000, "5%"), ("0.5%", 5_000, "0.5%"), ("100%", 1_000_000, "100%"),
            ("12.3456%", 123_456, "12.3456%"),
            ("0.0001%", 1, "0.0001%"), ("07.50%", 75_000, "7.5%"),
        ])
    func good(text: String, millionths: Int, shown: String) {
        let share = SampleShare(argument: text)
        #expect(share?.millionths == millionths && share?.description == shown)
    }

    @Test(
        "anything else is none",
        arguments: [
            "", "%", "5", "0%", "0.0%", "100.0001%", "101%", "-5%", "+5%", "5 %", ".5%", "5.%", "1.2.3%", "0.00001%",
            "5%%",
            "1e1%", "99999999999999999999%", "٥%",
        ])
    func bad(text: String) {
        #expect(SampleShare(argument: text) == nil)
    }
}

@Suite(
    "Verifying a share a night", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct SampleTests {
    private struct Answer: Decodable {
        struct Result: Decodable {
            struct Report: Decodable {
                struct Sample: Decodable {
                    var round: Int
                    var packs: Int
                    var percent: Double
                    var roundsLeft: Int
                }
                var packs: Int
                var chunksRead: Int
                var sample: Sample?
            }
            var report: Report
            var suffering: [Int]
        }
        var results: [Result]
    }

    @Test("the journal remembers the round, so that nights after each other read every pack; it is on record")
    func nights() async throws {
        let world = try DemoWorld.current
        for number in 1...4 {
            _ = try await world.python("mongo('north-acme-mongo').shop.news.insert_one({'n': \(number)})")
            try await world.backUp()
        }
        var (packs, opened) = (0, 0)
        for night in 1...4 {
            let report = try await verify(world, "--sample", "25%", "--read-data", "--identity", world.identity).report
            let sample = try #require(report.sample)
            #expect(sample.round == night && sample.percent == 25 && sample.roundsLeft == 4 - night)
            packs += sample.packs
            opened += report.chunksRead
            if night == 4 { #expect(packs == report.packs && report.packs >= 4) }
        }
        let all = try await verify(world, "--read-data", "--identity", world.identity).report
        #expect(opened == all.chunksRead)
        #expect(try await verify(world).report.sample == nil)
        #expect(try await world.sqlite("SELECT count(*) FROM events WHERE kind = 'backup.verified'") == [["4"]])
        let text = try await world.drp("backup", "verify", "--sample", "50%")
        #expect(text.stdout.contains("round 5: ") && text.stdout.contains("1 more of 2"), "\(text.stdout)")
    }

    @Test("a bad share is one clear error")
    func badShare() async throws {
        let ended = try await DemoWorld.current.drp("backup", "verify", "--sample", "5")
        #expect(
            ended.status == 2 && ended.stderr.contains("'5'") && ended.stderr.contains("--sample"), "\(ended.stderr)")
    }

    private func verify(_ world: DemoWorld, _ arguments: String...) async throws -> Answer.Result {
        let ended = try await world.drp(["backup", "verify", "--json"] + arguments)
        #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        return try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8)).results[0]
    }
}
