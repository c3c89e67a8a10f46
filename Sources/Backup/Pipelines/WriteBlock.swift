internal import DRPKit

/// Keeps applications from writing to the databases of a client, and lets them write again. Reading goes on.
///
/// MongoDB (6.0 and newer): `setUserWriteBlockMode`, which stays over a restart and does not concern users with the privilege
/// `bypassWriteBlockingMode`, as `restore` and `root` have it: an application must have neither. The role `backup` may
/// set it (https://www.mongodb.com/docs/v6.0/reference/command/setUserWriteBlockMode/). Redis: `min-replicas-to-write` of
/// more replicas than there can be, so that every write is answered with NOREPLICAS.
package struct WriteBlock: Sendable {
    private let databases: ClientDatabases

    package init(_ databases: ClientDatabases) { self.databases = databases }

    /// - Throws: `MongoError`, `RedisError`; then one of the two may be blocked already.
    package func set(_ isOn: Bool) async throws {
        async let mongo: Void? = databases.mongo.asyncMap { try await Self.set(isOn, $0) }
        async let redis: Void? = databases.redis.asyncMap { try await RedisServer.blockWrites(isOn, $0) }
        _ = try await (mongo, redis)
    }

    /// Whether both keep applications from writing.
    package func isOn() async throws -> Bool {
        if let settings = databases.mongo, try await !Self.isOn(settings) { return false }
        if let settings = databases.redis, try await !RedisServer.blocksWrites(settings) { return false }
        return true
    }

    private static func set(_ isOn: Bool, _ settings: MongoSettings) async throws {
        try await OwnThread.run("mongo-block") {
            let connection = try MongoConnection(settings, side: .source)
            try requireVersion(connection)
            let command = BSONWriter.document {
                $0.append("setUserWriteBlockMode", Int32(1))
                $0.append("global", isOn)
            }
            _ = try connection.run(command, on: "admin")
        }
    }

    private static func isOn(_ settings: MongoSettings) async throws -> Bool {
        try await OwnThread.run("mongo-blocks") {
            let connection = try MongoConnection(settings, side: .source)
            try requireVersion(connection)
            let command = BSONWriter.document { $0.append("serverStatus", Int32(1)) }
            // 1 is off, 2 is on.
            return try connection.run(command, on: "admin") { reply in
                try reply.find("repl")?.document().find("userWriteBlockMode")?.integer() == 2
            }
        }
    }

    private static func requireVersion(_ connection: MongoConnection) throws {
        let server = try connection.server()
        guard server.majorVersion >= 6 else {
            throw MongoError(
                side: connection.side, reason: .unsupported, subject: connection.host,
                detail: "MongoDB \(server.version) cannot keep applications from writing, 6.0 and newer can",
                advice: "Stop the client's application by hand, then leave this step out with a reason.")
        }
    }
}

/// How much clients wrote to databases since a moment: what a way back would lose.
package struct WriteCount: Sendable, Codable, Hashable {
    /// Of MongoDB's cluster; entries of its oplog behind it are writes.
    package var seconds: UInt32
    package var ordinal: UInt32
    /// `rdb_changes_since_last_save` of Redis, and when it last saved.
    package var changes: Int64
    package var saved: Int64

    private static let mostCounted: Int32 = 10_000

    /// The moment is now.
    package static func begin(_ databases: ClientDatabases) async throws -> WriteCount {
        var count = WriteCount(seconds: 0, ordinal: 0, changes: 0, saved: 0)
        if let settings = databases.mongo {
            let time = try await OwnThread.run("mongo-time") {
                try MongoConnection(settings, side: .target).server().clusterTime
            }
            (count.seconds, count.ordinal) = (time.seconds, time.ordinal)
        }
        if let settings = databases.redis {
            (count.changes, count.saved) = try await RedisServer.changes(settings)
        }
        return count
    }

    /// - Returns: sentences, none if nothing was written.
    package func since(_ databases: ClientDatabases) async throws -> [String] {
        let (mongo, redis) = try await counted(databases)
        var sentences: [String] = []
        if mongo > 0 {
            let words = mongo >= Self.mostCounted ? "\(mongo) or more" : "\(mongo)"
            sentences.append("\(words) writes to MongoDB since the switch")
        }
        if redis > 0 { sentences.append("\(redis) or more writes to Redis since the switch") }
        return sentences
    }

    /// - Returns: writes to MongoDB, counted up to 10,000, and the least number of those to Redis.
    package func counted(_ databases: ClientDatabases) async throws -> (mongo: Int64, redis: Int64) {
        let mongo = try await databases.mongo.asyncMap { settings in
            try await OwnThread.run("mongo-writes") { try writes(settings) }
        }
        let redis = try await databases.redis.asyncMap { settings in
            let (changes, saved) = try await RedisServer.changes(settings)
            // Since a save, those before it are counted no more.
            return saved == self.saved ? changes - self.changes : max(1, changes)
        }
        return (mongo ?? 0, redis ?? 0)
    }

    private func writes(_ settings: MongoSettings) throws -> Int64 {
        let connection = try MongoConnection(settings, side: .target)
        let command = BSONWriter.document { command in
            command.append("count", "oplog.rs")
            command.append("limit", Self.mostCounted)
            command.append(
                "query",
                document: { query in
                    query.append("ts", document: { $0.append("$gt", seconds: seconds, ordinal: ordinal) })
                    query.append("op", document: { $0.append("$in", strings: ["i", "u", "d", "c"]) })
                    // The server's own: sessions, keys, users. `/` comes behind `.`.
                    let own = ["admin", "config", "local"].map { database in
                        BSONWriter.document { one in
                            one.append(
                                "ns",
                                document: {
                                    $0.append("$gte", database + ".")
                                    $0.append("$lt", database + "/")
                                })
                        }
                    }
                    query.append("$nor", documents: own)
                })
        }
        return try connection.run(command, on: "local") { try $0.require("n").integer() }
    }
}
