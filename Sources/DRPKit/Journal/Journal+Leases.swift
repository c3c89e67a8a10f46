package import Foundation
internal import GRDB

extension Journal {
    /// Takes the lease `name`; that of a dead process is taken over.
    /// - Parameter lasts: how long without a heartbeat the lease outlives a holder that is alive: one that was stopped,
    ///   or hangs. Only for work whose results are refused afterwards; nil: as long as its process lives.
    /// - Throws: `JournalError.leased` if somebody alive holds it, also this process itself.
    package func acquireLease(
        _ name: String, instance: UUID = UUID(), lasts: Duration? = nil
    ) async throws -> LeaseEntry {
        let now = JournalDate.rounded(clock.now)
        let me = ProcessIdentity.current
        return try await write { db in
            let row = try self.first(db, "SELECT * FROM leases WHERE name = ?", [name]) {
                (try self.lease($0), try $0.integer("held") == 1)
            }
            if let (holder, isHeld) = row, isHeld {
                guard holder.state(silentFor: now.timeIntervalSince(holder.beat)) != .alive else {
                    throw JournalError(.leased(by: holder), name)
                }
                try self.append(
                    db, "lease.taken-over", client: nil,
                    payload: ["lease": .text(name), "pid": .integer(Int64(holder.pid))])
            }
            let lease = LeaseEntry(
                name: name, instance: instance, fence: (row?.0.fence ?? 0) + 1, pid: me.pid, pidStarted: me.started,
                machine: me.machine, since: now, beat: now, lasts: lasts?.components.seconds)
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO leases
                        (name, instance, fence, pid, pid_started, machine, since, beat, lasts, held)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
                    """,
                arguments: [
                    name, instance.uuidString, lease.fence, me.pid, me.started, me.machine, JournalDate.text(now),
                    JournalDate.text(now), lease.lasts,
                ])
            return lease
        }
    }

    /// Says that the holder lives.
    /// - Throws: `JournalError.leaseLost` if another one has taken it over.
    package func beat(_ lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            try self.require(lease, db)
            try db.execute(sql: "UPDATE leases SET beat = ? WHERE name = ?", arguments: [now, lease.name])
        }
    }

    /// Gives the lease back; without effect if another one has it already.
    package func release(_ lease: LeaseEntry) async throws {
        try await write { db in
            try db.execute(
                sql: "UPDATE leases SET held = 0 WHERE name = ? AND instance = ?",
                arguments: [lease.name, lease.instance.uuidString])
        }
    }

    /// The leases whose holders live.
    package func leases() async throws -> [LeaseEntry] {
        let now = clock.now
        return try await read { db in
            try self.all(db, "SELECT * FROM leases WHERE held = 1 ORDER BY name", [], self.lease)
                .filter { $0.state(silentFor: now.timeIntervalSince($0.beat)) == .alive }
        }
    }

    /// - Throws: `.leaseLost`; inside the transaction that writes a result, so that a holder that was taken over
    ///   (it slept, it was stopped) writes none.
    func require(_ lease: LeaseEntry, _ db: Database) throws {
        let isOurs = try Bool.fetchOne(
            db, sql: "SELECT held = 1 AND instance = ? AND fence = ? FROM leases WHERE name = ?",
            arguments: [lease.instance.uuidString, lease.fence, lease.name])
        guard isOurs == true else { throw JournalError(.leaseLost, lease.name) }
    }

    private func lease(_ columns: Columns) throws -> LeaseEntry {
        LeaseEntry(
            name: try columns.text("name"), instance: try columns.value("instance", UUID.init(uuidString:)),
            fence: try columns.integer("fence"), pid: try columns.value32("pid"),
            pidStarted: try columns.text("pid_started"), machine: try columns.text("machine"),
            since: try columns.date("since"), beat: try columns.date("beat"), lasts: columns.integerIfAny("lasts"))
    }
}
