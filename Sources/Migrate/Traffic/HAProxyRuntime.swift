package import DRPKit

/// HAProxy's runtime API over TCP (docs.haproxy.org/2.6/management.html, 9.3; measured with 2.6): a line of commands there, their
/// answers back, and it closes.
///
/// Whoever reaches it may do everything: it has neither passwords nor TLS. Sites with a bastion are reached through that.
package struct HAProxyRuntime: Sendable {
    /// A server of a backend, as `show servers state` has it.
    package struct Server: Hashable, Sendable {
        package var name: String
        package var place: HostPort
        /// Whether somebody has taken it out of service: maintenance or draining.
        package var isWithdrawn: Bool
        /// Whether HAProxy sends requests to it, and its check, if it has one, has passed.
        package var isUp: Bool
    }

    package let place: HostPort
    private let way: SiteReach.Way?
    private let deadline: Duration

    /// - Parameter way: Leads to the address inside its site; nil where it is reached as it is.
    package init(_ place: HostPort, way: SiteReach.Way? = nil, deadline: Duration = .seconds(3)) {
        self.place = place
        self.way = way
        self.deadline = deadline
    }

    /// - Throws: `TrafficError`: `.unreachable`, or `.settings` if it has no such backend.
    package func servers(of backend: String) async throws -> [Server] {
        let text = try await ask("show servers state \(backend)")
        if text.hasPrefix("Can't find backend") {
            throw TrafficError(.settings, subject, "it has no backend '\(backend)'")
        }
        guard let servers = Self.servers(in: text) else {
            throw TrafficError(.malformed, subject, "it answered: \(AnswerText.shown(text))")
        }
        return servers
    }

    /// Leads a server elsewhere and takes it into service. Its check begins anew: nothing of the old place counts for the new one.
    /// - Throws: as `servers`; `.failed` for an answer that is no success.
    package func lead(_ server: String, of backend: String, to target: HostPort) async throws {
        let name = "\(backend)/\(server)"
        let commands = [
            "set server \(name) state maint", "set server \(name) addr \(target.host) port \(target.port)",
            "set server \(name) state ready",
        ]
        let text = try await ask(commands.joined(separator: "; "))
        let lines = text.split(separator: "\n")
        // Success is silence, and what was changed.
        guard lines.allSatisfy({ $0.contains(" by 'stats socket command'") && !$0.hasPrefix("Invalid") }) else {
            throw TrafficError(.failed, subject, "it answered: \(AnswerText.shown(text))")
        }
    }

    /// Takes a server out of service: requests for it are refused from now on.
    package func withdraw(_ server: String, of backend: String) async throws {
        let text = try await ask("set server \(backend)/\(server) state maint")
        guard text.allSatisfy(\.isWhitespace) else {
            throw TrafficError(.failed, subject, "it answered: \(AnswerText.shown(text))")
        }
    }

    private var subject: String { "HAProxy at \(place)" }

    private func ask(_ line: String) async throws -> String {
        let target: TCPExchange.Target =
            if let way { .socket(try await way(place)) } else { .address(host: place.host, port: place.port) }
        let exchange = TCPExchange(to: target, subject: subject, deadline: deadline, limit: 1 << 20)
        let answer = try await exchange.run(Array("\(line)\n".utf8)) { received, hasEnded in
            hasEnded && !received.isEmpty ? received : nil
        }
        return String(decoding: answer, as: UTF8.self)
    }

    /// Reads version 1 of the format: columns by their names in the line that begins with `#`.
    /// - Returns: nil for anything else.
    static func servers(in text: String) -> [Server]? {
        let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
        guard lines.count >= 2, lines[0] == ["1"], lines[1].first == "#" else { return nil }
        let names = lines[1].dropFirst().map(String.init)
        var servers: [Server] = []
        for line in lines.dropFirst(2) {
            let row = Dictionary(zip(names, line.map(String.init)), uniquingKeysWith: { first, _ in first })
            func number(_ name: String) -> Int? { row[name].flatMap { Int($0) } }
            guard let name = row["srv_name"], let host = row["srv_addr"], let port = number("srv_port"),
                let operation = number("srv_op_state"), let administration = number("srv_admin_state"),
                let checking = number("srv_check_state"), let result = number("srv_check_result")
            else { return nil }
            // Bit 2 only says what the configuration began with; bits 1 and 2 of the check: configured and enabled.
            let isWithdrawn = administration & ~4 != 0
            let isChecked = checking & 6 == 6
            servers.append(
                Server(
                    name: name, place: HostPort(host: host, port: port), isWithdrawn: isWithdrawn,
                    isUp: operation == 2 && !isWithdrawn && (!isChecked || result >= 3)))
        }
        return servers
    }
}
