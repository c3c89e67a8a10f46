import DRPKit
import Foundation
import Synchronization
import Testing

@testable import Migrate

@Suite("Switch by RFC 2136")
struct RFC2136SwitchTests {
    static let client = UUID(uuidString: "00000000-0000-4000-8000-000000000001")!
    static let other = UUID(uuidString: "00000000-0000-4000-8000-000000000002")!
    static let domain = DNSName("acme.clients.test")!
    static let mark = domain.child("_drp")!
    static let old = "127.0.0.11"
    static let new = "127.0.0.12"

    static func owner(_ client: UUID = client, site: String = "b", epoch: Int = 2) -> OwnerRecord {
        OwnerRecord(client: client, site: SiteName(site)!, epoch: epoch)
    }

    static func primary(_ addresses: [String] = [old], mark text: String? = nil) -> FakePrimary {
        FakePrimary(
            addresses.map { .a(domain, IPv4($0)!, ttl: 30) } + (text.map { [.txt(mark, $0, ttl: 30)] } ?? []))
    }

    static func settings(key: String? = nil) throws -> RFC2136Switch.Settings {
        let secret = Data((0..<32).map { UInt8($0) }).base64EncodedString()
        return try RFC2136Switch.Settings(
            server: "127.0.0.1:53", zone: "clients.test",
            key: Secret(key ?? "key \"dr-key\" { algorithm hmac-sha256; secret \"\(secret)\"; };"))
    }

    static func run(
        _ primary: any DNSExchange,
        expected: TrafficRecord = TrafficRecord(addresses: [old], ttlSeconds: 0, owner: nil),
        owner: OwnerRecord = owner()
    ) async throws -> SwitchOutcome {
        try await RFC2136Switch(try settings(), clock: SleepingClock(), exchange: primary)
            .switchOver("acme.clients.test", from: expected, to: [new], owner: owner, ttlSeconds: 30)
    }

    @Test("addresses and mark change together, and doing it twice is doing it once")
    func switches() async throws {
        let primary = Self.primary()
        let outcome = try await Self.run(primary)
        #expect(outcome.change == .switched)
        #expect(outcome.before == TrafficRecord(addresses: [Self.old], ttlSeconds: 30, owner: nil))
        #expect(outcome.after == TrafficRecord(addresses: [Self.new], ttlSeconds: 30, owner: Self.owner()))
        let again = try await Self.run(primary)
        #expect(again.change == .alreadyThere && primary.updates == 1)
    }

    @Test("a lost answer is settled by reading again, whether or not the change was made")
    func lostAnswers() async throws {
        for (losses, change) in [
            ([FakePrimary.Loss.answer], SwitchOutcome.Change.settledByReading), ([.request], .switched),
            ([.request, .answer], .settledByReading),
        ] {
            let primary = Self.primary()
            primary.state.withLock { $0.losses = losses }
            let outcome = try await Self.run(primary)
            #expect(outcome.change == change && outcome.before.addresses == [Self.old])
            #expect(primary.updates == 1)
        }
        let primary = Self.primary()
        primary.state.withLock { $0.losses = [.request, .request] }
        let error = await #expect(throws: TrafficError.self) { try await Self.run(primary) }
        #expect(error?.code == .targetUnreachable && primary.updates == 0)
    }

    @Test("records that someone changed in between are named and left alone")
    func changedInBetween() async throws {
        let primary = Self.primary()
        let theirs: [DNSRecord] = [.a(Self.domain, IPv4("127.0.0.77")!, ttl: 30)]
        primary.state.withLock { $0.intruder = theirs }
        let error = await #expect(throws: TrafficError.self) { try await Self.run(primary) }
        #expect(error?.reason == .changed && error?.message.contains("127.0.0.77") == true)
        #expect(primary.records == theirs)
    }

