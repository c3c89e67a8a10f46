internal import DRPKit

/// What a server says about itself.
package struct MongoServer: Sendable, Equatable {
    /// `6.0.5`
    package var version: String
    /// Name of the replica set; nil for a standalone server.
    package var setName: String?
    package var isPrimary: Bool
    package var isSecondary: Bool
    package var isRouter: Bool
    /// The newest cluster time that it knows; zero for a standalone server.
    package var clusterTime: MongoTime

    package var majorVersion: Int { Int(version.prefix { $0 != "." }) ?? 0 }
}

/// A cluster time: seconds since 1970 and the ordinal in that second.
package struct MongoTime: Sendable, Equatable {
    package var seconds: UInt32
    package var ordinal: UInt32

    package init(seconds: UInt32, ordinal: UInt32) {
        self.seconds = seconds
        self.ordinal = ordinal
    }
}

extension MongoConnection {
    /// Asks for version, role and time.
    package func server() throws -> MongoServer {
        var server = try run(BSONWriter.document { $0.append("hello", Int32(1)) }, on: "admin") { reply in
            var time = MongoTime(seconds: 0, ordinal: 0)
            if let field = try reply.find("$clusterTime") {
                let stamp = try field.document().require("clusterTime").timestamp()
                time = MongoTime(seconds: stamp.seconds, ordinal: stamp.ordinal)
            }
            return MongoServer(
                version: "", setName: try reply.find("setName")?.string(),
                isPrimary: try reply.find("isWritablePrimary")?.truth() ?? false,
                isSecondary: try reply.find("secondary")?.truth() ?? false,
                isRouter: try reply.find("msg")?.string() == "isdbgrid", clusterTime: time)
        }
        server.version = try run(BSONWriter.document { $0.append("buildInfo", Int32(1)) }, on: "admin") {
            try $0.require("version").string()
        }
        return server
    }

    /// The same, for a capture: only a member of a replica set that has data can be read at one instant.
    /// - Throws: `.unsupported` for a standalone server and a router, `.unreachable` for a member that is not ready.
    package func member() throws -> MongoServer {
        let server = try server()
        if server.isRouter {
            throw MongoError(
                side: side, reason: .unsupported, subject: host, detail: "it is a router (mongos) of a sharded cluster",
                advice: "Give the uri of each shard's replica set instead.")
        }
        guard server.setName != nil else {
            throw MongoError(
                side: side, reason: .unsupported, subject: host,
                detail: "it is a standalone server, which cannot be read at one instant",
                advice: "Make it a replica set of one member: start mongod with --replSet rs0 "
                    + "(replication.replSetName in its file), run rs.initiate() once, add replicaSet=rs0 to the uri.")
        }
        guard server.isPrimary || server.isSecondary else {
            throw MongoError(
                side: side, reason: .unreachable, subject: host, detail: "it is neither primary nor secondary now")
        }
        return server
    }

    /// Connects to the member that a capture reads: the first secondary by name, so that one capture after the other
    /// reads the same one and finds its chunks again (each member keeps documents in an order of its own); any
    /// member that answers, if no secondary does.
    package static func forCapture(_ settings: MongoSettings) throws -> MongoConnection {
        let any = try MongoConnection(settings, side: .source, preference: .secondaryPreferred)
        _ = try any.member()
        // Through a socket there is this one alone.
        if settings.socket != nil { return any }
        for host in try any.secondaries() {
            if host == any.host { return any }
            do {
                let connection = try MongoConnection(settings, side: .source, preference: .member(host))
                if try connection.member().isSecondary { return connection }
            } catch let error as MongoError where error.code == .sourceUnreachable {
                // It is down, or this machine knows it by another name: the next one will do.
                continue
            }
        }
        return any
    }

    /// The members but the primary as the set calls them, sorted.
    private func secondaries() throws -> [String] {
        try run(BSONWriter.document { $0.append("hello", Int32(1)) }, on: "admin") { reply in
            let primary = try reply.find("primary")?.string()
            var names: [String] = []
            guard var hosts = try reply.find("hosts")?.document().fields else { return [] }
            while let host = try hosts.next() { names.append(try host.string()) }
            return names.filter { $0 != primary }.sorted()
        }
    }

    /// The server's own time of day: milliseconds since 1970.
    func time() throws -> Int64 {
        try run(BSONWriter.document { $0.append("hello", Int32(1)) }, on: "admin") { reply in
            let field = try reply.require("localTime")
            guard field.type == .date else { throw BSONError(.wrongType(field: "localTime")) }
            return Int64(littleEndian: field.value.loadUnaligned(as: Int64.self))
        }
    }

    package func ping() throws {
        try run(BSONWriter.document { $0.append("ping", Int32(1)) }, on: "admin") { _ in }
    }

    /// Waits until a majority of the replica set has everything that was written up to now.
    ///
    /// A note in the oplog is what the roles of a restore (`backup`, `restore`) may write. Where there is no oplog, or the
    /// user has other roles, a deletion that matches nothing waits as well: for the newest entry of the oplog.
    package func waitForMajority() throws {
        let note = BSONWriter.document {
            $0.append("appendOplogNote", Int32(1))
            $0.append("data", document: { $0.append("drp", "restore") })
            $0.append("writeConcern", document: { $0.append("w", "majority") })
        }
        do {
            return try run(note, on: "admin") { try self.checkWrite($0, of: "admin") }
        } catch let error as MongoError where Self.hasNoNotes(error.reason) {}
        let deletion = BSONWriter.document {
            $0.append("q", document: { $0.append("_id", Int32(0)) })
            $0.append("limit", Int32(1))
        }
        let command = BSONWriter.document {
            $0.append("delete", "drp.barrier")
            $0.append("deletes", documents: [deletion])
            $0.append("writeConcern", document: { $0.append("w", "majority") })
        }
        try run(command, on: "admin") { try self.checkWrite($0, of: "admin") }
    }

    /// NoReplicationEnabled, CommandNotFound, or not allowed to this user.
    private static func hasNoNotes(_ reason: MongoError.Reason) -> Bool {
        reason == .denied || reason == .server(code: 76) || reason == .server(code: 59)
    }

    /// Looks for errors that a reply with `ok: 1` carries inside.
    func checkWrite(_ reply: BSONReader, of namespace: String) throws {
        if let failures = try reply.find("writeErrors") {
            var fields = try failures.document().fields
            if let first = try fields.next() {
                let failure = try first.document()
                let code = Int32(truncatingIfNeeded: try failure.require("code").integer())
                throw MongoError(
                    side: side, reason: MongoError.reason(ofServerCode: code), subject: namespace,
                    detail: code == 11000
                        ? "a document with a key that is already there" : "a write failed (code \(code))")
            }
        }
        if let failure = try reply.find("writeConcernError") {
            let document = try failure.document()
            let code = Int32(truncatingIfNeeded: try document.require("code").integer())
            let text = try document.find("errmsg")?.string() ?? ""
            throw MongoError(
                side: side, reason: MongoError.reason(ofServerCode: code), subject: namespace,
                detail: "a majority did not take the writes: \(text)")
        }
    }
}
