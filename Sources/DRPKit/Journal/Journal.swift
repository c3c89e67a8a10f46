internal import Foundation
internal import GRDB
internal import Glibc
internal import Synchronization

/// What drp did, as it happened: one SQLite file in the state folder, used by many processes at once.
///
/// Rollback journal and `synchronous=EXTRA`: SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that several
/// connections use, and a transaction that returned must outlive a power cut. Each method is one whole transaction;
/// it throws `JournalError`, or `CancellationError` without having changed anything. Never holds a secret.
package final class Journal: Sendable {
    /// How long to wait for another process's transaction.
    static let busySeconds = 5

    /// The SQLite file.
    package let path: String
    let clock: any WallClock
    private let queue: DatabaseQueue
    /// Held while the file is made, so that no connection of this process has it open then.
    private static let opening = Mutex(())

    private init(path: String, clock: any WallClock, queue: DatabaseQueue) {
        self.path = path
        self.clock = clock
        self.queue = queue
    }

    /// Opens `journal.sqlite` in `folder`, and makes both (0700, 0600) if they are not there.
    /// - Throws: `JournalError`: `.newer` for a schema that this version does not know, `.damaged` for another file.
    package static func open(folder: String, clock: any WallClock) async throws -> Journal {
        try await OwnThread.run("journal-open") { try Journal.openNow(folder: folder, clock: clock) }
    }

    private static func openNow(folder: String, clock: any WallClock) throws -> Journal {
        let path = folder + (folder.hasSuffix("/") ? "" : "/") + "journal.sqlite"
        try opening.withLock { _ in try prepare(folder: folder, path: path) }
        var configuration = GRDB.Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(TimeInterval(busySeconds))
        configuration.label = "journal"
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA synchronous = EXTRA")
            // A query also returns the mode that is really used: WAL stays WAL while others use the file.
            let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode = DELETE")
            guard mode == "delete" else {
                throw JournalError(.other, path, cause: "its journal mode is \(mode ?? "?")")
            }
        }
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.write { db in try Schema.migrate(db, path: path) }
            return Journal(path: path, clock: clock, queue: queue)
        } catch let error as DatabaseError {
            throw JournalError(error, path: path)
        }
    }

    /// Makes folder and file with their modes before SQLite would make them with the process's umask.
    private static func prepare(folder: String, path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw JournalError(.denied, folder, cause: "the folder cannot be made")
        }
        var facts = stat()
        guard stat(folder, &facts) == 0 else { throw JournalError(.denied, folder, cause: text(of: errno)) }
        guard facts.st_mode & S_IWOTH == 0 else {
            throw JournalError(.denied, folder, cause: "everybody may write to its folder")
        }
        // A file that exists is not opened here: closing it would drop the locks of this process's other
        // connections (sqlite.org/howtocorrupt.html, 2.2).
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if file >= 0 { close(file) } else if errno != EEXIST { throw failure(path) }
        guard lstat(path, &facts) == 0 else { throw failure(path) }
        guard facts.st_mode & S_IFMT == S_IFREG else { throw JournalError(.denied, path, cause: "it is no plain file") }
        if facts.st_mode & 0o777 != 0o600, chmod(path, 0o600) != 0 { throw failure(path) }
    }

    private static func failure(_ path: String) -> JournalError {
        let reason: JournalError.Reason =
            switch errno {
            case EROFS: .readOnly
            case ENOSPC, EDQUOT: .full
            default: .denied
            }
        return JournalError(reason, path, cause: text(of: errno))
    }

    private static func text(of number: Int32) -> String { String(cString: strerror(number)) }

    /// One immediate transaction.
    func write<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do { return try await queue.write(body) } catch let error as DatabaseError {
            throw JournalError(error, path: path)
        }
    }

    /// For the few statements that SQLite takes outside of transactions alone.
    func outsideTransactions(_ body: @escaping @Sendable (Database) throws -> Void) async throws {
        do { try await queue.writeWithoutTransaction(body) } catch let error as DatabaseError {
            throw JournalError(error, path: path)
        }
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do { return try await queue.read(body) } catch let error as DatabaseError {
            throw JournalError(error, path: path)
        }
    }
}

/// Columns of a row as values; a value that cannot be read means a damaged file.
struct Columns {
    let row: Row
    let path: String

    func text(_ name: String) throws -> String { try required(name, textIfAny(name)) }
    // `row[name] as String?` would trap on a value of another type.
    func textIfAny(_ name: String) -> String? { String.fromDatabaseValue(row[name]) }
    func integer(_ name: String) throws -> Int64 { try required(name, integerIfAny(name)) }
    func integerIfAny(_ name: String) -> Int64? { Int64.fromDatabaseValue(row[name]) }

    func date(_ name: String) throws -> Date { try required(name, dateIfAny(name)) }
    func dateIfAny(_ name: String) throws -> Date? {
        try textIfAny(name).map { try required(name, JournalDate.parse($0)) }
    }

    func json(_ name: String) throws -> JSONValue { try required(name, jsonIfAny(name)) }
    func jsonIfAny(_ name: String) throws -> JSONValue? {
        guard let text = textIfAny(name) else { return nil }
        do { return try JSONValue(json: text) } catch { throw damaged(name) }
    }

    /// A value whose text form is checked by `read`.
    func value<Value>(_ name: String, _ read: (String) -> Value?) throws -> Value {
        try required(name, read(try text(name)))
    }
    func valueIfAny<Value>(_ name: String, _ read: (String) -> Value?) throws -> Value? {
        try textIfAny(name).map { try required(name, read($0)) }
    }

    private func required<Value>(_ name: String, _ value: Value?) throws -> Value {
        guard let value else { throw damaged(name) }
        return value
    }

    private func damaged(_ name: String) -> JournalError {
        JournalError(.damaged, path, cause: "column '\(name)' holds what drp never writes")
    }
}

extension Journal {
    func all<Value>(
        _ db: Database, _ sql: String, _ arguments: StatementArguments = StatementArguments(),
        _ make: (Columns) throws -> Value
    ) throws -> [Value] {
        try Row.fetchAll(db, sql: sql, arguments: arguments).map { try make(Columns(row: $0, path: path)) }
    }

    func first<Value>(
        _ db: Database, _ sql: String, _ arguments: StatementArguments = StatementArguments(),
        _ make: (Columns) throws -> Value
    ) throws -> Value? {
        try Row.fetchOne(db, sql: sql, arguments: arguments).map { try make(Columns(row: $0, path: path)) }
    }
}

extension Columns {
    /// A pid, an ordinal: what fits 31 bits.
    func value32(_ name: String) throws -> Int32 {
        guard let value = Int32(exactly: try integer(name)) else {
            throw JournalError(.damaged, path, cause: "column '\(name)' holds what drp never writes")
        }
        return value
    }

    func bytes(_ name: String) throws -> ByteCount { ByteCount(try integer(name)) }
}
