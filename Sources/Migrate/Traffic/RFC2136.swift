package import DRPKit

/// Switches by dynamic update (RFC 2136) signed with TSIG: one message with prerequisites on the exact old
/// addresses and the exact old mark, so that the primary server compares and sets.
package struct RFC2136Switch: TrafficSwitch {
    package struct Settings: Sendable {
        package var server: DNSServer
        package var zone: DNSName
        package var key: TSIGKey
        /// Every server that resolvers may ask, for `AuthorityCheck`; never empty.
        package var authorities: [DNSServer]

        /// - Parameters:
        ///   - server: `host:port` of the primary.
        ///   - key: The content of a BIND key file.
        ///   - authorities: `host:port` each; empty means the server alone.
        package init(server: String, zone: String, key: Secret, authorities: [String] = []) throws(TrafficError) {
            func read(_ text: String) throws(TrafficError) -> DNSServer {
                guard let server = DNSServer(text) else {
                    throw TrafficError(.settings, text, "a DNS server is written HOST:PORT")
                }
                return server
            }
            guard let name = DNSName(zone) else { throw TrafficError(.settings, zone, "the zone is no domain name") }
            self.server = try read(server)
            self.zone = name
            self.key = try TSIGKey.parse(key)
            var servers: [DNSServer] = []
            for text in authorities { servers.append(try read(text)) }
            self.authorities = servers.isEmpty ? [self.server] : servers
        }
    }

    private let settings: Settings
    private let query: DNSQuery

    /// - Parameter exchange: In place of a TCP connection to the server, for tests.
    package init(_ settings: Settings, clock: any WallClock, exchange: (any DNSExchange)? = nil) {
        self.settings = settings
        query = DNSQuery(
            exchange: exchange ?? DNSClient(server: settings.server), server: "\(settings.server)", key: settings.key,
            clock: clock)
    }

    package func read(_ domain: String) async throws -> TrafficRecord { try await look(try names(of: domain)).record }

    package func switchOver(
        _ domain: String, from expected: TrafficRecord, to addresses: [String], owner: OwnerRecord, ttlSeconds: Int
    ) async throws -> SwitchOutcome {
        let names = try names(of: domain)
        let targets = addresses.compactMap(IPv4.init)
        guard !targets.isEmpty, targets.count == addresses.count, Set(targets).count == targets.count else {
            throw TrafficError(.settings, domain, "the new addresses are not different IPv4 addresses: \(addresses)")
        }
        guard (1...86_400).contains(ttlSeconds) else {
            throw TrafficError(.settings, domain, "a TTL of \(ttlSeconds) s is not within 1 s and 1 day")
        }
        let wanted = TrafficRecord(addresses: addresses, ttlSeconds: ttlSeconds, owner: owner)
        var lost: TrafficError?
        var first: TrafficRecord?
        // A second attempt is harmless: it carries the same prerequisites.
        for _ in 0..<2 {
            let found = try await look(names)
            let before = first ?? found.record
            first = before
            let decision = try SwitchDecision.decide(domain, found: found.record, expected: expected, wanted: wanted)
            if decision == .alreadyThere {
                return SwitchOutcome(
                    change: lost == nil ? .alreadyThere : .settledByReading, before: before, after: found.record)
            }
            let update = update(names, found: found, to: targets, owner: owner, ttl: UInt32(ttlSeconds))
            do {
                let answer = try await query.send(update)
                guard answer.code == .noError else { throw query.failure(answer.code) }
                return SwitchOutcome(change: .switched, before: before, after: wanted)
            } catch let error as TrafficError where error.reason == .unreachable {
                lost = error
            } catch let error as TrafficError where error.reason == .changed {
                let now = try await look(names).record
                throw TrafficError(.changed, domain, "\(error.text); now found \(now)")
            }
        }
        let found = try await look(names).record
        if found.owner == owner, found.addresses == wanted.addresses {
            return SwitchOutcome(change: .settledByReading, before: first ?? found, after: found)
        }
        throw lost ?? TrafficError(.unreachable, domain, "no answer")
    }

    // MARK: Names and reading

    private struct Names {
        var domain: DNSName
        var mark: DNSName
    }

    private struct Found {
        var record: TrafficRecord
        var addresses: [IPv4]
        /// The records at the mark's name as they are, for the prerequisites.
        var marks: [DNSRecord]
    }

    private func names(of domain: String) throws(TrafficError) -> Names {
        guard let name = DNSName(domain), let mark = name.child("_drp") else {
            throw TrafficError(.settings, domain, "it is no domain name")
        }
        guard name.isEqualToOrBelow(settings.zone) else {
            throw TrafficError(.settings, domain, "it does not lie in the zone \(settings.zone)")
        }
        return Names(domain: name, mark: mark)
    }

    private func look(_ names: Names) async throws -> Found {
        let subject = "\(names.domain)"
        let addresses = try await query.records(names.domain, .a)
        if let alias = addresses.first(where: { $0.type == .cname }), case .cname(let other) = alias.data {
            throw TrafficError(.notOurs, subject, "it is an alias (CNAME) of \(other), which drp does not switch")
        }
        if !(try await query.records(names.domain, .aaaa)).isEmpty {
            throw TrafficError(.notOurs, subject, "it has IPv6 addresses (AAAA), which a switch would leave behind")
        }
        let marks = try await query.records(names.mark, .txt)
        var owner: OwnerRecord?
        for mark in marks {
            guard marks.count == 1, case .txt(let strings) = mark.data,
                let read = OwnerRecord(String(decoding: strings.joined(), as: UTF8.self))
            else { throw TrafficError(.notOurs, "\(names.mark)", "a mark that drp did not write: \(Self.show(marks))") }
            owner = read
        }
        let values = addresses.compactMap { if case .a(let address) = $0.data { address } else { nil } }
        let record = TrafficRecord(
            addresses: values.map(\.description), ttlSeconds: Int(addresses.map(\.ttl).min() ?? 0), owner: owner)
        return Found(record: record, addresses: values, marks: marks)
    }

    /// Foreign text for people: printable ASCII, at most 120 characters.
    private static func show(_ marks: [DNSRecord]) -> String {
        let texts = marks.map { record in
            guard case .txt(let strings) = record.data else { return record.type.description }
            return String(
                decoding: strings.joined().prefix(120).map { (0x20...0x7e).contains($0) ? $0 : 0x3f }, as: UTF8.self)
        }
        return texts.prefix(3).map { "\"\($0)\"" }.joined(separator: ", ")
    }

    // MARK: Writing

    private func update(
        _ names: Names, found: Found, to addresses: [IPv4], owner: OwnerRecord, ttl: UInt32
    ) -> DNSMessage {
        var prerequisites: [DNSRecord] = [.mustNotExist(names.domain, .cname), .mustNotExist(names.domain, .aaaa)]
        if found.addresses.isEmpty { prerequisites.append(.mustNotExist(names.domain, .a)) }
        prerequisites += found.addresses.map { .a(names.domain, $0) }
        if found.marks.isEmpty { prerequisites.append(.mustNotExist(names.mark, .txt)) }
        prerequisites += found.marks.map { DNSRecord(name: names.mark, type: .txt, data: $0.data) }
        var changes: [DNSRecord] = [.deleteAll(names.domain, .a)]
        changes += addresses.map { .a(names.domain, $0, ttl: ttl) }
        changes += [.deleteAll(names.mark, .txt), .txt(names.mark, owner.description, ttl: ttl)]
        return .update(id: DNSQuery.newID(), zone: settings.zone, prerequisites: prerequisites, changes: changes)
    }
}
