import DRPKit
import Foundation
import Testing

@testable import Migrate

/// What every `TrafficSwitch` must do, at a real authority. Each test has a domain of its own.
@Suite("Every way to switch traffic")
struct TrafficSwitchConformanceTests {
    private static let all: [any TestAuthority.Type] = [
        BINDAuthority.self, PowerDNSAuthority.self, Route53Authority.self,
    ]
    static let started = all.filter { $0.isStarted }.map(Way.init)

    struct Way: Sendable, CustomTestStringConvertible {
        var type: any TestAuthority.Type
        var testDescription: String { "\(type)" }
    }

    private let client = UUID()
    private let label = "t\(UUID().uuidString.prefix(13).lowercased())"

    private func owner(_ epoch: Int, site: String = "b", of other: UUID? = nil) -> OwnerRecord {
        OwnerRecord(client: other ?? client, site: SiteName(site)!, epoch: epoch)
    }

    private func record(_ addresses: [String], _ owner: OwnerRecord? = nil) -> TrafficRecord {
        TrafficRecord(addresses: addresses, ttlSeconds: addresses.isEmpty ? 0 : 5, owner: owner)
    }

    @Test(
        "every one that there is was started",
        .enabled(if: ProcessInfo.processInfo.environment["REQUIRE_SERVICES"] == "1"))
    func isEachStarted() { #expect(Self.started.count == Self.all.count) }

    @Test("there and back; twice is once; what is written is served", arguments: Self.started)
    func switches(way: Way) async throws {
        let authority = try way.type.init()
        let (traffic, domain) = (try authority.traffic(Interference()), "\(label).\(authority.zone)")
        #expect(try await traffic.read(domain) == record([]))
        let made = try await traffic.switchOver(
            domain, from: record([]), to: ["127.0.0.11", "127.0.0.10"], owner: owner(1), ttlSeconds: 5)
        #expect(made.change == .switched && made.after.addresses == ["127.0.0.10", "127.0.0.11"])
        let moved = try await traffic.switchOver(
            domain, from: made.after, to: ["127.0.0.12"], owner: owner(2), ttlSeconds: 30)
        #expect(moved.change == .switched && moved.before == record(["127.0.0.10", "127.0.0.11"], owner(1)))
        let again = try await traffic.switchOver(
            domain, from: made.after, to: ["127.0.0.12"], owner: owner(2), ttlSeconds: 30)
        #expect(again.change == .alreadyThere)
        let found = try await traffic.read(domain)
        #expect(found == TrafficRecord(addresses: ["127.0.0.12"], ttlSeconds: 30, owner: owner(2)))
        let back = try await traffic.switchOver(
            domain, from: found, to: ["127.0.0.11"], owner: owner(3, site: "a"), ttlSeconds: 5)
        #expect(back.change == .switched)
        #expect(try await traffic.read(domain) == record(["127.0.0.11"], owner(3, site: "a")))
        guard let server = authority.server else { return }
        let check = AuthorityCheck([server], clock: SystemClock()) { DNSClient(server: $0, deadline: .seconds(60)) }
        #expect(
            try await check.ask(domain, until: ["127.0.0.11"], deadline: .seconds(60)).map(\.agrees) == [true])
    }

    @Test("a domain without our mark is taken over only from where it was believed to be", arguments: Self.started)
    func adopts(way: Way) async throws {
        let authority = try way.type.init()
        let (traffic, domain) = (try authority.traffic(Interference()), "\(label).\(authority.zone)")
        try await authority.set(domain, "A", ["127.0.0.11"])
        await refused(.changed, naming: "127.0.0.11") {
            try await traffic.switchOver(
                domain, from: record(["127.0.0.77"]), to: ["127.0.0.12"], owner: owner(1), ttlSeconds: 5)
        }
        #expect(try await traffic.read(domain) == record(["127.0.0.11"]))
        let adopted = try await traffic.switchOver(
            domain, from: record(["127.0.0.11"]), to: ["127.0.0.12"], owner: owner(1), ttlSeconds: 5)
        #expect(adopted.change == .switched)
        await refused(.changed, naming: "epoch 1") {
            try await traffic.switchOver(
                domain, from: record(["127.0.0.12"]), to: ["127.0.0.13"], owner: owner(0), ttlSeconds: 5)
        }
        #expect(try await traffic.read(domain) == record(["127.0.0.12"], owner(1)))
    }

