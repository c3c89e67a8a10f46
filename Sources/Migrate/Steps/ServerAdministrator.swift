internal import Backup
package import DRPKit
internal import Foundation

/// Sets up new MongoDB and Redis servers for the deployers, over the same clients that capture and restore use.
package struct ServerAdministrator: DatabaseAdministrator {
    private let clock: any WallClock

    package init(clock: any WallClock) { self.clock = clock }

    package func mongoAnswers(_ endpoint: DatabaseEndpoint) async throws -> Bool {
        let settings = MongoSettings(
            uri: endpoint.uri, socket: endpoint.socket, connectTimeout: .seconds(2), selectionTimeout: .seconds(2),
            commandTimeout: .seconds(30))
        return try await OwnThread.run("mongo-ping") {
            do {
                try MongoConnection(settings, side: .target).ping()
                return true
            } catch let error as MongoError where error.reason == .unreachable || error.reason == .interrupted {
                return false
            }
        }
    }

    package func initiateReplicaSet(host: String, port: Int, name: String) async throws {
        try await initiate(
            Self.local(host, port, patience: .seconds(10)), member: HostPort(host: host, port: port), name: name)
    }

    /// Initiates the set unless it is, then waits until the server is its primary.
    func initiate(_ settings: MongoSettings, member: HostPort, name: String) async throws {
        try await OwnThread.run("mongo-initiate") {
            let connection = try MongoConnection(settings, side: .target)
            if try connection.server().setName == nil {
                try Self.initiate(connection, member: "\(member)", name: name)
            }
        }
        for _ in 0..<150 {
            let isPrimary = try await OwnThread.run("mongo-primary") {
                try MongoConnection(settings, side: .target).server().isPrimary
            }
            if isPrimary { return }
            try await clock.sleep(for: .milliseconds(200))
        }
        throw MongoError(
            side: .target, reason: .unreachable, subject: "\(member)",
            detail: "it did not become primary within 30 s")
    }

    /// A set that another call has initiated meanwhile (code 23) is as good.
    private static func initiate(_ connection: MongoConnection, member: String, name: String) throws {
        let command = BSONWriter.document { command in
            command.append(
                "replSetInitiate",
                document: { config in
                    config.append("_id", name)
                    config.append(
                        "members",
                        array: { members in
                            members.append(
                                "0",
                                document: { one in
                                    one.append("_id", Int32(0))
                                    one.append("host", member)
                                })
                        })
                })
        }
        do throws(MongoError) {
            _ = try connection.run(command, on: "admin")
        } catch {
            guard error.reason == .server(code: 23) else { throw error }
        }
    }

    package func createUsers(host: String, port: Int, users: [DatabaseUser]) async throws {
        guard let root = users.first else { return }
        let open = Self.local(host, port, patience: .seconds(10))
        let asRoot = Self.local(host, port, user: root, patience: .seconds(10))
        try await OwnThread.run("mongo-users") {
            let connection: MongoConnection
            do {
                connection = try Self.loggedIn(asRoot)
            } catch let error as MongoError where error.reason == .denied {
                try Self.create(root, MongoConnection(open, side: .target))
                connection = try Self.loggedIn(asRoot)
            }
            for user in users.dropFirst() {
                do {
                    try Self.create(user, connection)
                } catch let error as MongoError where error.reason == .server(code: 51003) {
                    continue  // it exists: an earlier call came this far
                }
            }
        }
    }

    /// Authentication happens with the first command.
    static func loggedIn(_ settings: MongoSettings) throws -> MongoConnection {
        let connection = try MongoConnection(settings, side: .target)
        try connection.ping()
        return connection
    }

    static func create(_ user: DatabaseUser, _ connection: MongoConnection) throws {
        let command = user.password.withText { password in
            BSONWriter.document { command in
                command.append("createUser", user.name)
                command.append("pwd", password)
                command.append(
                    "roles",
                    array: { roles in
                        roles.append(
                            "0",
                            document: { role in
                                role.append("role", user.role)
                                role.append("db", "admin")
                            })
                    })
                command.append("customData", document: { $0.append("managedBy", MongoAccount.manager) })
            }
        }
        _ = try connection.run(command, on: "admin")
    }

    package func mongoHoldsData(_ endpoint: DatabaseEndpoint) async throws -> Bool {
        try await !MongoPreflight.isEmpty(settings: MongoSettings(uri: endpoint.uri, socket: endpoint.socket))
    }

    package func redisKeyCount(_ endpoint: DatabaseEndpoint) async throws -> Int? {
        do {
            var settings = try RedisSettings(uri: endpoint.uri, side: .target)
            settings.socket = endpoint.socket
            return Int(clamping: try await RedisServer.keyCount(settings))
        } catch let error as RedisError where [.unreachable, .busy, .broken].contains(error.reason) {
            return nil
        }
    }

    private static func local(
        _ host: String, _ port: Int, user: DatabaseUser? = nil, patience: Duration
    ) -> MongoSettings {
        let login = user.map { user in user.password.withText { "\(user.name):\($0)@" } } ?? ""
        let source = user == nil ? "" : "&authSource=admin"
        return MongoSettings(
            uri: Secret("mongodb://\(login)\(host):\(port)/?directConnection=true\(source)"),
            connectTimeout: patience, selectionTimeout: patience, commandTimeout: .seconds(30))
    }
}
