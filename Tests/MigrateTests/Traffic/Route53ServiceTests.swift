import DRPKit
import Foundation
import Synchronization
import Testing

@testable import Migrate

@Suite("Switch by Route 53, at an emulator", .enabled(if: Route53Authority.isStarted, "start with script/test"))
struct Route53ServiceTests {
    private let domain = "r\(UUID().uuidString.prefix(13).lowercased()).clients.test"
    private let owner = OwnerRecord(client: UUID(), site: SiteName("b")!, epoch: 1)
    private let nothing = TrafficRecord(addresses: [], ttlSeconds: 0, owner: nil)

    @Test("a switch ends when Route 53 says that all of its servers have it, and not before")
    func waits() async throws {
        let http = Recording(live: CurlClient())
        let outcome = try await Route53Authority().traffic(http).switchOver(
            domain, from: nothing, to: ["127.0.0.12"], owner: owner, ttlSeconds: 5)
        #expect(outcome.change == .switched)
        let asked = http.exchanges.withLock { $0 }
        #expect(asked.last?.url.contains("/2013-04-01/change/") == true)
        #expect(asked.last?.answer.contains("INSYNC") == true)
        #expect(asked.contains { $0.url.contains("/change/") && $0.answer.contains("PENDING") })
        // The old and the new in one batch, and the key nowhere but in the signature.
        #expect(asked.count { $0.isChange } == 1)
        #expect(asked.allSatisfy { !$0.url.contains("not-checked") })
    }

    @Test("a request that comes too soon is made again; one that nobody answers to its end is unknown")
    func again() async throws {
        let soon = Recording(live: CurlClient(), first: (400, "Throttling"))
        let outcome = try await Route53Authority().traffic(soon).switchOver(
            domain, from: nothing, to: ["127.0.0.12"], owner: owner, ttlSeconds: 5)
        #expect(outcome.change == .switched && soon.exchanges.withLock { $0.count { $0.isChange } } == 2)
        let broken = Recording(live: CurlClient(), first: (503, "ServiceUnavailable"))
        let settled = try await Route53Authority().traffic(broken).switchOver(
            domain, from: outcome.after, to: ["127.0.0.13"],
            owner: OwnerRecord(client: owner.client, site: owner.site, epoch: 2), ttlSeconds: 5)
        #expect(settled.change == .switched)
        let denied = Recording(live: CurlClient(), first: (403, "SignatureDoesNotMatch"))
        let error = await #expect(throws: TrafficError.self) {
            try await Route53Authority().traffic(denied).switchOver(
                domain, from: settled.after, to: ["127.0.0.14"],
                owner: OwnerRecord(client: owner.client, site: owner.site, epoch: 3), ttlSeconds: 5)
        }
        #expect(error?.code == .targetDenied && error?.message.contains("SignatureDoesNotMatch") == true)
    }

    @Test("aliases inside AWS and routing policies are somebody's, and an unknown zone is said")
    func foreign() async throws {
        let authority = try Route53Authority()
        try await authority.change(
            "CREATE", domain, "A",
            "<SetIdentifier>one</SetIdentifier><Weight>10</Weight><TTL>5</TTL><ResourceRecords><ResourceRecord>"
                + "<Value>127.0.0.11</Value></ResourceRecord></ResourceRecords>")
        let routed = await #expect(throws: TrafficError.self) {
            try await authority.traffic(Interference()).read(domain)
        }
        #expect(routed?.reason == .notOurs && routed?.message.contains("routing policy") == true)
        let unknown = await #expect(throws: TrafficError.self) {
            try await authority.traffic(CurlClient(), hostedZone: "Z000").read(domain)
        }
        #expect(unknown?.reason == .settings && unknown?.message.contains("Z000") == true)
    }
}

/// Keeps what was asked, and may answer the first change by itself.
private final class Recording: HTTPClient {
    struct Exchange: Sendable {
        var url: String
        var isChange: Bool
        var answer: String
    }

    let exchanges = Mutex<[Exchange]>([])
    private let live: CurlClient
    private let first: Mutex<(status: Int, code: String)?>

    init(live: CurlClient, first: (status: Int, code: String)? = nil) {
        self.live = live
        self.first = Mutex(first)
    }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let isChange = request.method == .post
        let own: (status: Int, code: String)? =
            isChange
            ? first.withLock { first in
                defer { first = nil }
                return first
            } : nil
        let answer =
            if let own {
                HTTPResponse(
                    status: own.status, headers: [],
                    body: Array("<ErrorResponse><Error><Code>\(own.code)</Code></Error></ErrorResponse>".utf8))
            } else {
                try await live.send(request)
            }
        exchanges.withLock {
            $0.append(
                Exchange(url: request.url, isChange: isChange, answer: String(decoding: answer.body, as: UTF8.self)))
        }
        return answer
    }
}
