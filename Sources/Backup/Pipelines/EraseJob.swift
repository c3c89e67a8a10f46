package import DRPKit
package import Foundation

/// Erases a client for good: in every store of the fleet a tombstone, then the card, then the wrapped keys, without which
/// everything else is noise, then that as well. What a lock keeps goes out of sight, and the date on which its lock ends is
/// told. `docs/explanation/erase.md`.
package struct EraseJob: Sendable {
    /// The hold is looked for again, and the lease kept, after so many deletions.
    private static let batch = 50

    private let fleet: Fleet
    private let journal: Journal
    private let clock: any WallClock
    private let open: StoreOpener

    /// - Parameter open: makes the store that the settings describe.
    package init(fleet: Fleet, journal: Journal, clock: any WallClock, open: @escaping StoreOpener) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.open = open
    }

    /// What a run would meet; changes nothing.
    /// - Throws: `PruneError.held`; `WriterKeysError` for a client that has no keys and was never erased.
    package func plan(_ client: ClientID) async throws -> ErasePlan {
        try await journal.requireNoHold(client)
        let subject = try await subject(client)
        var plan = ErasePlan(client: client, repository: subject.uuid, begun: subject.begun)
        for settings in fleet.stores {
            do {
                let place = try await place(settings, subject)
                try await requireNoHold(client, in: place)
                plan.stores.append(try await look(place))
            } catch let error as PruneError {
                throw error
            } catch {
                plan.problems.append((settings.name, error))
            }
        }
        return plan
    }

    /// May be called again, also after it was killed, and goes on; and when locks have ended, to remove what they kept.
    /// - Throws: `PruneError.held`; `JournalError.leased`, or `RepositoryError.leased`, while a backup, a prune or a restore of the
    ///   client runs; as `plan`. Nothing was changed then, unless a hold came meanwhile.
    package func run(_ client: ClientID) async throws -> (receipt: EraseReceipt, problems: [EraseProblem]) {
        try await journal.holding("client/\(client)") { lease in
            try await journal.requireNoHold(client)
            let subject = try await subject(client)
            let (places, failures) = try await places(subject, lease)
            let begun = try await journal.beginErasure(of: client, repository: subject.uuid).begun
            Failpoint.hit("erase.begun")
            var problems = failures
            var receipt = EraseReceipt(client: client, repository: subject.uuid, begun: begun, at: clock.now)
            for place in places {
                do {
                    receipt.stores.append(try await erase(subject, in: place, begun: begun, lease))
                } catch let error where error is JournalError || error is PruneError {
                    throw error
                } catch {
                    problems.append((place.name, error))
                }
            }
            // While a store lacks its tombstone they are needed to make it.
            if problems.isEmpty { try removeKeys(client) }
            Failpoint.hit("erase.erased")
            receipt.unasked = problems.map(\.store)
            receipt.at = clock.now.inWholeMilliseconds
            try await journal.recordErasure(of: client, receipt: try receipt.forJournal())
            return (receipt, problems)
        }
    }

    // MARK: - Whom

    private struct Subject: Sendable {
        var client: ClientID
        var uuid: UUID
        /// nil once all stores are done.
        var keys: WriterKeys?
        var begun: Date?

        var layout: RepositoryLayout { RepositoryLayout(client: uuid) }
    }

    private struct Place: Sendable {
        var name: StoreName
        var store: any ObjectStore
        var layout: RepositoryLayout
        var repository: Repository?
    }

    private func subject(_ client: ClientID) async throws -> Subject {
        let erasure = try await journal.erasure(of: client)
        do {
            let keys = try WriterKeys.read(of: client, state: fleet.state)
            return Subject(client: client, uuid: keys.client, keys: keys, begun: erasure?.begun)
        } catch let error as WriterKeysError where error.isMissing {
            guard let erasure else { throw error }
            return Subject(client: client, uuid: erasure.repository, keys: nil, begun: erasure.begun)
        }
    }

    private func place(_ settings: StoreSettings, _ subject: Subject) async throws -> Place {
        let store = try await open(settings).makingRoom()
        return Place(
            name: settings.name, store: store, layout: subject.layout,
            repository: subject.keys.map { Repository(unchecked: store, keys: $0) })
    }

    /// All stores that answer, none of which is held or written to.
    private func places(
        _ subject: Subject, _ lease: LeaseEntry
    ) async throws -> (places: [Place], failures: [EraseProblem]) {
        var (places, failures): ([Place], [EraseProblem]) = ([], [])
        for settings in fleet.stores {
            do {
                let place = try await place(settings, subject)
                try await requireNoHold(subject.client, in: place)
                _ = try await place.repository?.silentNumber(beside: lease)
                places.append(place)
            } catch let error as PruneError {
                throw error
            } catch let error as RepositoryError where error.reason == .leased {
                throw error
            } catch {
                failures.append((settings.name, error))
            }
        }
        return (places, failures)
    }

    private func requireNoHold(_ client: ClientID, in place: Place) async throws {
        guard try await place.store.size(place.layout.hold) != nil else { return }
        // One that cannot be read holds too.
        let why = try? await place.repository?.hold()?.reason
        throw PruneError(.held(place: "store \(place.name)", why: why), "\(client)")
    }

    // MARK: - One store

    private func look(_ place: Place) async throws -> ErasePlan.Store {
        var found = ErasePlan.Store(store: place.name)
        found.isErased = try await place.store.size(place.layout.erased) != nil
        let visible = try await place.store.list(place.layout.root).filter { $0.key != place.layout.erased }
        found.objects = visible.count
        found.bytes = visible.reduce(0) { $0 + $1.size }
        for object in visible where place.layout.wrapEpoch(object.key) != nil {
            found.wraps += 1
            guard let until = try await place.store.lockedUntil(object.key), until > clock.now else { continue }
            found.lockedWraps += 1
            found.wrapsUntil = max(found.wrapsUntil ?? until, until)
        }
        found.hidden =
            try await place.store.remains(place.layout.root)
            .count { $0 != place.layout.erased } - visible.count
        return found
    }

    private func erase(
        _ subject: Subject, in place: Place, begun: Date, _ lease: LeaseEntry
    ) async throws -> EraseReceipt.Store {
        try await place.repository?.putErasure(at: begun)
        Failpoint.hit("erase.marked")
        var result = EraseReceipt.Store(store: place.name)
        var count = 0
        var done: Set<ObjectKey> = []
        // A second time for what a writer that did not know yet put there meanwhile.
        for _ in 0..<2 {
            let keys = try await place.store.remains(place.layout.root).filter { $0 != place.layout.erased }
            for key in Self.inOrder(keys, place.layout) where !done.contains(key) {
                if count % Self.batch == 0 {
                    try await journal.beat(lease)
                    try await journal.requireNoHold(subject.client)
                    try await requireNoHold(subject.client, in: place)
                }
                count += 1
                done.insert(key)
                result.add(try await place.store.delete(key), isWrap: place.layout.isBelowWraps(key))
                Failpoint.hit("erase.deleted")
            }
        }
        return result
    }

    /// The card first, so that no program takes what is left for a repository, then the wrapped keys, then all that only
    /// they opened.
    private static func inOrder(_ keys: [ObjectKey], _ layout: RepositoryLayout) -> [ObjectKey] {
        let wraps = keys.filter { layout.isBelowWraps($0) }
        let others = keys.filter { !layout.isBelowWraps($0) && $0 != layout.card }
        return keys.filter { $0 == layout.card } + wraps + others
    }

    private func removeKeys(_ client: ClientID) throws {
        let path = WriterKeys.path(of: client, state: fleet.state)
        guard FileManager.default.fileExists(atPath: path) else { return }
        try FileManager.default.removeItem(atPath: path)
    }
}

