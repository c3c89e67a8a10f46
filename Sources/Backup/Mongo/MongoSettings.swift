package import DRPKit
internal import Foundation

/// How to reach one MongoDB server or replica set.
package struct MongoSettings: Sendable {
    /// `mongodb://user:password@host:port,…/?replicaSet=…&authSource=…`
    package var uri: Secret
    /// A unix socket here that leads to the URI's server; then nothing but this server is asked.
    package var socket: String?
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
        uri: Secret, socket: String? = nil, caFile: String? = nil, connectTimeout: Duration = .seconds(10),
        selectionTimeout: Duration = .seconds(10), commandTimeout: Duration = .seconds(120),
        buildTimeout: Duration = .seconds(12 * 3600)
    ) {
        self.uri = uri
        self.socket = socket
        self.caFile = caFile
        self.connectTimeout = connectTimeout
        self.selectionTimeout = selectionTimeout
        self.commandTimeout = commandTimeout
        self.buildTimeout = buildTimeout
    }
}

extension MongoSettings {
    /// The server that the URI names.
    /// - Throws: `.badURI` if it names several, or a name that DNS turns into several: through a socket one is reached.
    func onlyServer(_ side: MongoError.Side) throws(MongoError) -> HostPort {
        let server = uri.withText { text in
            MongoURI(text).flatMap { uri in uri.isSeedList ? nil : HostPort(uri.servers, defaultPort: 27_017) }
        }
        if let server { return server }
        throw MongoError(
            side: side, reason: .badURI, subject: "server",
            detail: "a server inside a site is reached by one address: it must look like "
                + "mongodb://user:password@host:port/?authSource=admin")
    }
}

/// The parts of a `mongodb://` URI, as text.
struct MongoURI {
    /// With `://`.
    var scheme: Substring
    /// User and password with `@`, or nothing.
    var login: Substring
    /// All of them, with commas.
    var servers: String
    /// Without the slash before it.
    var database: Substring
    var options: [Substring]

    var isSeedList: Bool { scheme.hasPrefix("mongodb+srv") || servers.contains(",") }

    init?(_ text: String) {
        guard let mark = text.range(of: "://") else { return nil }
        scheme = text[..<mark.upperBound]
        let rest = text[mark.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let at = authority.lastIndex(of: "@").map(authority.index(after:)) ?? authority.startIndex
        login = authority[..<at]
        servers = String(authority[at...])
        let tail = rest[authority.endIndex...]
        let path = tail.prefix { $0 != "?" }
        database = path.dropFirst()
        options = tail[path.endIndex...].dropFirst().split(separator: "&")
    }

    /// The same with one unix socket in place of the servers, and without a search for others.
    func through(_ socket: String) -> String {
        let name = socket.replacing("%", with: "%25").replacing("/", with: "%2F")
        let kept = options.filter { !$0.lowercased().hasPrefix("directconnection=") } + ["directConnection=true"]
        return "\(scheme)\(login)\(name)/\(database)?\(kept.joined(separator: "&"))"
    }
}
