internal import Foundation
internal import GRDB

extension Journal {
    /// Opens a copy of this journal as it is at one instant, in a folder that is made for it (0700, the file 0600), and
    /// checks it: every page, and the chain of the events.
    /// - Throws: `JournalError`; `.damaged` if pages or the chain are not whole.
    package func copy(into folder: String) async throws -> (copy: Journal, verdict: EventVerdict) {
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            // SQLite would make it with the process's umask.
            try AtomicFile.write("\(folder)/journal.sqlite", [], mode: 0o600, .createOnly)
        } catch {
            throw JournalError(.denied, folder, cause: "a copy cannot be made there")
        }
        let target = "\(folder)/journal.sqlite"
        try await outsideTransactions { db in try db.execute(sql: "VACUUM INTO ?", arguments: [target]) }
        let copy = try await Journal.open(folder: folder, clock: clock)
        return (copy, try await copy.verifyWhole())
    }

    /// Checks every page (sqlite.org/pragma.html#pragma_integrity_check) and the chain of the events.
    /// - Parameter noted: as `verifyEvents`.
    /// - Throws: `JournalError.damaged` if either is not whole.
    package func verifyWhole(noted: NotedHead? = nil) async throws -> EventVerdict {
        let found = try await read { db in try String.fetchAll(db, sql: "PRAGMA integrity_check(1)") }
        guard found == ["ok"] else { throw JournalError(.damaged, path, cause: "its pages contradict each other") }
        let verdict = try await verifyEvents(noted: noted)
        if let problem = verdict.problems.first { throw JournalError(.damaged, path, cause: problem) }
        return verdict
    }

    /// The hash of the newest event that is not about bundles: what it stands for has not changed while it is the same.
    package func newestWork() async throws -> ContentHash {
        try await read { db in
            let data = try Data.fetchOne(
                db, sql: "SELECT hash FROM events WHERE kind NOT LIKE 'bootstrap.%' ORDER BY id DESC LIMIT 1")
            return data.flatMap { ContentHash($0) } ?? EventChain.start
        }
    }
}
