internal import CMongoC
package import DRPKit

/// What went wrong with a MongoDB server, as source of a backup or as target of a restore.
package struct MongoError: DRPError, Equatable {
    package enum Side: String, Sendable { case source, target }

    package enum Reason: Sendable, Equatable {
        /// No server that fits could be found or spoken to.
        case unreachable
        /// A server was found, but its certificate is not one that the CA file vouches for.
        case untrusted
        case denied
        /// Collections were made, dropped or changed while they were read.
        case changed
        case unsupported
        /// The snapshot left the server's window of history while it was read.
        case tooOld
        /// The server is shutting down or changing its role.
        case interrupted
        case notEmpty
        /// A command failed with the server's own code.
        case server(code: Int32)
        /// What the server or the backup gave is not what it must be.
        case damaged
        case badURI
    }

    package var side: Side
    package var reason: Reason
    /// The server, `host:port`, or the namespace; never a URI.
    package var subject: String
    package var detail: String
    private var ownAdvice: String?

    package init(side: Side, reason: Reason, subject: String, detail: String, advice: String? = nil) {
        self.side = side
        self.reason = reason
        self.subject = subject
        self.detail = detail
        self.ownAdvice = advice
    }

    package var code: ErrorCode {
        switch (reason, side) {
        case (.unreachable, .source), (.untrusted, .source), (.interrupted, .source): .sourceUnreachable
        case (.unreachable, .target), (.untrusted, .target), (.interrupted, .target): .targetUnreachable
        case (.denied, .source): .sourceDenied
        case (.denied, .target): .targetDenied
        case (.changed, .source), (.tooOld, .source): .sourceChanged
        case (.unsupported, .source): .sourceUnsupported
        case (.notEmpty, _): .targetNotEmpty
        case (.badURI, _): .fleetInvalid
        case (.server, _), (.damaged, _), (.changed, .target), (.tooOld, .target), (.unsupported, .target): .failed
        }
    }

    package var message: String {
        let what =
            switch reason {
            case .unreachable: "cannot be reached"
            case .untrusted: "has a certificate that the CA file does not vouch for"
            case .denied: "denies access"
            case .changed: "changed while it was read"
            case .unsupported: "is not supported"
            case .tooOld: "no longer has the snapshot that was being read"
            case .interrupted: "interrupted the command"
            case .notEmpty: "already holds data"
            case .server(let code): "refused a command with code \(code)"
            case .damaged: "gave something unexpected"
            case .badURI: "has a uri that cannot be read"
            }
        return "MongoDB \(side.rawValue) \(subject) \(what): \(detail)"
    }

    package var advice: String {
        if let ownAdvice { return ownAdvice }
        switch reason {
        case .untrusted: return "Name the CA that signed the server's certificate as `ca` of the service."
        case .tooOld:
            return "Raise minSnapshotHistoryWindowInSeconds on the server (300 by default) above the time that a "
                + "capture takes, then run the backup again."
        case .unsupported where side == .target: return "Choose a target that the message above does not rule out."
        default: return code.advice
        }
    }
}

extension MongoError {
    /// The one place where libmongoc's errors and the server's codes become ours.
    ///
    /// Domains and codes: mongoc-error.h with error API 2; the server's codes: its `error_codes.yml`.
    init(_ error: bson_error_t, side: Side, subject: String, doing: String) {
        let text = withUnsafeBytes(of: error.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let reason: Reason =
            switch error.domain {
            case MONGOC_ERROR_SERVER_SELECTION.rawValue, MONGOC_ERROR_STREAM.rawValue:
                Self.isUntrusted(text) ? .untrusted : .unreachable
            case MONGOC_ERROR_CLIENT.rawValue, MONGOC_ERROR_SASL.rawValue, MONGOC_ERROR_SCRAM.rawValue: .denied
            case MONGOC_ERROR_SERVER.rawValue, MONGOC_ERROR_WRITE_CONCERN.rawValue:
                Self.reason(ofServerCode: Int32(bitPattern: error.code))
            default: .damaged
            }
        self.init(side: side, reason: reason, subject: subject, detail: "\(doing): \(text)")
    }

    static func reason(ofServerCode code: Int32) -> Reason {
        switch code {
        case 13, 18, 8000: .denied
        case 26, 175, 246: .changed
        case 239: .tooOld
        case 91, 189, 10107, 11600, 11602, 13435, 13436: .interrupted
        default: .server(code: code)
        }
    }

    private static func isUntrusted(_ text: String) -> Bool {
        text.contains("certificate verify failed") || text.contains("TLS handshake failed")
            || text.contains("Failed to load CA") || text.contains("hostname doesn't match")
    }
}
