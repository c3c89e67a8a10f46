package import DRPKit

/// A MongoDB user to make: always with `customData: {managedBy: "drp"}`, so that captures leave it out.
package struct DatabaseUser: Sendable {
    package var name: String
    package var password: Secret
    /// A role of the database `admin`.
    package var role: String

    package init(name: String, password: Secret, role: String) {
        self.name = name
        self.password = password
        self.role = role
    }
}

/// A server as drp speaks to it.
package struct DatabaseEndpoint: Sendable {
    /// With the account that is meant, if any.
    package var uri: Secret
    /// A unix socket here that leads to it; nil where it is reached as the URI says.
    package var socket: String?

    package init(uri: Secret, socket: String? = nil) {
        self.uri = uri
        self.socket = socket
    }
}

/// The few acts on new database servers that a deployer needs. Every call has a deadline of its own
/// (10 s unless said) and throws an error of its implementation, which conforms to `DRPError`.
package protocol DatabaseAdministrator: Sendable {
    /// Whether a mongod answers there, asked without credentials. A refused connection is `false`, not an error.
    func mongoAnswers(_ endpoint: DatabaseEndpoint) async throws -> Bool

    /// Makes the server the one member `host:port` of the replica set `name` and waits (30 s) until it is
    /// a writable primary. Works without credentials through the localhost exception while there is no user.
    /// Twice is once: with users in place it only waits (`hello` needs no credentials).
    func initiateReplicaSet(host: String, port: Int, name: String) async throws

    /// Makes those of `users` that do not exist, in the database `admin`. The first has the role `root`: it is
    /// made through the localhost exception, and makes the others. Twice is once: if the first can log in
    /// with its password, it exists.
    func createUsers(host: String, port: Int, users: [DatabaseUser]) async throws

    /// Whether any database other than `admin`, `config` and `local` exists.
    func mongoHoldsData(_ endpoint: DatabaseEndpoint) async throws -> Bool

    /// The number of keys in all databases of a Redis; nil if nothing answers there (refused, or loading).
    func redisKeyCount(_ endpoint: DatabaseEndpoint) async throws -> Int?
}

/// The same acts from outside of a server's machine, where the localhost exception does not hold: as MongoDB's internal user,
/// whose password is the content of the key file. Nothing stands open for a moment.
package protocol RemoteDatabaseAdministrator: DatabaseAdministrator {
    /// As `initiateReplicaSet(host:port:name:)`.
    /// - Parameters:
    ///   - endpoint: of a user who may do everything, with `directConnection=true`; so in the other call.
    ///   - member: the server as it and its clients call it.
    func initiateReplicaSet(_ endpoint: DatabaseEndpoint, member: HostPort, name: String) async throws

    /// Makes those of `users` that do not exist, in the database `admin`, and gives the others their password again.
    func createUsers(_ endpoint: DatabaseEndpoint, users: [DatabaseUser]) async throws
}
