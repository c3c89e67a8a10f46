/// What clients of one kind have in common: `production`, `preprod`, `staging`.
package struct ClientEnvironment: Sendable, Hashable {
    package var name: EnvironmentName
    package var policy: PolicyName
    package var objectives: Objectives

    /// The environment whose clients must survive the loss of their site.
    package var isProduction: Bool { name.text == "production" }
}

/// What a client was promised.
package struct Objectives: Sendable, Hashable, Codable {
    /// The most data that may be lost, as time.
    package var rpo: Duration?
    /// The longest time from declaring a loss to serving again.
    package var rto: Duration?
    /// Percent of a month.
    package var availability: Double?

    package init(rpo: Duration? = nil, rto: Duration? = nil, availability: Double? = nil) {
        self.rpo = rpo
        self.rto = rto
        self.availability = availability
    }

    /// How long a client may be down in a month of 30 days: 43 min 12 s at 99.9.
    package var monthlyDowntime: Duration? {
        availability.map { .seconds(Int64((30 * 86_400 * (100 - $0) / 100).rounded())) }
    }
}
