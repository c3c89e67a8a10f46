/// Where a DNS server listens.
package struct DNSServer: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int = 53) {
        self.host = host
        self.port = port
    }

    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`.
    package init?(_ text: String) {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("["), let close = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<close]
            rest = text[text.index(after: close)...]
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
        }
        guard !host.isEmpty, !host.contains(where: \.isWhitespace) else { return nil }
        self.init(host: String(host))
        guard !rest.isEmpty else { return }
        guard rest.first == ":", let port = UInt16(rest.dropFirst()), port > 0 else { return nil }
        self.port = Int(port)
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Sends one DNS message to one server and takes its answer.
package protocol DNSExchange: Sendable {
    /// - Returns: The bytes of the answer; nothing about them has been checked.
    /// - Throws: `TrafficError` with `.unreachable`: whether the server acted on the message is then unknown.
    func exchange(_ message: [UInt8]) async throws -> [UInt8]
}

/// One message there and one back, over TCP (RFC 7766): two bytes of length, then the message.
/// An answer is at most 65,535 bytes because its length has two bytes. May be called from many tasks.
package struct DNSClient: DNSExchange {
    package var server: DNSServer
    /// For connecting and for the answer together.
    package var deadline: Duration

    package init(server: DNSServer, deadline: Duration = .seconds(5)) {
        self.server = server
        self.deadline = deadline
    }

    /// Cancellation closes the connection.
    package func exchange(_ message: [UInt8]) async throws -> [UInt8] {
        precondition(message.count <= Int(UInt16.max), "a DNS message of \(message.count) bytes")
        let length = UInt16(message.count)
        let framed = [UInt8(length >> 8), UInt8(length & 255)] + message
        let exchange = TCPExchange(
            to: .address(host: server.host, port: server.port), subject: "DNS server \(server)", deadline: deadline,
            limit: 2 + Int(UInt16.max))
        return try await exchange.run(framed) { received, _ in
            guard received.count >= 2 else { return nil }
            let end = 2 + Int(received[0]) << 8 + Int(received[1])
            return received.count >= end ? Array(received[2..<end]) : nil
        }
    }
}
