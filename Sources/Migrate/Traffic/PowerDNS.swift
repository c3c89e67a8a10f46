package import DRPKit
internal import Foundation

/// Switches by PowerDNS's Authoritative HTTP API (doc.powerdns.com/authoritative/http-api/zone.html; measured with 4.7).
///
/// One PATCH changes addresses and mark together or not at all. It has no condition, so the comparison is ours: read, decide,
/// write, read back. Who writes between our reading and our writing is overwritten; who writes between our writing and our
/// reading back is found, and left alone. PowerDNS takes dynamic updates too (`dnsupdate=yes`), which compare and set.
package struct PowerDNSSwitch: TrafficSwitch {
    package struct Settings: Sendable {
        package var url: String
        package var server: String
        package var zone: DNSName
        package var key: Secret
        package var caFile: String?

        /// - Parameters:
        ///   - url: `https://host:port` of its web server.
        ///   - server: As the API calls it; `localhost` in all of PowerDNS's own.
        package init(
            url: String, server: String, zone: String, key: Secret, caFile: String? = nil
        ) throws(TrafficError) {
            guard let name = DNSName(zone) else { throw TrafficError(.settings, zone, "the zone is no domain name") }
            self.url = url
            self.server = server
            self.zone = name
            self.key = key
            self.caFile = caFile
        }
    }

    private let settings: Settings
    private let http: any HTTPClient
    private let clock: any WallClock

    package init(_ settings: Settings, http: any HTTPClient, clock: any WallClock) {
        self.settings = settings
        self.http = http
        self.clock = clock
    }

    package var comparesAndSets: Bool { false }

    package func read(_ domain: String) async throws -> TrafficRecord {
        try await look(try MarkedName(domain, in: settings.zone))
    }

    package func switchOver(
        _ domain: String, from expected: TrafficRecord, to addresses: [String], owner: OwnerRecord, ttlSeconds: Int
    ) async throws -> SwitchOutcome {
        let names = try MarkedName(domain, in: settings.zone)
        let course = try SwitchCourse(domain, from: expected, to: addresses, owner: owner, ttlSeconds: ttlSeconds)
        return try await course.run(look: { try await look(names) }, record: \.self) { found in
            // Its database may be busy: then it answers 500, and has done nothing or all of it. Reading again tells.
            var busy = Busy(subject: subject, clock: clock)
            while try await !write(course.wanted, names, owner) {
                try await busy.wait()
                let now = try await look(names)
                if now == course.wanted { break }
                guard now == found else { throw TrafficError(.changed, domain, "somebody was faster") }
            }
            let now = try await look(names)
            guard now.owner == owner, now.addresses == course.wanted.addresses else {
                throw TrafficError(.changed, domain, "somebody wrote other records after us")
            }
        }
    }

    /// Waits 50 ms, 100 ms … 1.6 s, and no more.
    private struct Busy {
        var subject: String
        var clock: any WallClock
        private var pause = Duration.milliseconds(50)

        init(subject: String, clock: any WallClock) {
            self.subject = subject
            self.clock = clock
        }

        mutating func wait() async throws {
            guard pause < .seconds(2) else { throw TrafficError(.unreachable, subject, "status 500, time and again") }
            try await clock.sleep(for: pause)
            pause *= 2
        }
    }

    // MARK: Reading

    private struct Zone: Decodable {
        var rrsets: [RecordSet]
    }

    private struct RecordSet: Codable {
        var name: String
        var type: String
        var ttl: Int
        /// Only on the way there.
        var changetype: String?
        var records: [Record]
    }

    private struct Record: Codable {
        /// As in a zone file: texts are quoted.
        var content: String
        var disabled: Bool
    }

    /// What resolvers would follow instead of addresses, or beside them; ALIAS and LUA are PowerDNS's own.
    private static let rivals: Set<String> = ["CNAME", "ALIAS", "LUA", "AAAA"]

    private func look(_ names: MarkedName) async throws -> TrafficRecord {
        let zone = try await sets()
        let atDomain = zone.filter { DNSName($0.name) == names.domain }
        for set in atDomain where Self.rivals.contains(set.type) { throw names.foreign(set.type) }
        let addresses = atDomain.first { $0.type == "A" }
        let marks = zone.first { $0.type == "TXT" && DNSName($0.name) == names.mark }
        guard (addresses?.records ?? []).allSatisfy({ !$0.disabled }),
            marks?.records.contains(where: \.disabled) != true
        else {
            throw TrafficError(.notOurs, "\(names.domain)", "it has disabled records, which a switch would remove")
        }
        // A text of several strings is none of ours: it stays as it is and is refused by its look.
        let owner = try names.owner(
            (marks?.records ?? []).map { record in
                let text = record.content
                return text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"")
                    ? String(text.dropFirst().dropLast()) : text
            })
        let values = try (addresses?.records ?? []).map { record in
            guard let address = IPv4(record.content) else {
                throw TrafficError(.malformed, subject, "an address that is none: \(AnswerText.shown(record.content))")
            }
            return address.description
        }
        return TrafficRecord(addresses: values, ttlSeconds: values.isEmpty ? 0 : addresses?.ttl ?? 0, owner: owner)
    }

    /// Of the whole zone: asked for one name alone (`rrset_name`), it leaves out what is disabled, which a REPLACE removes.
    private func sets() async throws -> [RecordSet] {
        var busy = Busy(subject: subject, clock: clock)
        var answer = try await send(.get)
        while answer.status == 500 {
            try await busy.wait()
            answer = try await send(.get)
        }
        do { return try JSONDecoder().decode(Zone.self, from: Data(answer.body)).rrsets } catch {
            throw TrafficError(.malformed, subject, "an answer that describes no zone")
        }
    }

    // MARK: Writing

    /// - Returns: false if it answers 500.
    private func write(_ wanted: TrafficRecord, _ names: MarkedName, _ owner: OwnerRecord) async throws -> Bool {
        func set(_ name: DNSName, _ type: String, _ contents: [String]) -> RecordSet {
            RecordSet(
                name: "\(name).", type: type, ttl: wanted.ttlSeconds, changetype: "REPLACE",
                records: contents.map { Record(content: $0, disabled: false) })
        }
        let sets = [set(names.domain, "A", wanted.addresses), set(names.mark, "TXT", ["\"\(owner)\""])]
        return try await send(.patch, body: Array(try JSONEncoder().encode(["rrsets": sets]))).status != 500
    }

    // MARK: Asking

    private var subject: String { "PowerDNS at \(settings.url)" }

    /// - Returns: An answer of success, or of 500.
    /// - Throws: `TrafficError`; `.unreachable` means for a PATCH that nobody knows whether it was carried out.
    private func send(_ method: HTTPRequest.Method, body: [UInt8] = []) async throws -> HTTPResponse {
        var request = HTTPRequest(url: "\(settings.url)/api/v1/servers/\(settings.server)/zones/\(settings.zone).")
        request.method = method
        request.body = body
        request.caFile = settings.caFile
        request.maximumBody = ByteCount(64 << 20)
        request.headers = [
            .init(name: "X-API-Key", value: settings.key.withText { $0 }),
            .init(name: "Content-Type", value: "application/json"),
        ]
        let answer: HTTPResponse
        do { answer = try await http.send(request) } catch let error as HTTPError {
            throw TrafficError(error, subject)
        }
        switch answer.status {
        case 200..<300, 500: return answer
        case 401, 403: throw TrafficError(.denied, subject, "it refused the API key (status \(answer.status))")
        case 404:
            throw TrafficError(.settings, subject, "it has no zone \(settings.zone) at a server '\(settings.server)'")
        case 501...:
            throw TrafficError(.unreachable, subject, "status \(answer.status)")
        default:
            let said = String(decoding: answer.body, as: UTF8.self)
            throw TrafficError(.failed, subject, "status \(answer.status): \(AnswerText.shown(said))")
        }
    }
}

extension TrafficError {
    /// Why an HTTP server gave no answer.
    init(_ error: HTTPError, _ subject: String) {
        switch error.reason {
        case .unreachable, .late, .malformed: self.init(.unreachable, subject, error.cause)
        case .untrusted: self.init(.denied, subject, error.cause)
        case .tooLarge: self.init(.malformed, subject, error.cause)
        case .invalidRequest: self.init(.settings, subject, error.cause)
        }
    }
}