    @Test(
        "what is not ours stays as it is: marks of others, texts that are no mark, aliases, IPv6",
        arguments: Self.started)
    func foreign(way: Way) async throws {
        let authority = try way.type.init()
        let traffic = try authority.traffic(Interference())
        let marks = [
            ["\"\(owner(1, of: UUID()))\""], ["\"v=spf1 -all\""], ["\"\(owner(1))\"", "\"\(owner(2))\""],
        ]
        for (number, mark) in marks.enumerated() {
            let domain = "m\(number)\(label).\(authority.zone)"
            try await authority.set(domain, "A", ["127.0.0.11"])
            try await authority.set("_drp.\(domain)", "TXT", mark)
            await refused(.notOurs, naming: number == 1 ? "v=spf1" : "drp=1") {
                try await traffic.switchOver(
                    domain, from: record(["127.0.0.11"]), to: ["127.0.0.12"], owner: owner(9), ttlSeconds: 5)
            }
            try await authority.set("_drp.\(domain)", "TXT", [])
            #expect(try await traffic.read(domain) == record(["127.0.0.11"]))
        }
        for (type, content) in [("CNAME", "other.\(authority.zone)."), ("AAAA", "::1")] {
            let domain = "\(type.lowercased())\(label).\(authority.zone)"
            try await authority.set(domain, type, [content])
            await refused(.notOurs, naming: type) {
                try await traffic.switchOver(
                    domain, from: record([]), to: ["127.0.0.12"], owner: owner(1), ttlSeconds: 5)
            }
        }
        for domain in ["acme.other.test", "x\(authority.zone)", "a b", ""] {
            await refused(.settings) { try await traffic.read(domain) }
        }
    }

    @Test("records that change in between are left alone, where the authority compares", arguments: Self.started)
    func changedInBetween(way: Way) async throws {
        let authority = try way.type.init()
        let domain = "\(label).\(authority.zone)"
        let plain = try authority.traffic(Interference())
        _ = try await plain.switchOver(domain, from: record([]), to: ["127.0.0.11"], owner: owner(1), ttlSeconds: 5)
        let (second, third) = (owner(2, site: "c"), owner(3))
        let theirs: Interference.Act = { [old = record(["127.0.0.11"])] in
            _ = try await plain.switchOver(domain, from: old, to: ["127.0.0.77"], owner: second, ttlSeconds: 5)
        }
        let late = try authority.traffic(Interference(before: theirs))
        func switchLate() async throws -> SwitchOutcome {
            try await late.switchOver(
                domain, from: record(["127.0.0.11"]), to: ["127.0.0.12"], owner: third, ttlSeconds: 5)
        }
        if plain.comparesAndSets {
            await refused(.changed, naming: "127.0.0.77") { try await switchLate() }
            #expect(try await plain.read(domain) == record(["127.0.0.77"], second))
        } else {
            // What is documented: in that moment they are overwritten, but never half.
            #expect(try await switchLate().change == .switched)
            #expect(try await plain.read(domain) == record(["127.0.0.12"], third))
        }
    }

    @Test("of several at once one wins, and addresses and mark are its own", arguments: Self.started)
    func atOnce(way: Way) async throws {
        let authority = try way.type.init()
        let domain = "\(label).\(authority.zone)"
        let traffic = try authority.traffic(Interference())
        let begin = try await traffic.switchOver(
            domain, from: record([]), to: ["127.0.0.11"], owner: owner(1), ttlSeconds: 5)
        let winners = await withTaskGroup(of: String?.self) { group in
            for number in 1...6 {
                group.addTask { [owner = owner(2, site: "s\(number)"), begin = begin.after] in
                    do {
                        let outcome = try await traffic.switchOver(
                            domain, from: begin, to: ["127.0.1.\(number)"], owner: owner, ttlSeconds: 5)
                        return outcome.after.addresses.first
                    } catch {
                        #expect((error as? TrafficError)?.reason == .changed, "\(error)")
                        return nil
                    }
                }
            }
            return await group.reduce(into: [String]()) { winners, winner in
                if let winner { winners.append(winner) }
            }
        }
        let end = try await traffic.read(domain)
        #expect(winners.contains(end.addresses.first ?? ""))
        #expect(end.owner?.site.text == end.addresses.first.map { "s" + ($0.split(separator: ".").last ?? "") })
        if traffic.comparesAndSets { #expect(winners.count == 1) }
    }

    @Test("a lost request or answer is settled by reading", arguments: Self.started)
    func lost(way: Way) async throws {
        let authority = try way.type.init()
        let domain = "\(label).\(authority.zone)"
        let answer = try await authority.traffic(Interference(losesAnswer: true)).switchOver(
            domain, from: record([]), to: ["127.0.0.12"], owner: owner(1), ttlSeconds: 5)
        // A server that was busy has done nothing, and was asked again.
        #expect(answer.change != .alreadyThere && answer.before == record([]))
        let request = try await authority.traffic(Interference(losesRequest: true)).switchOver(
            domain, from: answer.after, to: ["127.0.0.13"], owner: owner(2), ttlSeconds: 5)
        #expect(request.change == .switched && request.before == record(["127.0.0.12"], owner(1)))
        #expect(try await authority.traffic(Interference()).read(domain) == record(["127.0.0.13"], owner(2)))
    }

    private func refused(
        _ reason: TrafficError.Reason, naming word: String = "", sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () async throws -> some Sendable
    ) async {
        do {
            let outcome = try await body()
            Issue.record("not refused: \(outcome)", sourceLocation: sourceLocation)
        } catch {
            let error = error as? TrafficError
            #expect(error?.reason == reason, "\(error?.message ?? "")", sourceLocation: sourceLocation)
            #expect(
                word.isEmpty || error?.message.contains(word) == true, "\(error?.message ?? "")",
                sourceLocation: sourceLocation)
        }
    }
}
