internal import Backup
package import DRPKit

extension ServerAdministrator: RemoteDatabaseAdministrator {
    package func initiateReplicaSet(_ endpoint: DatabaseEndpoint, member: HostPort, name: String) async throws {
        try await initiate(Self.settings(endpoint), member: member, name: name)
    }

    package func createUsers(_ endpoint: DatabaseEndpoint, users: [DatabaseUser]) async throws {
        let settings = Self.settings(endpoint)
        try await OwnThread.run("mongo-users") {
            let connection = try Self.loggedIn(settings)
            for user in users {
                do {
                    try Self.create(user, connection)
                } catch let error as MongoError where error.reason == .server(code: 51003) {
                    try Self.update(user, connection)  // it exists: an earlier call came this far
                }
            }
        }
    }

    private static func update(_ user: DatabaseUser, _ connection: MongoConnection) throws {
        let command = user.password.withText { password in
            BSONWriter.document { command in
                command.append("updateUser", user.name)
                command.append("pwd", password)
            }
        }
        _ = try connection.run(command, on: "admin")
    }

    private static func settings(_ endpoint: DatabaseEndpoint) -> MongoSettings {
        MongoSettings(
            uri: endpoint.uri, socket: endpoint.socket, connectTimeout: .seconds(10), selectionTimeout: .seconds(10),
            commandTimeout: .seconds(30))
    }
}
