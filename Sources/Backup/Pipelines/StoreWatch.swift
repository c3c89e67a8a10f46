package import DRPKit
package import Foundation

/// Looks for what a thief, a rule of the store's own or a hand that slipped leaves behind, and raises alarms in the journal:
/// `docs/explanation/ransom.md` has them all. What is over ends by itself.
package struct StoreWatch: Sendable {
    /// A backup may say that it is older than the one before it by so much: clocks differ.
    private static let clockTolerance: TimeInterval = 300
    /// A store that takes nothing for so long is away.
    static let longestAbsence: TimeInterval = 86_400

    private let journal: Journal
    private let clock: any WallClock

    package init(journal: Journal, clock: any WallClock) {
        self.journal = journal
        self.clock = clock
    }

    /// Compares what a store does with what it did; of what is not known nothing is said.
    package func look(at store: StoreName, _ found: StoreGuards) async throws {
        let before = try await journal.seenTraits(of: store)
        if let keeps = found.keepsVersions {
            let lost = "the store keeps no versions any more: what is deleted or replaced now is gone"
            try await journal.setAlarm(
                AlarmSubject(.versionsOff, store: store), before.keepsVersions && !keeps ? lost : nil)
        }
        if let locks = found.locks {
            let lost = "the store locks objects no more: a thief with its key can remove them"
            try await journal.setAlarm(AlarmSubject(.locksOff, store: store), before.locks && !locks ? lost : nil)
        }
        if let expires = found.expires {
            try await journal.setAlarm(
                AlarmSubject(.lifecycle, store: store),
                expires ? "a lifecycle rule of the store removes objects by their age" : nil)
        }
        let best = SeenTraits(
            keepsVersions: before.keepsVersions || found.keepsVersions == true,
            locks: before.locks || found.locks == true)
        if best != before { try await journal.recordTraits(best, of: store) }
    }

    /// Compares what the journal knows of a client's backups in a store with what lies there.
    /// - Parameters:
    ///   - repository: the uuid of the client's repositories.
    ///   - list: what was read there, if it was.
    package func look(
        at store: StoreName, _ holdings: Holdings, of client: ClientID, _ repository: UUID, _ list: BackupList? = nil
    ) async throws {
        let known = try await journal.heldBackups(client: client, store: store, repository: repository)
        let gone = known.map(\.number).filter {
            !holdings.numbers.contains($0) && !holdings.tombstones.contains($0)
        }
        try await journal.setAlarm(
            AlarmSubject(.vanished, client: client, store: store),
            gone.isEmpty
                ? nil
                : "\(gone.count) of \(known.count) backups are gone from the store, and no prune let "
                    + "them go: \(Self.list(gone))")
        var newest: Date?
        var backDated: [Int] = []
        for backup in known {
            if let newest, backup.instant < newest - Self.clockTolerance { backDated.append(backup.number) }
            newest = max(newest ?? backup.instant, backup.instant)
        }
        try await journal.setAlarm(
            AlarmSubject(.backDated, client: client, store: store),
            backDated.isEmpty ? nil : "they say that they are older than those before them: \(Self.list(backDated))")
        guard let list else { return }
        let changed = known.filter { backup in
            if list.unreadable[backup.number] != nil { return true }
            guard let hash = backup.hash, let found = list.hashes[backup.number] else { return false }
            return hash != found
        }
        try await journal.setAlarm(
            AlarmSubject(.replaced, client: client, store: store),
            changed.isEmpty ? nil : "they are not what was written there: \(Self.list(changed.map(\.number)))")
    }

    /// Tells whether packs are there that indexes name.
    func look(atPacks store: StoreName, absent: Int, of all: Int, client: ClientID) async throws {
        try await journal.setAlarm(
            AlarmSubject(.packsVanished, client: client, store: store),
            absent == 0 ? nil : "\(absent) of \(all) packs are gone from the store, and no prune let them go")
    }

    /// A client of production needs a store from which nobody can remove its backups.
    package func look(atLocksOf client: Client, in fleet: Fleet, locking: [StoreName: Bool]) async throws {
        let stores = fleet.stores(of: client).map(\.name)
        // Of a store that did not answer nothing is known.
        guard stores.allSatisfy({ locking[$0] != nil }) else { return }
        let isProduction = fleet.environment(client.environment)?.isProduction == true
        let policy = fleet.policy(of: client)
        let isLocked = policy?.lock != nil && stores.contains { locking[$0] == true }
        let why =
            policy?.lock == nil
            ? "its policy has no `lock`" : "no store of its policy locks objects"
        try await journal.setAlarm(
            AlarmSubject(.unlocked, client: client.id),
            isProduction && !isLocked ? "\(why): a thief with the stores' keys can remove all its backups" : nil)
    }

    /// Tells whether a store has taken nothing for a day.
    func look(atAbsenceOf store: StoreName, client: ClientID) async throws {
        let since = try await journal.failingSince(client: client, store: store)
        let isAway = since.map { clock.now.timeIntervalSince($0) >= Self.longestAbsence } ?? false
        try await journal.setAlarm(
            AlarmSubject(.away, client: client, store: store),
            since.flatMap { isAway ? "it has taken no backup since \($0.formatted(.iso8601))" : nil })
    }

    /// As `1, 2, 3 and 40 more`.
    private static func list(_ numbers: [Int]) -> String {
        let shown = numbers.prefix(10).map(String.init).joined(separator: ", ")
        return "backup\(numbers.count == 1 ? "" : "s") \(shown)"
            + (numbers.count > 10 ? " and \(numbers.count - 10) more" : "")
    }
}
