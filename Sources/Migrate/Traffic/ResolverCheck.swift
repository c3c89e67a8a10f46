package import DRPKit
package import Foundation

/// What one resolver tells its users.
package struct ResolverAnswer: Hashable, Sendable, Codable {
    /// `host:port`.
    package var resolver: String
    package var addresses: [String]
    /// For how many seconds it will go on saying so without asking; 0 without addresses.
    package var ttlSeconds: Int
    package var agrees: Bool
    /// Whether it keeps answers for longer than the records allow.
    package var ignoresTTL: Bool
    package var at: Date
    /// Why there are no addresses, if it could not be asked.
    package var problem: String?

    /// What an operator should know of it; nil if it says what the authorities say.
    package var complaint: String? {
        if let problem { return "resolver \(resolver) could not be asked: \(problem)" }
        let said = addresses.isEmpty ? "no address" : addresses.joined(separator: ", ")
        if ignoresTTL {
            return agrees
                ? "resolver \(resolver) ignores the TTL: it keeps this answer for \(ttlSeconds) s"
                : "resolver \(resolver) ignores the TTL: it still says \(said), for \(ttlSeconds) s more"
        }
        return agrees ? nil : "resolver \(resolver) still says \(said), for \(ttlSeconds) s at most"
    }
}

/// Asks resolvers over TCP what they tell their users. What they say is reported and holds nothing up: the old answer is theirs
/// to give until its TTL has passed, and nobody can take it from them.
package struct ResolverCheck: Sendable {
    /// A change of the records that resolvers may not have seen yet.
    package struct Change: Hashable, Sendable {
        /// When the authorities served the new records.
        package var at: Date
        /// TTL of the records before it.
        package var oldTTLSeconds: Int

        package init(at: Date, oldTTLSeconds: Int) {
            self.at = at
            self.oldTTLSeconds = oldTTLSeconds
        }
    }

    package let resolvers: [DNSServer]
    private let clock: any WallClock
    private let exchange: @Sendable (DNSServer) -> any DNSExchange
    /// For the way of answers and for clocks that count whole seconds.
    private static let slack: TimeInterval = 5

    /// - Parameter exchange: In place of TCP connections, for tests.
    package init(
        _ resolvers: [DNSServer], clock: any WallClock,
        exchange: @escaping @Sendable (DNSServer) -> any DNSExchange = { DNSClient(server: $0, deadline: .seconds(2)) }
    ) {
        self.resolvers = resolvers
        self.clock = clock
        self.exchange = exchange
    }

    /// Asks each once.
    /// - Parameters:
    ///   - addresses: What the authorities serve.
    ///   - ttlSeconds: Of the records that they serve.
    ///   - change: The last one; nil if none is known, then old answers are not held against anybody.
    /// - Returns: One answer a resolver, in the order given.
    /// - Throws: `TrafficError` for a wrong domain, or `CancellationError`.
    package func ask(
        _ domain: String, serving addresses: [String], ttlSeconds: Int, since change: Change?
    ) async throws -> [ResolverAnswer] {
        guard let name = DNSName(domain) else { throw TrafficError(.settings, domain, "it is no domain name") }
        return try await withThrowingTaskGroup(of: (Int, ResolverAnswer).self) { group in
            for (index, resolver) in resolvers.enumerated() {
                group.addTask {
                    (index, try await ask(resolver, name, addresses.sorted(), ttlSeconds: ttlSeconds, since: change))
                }
            }
            var answers: [Int: ResolverAnswer] = [:]
            for try await (index, answer) in group { answers[index] = answer }
            return answers.sorted { $0.key < $1.key }.map(\.value)
        }
    }

    private func ask(
        _ resolver: DNSServer, _ name: DNSName, _ addresses: [String], ttlSeconds: Int, since change: Change?
    ) async throws -> ResolverAnswer {
        var answer = ResolverAnswer(
            resolver: "\(resolver)", addresses: [], ttlSeconds: 0, agrees: false, ignoresTTL: false, at: clock.now)
        do {
            let query = DNSQuery(exchange: exchange(resolver), server: "\(resolver)", key: nil, clock: clock)
            let records = try await query.records(name, .a, of: .resolver)
            answer.addresses = records.compactMap {
                if case .a(let address) = $0.data { address.description } else { nil }
            }.sorted()
            answer.ttlSeconds = Int(records.map(\.ttl).max() ?? 0)
        } catch let error as TrafficError {
            answer.problem = error.text
        }
        answer.at = clock.now
        answer.agrees = answer.addresses == addresses
        let longest = max(ttlSeconds, change?.oldTTLSeconds ?? 0)
        let isLate = change.map {
            !answer.agrees && answer.problem == nil
                && answer.at.timeIntervalSince($0.at) > TimeInterval($0.oldTTLSeconds) + Self.slack
        }
        // More than what any authority ever told it, or an answer that should be forgotten.
        answer.ignoresTTL = isLate == true || (longest > 0 && answer.ttlSeconds > longest)
        return answer
    }
}
