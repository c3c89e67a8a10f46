/// How clients' names are led to their sites.
package struct TrafficSettings: Sendable, Hashable {
    /// Dynamic update (RFC 2136) signed with TSIG (RFC 8945).
    package struct RFC2136: Sendable, Hashable {
        package var server: HostPort
        package var zone: String
        /// The text of a key file as BIND writes it.
        package var key: SecretSource
        /// The servers that must serve a new answer; `server` alone if none is named.
        package var authorities: [HostPort]
    }

    /// PowerDNS's Authoritative HTTP API.
    package struct PowerDNS: Sendable, Hashable {
        static let defaultServer = "localhost"

        /// `https://host:port` of its web server.
        package var url: String
        /// As the API calls the server.
        package var server: String
        package var zone: String
        package var key: SecretSource
        package var ca: String?
        /// The servers that must serve a new answer.
        package var authorities: [HostPort]
    }

    /// AWS's Route 53.
    package struct Route53: Sendable, Hashable {
        static let defaultEndpoint = "https://route53.amazonaws.com"

        /// `https://host:port`.
        package var endpoint: String
        /// As AWS calls it: `Z0123456789ABCDEFGHIJ`.
        package var hostedZone: String
        package var zone: String
        package var ca: String?
        package var access: SecretSource
        package var secret: SecretSource
        package var token: SecretSource?
        /// The servers that must serve a new answer, beside AWS's own word for all of its own; may be empty.
        package var authorities: [HostPort]
    }

    /// Who changes the records.
    package enum DNS: Sendable, Hashable {
        case rfc2136(RFC2136)
        case powerdns(PowerDNS)
        case route53(Route53)

        package var zone: String {
            switch self {
            case .rfc2136(let settings): settings.zone
            case .powerdns(let settings): settings.zone
            case .route53(let settings): settings.zone
            }
        }

        package var authorities: [HostPort] {
            switch self {
            case .rfc2136(let settings): settings.authorities
            case .powerdns(let settings): settings.authorities
            case .route53(let settings): settings.authorities
            }
        }
    }

    /// Where the server of the zone stands.
    package var site: SiteName
    package var ttl: Duration
    package var dns: DNS
    /// Asked what they tell users; nothing waits for them.
    package var resolvers: [HostPort]
}

/// Who is told; read for its shape alone in this version.
package struct NoticeSettings: Sendable, Hashable {
    package var site: SiteName
}
