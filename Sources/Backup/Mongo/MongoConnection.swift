internal import CMongoC
internal import DRPKit
internal import Foundation

/// One connection to one MongoDB server: blocking, for plain threads (`OwnThread`), one thread at a time.
///
/// It pins the server that it chose first: cursors and snapshots live on one server. Commands and replies are
/// raw BSON; libmongoc does selection, TLS, authentication and framing, and looks at no document.
package final class MongoConnection {
    package enum Preference: Sendable {
        /// For writing and for what has to be read back at once.
        case primary
        case secondaryPreferred
        /// The member `host:port` and no other.
        case member(String)
    }

    package let side: MongoError.Side
    /// `host:port` of the pinned server.
    package private(set) var host: String

    private let client: OpaquePointer
    private let readPreference: OpaquePointer
    private let command: OpaquePointer
    private let reply: OpaquePointer
    private var serverID: UInt32 = 0
    /// Whether a socket of ours stands for the server, whose own name is then kept for messages.
    private let isForwarded: Bool

    /// libmongoc's own set-up, once a process.
    private static let library: Void = drp_mongoc_start()

    /// Connects and authenticates.
    /// - Parameter patience: the longest silence within a command; that of `settings.commandTimeout` if nil.
    /// - Throws: `.badURI`, `.unreachable`, `.untrusted`, `.denied`.
    package init(
        _ settings: MongoSettings, side: MongoError.Side, preference: Preference = .primary, patience: Duration? = nil
    ) throws(MongoError) {
        _ = Self.library
        self.side = side
        let uri = try Self.parse(settings, side: side, patience: patience ?? settings.commandTimeout)
        defer { mongoc_uri_destroy(uri) }
        isForwarded = settings.socket != nil
        host = isForwarded ? "\(try settings.onlyServer(side))" : Self.hosts(of: uri)
        guard let client = mongoc_client_new_from_uri(uri), let command = drp_bson_new(), let reply = drp_bson_new(),
            let readPreference = mongoc_read_prefs_new(
                Self.isPrimary(preference) ? MONGOC_READ_PRIMARY : MONGOC_READ_SECONDARY_PREFERRED)
        else {
            throw MongoError(side: side, reason: .badURI, subject: host, detail: "libmongoc makes no client of it")
        }
        self.client = client
        self.command = command
        self.reply = reply
        self.readPreference = readPreference
        mongoc_client_set_error_api(client, 2)
        mongoc_client_set_appname(client, "drp")
        try pin(preference)
    }

    deinit {
        drp_bson_free(command)
        drp_bson_free(reply)
        mongoc_read_prefs_destroy(readPreference)
        mongoc_client_destroy(client)
    }

    /// Runs one command on the pinned server.
    /// - Returns: the reply, whole.
    package func run(_ command: [UInt8], on database: String) throws(MongoError) -> [UInt8] {
        Array(try send(command, to: database))
    }

    /// Runs one command and reads the reply in place: `body` must not let it escape.
    package func run<Result>(
        _ command: [UInt8], on database: String, _ body: (BSONReader) throws -> Result
    ) throws -> Result {
        let bytes = try send(command, to: database)
        do {
            return try body(try BSONReader(bytes))
        } catch let error as BSONError {
            throw MongoError(side: side, reason: .damaged, subject: host, detail: "its reply: \(error.message)")
        }
    }

    /// - Returns: the reply's bytes, valid until the next command.
    private func send(_ bytes: [UInt8], to database: String) throws(MongoError) -> UnsafeRawBufferPointer {
        drp_bson_clear(reply)
        var error = bson_error_t()
        let isDone = bytes.withUnsafeBufferPointer { buffer in
            guard drp_bson_borrow(command, buffer.baseAddress, buffer.count) else {
                preconditionFailure("a command of \(buffer.count) bytes is no BSON")
            }
            return mongoc_client_command_simple_with_server_id(
                client, database, command, readPreference, serverID, reply, &error)
        }
        guard isDone else {
            throw MongoError(error, side: side, subject: host, doing: Self.name(of: bytes))
        }
        guard let start = bson_get_data(reply) else {
            throw MongoError(side: side, reason: .damaged, subject: host, detail: "an empty reply")
        }
        return UnsafeRawBufferPointer(start: start, count: Int(drp_bson_length(reply)))
    }

    /// A command's name, for messages: the name of its first field.
    private static func name(of command: [UInt8]) -> String {
        String(decoding: command.dropFirst(5).prefix { $0 != 0 }, as: UTF8.self)
    }

    // MARK: - Choosing a server

    private func pin(_ preference: Preference) throws(MongoError) {
        var error = bson_error_t()
        let isPrimary = Self.isPrimary(preference)
        guard
            let chosen = mongoc_client_select_server(client, isPrimary, isPrimary ? nil : readPreference, &error)
        else { throw MongoError(error, side: side, subject: host, doing: "looking for a server") }
        defer { mongoc_server_description_destroy(chosen) }
        guard case .member(let wanted) = preference, !isForwarded else { return use(chosen) }
        var count = 0
        guard let all = mongoc_client_get_server_descriptions(client, &count) else { return use(chosen) }
        defer { mongoc_server_descriptions_destroy_all(all, count) }
        for index in 0..<count {
            guard let member = all[index], Self.host(of: member) == wanted else { continue }
            return use(member)
        }
        throw MongoError(side: side, reason: .unreachable, subject: wanted, detail: "the replica set no longer has it")
    }

    private func use(_ description: OpaquePointer) {
        serverID = mongoc_server_description_id(description)
        if !isForwarded { host = Self.host(of: description) }
    }

    private static func isPrimary(_ preference: Preference) -> Bool {
        if case .primary = preference { true } else { false }
    }

    private static func host(of description: OpaquePointer) -> String {
        drp_host_and_port(mongoc_server_description_host(description)).map { String(cString: $0) } ?? "?"
    }

    // MARK: - Settings

    /// - Returns: to be destroyed by the caller.
    private static func parse(
        _ settings: MongoSettings, side: MongoError.Side, patience: Duration
    ) throws(MongoError) -> OpaquePointer {
        // libmongoc's own message would quote parts of the URI, perhaps the password.
        let parsed = settings.uri.withText { text -> OpaquePointer? in
            guard isClear(text) else { return nil }
            guard let socket = settings.socket else { return mongoc_uri_new_with_error(text, nil) }
            return MongoURI(text).flatMap { mongoc_uri_new_with_error($0.through(socket), nil) }
        }
        guard let uri = parsed else {
            throw MongoError(
                side: side, reason: .badURI, subject: "server",
                detail: "it must look like mongodb://user:password@host:port/?replicaSet=name, "
                    + "with %XX for special characters in user and password")
        }
        if let caFile = settings.caFile {
            guard FileManager.default.isReadableFile(atPath: caFile) else {
                defer { mongoc_uri_destroy(uri) }
                throw MongoError(
                    side: side, reason: .untrusted, subject: hosts(of: uri),
                    detail: "the CA file \(caFile) cannot be read")
            }
            mongoc_uri_set_option_as_bool(uri, "tls", true)
            mongoc_uri_set_option_as_utf8(uri, "tlscafile", caFile)
        }
        // The name of a socket stands in no certificate; which machine it leads to, its host key has proven.
        if settings.socket != nil, mongoc_uri_get_tls(uri) {
            mongoc_uri_set_option_as_bool(uri, "tlsallowinvalidhostnames", true)
        }
        mongoc_uri_set_option_as_int32(uri, "connecttimeoutms", milliseconds(settings.connectTimeout))
        mongoc_uri_set_option_as_int32(uri, "serverselectiontimeoutms", milliseconds(settings.selectionTimeout))
        mongoc_uri_set_option_as_bool(uri, "serverselectiontryonce", false)
        mongoc_uri_set_option_as_int32(uri, "sockettimeoutms", milliseconds(patience))
        return uri
    }

    /// A second `@` before the path belongs to a password that was not escaped; libmongoc would take what follows
    /// the first for a host, and show it.
    private static func isClear(_ uri: String) -> Bool {
        guard let scheme = uri.range(of: "://") else { return false }
        return uri[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }.filter { $0 == "@" }.count <= 1
    }

    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = duration.components
        return Int32(clamping: max(1, seconds * 1000 + attoseconds / 1_000_000_000_000_000))
    }

    private static func hosts(of uri: OpaquePointer) -> String {
        var names: [String] = []
        var next = mongoc_uri_get_hosts(uri)
        while let host = next {
            if let name = drp_host_and_port(host) { names.append(String(cString: name)) }
            next = drp_next_host(host)
        }
        if names.isEmpty, let name = mongoc_uri_get_srv_hostname(uri) { names.append(String(cString: name)) }
        return names.joined(separator: ",")
    }
}
