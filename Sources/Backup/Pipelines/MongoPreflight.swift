/// Questions to a MongoDB server before work with it begins.
package enum MongoPreflight {
    /// That the server answers and lets the user in.
    package static func ping(settings: MongoSettings, side: MongoError.Side) async throws {
        _ = try await serverVersion(settings: settings, side: side)
    }

    /// `6.0.5`
    package static func serverVersion(settings: MongoSettings, side: MongoError.Side) async throws -> String {
        try await StopSignal().run("mongo-preflight") {
            try connect(settings, side).server().version
        }
    }

    /// That a source can be captured at one instant.
    /// - Returns: what it says about itself.
    package static func checkSource(settings: MongoSettings) async throws -> MongoServer {
        try await StopSignal().run("mongo-preflight") { try connect(settings, .source).member() }
    }

    /// Whether a target holds no data of a client.
    package static func isEmpty(settings: MongoSettings) async throws -> Bool {
        try await StopSignal().run("mongo-preflight") {
            try MongoBuilder(connection: connect(settings, .target)).existing().isEmpty
        }
    }

    /// That a backup of a server of that version can be restored into the target: a primary of the same or a newer
    /// major version.
    package static func checkTarget(settings: MongoSettings, for version: String) async throws {
        try await StopSignal().run("mongo-preflight") { try checkTarget(connect(settings, .target), for: version) }
    }

    private static func connect(_ settings: MongoSettings, _ side: MongoError.Side) throws(MongoError)
        -> MongoConnection
    {
        try MongoConnection(settings, side: side, preference: side == .source ? .secondaryPreferred : .primary)
    }

    static func checkTarget(_ connection: MongoConnection, for version: String) throws {
        let target = try connection.member()
        guard target.isPrimary else {
            throw MongoError(
                side: .target, reason: .unreachable, subject: connection.host, detail: "it is not the primary")
        }
        let wanted = Int(version.prefix { $0 != "." }) ?? 0
        guard target.majorVersion >= wanted else {
            throw MongoError(
                side: .target, reason: .unsupported, subject: connection.host,
                detail: "it is MongoDB \(target.version), older than the backup's \(version)")
        }
    }

    static func checkEmpty(_ connection: MongoConnection) throws {
        let existing = try MongoBuilder(connection: connection).existing()
        guard let first = existing.first else { return }
        throw MongoError(
            side: .target, reason: .notEmpty, subject: connection.host,
            detail: "\(existing.count) collections, the first is \(first)")
    }
}
