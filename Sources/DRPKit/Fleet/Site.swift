/// A datacenter of one provider, or a folder of this machine (`provider: local`).
package struct Site: Sendable, Hashable {
    /// The only way to the hosts: by SSH, with certificates of minutes.
    package struct Bastion: Sendable, Hashable {
        /// What stands in the certificate command for the path of the public key's file.
        package static let publicKey = "{public-key}"
        static let defaultUser = "drp"
        static let defaultPort = 22

        package var address: String
        package var port: Int
        package var user: String
        /// Public keys of who certifies the host keys of bastion and hosts, as `ssh-ed25519 AAAA…`.
        package var authorities: [String]
        /// Whom the certificate must be for; nil for the user.
        package var principal: String?
        /// The program that prints a certificate of minutes, with its arguments; one holds `publicKey`.
        package var certificate: [String]
    }

    package struct Host: Sendable, Hashable {
        package var name: String
        package var address: String
        /// Of its sshd.
        package var port: Int
        /// nil for the bastion's.
        package var user: String?
        package var memory: ByteCount?
        package var disk: ByteCount?
    }

    /// Where clients' traffic arrives.
    package struct Frontend: Sendable, Hashable {
        /// What DNS gets; at a local site also what the processes bind to.
        package var address: String
        /// The runtime API of an HAProxy that all of the site's clients share; with it a client's server is led to where its API
        /// listens.
        package var runtime: HostPort?
    }

    /// A Docker engine that clients are deployed through.
    package struct Docker: Sendable, Hashable {
        package var socket: String
        /// Names of images.
        package var mongo: String
        package var redis: String
        package var edge: String
        /// As `10.213.0.0/16`; nil: the deployer's own choice.
        package var subnets: String?
    }

    package var name: SiteName
    package var provider: String?
    /// Kept free for failovers.
    package var isReserve: Bool
    package var bastion: Bastion?
    package var hosts: [Host]
    package var frontends: [Frontend]
    /// The folder that is the site; only with `provider: local`, where it is required, as is a frontend.
    package var folder: String?
    /// Where its processes listen; nil for the first frontend's address. Only with `provider: local`.
    package var address: String?
    /// Where programs lie that are not in `PATH`, as `mongod` and `redis-server`; only with `provider: local`.
    package var programs: [String: String]
    /// nil unless clients run as containers there.
    package var docker: Docker?

    static let localProvider = "local"

    package var isLocal: Bool { provider == Self.localProvider }
}

/// `host:port`, with an IPv6 address in brackets (RFC 3986, 3.2.2).
package struct HostPort: Sendable, Hashable, Codable, CustomStringConvertible {
    /// A name or an address, without brackets.
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// - Parameter defaultPort: for text without a port; nil refuses such text.
    package init?(_ text: String, defaultPort: Int? = nil) {
        let host: Substring
        var rest: Substring
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
            guard host.contains(":") else { return nil }
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
        }
        guard NetworkText.isHost(String(host)) else { return nil }
        guard let port = rest.isEmpty ? defaultPort : rest.removeFirst() == ":" ? NetworkText.port(rest) : nil else {
            return nil
        }
        self.init(host: String(host), port: port)
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// The shapes of names and addresses in a network.
package enum NetworkText {
    /// Four numbers from 0 to 255.
    package static func isIPv4(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                (1...3).contains(part.utf8.count) && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
                    && UInt8(part) != nil
            }
    }

    /// `https://host` or `https://host:port`, or the same by plain HTTP; no path.
    package static func isOrigin(_ text: String) -> Bool {
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) {
            return HostPort(String(text.dropFirst(scheme.count)), defaultPort: 443) != nil
        }
        return false
    }

    /// A block of IPv4 addresses with a prefix of 8 to 24 bits, and nothing set behind it.
    package static func isBlock(_ text: String) -> Bool {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, isIPv4(String(halves[0])), let length = Int(halves[1]), (8...24).contains(length),
            "\(length)" == halves[1]
        else { return false }
        return halves[0].split(separator: ".").reduce(UInt32(0)) { $0 << 8 | (UInt32($1) ?? 0) } << UInt32(length) == 0
    }

    /// 1 to 253 characters of labels of 1 to 63 lower-case letters, digits and inner hyphens (RFC 1123, 2.1).
    package static func isDomain(_ text: String) -> Bool {
        guard (1...253).contains(text.utf8.count) else { return false }
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { SiteName(String($0)) != nil }
    }

    /// A domain, an IPv4 or an IPv6 address; coarse, since whoever connects finds out.
    package static func isHost(_ text: String) -> Bool {
        if text.contains(":") {
            return (2...45).contains(text.utf8.count)
                && text.utf8.allSatisfy {
                    (0x30...0x3a).contains($0) || (0x41...0x46).contains($0) || (0x61...0x66).contains($0) || $0 == 0x2e
                }
        }
        return isDomain(text.lowercased())
    }

    /// A name of an account: a letter or `_`, then letters, digits and `_.-`, 32 at most.
    package static func isAccount(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.enumerated().allSatisfy { index, byte in
                switch byte {
                case 0x41...0x5a, 0x61...0x7a, 0x5f: true
                case 0x30...0x39, 0x2d, 0x2e: index > 0
                default: false
                }
            }
    }

    /// 1 to 65535 in decimal digits.
    package static func port(_ text: some StringProtocol) -> Int? {
        guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(text), (1...65_535).contains(port)
        else { return nil }
        return port
    }
}