    @Test("nothing is touched that is not ours: foreign marks, other addresses, newer epochs, aliases, IPv6")
    func refusals() async throws {
        let foreign = Self.owner(Self.other).description
        for (primary, reason, word) in [
            (Self.primary(mark: foreign), TrafficError.Reason.notOurs, Self.other.uuidString.lowercased()),
            (Self.primary(mark: "v=spf1 -all"), .notOurs, "v=spf1"),
            (Self.primary(["127.0.0.77"]), .changed, "127.0.0.77"),
            (Self.primary([Self.old, "127.0.0.77"]), .changed, "127.0.0.77"),
            (Self.primary([Self.new]), .changed, Self.new),
            (Self.primary([]), .changed, "no address"),
            (Self.primary(["127.0.0.77"], mark: Self.owner(epoch: 1).description), .changed, "127.0.0.77"),
            (Self.primary(mark: Self.owner(site: "a", epoch: 3).description), .changed, "epoch 3"),
            (Self.primary(mark: Self.owner(site: "a", epoch: 2).description), .changed, "epoch 2"),
            (
                FakePrimary([DNSRecord(name: Self.domain, type: .aaaa, data: .aaaa(.init(repeating: 1, count: 16)))]),
                .notOurs, "AAAA"
            ),
        ] {
            let before = primary.records
            let error = await #expect(throws: TrafficError.self) { try await Self.run(primary) }
            #expect(error?.reason == reason, "\(error?.message ?? "")")
            #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
            #expect(primary.updates == 0 && primary.records == before)
        }
    }

    @Test("our own mark of an older epoch is replaced, and the way back works the same")
    func thereAndBack() async throws {
        let primary = Self.primary(mark: Self.owner(site: "a", epoch: 1).description)
        let there = try await Self.run(primary)
        let back = try await RFC2136Switch(try Self.settings(), clock: SleepingClock(), exchange: primary).switchOver(
            "acme.clients.test", from: there.after, to: there.before.addresses, owner: Self.owner(site: "a", epoch: 3),
            ttlSeconds: 30)
        #expect(back.change == .switched)
        #expect(back.after.addresses == [Self.old] && back.after.owner?.epoch == 3)
    }

    @Test("a domain outside the zone and wrong settings are named before anything is sent")
    func settings() async throws {
        let failing = FailingExchange(error: TrafficError(.failed, "fake", "asked"))
        let traffic = RFC2136Switch(try Self.settings(), clock: SleepingClock(), exchange: failing)
        for domain in ["acme.other.test", "xclients.test", "a b", "", "*"] {
            let error = await #expect(throws: TrafficError.self) { try await traffic.read(domain) }
            #expect(error?.reason == .settings)
        }
        for addresses in [[], ["::1"], ["127.0.0.1", "127.0.0.1"], ["host"]] {
            let error = await #expect(throws: TrafficError.self) {
                try await traffic.switchOver(
                    "acme.clients.test", from: TrafficRecord(addresses: [], ttlSeconds: 0, owner: nil), to: addresses,
                    owner: Self.owner(), ttlSeconds: 30)
            }
            #expect(error?.reason == .settings)
        }
    }

    @Test("the mark is read in exactly the form in which it is written")
    func ownerRecord() {
        let owner = Self.owner()
        #expect(owner.description == "drp=1 client=00000000-0000-4000-8000-000000000001 site=b epoch=2")
        #expect(OwnerRecord(owner.description) == owner)
        for bad in [
            "", "drp=2", owner.description + " ", owner.description + "x", " " + owner.description,
            owner.description.uppercased(), owner.description.replacingOccurrences(of: "=2", with: "=-2"),
        ] {
            #expect(OwnerRecord(bad) == nil, "\(bad)")
        }
    }

    @Test("an authority that stays old is named, and the others are not blamed")
    func authorities() async throws {
        let servers = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map { DNSServer($0)! }
        let check = AuthorityCheck(servers, clock: SleepingClock()) { server in
            switch server.port {
            case 1: Self.primary([Self.new])
            case 2: Self.primary([Self.old])
            default: FailingExchange(error: TrafficError(.unreachable, "fake", "no connection"))
            }
        }
        let answers = try await check.ask("acme.clients.test", until: [Self.new], deadline: .seconds(5))
        #expect(answers.map(\.agrees) == [true, false, false])
        #expect(answers[1].addresses == [Self.old] && answers[2].problem == "no connection")
        let error = #expect(throws: TrafficError.self) {
            try AuthorityCheck.requireAgreement(answers, domain: "acme.clients.test")
        }
        #expect(error?.reason == .stale)
        #expect(error?.message.contains("127.0.0.1:2: still 127.0.0.11") == true)
        #expect(error?.message.contains("127.0.0.1:3: no connection") == true)
        #expect(error?.message.contains("127.0.0.1:1") == false)
        try AuthorityCheck.requireAgreement([answers[0]], domain: "acme.clients.test")
    }
}
