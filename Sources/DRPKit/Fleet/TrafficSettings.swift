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

    /// Where the server of the zone stands.
    package var site: SiteName
    package var ttl: Duration
    package var dns: RFC2136
    /// Asked what they tell users; nothing waits for them.
    package var resolvers: [HostPort]
}

/// Who is told; read for its shape alone in this version.
package struct NoticeSettings: Sendable, Hashable {
    package var site: SiteName
}