/// A store in which an erasure could not be done.
package typealias EraseProblem = (store: StoreName, error: any Error)

/// What an erasure would meet.
package struct ErasePlan: Sendable {
    package struct Store: Sendable, Codable, Equatable {
        package var store: StoreName
        /// Whether its tombstone is there already.
        package var isErased = false
        package var objects = 0
        package var bytes: Int64 = 0
        package var wraps = 0
        /// Those that cannot be destroyed yet.
        package var lockedWraps = 0
        package var wrapsUntil: Date?
        /// Objects that are out of sight, kept by a lock that may have ended meanwhile.
        package var hidden = 0
    }

    package var client: ClientID
    package var repository: UUID
    /// nil if it was not begun.
    package var begun: Date?
    package var stores: [Store] = []
    package var problems: [EraseProblem] = []
}

/// What was destroyed, and what has a date. Kept in the journal.
package struct EraseReceipt: Sendable, Codable, Equatable {
    package struct Store: Sendable, Codable, Equatable {
        package var store: StoreName
        /// Wrapped keys that are gone, with all their versions.
        package var wraps = 0
        package var lockedWraps = 0
        /// When the last lock on one ends; nil if none is locked, or the store does not tell.
        package var wrapsUntil: Date?
        /// Everything else that is gone.
        package var objects = 0
        package var lockedObjects = 0
        package var objectsUntil: Date?

        mutating func add(_ deletion: Deletion, isWrap: Bool) {
            switch (deletion, isWrap) {
            case (.gone, true): wraps += 1
            case (.gone, false): objects += 1
            case (.locked(let until), true):
                lockedWraps += 1
                wrapsUntil = Self.later(wrapsUntil, until)
            case (.locked(let until), false):
                lockedObjects += 1
                objectsUntil = Self.later(objectsUntil, until)
            }
        }

        private static func later(_ one: Date?, _ other: Date?) -> Date? {
            [one, other].compactMap { $0 }.max()
        }
    }

    package var client: ClientID
    package var repository: UUID
    /// From when on nothing was written any more.
    package var begun: Date
    package var at: Date
    package var stores: [Store] = []
    /// Stores in which it is yet to be done.
    package var unasked: [StoreName] = []

    /// As the event keeps it: times as text, for who reads the evidence.
    func forJournal() throws -> JSONValue {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        return try JSONDecoder().decode(JSONValue.self, from: try encoder.encode(self))
    }

    /// Whether somebody with a recovery identity could still read content, from what locks keep.
    package var isReadable: Bool { !unasked.isEmpty || stores.contains { $0.lockedWraps > 0 } }
    /// Until when; nil if it is not known, or not readable.
    package var readableUntil: Date? { stores.compactMap(\.wrapsUntil).max() }
    /// Whether another run has anything left to do.
    package var isComplete: Bool {
        !isReadable && stores.allSatisfy { $0.lockedObjects == 0 }
    }
    /// When the last lock ends.
    package var goneBy: Date? { (stores.compactMap(\.wrapsUntil) + stores.compactMap(\.objectsUntil)).max() }
}
