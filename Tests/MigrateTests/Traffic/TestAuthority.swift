import DRPKit
import Foundation
import Synchronization

@testable import Migrate

/// A real authority that a switch is tried at.
protocol TestAuthority: Sendable {
    /// - Throws: if it was not started.
    init() throws

    static var variables: [String] { get }
    var zone: String { get }
    /// Asked over DNS; nil where it answers none.
    var server: DNSServer? { get }

    func traffic(_ interference: Interference) throws -> any TrafficSwitch
    /// Sets a record set past drp, in the form of a zone file (texts in quotes); without contents it is deleted.
    func set(_ name: String, _ type: String, _ contents: [String]) async throws
}

extension TestAuthority {
    static var isStarted: Bool { variables.allSatisfy { environment[$0] != nil } }

    static func value(_ name: String) throws -> String {
        guard let value = environment[name] else { throw NotStarted(variable: name) }
        return value
    }
}

private let environment = ProcessInfo.processInfo.environment

struct NotStarted: Error { var variable: String }

/// What happens around the first request that changes something.
final class Interference: Sendable {
    typealias Act = @Sendable () async throws -> Void

    struct Acts: Sendable {
        var before: Act?
        var after: Act?
        var losesRequest = false
        var losesAnswer = false
    }

    private let acts: Mutex<Acts>

    init(
        before: Act? = nil, after: Act? = nil, losesRequest: Bool = false, losesAnswer: Bool = false
    ) {
        acts = Mutex(Acts(before: before, after: after, losesRequest: losesRequest, losesAnswer: losesAnswer))
    }

    /// - Returns: nothing to do but for the first change.
    func take(_ isChange: Bool) -> Acts {
        guard isChange else { return Acts() }
        return acts.withLock { acts in
            defer { acts = Acts() }
            return acts
        }
    }
}

struct InterferingHTTP: HTTPClient {
    var live: any HTTPClient
    var interference: Interference

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let acts = interference.take(request.method != .get)
        if let before = acts.before { try await before() }
        let lost = HTTPError(.late, url: request.url, cause: "the answer is lost")
        if acts.losesRequest { throw lost }
        let answer = try await live.send(request)
        if acts.losesAnswer { throw lost }
        if let after = acts.after { try await after() }
        return answer
    }
}

struct InterferingDNS: DNSExchange {
    var live: DNSClient
    var interference: Interference

    func exchange(_ message: [UInt8]) async throws -> [UInt8] {
        let acts = interference.take(message[2] >> 3 & 15 == 5)
        if let before = acts.before { try await before() }
        let lost = TrafficError(.unreachable, "test", "the answer is lost")
        if acts.losesRequest { throw lost }
        let answer = try await live.exchange(message)
        if acts.losesAnswer { throw lost }
        if let after = acts.after { try await after() }
        return answer
    }
}

// MARK: -

struct BINDAuthority: TestAuthority {
    static let variables = ["DRP_TEST_DNS", "DRP_TEST_DNS_ZONE", "DRP_TEST_TSIG_FILE"]

    let zone: String
    let server: DNSServer?
    private let settings: RFC2136Switch.Settings

    init() throws {
        zone = try Self.value("DRP_TEST_DNS_ZONE")
        let key = try String(contentsOfFile: Self.value("DRP_TEST_TSIG_FILE"), encoding: .utf8)
        settings = try RFC2136Switch.Settings(
            server: Self.value("DRP_TEST_DNS"), zone: zone, key: Secret(key))
        server = settings.server
    }

    /// Other tests may hold the cooperative pool for seconds.
    private var client: DNSClient { DNSClient(server: settings.server, deadline: .seconds(60)) }

    func traffic(_ interference: Interference) throws -> any TrafficSwitch {
        RFC2136Switch(
            settings, clock: SystemClock(), exchange: InterferingDNS(live: client, interference: interference))
    }

    func set(_ name: String, _ type: String, _ contents: [String]) async throws {
        let types: [String: DNSType] = ["A": .a, "AAAA": .aaaa, "CNAME": .cname, "TXT": .txt]
        guard let name = DNSName(name), let type = types[type] else { throw NotStarted(variable: name) }
        let records = contents.map { content in
            let data: DNSData =
                switch type {
                case .a: .a(IPv4(content)!)
                case .aaaa: .aaaa([UInt8](repeating: 0, count: 15) + [1])
                case .cname: .cname(DNSName(content)!)
                default: .txt([Array(content.dropFirst().dropLast().utf8)])
                }
            return DNSRecord(name: name, type: type, ttl: 5, data: data)
        }
        let update = DNSMessage.update(
            id: DNSQuery.newID(), zone: settings.zone, prerequisites: [],
            changes: [.deleteAll(name, type)] + records)
        let query = DNSQuery(exchange: client, server: "test", key: settings.key, clock: SystemClock())
        let answer = try await query.send(update)
        guard answer.code == .noError else { throw query.failure(answer.code) }
    }
}

struct PowerDNSAuthority: TestAuthority {
    static let variables = ["DRP_TEST_POWERDNS", "DRP_TEST_POWERDNS_DNS", "DRP_TEST_POWERDNS_KEY_FILE"]

