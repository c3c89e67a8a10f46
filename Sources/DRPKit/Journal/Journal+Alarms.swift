package import Foundation
internal import GRDB

/// Something that a person has to see, until it is over or somebody has said why it is none.
package struct Alarm: Sendable, Codable, Hashable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        /// Backups that the journal knows are no longer in the store, and nobody let them go.
        case vanished = "backups-vanished"
        /// Packs that an index names are no longer in the store.
        case packsVanished = "packs-vanished"
        /// Another backup stands under the number of one that the journal knows.
        case replaced = "backup-replaced"
        /// A backup says that it is older than the one before it.
        case backDated = "backup-backdated"
        /// The store has kept versions, and does so no longer.
        case versionsOff = "versions-off"
        /// The store has locked objects, and does so no longer.
        case locksOff = "locks-off"
        /// A rule of the store's own removes objects by their age.
        case lifecycle
        /// A client of production has no store that locks objects.
        case unlocked = "no-locked-store"
        /// Locks of what kept backups need could not be renewed.
        case locksBehind = "locks-behind"
        /// The store did not take backups for a day or longer.
        case away = "store-away"

        /// Whether nothing may be let go while it lasts: what is there may be all that is left.
        package var stopsRetention: Bool {
            switch self {
            case .vanished, .packsVanished, .replaced, .backDated, .versionsOff, .locksOff, .away: true
            case .lifecycle, .unlocked, .locksBehind: false
            }
        }
    }

    package var id: Int64
    package var kind: Kind
    /// nil for one of a whole store.
    package var client: ClientID?
    /// nil for one of a client in all stores.
    package var store: StoreName?
    package var since: Date
    package var text: String
}

/// What an alarm is about: there is one at a time of a kind, client and store.
package struct AlarmSubject: Sendable, Hashable {
    package var kind: Alarm.Kind
    package var client: ClientID?
    package var store: StoreName?

    package init(_ kind: Alarm.Kind, client: ClientID? = nil, store: StoreName? = nil) {
        self.kind = kind
        self.client = client
        self.store = store
    }
}

extension Journal {
    /// Raises the alarm, changes its text, or with nil ends it. What a person has ended with a reason is not raised again for
    /// the same text.
    package func setAlarm(_ subject: AlarmSubject, _ text: String?) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            let open = try self.openAlarm(db, subject)
            guard open?.text != text else { return }
            guard let text else {
                if let open { try self.end(db, open, reason: nil) }
                return
            }
            if open == nil, try self.settledText(db, subject) == text { return }
            try db.execute(
                sql: """
                    INSERT INTO alarms (kind, client, store, since, text) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (kind, client, store) DO UPDATE SET text = excluded.text
                    """,
                arguments: [subject.kind.rawValue, subject.clientText, subject.storeText, now, text])
            try self.append(db, "alarm.raised", client: subject.client, payload: subject.payload(text))
        }
    }

    /// Ends an alarm for a person who has looked into it.
    /// - Returns: the alarm; nil if there is none of that number.
    package func endAlarm(_ id: Int64, reason: String) async throws -> Alarm? {
        try await write { db in
            guard let alarm = try self.first(db, Self.select + "WHERE id = ?", [id], self.alarm) else {
                return nil
            }
            try self.end(db, alarm, reason: reason)
            return alarm
        }
    }

    /// Open alarms, the oldest first.
    /// - Parameter client: of this client, and of whole stores; nil for all.
    package func alarms(client: ClientID? = nil) async throws -> [Alarm] {
        try await read { db in
            try self.all(
                db, Self.select + "WHERE ? IS NULL OR client IN (?, '') ORDER BY since, id",
                [client?.text, client?.text], self.alarm)
        }
    }

    private static let select =
        "SELECT id, kind, nullif(client, '') AS of, nullif(store, '') AS place, since, text FROM alarms "

    private func openAlarm(_ db: Database, _ subject: AlarmSubject) throws -> Alarm? {
        try first(
            db, Self.select + "WHERE kind = ? AND client = ? AND store = ?",
            [subject.kind.rawValue, subject.clientText, subject.storeText], alarm)
    }

    private func end(_ db: Database, _ alarm: Alarm, reason: String?) throws {
        try db.execute(sql: "DELETE FROM alarms WHERE id = ?", arguments: [alarm.id])
        let subject = AlarmSubject(alarm.kind, client: alarm.client, store: alarm.store)
        try append(db, "alarm.ended", client: alarm.client, payload: subject.payload(alarm.text, reason: reason))
    }

    /// What a person was last told, and ended; nil if it was raised or ended by itself since.
    private func settledText(_ db: Database, _ subject: AlarmSubject) throws -> String? {
        let last = try first(
            db,
            """
            SELECT * FROM events WHERE kind IN ('alarm.raised', 'alarm.ended') AND coalesce(client, '') = ?
                AND json_extract(payload, '$.alarm') = ? AND coalesce(json_extract(payload, '$.store'), '') = ?
            ORDER BY id DESC LIMIT 1
            """, [subject.clientText, subject.kind.rawValue, subject.storeText], event)
        guard let last, last.kind == "alarm.ended", last.payload.object?["reason"] != nil else { return nil }
        return last.payload.object?["text"]?.text
    }

    private func alarm(_ columns: Columns) throws -> Alarm {
        Alarm(
            id: try columns.integer("id"), kind: try columns.value("kind", Alarm.Kind.init(rawValue:)),
            client: try columns.valueIfAny("of", ClientID.init(_:)),
            store: try columns.valueIfAny("place", StoreName.init(_:)), since: try columns.date("since"),
            text: try columns.text("text"))
    }
}

extension AlarmSubject {
    fileprivate var clientText: String { client?.text ?? "" }
    fileprivate var storeText: String { store?.text ?? "" }

    fileprivate func payload(_ text: String, reason: String? = nil) -> JSONValue {
        var fields: [String: JSONValue] = ["alarm": .text(kind.rawValue), "text": .text(text)]
        if let store { fields["store"] = .text(store.text) }
        if let reason { fields["reason"] = .text(reason) }
        return .object(fields)
    }
}
