package import DRPKit

/// What can be wrong with a repository, beside its store.
package struct RepositoryError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// No repository of this client is in the store, or it has no such backup.
        case missing
        /// Bytes that do not decode, do not authenticate, or contradict each other.
        case damaged
        /// It belongs to another client or epoch, or its format is newer than this program.
        case foreign
        /// Another writer committed a backup meanwhile; this one left nothing visible.
        case overtaken
        /// Stores of one client hold different things under one name.
        case diverged
        /// Another writer, which lives, works on it.
        case leased
        /// The identity is no recipient of this repository.
        case notRecipient
        /// The backup was given up; nothing of it is visible.
        case aborted
        /// The client was erased for good: a store says so.
        case erased
    }

    package var reason: Reason
    /// The thing it happened to, as `backup 12` or an object's key.
    package var subject: String
    package var cause: String?

    package init(_ reason: Reason, _ subject: String, cause: String? = nil) {
        self.reason = reason
        self.subject = subject
        self.cause = cause
    }

    package var code: ErrorCode {
        switch reason {
        case .missing: .repositoryMissing
        case .damaged, .diverged: .repositoryDamaged
        case .foreign: .repositoryForeign
        case .overtaken: .busy
        case .leased: .repositoryLeased
        case .notRecipient: .identityInvalid
        case .aborted: .failed
        case .erased: .clientErased
        }
    }

    package var advice: String {
        let isBackup = subject.hasPrefix("backup ") || subject.hasPrefix("a backup ")
        if reason == .diverged {
            return "Verify the backups of each store, then see docs/how-to/store-lost.md: nothing was overwritten."
        }
        return reason == .missing && isBackup ? "See `drp backup list` for those that are there." : code.advice
    }

    package var message: String {
        let what =
            switch reason {
            case .missing: "\(subject) is not there"
            case .damaged: "\(subject) is damaged"
            case .foreign: "\(subject) belongs to something else"
            case .overtaken: "\(subject) was written by another writer meanwhile"
            case .diverged: "\(subject) is not the same one in all stores"
            case .leased: "\(subject) is held by another writer"
            case .notRecipient: "the identity cannot open \(subject)"
            case .aborted: "\(subject) was given up"
            case .erased: "\(subject) was erased"
            }
        return cause.map { "\(what): \($0)" } ?? what
    }
}
