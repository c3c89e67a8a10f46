package import DRPKit

/// How to reach one MongoDB server or replica set.
package struct MongoSettings: Sendable {
    /// `mongodb://user:password@host:port,…/?replicaSet=…&authSource=…`
    package var uri: Secret
    /// PEM file of the only certificate authority to trust; switches TLS on.
    package var caFile: String?
    package var connectTimeout: Duration
    /// How long to look for a server that fits, before it counts as unreachable.
    package var selectionTimeout: Duration
    /// The longest silence of the server within one command.
    package var commandTimeout: Duration
    /// The same for commands that read or build whole collections (`createIndexes`).
    package var buildTimeout: Duration

    package init(
        uri: Secret, caFile: String? = nil, connectTimeout: Duration = .seconds(10),
        selectionTimeout: Duration = .seconds(10), commandTimeout: Duration = .seconds(120),
        buildTimeout: Duration = .seconds(12 * 3600)
    ) {
        self.uri = uri
        self.caFile = caFile
        self.connectTimeout = connectTimeout
        self.selectionTimeout = selectionTimeout
        self.commandTimeout = commandTimeout
        self.buildTimeout = buildTimeout
    }
}
