package import DRPKit
package import Foundation

/// What one authority said last.
package struct AuthorityAnswer: Hashable, Sendable, Codable {
    /// `host:port`.
    package var authority: String
    package var addresses: [String]
    package var agrees: Bool
    /// When it said so.
    package var at: Date
    /// Why there are no addresses, if it could not be asked.
    package var problem: String?

    package init(authority: String, addresses: [String], agrees: Bool, at: Date, problem: String? = nil) {
        self.authority = authority
        self.addresses = addresses
        self.agrees = agrees
        self.at = at
        self.problem = problem
    }
}

/// Asks every authority over TCP until each serves exactly the new addresses.
package struct AuthorityCheck: Sendable {
    private let authorities: [DNSServer]
    private let clock: any WallClock
    private let exchange: @Sendable (DNSServer) -> any DNSExchange
    private let pause: Duration

    /// - Parameter exchange: In place of TCP connections, for tests.
    package init(
        _ authorities: [DNSServer], clock: any WallClock, pause: Duration = .milliseconds(250),
        exchange: @escaping @Sendable (DNSServer) -> any DNSExchange = { DNSClient(server: $0, deadline: .seconds(2)) }
    ) {
        self.authorities = authorities
        self.clock = clock
        self.pause = pause
        self.exchange = exchange
    }

    /// - Returns: One answer an authority, in the order given; those that did not agree in time say what
    ///   they answered last. Use `requireAgreement` to make an error of them.
    /// - Throws: `TrafficError` for a wrong domain, or `CancellationError`.
    package func ask(_ domain: String, until addresses: [String], deadline: Duration) async throws -> [AuthorityAnswer]
    {
        guard let name = DNSName(domain) else { throw TrafficError(.settings, domain, "it is no domain name") }
        let end = clock.now.addingTimeInterval(deadline / .seconds(1))
        return try await withThrowingTaskGroup(of: (Int, AuthorityAnswer).self) { group in
            for (index, authority) in authorities.enumerated() {
                group.addTask { (index, try await follow(authority, name, until: addresses.sorted(), end: end)) }
            }
            var answers: [Int: AuthorityAnswer] = [:]
            for try await (index, answer) in group { answers[index] = answer }
            return answers.sorted { $0.key < $1.key }.map(\.value)
        }
    }

    /// - Throws: `.stale`, naming each authority that does not serve the new addresses and what it serves.
    package static func requireAgreement(_ answers: [AuthorityAnswer], domain: String) throws(TrafficError) {
        let stale = answers.filter { !$0.agrees }.map { answer in
            let said = answer.addresses.isEmpty ? "no address" : answer.addresses.joined(separator: ", ")
            return "\(answer.authority): \(answer.problem ?? "still \(said)")"
        }
        guard stale.isEmpty else {
            throw TrafficError(
                .stale, domain, "not every authority serves the new addresses (\(stale.joined(separator: "; ")))")
        }
    }

    private func follow(
        _ authority: DNSServer, _ name: DNSName, until addresses: [String], end: Date
    ) async throws -> AuthorityAnswer {
        let query = DNSQuery(exchange: exchange(authority), server: "\(authority)", key: nil, clock: clock)
        while true {
            var answer = AuthorityAnswer(authority: "\(authority)", addresses: [], agrees: false, at: clock.now)
            do {
                let records = try await query.records(name, .a)
                answer.addresses = records.compactMap {
                    if case .a(let address) = $0.data { address.description } else { nil }
                }.sorted()
                answer.agrees = answer.addresses == addresses
            } catch let error as TrafficError {
                answer.problem = error.text
            }
            answer.at = clock.now
            if answer.agrees || clock.now >= end { return answer }
            try await clock.sleep(for: pause)
        }
    }
}
