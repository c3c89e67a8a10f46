internal import GRDB

/// What can go wrong between drp and its journal.
package struct JournalError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// The disk of the state folder is full.
        case full
        /// The file or its disk can be read only, or the account may not open it.
        case readOnly, denied
        /// The file is no SQLite database, or a damaged one.
        case damaged
        /// A newer drp has written this schema.
        case newer(version: Int)
        /// Another process held the journal for longer than the busy timeout.
        case busy
        /// Somebody alive holds the lease.
        case leased(by: LeaseEntry)
        /// The lease that this process held is now another's, or gone.
        case leaseLost
        /// No such row.
        case missing
        case other
    }

    package var reason: Reason
    /// The journal's path, or what was asked of it.
    package var subject: String
    /// SQLite's words.
    package var cause: String?

    package init(_ reason: Reason, _ subject: String, cause: String? = nil) {
        self.reason = reason
        self.subject = subject
        self.cause = cause
    }

    package var code: ErrorCode {
        switch reason {
        case .leased, .leaseLost: .repositoryLeased
        case .busy: .busy
        case .missing: .usage
        case .full, .readOnly, .denied, .damaged, .newer, .other: .journalUnusable
        }
    }

    package var message: String {
        let cause = cause.map { ": \($0)" } ?? ""
        return switch reason {
        case .full: "the disk of the journal \(subject) is full\(cause)"
        case .readOnly: "the journal \(subject) can be read only\(cause)"
        case .denied: "the journal \(subject) cannot be opened\(cause)"
        case .damaged: "the journal \(subject) is damaged or no journal\(cause)"
        case .newer(let version):
            "the journal \(subject) was written by a newer drp (schema \(version), this one knows \(Schema.newest))"
        case .busy: "another process has held the journal \(subject) for over \(Journal.busySeconds) seconds"
        case .leased(let lease):
            "'\(lease.name)' is held by process \(lease.pid) since \(JournalDate.text(lease.since))"
        case .leaseLost: "'\(subject)' is no longer held by this process: another one has taken it over"
        case .missing: "there is no \(subject) in the journal"
        case .other: "the journal \(subject) failed\(cause)"
        }
    }

    package var advice: String {
        switch reason {
        case .full: "Free space on the disk of the state folder, then run the command again."
        case .readOnly, .denied: "Give the account that runs drp the state folder (0700) and journal.sqlite (0600)."
        case .damaged: "Keep a copy of the file; move it away and run `drp check`: backups do not depend on it."
        case .newer: "Use the newer drp, or name another state folder in the fleet file."
        case .leased(let lease): "Wait until process \(lease.pid) ends, or end it; its lease ends with it."
        case .leaseLost: "Run `drp check` to see who holds it now; what this process did not commit is not visible."
        case .missing: "Run `drp runs list` for what there is."
        case .busy, .other: code.advice
        }
    }

    /// SQLite's result codes (sqlite.org/rescode.html) in our words.
    init(_ error: DatabaseError, path: String) {
        let reason: Reason =
            switch error.resultCode {
            case .SQLITE_FULL: .full
            case .SQLITE_READONLY: .readOnly
            case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH: .denied
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: .damaged
            case .SQLITE_BUSY, .SQLITE_LOCKED: .busy
            default: .other
            }
        // Only SQLite's sentence: the statement's arguments may hold what a log should not.
        self.init(reason, path, cause: error.message ?? "SQLite result \(error.extendedResultCode.rawValue)")
    }
}
