package import DRPKit
internal import Foundation

/// Switches by Route 53's REST API (docs.aws.amazon.com/Route53/latest/APIReference, version 2013-04-01), signed by SigV4.
///
/// One batch deletes exactly the old records and creates the new ones, addresses and mark together. Route 53 carries a batch out
/// as a whole or not at all, and refuses one that deletes what is not there as it says, or creates what is there: it compares and
/// sets. Then it is asked until it says INSYNC, which is its word for all of its own servers.
package struct Route53Switch: TrafficSwitch {
    package struct Settings: Sendable {
        package var endpoint: String
        package var hostedZone: String
        package var zone: DNSName
        package var caFile: String?

        /// - Parameters:
        ///   - endpoint: `https://host:port`.
        ///   - hostedZone: As AWS calls it: `Z0123456789ABCDEFGHIJ`.
        package init(
            endpoint: String, hostedZone: String, zone: String, caFile: String? = nil
        ) throws(TrafficError) {
            guard let name = DNSName(zone) else { throw TrafficError(.settings, zone, "the zone is no domain name") }
            self.endpoint = endpoint
            self.hostedZone = hostedZone
            self.zone = name
            self.caFile = caFile
        }
    }

    private let settings: Settings
    private let http: any HTTPClient
    private let clock: any WallClock
    private let credentials: @Sendable () async throws -> AWSCredentials

    private static let namespace = "https://route53.amazonaws.com/doc/2013-04-01/"
    /// Route 53 signs for this region alone.
    private static let region = "us-east-1"
    private static let patience = Duration.seconds(120)

    /// - Parameter credentials: What proves who we are, fetched for each reading and each switch.
    package init(
        _ settings: Settings, http: any HTTPClient, clock: any WallClock,
        credentials: @escaping @Sendable () async throws -> AWSCredentials
    ) {
        self.settings = settings
        self.http = http
        self.clock = clock
        self.credentials = credentials
    }

    package var comparesAndSets: Bool { true }

    package func read(_ domain: String) async throws -> TrafficRecord {
        let names = try MarkedName(domain, in: settings.zone)
        return try await look(names, try await credentials()).record
    }

    package func switchOver(
        _ domain: String, from expected: TrafficRecord, to addresses: [String], owner: OwnerRecord, ttlSeconds: Int
    ) async throws -> SwitchOutcome {
        let names = try MarkedName(domain, in: settings.zone)
        let course = try SwitchCourse(domain, from: expected, to: addresses, owner: owner, ttlSeconds: ttlSeconds)
        let credentials = try await credentials()
        var change: String?
        let outcome = try await course.run(look: { try await look(names, credentials) }, record: \.record) { found in
            change = try await write(course.wanted, names, owner, in: found, credentials)
        }
        // After a lost answer nobody knows the change's name; then the authorities that are asked tell.
        if let change { try await waitUntilServed(change, domain, credentials) }
        return outcome
    }

    // MARK: Reading

    private struct RecordSet {
        var name: DNSName
        var type: String
        var ttl: Int
        var values: [String]
        var isAlias: Bool
        /// Whether it is one of several by weight, place or health.
        var isRouted: Bool

        init?(_ element: XMLElement) {
            guard let name = element.text("Name").flatMap({ DNSName($0) }), let type = element.text("Type") else {
                return nil
            }
            self.name = name
            self.type = type
            ttl = element.text("TTL").flatMap { Int($0) } ?? 0
            values = element.all("ResourceRecords").first?.all("ResourceRecord").compactMap { $0.text("Value") } ?? []
            isAlias = !element.all("AliasTarget").isEmpty
            isRouted = element.text("SetIdentifier") != nil
        }

        init(_ name: DNSName, _ type: String, ttl: Int, _ values: [String]) {
            (self.name, self.type, self.ttl, self.values) = (name, type, ttl, values)
            (isAlias, isRouted) = (false, false)
        }

        var xml: String {
            let records = values.map { "<ResourceRecord><Value>\(Self.escaped($0))</Value></ResourceRecord>" }
            return "<ResourceRecordSet><Name>\(name).</Name><Type>\(type)</Type><TTL>\(ttl)</TTL>"
                + "<ResourceRecords>\(records.joined())</ResourceRecords></ResourceRecordSet>"
        }

        private static func escaped(_ text: String) -> String {
            text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
        }
    }

    private struct Found {
        var record: TrafficRecord
        /// As they stand there, for the batch that deletes them.
        var old: [RecordSet]
    }

    private func look(_ names: MarkedName, _ credentials: AWSCredentials) async throws -> Found {
        let atDomain = try await sets(names.domain, credentials)
        for type in ["CNAME", "AAAA"] where atDomain.contains(where: { $0.type == type }) { throw names.foreign(type) }
        let addresses = atDomain.first { $0.type == "A" }
        let marks = try await sets(names.mark, credentials).first { $0.type == "TXT" }
        for set in [addresses, marks].compactMap(\.self) where set.isAlias || set.isRouted {
            throw TrafficError(
                .notOurs, "\(set.name)",
                set.isAlias ? "it is an alias of something inside AWS" : "it is one of several by a routing policy")
        }
        let owner = try names.owner(
            (marks?.values ?? []).map { text in
                text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"")
                    ? String(text.dropFirst().dropLast()) : text
            })
        let values = try (addresses?.values ?? []).map { value in
            guard let address = IPv4(value) else {
                throw TrafficError(.malformed, subject, "an address that is none: \(AnswerText.shown(value))")
            }
            return address.description
        }
        let record = TrafficRecord(
            addresses: values, ttlSeconds: values.isEmpty ? 0 : addresses?.ttl ?? 0, owner: owner)
        return Found(record: record, old: [addresses, marks].compactMap(\.self))
    }

    private func sets(_ name: DNSName, _ credentials: AWSCredentials) async throws -> [RecordSet] {
        let root = try await send(
            .get, "hostedzone/\(settings.hostedZone)/rrset", [("maxitems", "100"), ("name", "\(name).")], credentials)
        guard root.name == "ListResourceRecordSetsResponse" else { throw malformed() }
        let all = root.all("ResourceRecordSets").first?.all("ResourceRecordSet") ?? []
        // The list goes on with the names that follow; those are not ours to look at.
        let ours = all.compactMap(RecordSet.init).filter { $0.name == name }
        guard ours.count < 100 else {
            throw TrafficError(.notOurs, "\(name)", "it has 100 record sets or more, by some routing policy")
        }
        return ours
    }

    // MARK: Writing

    /// - Returns: The name of the change.
    private func write(
        _ wanted: TrafficRecord, _ names: MarkedName, _ owner: OwnerRecord, in found: Found,
        _ credentials: AWSCredentials
    ) async throws -> String {
        let new = [
            RecordSet(names.domain, "A", ttl: wanted.ttlSeconds, wanted.addresses),
            RecordSet(names.mark, "TXT", ttl: wanted.ttlSeconds, ["\"\(owner)\""]),
        ]
        let changes =
            found.old.map { "<Change><Action>DELETE</Action>\($0.xml)</Change>" }
            + new.map { "<Change><Action>CREATE</Action>\($0.xml)</Change>" }
        let body =
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ChangeResourceRecordSetsRequest xmlns=\"\(Self.namespace)\">"
            + "<ChangeBatch><Changes>\(changes.joined())</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
        let root = try await send(
            .post, "hostedzone/\(settings.hostedZone)/rrset/", [], credentials, body: Array(body.utf8))
        guard let id = root.all("ChangeInfo").first?.text("Id")?.split(separator: "/").last,
            id.utf8.allSatisfy({
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
            })
        else { throw malformed() }
        return String(id)
    }

    /// - Throws: `.stale` if Route 53 does not say INSYNC in time; the change is made then, and not known to be served.
    private func waitUntilServed(_ change: String, _ domain: String, _ credentials: AWSCredentials) async throws {
        let end = clock.now.addingTimeInterval(Self.patience / .seconds(1))
        var pause = Duration.milliseconds(250)
        while true {
            let root = try await send(.get, "change/\(change)", [], credentials)
            guard let status = root.all("ChangeInfo").first?.text("Status") else { throw malformed() }
            if status == "INSYNC" { return }
            guard clock.now < end else {
                throw TrafficError(
                    .stale, domain, "Route 53 still says \(AnswerText.shown(status)) of change \(change)")
            }
            try await clock.sleep(for: pause)
            pause = min(pause * 2, .seconds(2))
        }
    }

    // MARK: Asking

    private var subject: String { "Route 53 at \(settings.endpoint)" }

    private func malformed() -> TrafficError {
        TrafficError(.malformed, subject, "an answer that we do not understand")
    }

    /// Sends a request, and again while Route 53 says that it has not looked at it.
    /// - Parameter path: Plain characters alone, so that it is signed as it is.
    /// - Returns: The root of the answer.
    /// - Throws: `TrafficError`; `.unreachable` means for a batch that nobody knows whether it was carried out, `.changed` that
    ///   it was refused as a whole.
    private func send(
        _ method: HTTPRequest.Method, _ path: String, _ query: [(name: String, value: String)],
        _ credentials: AWSCredentials, body: [UInt8] = []
    ) async throws -> XMLElement {
        var attempt = 0
        while true {
            attempt += 1
            let answer = try await exchange(method, path, query, credentials, body)
            let root = XMLElement.parse(answer.body)
            if (200..<300).contains(answer.status) {
                guard let root else { throw malformed() }
                return root
            }
            let failure = Failure(root)
            guard failure.isNotYet, attempt < 5 else { throw error(answer.status, failure) }
            try await clock.sleep(for: .seconds(attempt))
        }
    }

    private func exchange(
        _ method: HTTPRequest.Method, _ path: String, _ query: [(name: String, value: String)],
        _ credentials: AWSCredentials, _ body: [UInt8]
    ) async throws -> HTTPResponse {
        let path = "/2013-04-01/\(path)"
        let canonical = SigV4.canonical(query)
        var request = HTTPRequest(url: "\(settings.endpoint)\(path)" + (canonical.isEmpty ? "" : "?\(canonical)"))
        request.method = method
        request.body = body
        request.caFile = settings.caFile
        request.maximumBody = ByteCount(4 << 20)
        if !body.isEmpty { request.headers = [.init(name: "Content-Type", value: "text/xml")] }
        SigV4(credentials: credentials, region: Self.region, service: "route53").sign(
            &request, host: SigV4.host(of: settings.endpoint), path: path, query: query,
            payload: ContentHash(hashing: body), at: clock.now)
        do { return try await http.send(request) } catch let error as HTTPError { throw TrafficError(error, subject) }
    }

    /// What an answer says of why it did nothing.
    private struct Failure {
        var code: String
        var text: String

        /// `<ErrorResponse><Error><Code/><Message/>`; a refused batch is `<InvalidChangeBatch><Messages><Message/>`.
        init(_ root: XMLElement?) {
            let error = root?.name == "Error" ? root : root?.all("Error").first
            let messages = root?.all("Messages").first?.all("Message").map(\.text).joined(separator: "; ")
            code = AnswerText.shown(error?.text("Code") ?? root?.name ?? "")
            text = AnswerText.shown(error?.text("Message") ?? messages ?? root?.text("Message") ?? "")
        }

        /// Too many requests, or the change before this one is not done.
        var isNotYet: Bool { code.hasPrefix("Throttling") || code == "PriorRequestNotComplete" }
    }

    private func error(_ status: Int, _ failure: Failure) -> TrafficError {
        let said = failure.code.isEmpty ? "status \(status)" : "\(failure.code), status \(status)"
        return switch (failure.code, status) {
        case ("InvalidChangeBatch", _): TrafficError(.changed, subject, "it refused the batch (\(failure.text))")
        case ("NoSuchHostedZone", _):
            TrafficError(.settings, subject, "there is no hosted zone \(settings.hostedZone)")
        case (_, 401), (_, 403): TrafficError(.denied, subject, "it refused the key (\(said))")
        case (_, 500...): TrafficError(.unreachable, subject, said)
        default: TrafficError(failure.isNotYet ? .unreachable : .failed, subject, "\(said): \(failure.text)")
        }
    }
}
