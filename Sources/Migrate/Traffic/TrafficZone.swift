/// The zone of the clients' domains: who changes it, who serves it, and who is asked what users are told.
package struct TrafficZone: Sendable {
    package var records: any TrafficSwitch
    package var authorities: AuthorityCheck
    package var resolvers: ResolverCheck
    /// Of the records that are written.
    package var ttl: Duration

    package init(records: any TrafficSwitch, authorities: AuthorityCheck, resolvers: ResolverCheck, ttl: Duration) {
        self.records = records
        self.authorities = authorities
        self.resolvers = resolvers
        self.ttl = ttl
    }

    var ttlSeconds: Int { Int(ttl.components.seconds) }
}
