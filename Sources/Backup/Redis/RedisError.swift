package import DRPKit

/// Which end of a backup or a restore a Redis server is.
package enum RedisSide: Sendable, Equatable {
    case source
    case target
}

/// What went wrong with a Redis server. The texts hold host and port, never a password or a URI.
package struct RedisError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// The URI or the file of the CA is not right.
        case settings
        case unreachable
        /// TLS failed: mostly a certificate that the given CA did not sign.
        case certificate
        /// NOAUTH, WRONGPASS, NOPERM.
        case denied
        /// The connection ended or broke off inside an answer or a snapshot.
        case broken
        case deadline
        /// The server cannot do what is needed.
        case unsupported
        /// LOADING, BUSY, MASTERDOWN, TRYAGAIN.
        case busy
        case readOnly
        /// MOVED, ASK, CLUSTERDOWN.
        case cluster
        case outOfMemory
        /// Keys vanished for want of memory while the restore ran.
        case evicted
        case keyExists
        case notEmpty
        /// Any other error that the server answered.
        case refused
        /// Bytes that are not RESP.
        case malformed
        /// A stored chunk does not hold what its name or the manifest says.
        case chunkDamaged
    }

    package var reason: Reason
    package var side: RedisSide
    /// Host and port.
    package var server: String
    package var detail: String

    package init(_ reason: Reason, _ side: RedisSide, _ server: String, _ detail: String) {
        self.reason = reason
        self.side = side
        self.server = server
        self.detail = detail
    }

    package var code: ErrorCode {
        let isSource = side == .source
        return switch reason {
        case .settings: .fleetInvalid
        case .unreachable, .certificate, .broken, .malformed: isSource ? .sourceUnreachable : .targetUnreachable
        case .denied, .readOnly: isSource ? .sourceDenied : .targetDenied
        case .deadline: .deadlineExceeded
        case .busy: .busy
        case .unsupported, .cluster: isSource ? .sourceUnsupported : .failed
        case .outOfMemory, .evicted, .refused: isSource ? .sourceUnsupported : .failed
        case .keyExists, .notEmpty: .targetNotEmpty
        case .chunkDamaged: .repositoryDamaged
        }
    }

    package var message: String {
        let name = "Redis \(side == .source ? "source" : "target") \(server)"
        return switch reason {
        case .settings: "the address of the Redis \(side == .source ? "source" : "target") is not right: \(detail)"
        case .unreachable: "\(name) cannot be reached: \(detail)"
        case .certificate: "\(name): TLS failed: \(detail)"
        case .denied: "\(name) denies access: \(detail)"
        case .broken: "the connection to \(name) broke off: \(detail)"
        case .deadline: "\(name) did not answer in time: \(detail)"
        case .unsupported: "\(name) lacks what is needed: \(detail)"
        case .busy: "\(name) is busy: \(detail)"
        case .readOnly: "\(name) is a replica and takes no writes: \(detail)"
        case .cluster: "\(name) is part of a cluster, which drp does not restore into yet: \(detail)"
        case .outOfMemory: "\(name) is out of memory: \(detail)"
        case .evicted: "\(name) evicted keys while they were restored: \(detail)"
        case .keyExists: "\(name) holds a key already: \(detail)"
        case .notEmpty: "\(name) holds data: \(detail)"
        case .refused: "\(name) refused: \(detail)"
        case .malformed: "\(name) answered what is not the Redis protocol: \(detail)"
        case .chunkDamaged: "stored Redis data are damaged: \(detail)"
        }
    }

    package var advice: String {
        switch reason {
        case .settings:
            "Write it as redis://user:password@host:port/0, or rediss:// for TLS; encode special characters as %XX."
        case .certificate: "Check the service's `ca` and the server's certificate and name."
        case .denied where side == .source:
            "Check user and password; the user needs +ping +replconf +psync (ACL SETUSER)."
        case .outOfMemory, .evicted: "Raise `maxmemory` of the target above the size of the data, then restore again."
        case .readOnly: "Name the primary as the target."
        case .cluster: "Restore into a server outside of a cluster."
        case .unsupported where side == .target: "Use a target of the same or a newer version than the source."
        case .busy: "Wait until the server has loaded its data, then run the command again."
        case .refused where side == .target: "Read the server's answer above and its log, then restore again."
        default: code.advice
        }
    }

    /// A snapshot that broke off may succeed when it is asked for again.
    var mayPass: Bool { reason == .broken || reason == .deadline }

    /// The error for an error reply of the server.
    /// - Parameter what: the command without its arguments, or what was being done.
    static func reply(_ text: String, to what: String, _ side: RedisSide, _ server: String) -> RedisError {
        let word = text.prefix { $0 != " " }
        let reason: Reason
        switch word {
        case "NOAUTH", "WRONGPASS", "NOPERM": reason = .denied
        case "LOADING", "BUSY", "MASTERDOWN", "NOMASTERLINK", "TRYAGAIN": reason = .busy
        case "READONLY": reason = .readOnly
        case "MOVED", "ASK", "CLUSTERDOWN", "CROSSSLOT": reason = .cluster
        case "OOM": reason = .outOfMemory
        case "BUSYKEY": reason = .keyExists
        default:
            let lower = text.lowercased()
            if lower.contains("unknown command") || lower.contains("invalid bulk length")
                || lower.contains("db index is out of range")
            {
                reason = .unsupported
            } else if lower.contains("invalid password") || lower.contains("without any password") {
                reason = .denied
            } else {
                reason = .refused
            }
        }
        return RedisError(reason, side, server, "\(what): \(printable(text))")
    }

    /// What a server said, for a terminal: printable, at most 200 characters.
    static func printable(_ text: String) -> String {
        String(text.unicodeScalars.prefix(200).map { $0.value < 0x20 || $0.value == 0x7f ? " " : Character($0) })
    }
}
