/// A user or a role, as it stands in `admin.system.users` and `admin.system.roles`.
package struct MongoAccount: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case user, role

        var collection: String { self == .user ? "system.users" : "system.roles" }
        /// Where they wait to be merged; the names that mongorestore uses.
        var waitingRoom: String { self == .user ? "tempusers" : "temproles" }
        fileprivate var nameField: StaticString { self == .user ? "user" : "role" }
    }

    package var kind: Kind
    package var database: String
    package var name: String
    /// BSON: the whole document, a user's stored credentials included.
    package var document: [UInt8]

    /// Users with this value in `customData.managedBy` belong to one deployment: they are neither captured nor
    /// touched by a restore.
    package static let manager = "drp"

    package init(kind: Kind, document: BSONReader) throws(BSONError) {
        self.kind = kind
        self.database = try document.require("db").string()
        self.name = try document.require(kind.nameField).string()
        self.document = document.copy
    }

    package var isManaged: Bool {
        get throws {
            try document.withBSON { document in
                guard let data = try document.find("customData"), data.type == .document,
                    let manager = try data.document().find("managedBy"), manager.type == .string
                else { return false }
                return try manager.string() == Self.manager
            }
        }
    }

    /// What tells accounts apart: `user shop.app`.
    package var identity: String { "\(kind.rawValue) \(database).\(name)" }

    /// Drops the users and roles that are neither in `accounts` nor managed nor the connection's own.
    package static func drop(allBut accounts: [MongoAccount], from connection: MongoConnection) throws {
        let kept = Set(accounts.map(\.identity)).union(try own(connection))
        for account in try read(connection, at: nil) where !kept.contains(account.identity) {
            let command = BSONWriter.document {
                $0.append(account.kind == .user ? "dropUser" : "dropRole", account.name)
                $0.append("writeConcern", document: { $0.append("w", "majority") })
            }
            _ = try connection.run(command, on: account.database)
        }
    }

    /// The identities of the users that this connection is authenticated as.
    package static func own(_ connection: MongoConnection) throws -> Set<String> {
        try connection.run(BSONWriter.document { $0.append("connectionStatus", Int32(1)) }, on: "admin") { reply in
            var identities: Set<String> = []
            var users = try reply.require("authInfo").document().require("authenticatedUsers").document().fields
            while let user = try users.next() {
                let document = try user.document()
                let database = try document.require("db").string()
                identities.insert("user \(database).\(try document.require("user").string())")
            }
            return identities
        }
    }

    /// Reads all of them but the managed ones, users first, sorted by database and name.
    /// - Parameter time: nil reads what is there now.
    package static func read(_ connection: MongoConnection, at time: MongoTime?) throws -> [MongoAccount] {
        try readAll(connection, at: time).filter { try !$0.isManaged }
    }

    static func readAll(_ connection: MongoConnection, at time: MongoTime?) throws -> [MongoAccount] {
        var accounts: [MongoAccount] = []
        for kind in Kind.allCases {
            var some: [MongoAccount] = []
            try MongoScan.documents(named: kind.collection, in: "admin", at: time).run(
                on: connection,
                record: { some.append(try MongoAccount(kind: kind, document: try BSONReader($0))) })
            accounts += some.sorted { ($0.database, $0.name) < ($1.database, $1.name) }
        }
        return accounts
    }

    /// Whether the user logs in by a password that the server keeps (SCRAM), not by a certificate or elsewhere.
    package var hasPassword: Bool {
        get throws {
            try document.withBSON { document in
                guard let credentials = try document.find("credentials"), credentials.type == .document else {
                    return false
                }
                var methods = try credentials.document().fields
                while let method = try methods.next() { if method.nameText.hasPrefix("SCRAM-") { return true } }
                return false
            }
        }
    }

    // MARK: - As documents in a backup

    /// `{kind, document}`: the record of a chunk of kind `mongoUsers`.
    package var record: [UInt8] {
        BSONWriter.document {
            $0.append("kind", kind.rawValue)
            $0.append("document", document: document)
        }
    }

    package init(record: BSONReader) throws(BSONError) {
        guard let kind = Kind(rawValue: try record.require("kind").string()) else {
            throw BSONError(.wrongType(field: "kind"))
        }
        try self.init(kind: kind, document: try record.require("document").document())
    }

    /// What a restore must bring back, in a form that compares: name, roles, privileges and restrictions, without
    /// credentials and without what the server makes anew.
    package func comparable() throws -> [UInt8] {
        try document.withBSON { document in
            var writer = BSONWriter()
            try document.sorted(without: ["userId", "credentials", "roles", "privileges"]).withUnsafeBytes {
                writer.append("account", .document, value: $0)
            }
            // The server keeps these as sets and gives them in any order.
            for name: StaticString in ["roles", "privileges"] {
                guard let set = try document.find(name) else { continue }
                var elements: [[UInt8]] = []
                var fields = try set.document().fields
                while let field = try fields.next() { elements.append(try field.document().copy) }
                writer.append("\(name)", documents: elements.sorted { $0.lexicographicallyPrecedes($1) })
            }
            return writer.finish()
        }
    }
}

extension MongoAccount {
    /// Merges users and roles into the target by the server's own command, as mongorestore does: stored credentials
    /// survive. Managed users of the target and the user of this connection are left as they are, and so is everyone
    /// who is not in `accounts`.
    package static func merge(_ accounts: [MongoAccount], into connection: MongoConnection) throws {
        let managed = try readAll(connection, at: nil).filter { try $0.isManaged }
        let own = try own(connection)
        let coming = accounts.filter { account in
            !own.contains(account.identity) && !managed.contains { $0.identity == account.identity }
        }
        for kind in Kind.allCases { try drop(kind.waitingRoom, connection) }
        for kind in Kind.allCases {
            let writer = MongoInserter(connection, database: "admin", collection: kind.waitingRoom, mode: .plain)
            for account in coming where account.kind == kind {
                try account.document.withUnsafeBytes { try writer.append($0) }
            }
            try writer.flush()
        }
        let merge = BSONWriter.document {
            $0.append("_mergeAuthzCollections", Int32(1))
            $0.append("tempUsersCollection", "admin.tempusers")
            $0.append("tempRolesCollection", "admin.temproles")
            $0.append("drop", false)
            $0.append("db", "")
            $0.append("writeConcern", document: { $0.append("w", "majority") })
        }
        try connection.run(merge, on: "admin") { _ in }
        for kind in Kind.allCases { try drop(kind.waitingRoom, connection) }
    }

    /// - Throws: not if there is no such collection (code 26).
    private static func drop(_ collection: String, _ connection: MongoConnection) throws {
        do {
            _ = try connection.run(BSONWriter.document { $0.append("drop", collection) }, on: "admin")
        } catch {
            guard error.reason == .changed else { throw error }
        }
    }
}