    let zone = "clients.test"
    let url: String
    let server: DNSServer?
    let key: String

    init() throws {
        url = try Self.value("DRP_TEST_POWERDNS")
        server = DNSServer(try Self.value("DRP_TEST_POWERDNS_DNS"))
        key = try String(contentsOfFile: Self.value("DRP_TEST_POWERDNS_KEY_FILE"), encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func traffic(_ interference: Interference) throws -> any TrafficSwitch {
        let settings = try PowerDNSSwitch.Settings(url: url, server: "localhost", zone: zone, key: Secret(key))
        return PowerDNSSwitch(
            settings, http: InterferingHTTP(live: CurlClient(), interference: interference), clock: SystemClock())
    }

    func set(_ name: String, _ type: String, _ contents: [String]) async throws {
        try await set(name, type, contents, isDisabled: false)
    }

    func set(_ name: String, _ type: String, _ contents: [String], isDisabled: Bool) async throws {
        let records = contents.map { JSONValue.object(["content": .text($0), "disabled": .boolean(isDisabled)]) }
        let set: JSONValue = [
            "name": .text("\(name)."), "type": .text(type), "ttl": 5,
            "changetype": contents.isEmpty ? "DELETE" : "REPLACE", "records": .list(records),
        ]
        var request = HTTPRequest(url: "\(url)/api/v1/servers/localhost/zones/\(zone).")
        request.method = .patch
        request.headers = [.init(name: "X-API-Key", value: key)]
        request.body = Array(try JSONValue.object(["rrsets": [set]]).json().utf8)
        var answer = try await CurlClient().send(request)
        // Other tests keep its database busy.
        for _ in 0..<50 where answer.status == 500 {
            try await SystemClock().sleep(for: .milliseconds(50))
            answer = try await CurlClient().send(request)
        }
        guard answer.status == 204 else {
            throw TrafficError(.failed, name, String(decoding: answer.body, as: UTF8.self))
        }
    }
}

/// The emulator checks no signatures and answers no DNS.
struct Route53Authority: TestAuthority {
    static let variables = ["DRP_TEST_ROUTE53", "DRP_TEST_ROUTE53_ZONE_ID"]

    let zone = "clients.test"
    let server: DNSServer? = nil
    let endpoint: String
    private let id: String

    init() throws {
        endpoint = try Self.value("DRP_TEST_ROUTE53")
        id = try Self.value("DRP_TEST_ROUTE53_ZONE_ID")
    }

    func traffic(_ interference: Interference) throws -> any TrafficSwitch {
        try traffic(InterferingHTTP(live: CurlClient(), interference: interference))
    }

    func traffic(_ http: any HTTPClient, hostedZone: String? = nil) throws -> any TrafficSwitch {
        Route53Switch(
            try Route53Switch.Settings(endpoint: endpoint, hostedZone: hostedZone ?? id, zone: zone), http: http,
            clock: SystemClock()
        ) { AWSCredentials(access: "AKIDTEST", secret: Secret("not-checked")) }
    }

    func set(_ name: String, _ type: String, _ contents: [String]) async throws {
        let records = contents.map { "<ResourceRecord><Value>\($0)</Value></ResourceRecord>" }.joined()
        let body = "<TTL>5</TTL><ResourceRecords>\(records)</ResourceRecords>"
        guard contents.isEmpty else { return try await change("UPSERT", name, type, body) }
        // A deletion must say what is there.
        let list = HTTPRequest(url: "\(endpoint)/2013-04-01/hostedzone/\(id)/rrset?maxitems=20&name=\(name).")
        let root = XMLElement.parse(try await CurlClient().send(list).body)
        let found = root?.all("ResourceRecordSets").first?.all("ResourceRecordSet").first {
            $0.text("Name") == "\(name)." && $0.text("Type") == type
        }
        guard let found else { return }
        let values = found.all("ResourceRecords").first?.all("ResourceRecord").compactMap { $0.text("Value") } ?? []
        let old = values.map { "<ResourceRecord><Value>\($0)</Value></ResourceRecord>" }.joined()
        try await change(
            "DELETE", name, type,
            "<TTL>\(found.text("TTL") ?? "")</TTL><ResourceRecords>\(old)</ResourceRecords>")
    }

    /// - Parameter body: Of the record set, behind name and type.
    func change(_ action: String, _ name: String, _ type: String, _ body: String) async throws {
        var request = HTTPRequest(url: "\(endpoint)/2013-04-01/hostedzone/\(id)/rrset/")
        request.method = .post
        request.body = Array(
            """
            <?xml version="1.0"?><ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/">\
            <ChangeBatch><Changes><Change><Action>\(action)</Action><ResourceRecordSet><Name>\(name).</Name>\
            <Type>\(type)</Type>\(body)</ResourceRecordSet></Change></Changes></ChangeBatch>\
            </ChangeResourceRecordSetsRequest>
            """.utf8)
        let answer = try await CurlClient().send(request)
        guard answer.status == 200 else {
            throw TrafficError(.failed, name, String(decoding: answer.body, as: UTF8.self))
        }
    }
}
