/// A tenant: its stack of services, where it runs and what it was promised.
package struct Client: Sendable, Hashable {
    package struct Needs: Sendable, Hashable {
        package var memory: ByteCount?
        package var disk: ByteCount?
    }

    /// Of the client's domains, for sites where an edge of its own answers HTTPS.
    package struct Certificate: Sendable, Hashable {
        /// A PEM file: the certificate, then those that lead to its authority.
        package var chain: String
        /// PEM.
        package var key: SecretSource
        /// A PEM file of the authorities that drp trusts instead of the system's when it asks the edge.
        package var ca: String?
    }

    package var id: ClientID
    package var environment: EnvironmentName
    package var site: SiteName
    /// Which host of the site its services are on; nil at sites where that is no question.
    package var host: String?
    /// The lower, the earlier in a failover.
    package var priority: Int
    /// Instead of the environment's.
    package var policy: PolicyName?
    /// Those that differ from the environment's; see `Fleet.objectives(of:)`.
    package var objectives: Objectives
    package var needs: Needs?
    package var services: Services
    package var domains: [String]
    package var contacts: [String]
    /// When a planned downtime needs a reason.
    package var hours: BusinessHours?
    package var certificate: Certificate?
}

/// The parts of a client's stack; also what `--target FILE` of a restore holds.
package struct Services: Sendable, Hashable {
    package struct API: Sendable, Hashable {
        package enum Launch: Sendable, Hashable {
            /// A container image, best by digest.
            case image(String)
            /// A program and its arguments, at local sites.
            case command([String])
        }

        package var launch: Launch
        package var port: Int
        package var secrets: [String: SecretSource]
    }

    package struct Mongo: Sendable, Hashable {
        /// `mongodb://…` with the password.
        package var uri: SecretSource
        /// A file of PEM certificates of the authorities that are trusted instead of the system's.
        package var ca: String?

        package init(uri: SecretSource, ca: String?) {
            self.uri = uri
            self.ca = ca
        }
    }

    package struct Redis: Sendable, Hashable {
        /// A `cache` never delays a recovery.
        package enum Role: String, Sendable, Hashable, Codable, CaseIterable { case store, cache }

        /// `redis://…` or `rediss://…` with the password.
        package var uri: SecretSource
        package var ca: String?
        package var role: Role

        package init(uri: SecretSource, ca: String?, role: Role) {
            self.uri = uri
            self.ca = ca
            self.role = role
        }
    }

    package var api: API?
    package var mongo: Mongo?
    package var redis: Redis?

    package init(api: API? = nil, mongo: Mongo? = nil, redis: Redis? = nil) {
        self.api = api
        self.mongo = mongo
        self.redis = redis
    }
}
