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

    package var comparesAndSets: Bool { true }

    package func read(_ domain: String) async throws -> TrafficRecord {
        try await look(try MarkedName(domain, in: settings.zone)).record
    }

    package func switchOver(
        _ domain: String, from expected: TrafficRecord, to addresses: [String], owner: OwnerRecord, ttlSeconds: Int
    ) async throws -> SwitchOutcome {
        let names = try MarkedName(domain, in: settings.zone)
        let course = try SwitchCourse(domain, from: expected, to: addresses, owner: owner, ttlSeconds: ttlSeconds)
        return try await course.run(look: { try await look(names) }, record: \.record) { found in
            let update = update(
                names, found: found, to: addresses.compactMap(IPv4.init), owner: owner, ttl: UInt32(ttlSeconds))
            let answer = try await query.send(update)
            guard answer.code == .noError else { throw query.failure(answer.code) }
        }
    }

    // MARK: Reading

    private struct Found {
        var record: TrafficRecord
        var addresses: [IPv4]
        /// The records at the mark's name as they are, for the prerequisites.
        var marks: [DNSRecord]
    }

    private func look(_ names: MarkedName) async throws -> Found {
        let subject = "\(names.domain)"
        let addresses = try await query.records(names.domain, .a)
        if let alias = addresses.first(where: { $0.type == .cname }), case .cname(let other) = alias.data {
            throw TrafficError(.notOurs, subject, "it is an alias (CNAME) of \(other), which drp does not switch")
        }
        if !(try await query.records(names.domain, .aaaa)).isEmpty { throw names.foreign("AAAA") }
        let marks = try await query.records(names.mark, .txt)
        let owner = try names.owner(
            marks.map { record in
                guard case .txt(let strings) = record.data else { return record.type.description }
                return String(decoding: strings.joined(), as: UTF8.self)
            })
        let values = addresses.compactMap { if case .a(let address) = $0.data { address } else { nil } }
        let record = TrafficRecord(
            addresses: values.map(\.description), ttlSeconds: Int(addresses.map(\.ttl).min() ?? 0), owner: owner)
        return Found(record: record, addresses: values, marks: marks)
    }

    // MARK: Writing

    private func update(
        _ names: MarkedName, found: Found, to addresses: [IPv4], owner: OwnerRecord, ttl: UInt32
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
