package import DRPKit

/// How to reach a Redis server: `redis://user:password@host:port/database`, or `rediss://` for TLS.
package struct RedisSettings: Sendable {
    package var side: RedisSide
    package var host: String
    package var port: Int
    /// A unix socket here that leads to the server.
    package var socket: String?
    package var user: String?
    package var password: Secret?
    package var isTLS: Bool
    /// PEM file of the authorities that may have signed the server's certificate; nil: the system's.
    package var caFile: String?

    /// Host and port, for messages.
    package var server: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// - Throws: `.settings`, without the text of the URI.
    package init(uri: Secret, caFile: String? = nil, side: RedisSide) throws(RedisError) {
        self.side = side
        self.caFile = caFile
        let parts: Parts? = uri.withText { Self.parse($0.trimmingNewline) }
        guard let parts else {
            throw RedisError(.settings, side, "", "it is not redis://user:password@host:port/0")
        }
        host = parts.host
        port = parts.port
        user = parts.user
        password = parts.password
        isTLS = parts.isTLS
    }

    private struct Parts {
        var host = ""
        var port = 6379
        var user: String?
        var password: Secret?
        var isTLS = false
    }

    private static func parse(_ text: String) -> Parts? {
        var parts = Parts()
        var rest = text[...]
        if rest.hasPrefix("redis://") {
            rest = rest.dropFirst(8)
        } else if rest.hasPrefix("rediss://") {
            rest = rest.dropFirst(9)
            parts.isTLS = true
        } else {
            return nil
        }
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let path = rest.dropFirst(authority.count)
        // A number of a database may follow; backups hold all of them.
        guard path.isEmpty || path.dropFirst().allSatisfy(\.isNumber) && path.first == "/" else { return nil }
        var address = authority
        if let at = authority.lastIndex(of: "@") {
            let login = authority[..<at]
            address = authority[authority.index(after: at)...]
            let colon = login.firstIndex(of: ":") ?? login.endIndex
            guard let user = decode(login[..<colon]), let password = decode(login[colon...].dropFirst()) else {
                return nil
            }
            if !user.isEmpty { parts.user = String(decoding: user, as: UTF8.self) }
            if !password.isEmpty { parts.password = Secret(password) }
        }
        return place(address, in: parts)
    }

    private static func place(_ address: Substring, in parts: Parts) -> Parts? {
        var parts = parts
        var port = Substring()
        if address.hasPrefix("[") {
            guard let end = address.firstIndex(of: "]") else { return nil }
            parts.host = String(address[address.index(after: address.startIndex)..<end])
            let after = address[address.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { return nil }
            port = after.dropFirst()
        } else {
            let colon = address.firstIndex(of: ":") ?? address.endIndex
            parts.host = String(address[..<colon])
            port = address[colon...].dropFirst()
        }
        guard !parts.host.isEmpty else { return nil }
        if !port.isEmpty {
            guard let number = Int(port), (1...65535).contains(number) else { return nil }
            parts.port = number
        }
        return parts
    }

    /// Undoes `%XX` (RFC 3986, 2.1).
    private static func decode(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self)) else {
                return nil
            }
            bytes += value
            rest = rest.dropFirst(2)
        }
        return bytes
    }
}

extension String {
    fileprivate var trimmingNewline: String {
        var text = self[...]
        while let last = text.unicodeScalars.last, last == "\n" || last == "\r" { text.unicodeScalars.removeLast() }
        return String(text)
    }
}
