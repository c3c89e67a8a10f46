package import DRPKit
package import Foundation

/// Prunes one repository in two phases: a run marks what nobody needs, and a later one deletes what has been marked for
/// the grace and what still nobody needs. `docs/explanation/prune.md` says why nothing is lost.
package struct Prune: Sendable {
    /// By so much the clocks of the store and of this machine may differ.
    package static let clockTolerance: TimeInterval = 300
    package static let usualGrace = Duration.seconds(86_400)

    private let repository: Repository
    private let rules: PruneRules
    private let grace: TimeInterval
    private var store: any ObjectStore { repository.store }

    package init(_ repository: Repository, retention: Retention, history: PruneHistory?, grace: Duration) {
        self.repository = repository
        rules = PruneRules(retention: retention, history: history)
        self.grace = TimeInterval(grace.components.seconds)
    }

    /// What a run would mark now; changes nothing.
    package func plan(now: Date) async throws -> PrunePlan { try await plan(try await .count(repository), now: now) }

    /// Deletes what marks of the grace's age name, then marks anew. May be called again after any failure, and goes on.
    /// - Parameters:
    ///   - isConfirmed: whether the client's name was given.
    ///   - mayDelete: is asked before each deletion; what it throws ends the run there.
    /// - Throws: `PruneError` if the clocks differ; `RepositoryError`, also for a manifest that cannot be read, since what
    ///   it needs is not known; `StoreError`.
    package func run(
        clock: any WallClock, isConfirmed: Bool, mayDelete: @Sendable () async throws -> Void
    ) async throws -> PruneReport {
        try await mayDelete()
        let now = try await storeTime(clock)
        var census = try await Census.count(repository)
        for key in census.marks.damaged.keys.sorted() { try await store.delete(key) }
        var report = PruneReport()
        let old = try await markTimes(census).filter { $0.value + grace <= now }.keys.sorted()
        let locked = try await locks(of: old, census, now: now)
        let due = old.filter { locked[$0] == nil }
        if !due.isEmpty {
            report.removed = try await remove(due, census, now: now, mayDelete)
            census = try await Census.count(repository)
        }
        let plan = try await plan(census, now: now)
        report.add(plan)
        guard isConfirmed || plan.wants.isEmpty else {
            report.unconfirmed = plan.wants
            return report
        }
        guard !plan.backups.isEmpty || !plan.packs.isEmpty || !plan.logs.isEmpty else { return report }
        let mark = PruneMark(
            client: repository.keys.client, number: (census.marks.marks.keys.max() ?? 0) + 1,
            at: clock.now.inWholeMilliseconds, backups: plan.backups, packs: plan.packs.map(\.name),
            logs: plan.logs.map(\.text))
        try await repository.put(mark)
        report.marked = PruneReport.Marked(
            mark: mark.number, backups: plan.backups, packs: plan.packs.count, bytes: plan.bytes,
            logs: plan.logs.count)
        return report
    }

    // MARK: - Counting

    private func plan(_ census: Census, now: Date) async throws -> PrunePlan {
        var plan = rules.plan(census, marked: try await markTimes(census), grace: grace, now: now)
        var packs: [PrunePlan.Pack] = []
        for pack in plan.packs {
            // One that is in no backup and young may be of a backup that runs on another machine.
            if pack.isOrphan, try await !isOlder(repository.layout.pack(pack.name), now: now) { continue }
            packs.append(pack)
        }
        plan.packs = packs
        let locked = try await locks(of: plan.marks.filter { $0.due <= now }.map(\.number), census, now: now)
        for index in plan.marks.indices {
            if let until = locked[plan.marks[index].number] { plan.marks[index].due = until }
        }
        return plan
    }

    /// What a lock keeps is not touched before its end, and the mark that names it waits: hidden behind a marker, it would
    /// only be forgotten.
    /// - Returns: until when an object of the mark is locked, for marks that have one.
    private func locks(of marks: [Int], _ census: Census, now: Date) async throws -> [Int: Date] {
        guard try await store.canLock() else { return [:] }
        let layout = repository.layout
        var found: [Int: Date] = [:]
        for number in marks {
            guard let mark = census.marks.marks[number] else { continue }
            let keys =
                mark.packs.map { layout.pack($0) } + mark.backups.map { layout.backup($0) }
                + census.logs.filter { mark.logs.contains($0.text) }.map { layout.log($0) }
            // The first one is enough.
            for key in keys {
                guard let until = try await lockedUntil(key), until > now else { continue }
                found[number] = until
                break
            }
        }
        return found
    }

    private func lockedUntil(_ key: ObjectKey) async throws -> Date? {
        do { return try await store.lockedUntil(key) } catch {
            guard error.reason == .missing else { throw error }
            return nil
        }
    }

    private func isOlder(_ key: ObjectKey, now: Date) async throws -> Bool {
        guard let written = try await store.written(key) else { return false }
        return written + grace <= now
    }

    private func markTimes(_ census: Census) async throws -> [Int: Date] {
        var times: [Int: Date] = [:]
        for number in census.marks.marks.keys {
            times[number] = try await store.written(repository.layout.mark(number))
        }
        return times
    }

    /// The store's time, told by an object that is just written.
    private func storeTime(_ clock: any WallClock) async throws -> Date {
        let written = try await repository.time()
        let name = "\(repository.keys.name)"
        guard let written else { throw PruneError(.noClock, name) }
        guard abs(written.timeIntervalSince(clock.now)) <= Self.clockTolerance else {
            throw PruneError(.clocksDiffer(store: written, ours: clock.now), name)
        }
        return written
    }

    // MARK: - Deleting

    /// The order is that of `docs/repository-format.md`: at no moment does a manifest that is there need what is not.
    private func remove(
        _ marks: [Int], _ census: Census, now: Date, _ mayDelete: @Sendable () async throws -> Void
    ) async throws -> PruneReport.Removed {
        let (backups, packs, logs) = rules.dead(census, marks: marks, now: now)
        precondition(
            !backups.contains { $0.number == census.newestGood }, "prune would delete the newest backup that is whole")
        for backup in backups {
            try await repository.put(
                Tombstone(
                    client: repository.keys.client, number: backup.number, at: now, instant: backup.instant,
                    previous: backup.previous, hash: backup.hash))
        }
        for backup in backups {
            try await mayDelete()
            try await store.delete(repository.layout.backup(backup.number))
        }
        for log in logs {
            try await mayDelete()
            try await store.delete(repository.layout.log(log))
        }
        try await replaceIndexes(without: Set(packs.map(\.name)), census, mayDelete)
        try await requireNoNewBackup(census)
        for pack in packs {
            try await mayDelete()
            try await store.delete(repository.layout.pack(pack.name))
        }
        for mark in marks { try await store.delete(repository.layout.mark(mark)) }
        let there = Set(census.packs.map(\.name))
        let named = Set(marks.flatMap { census.marks.marks[$0]?.packs ?? [] }).intersection(there)
        return PruneReport.Removed(
            backups: backups.map(\.number), packs: packs.count, bytes: packs.reduce(0) { $0 + $1.size },
            logs: logs.count, spared: named.count - packs.count)
    }

    /// Indexes that name packs which go, or went, give way to new ones of the packs that stay.
    private func replaceIndexes(
        without gone: Set<ContentHash>, _ census: Census, _ mayDelete: @Sendable () async throws -> Void
    ) async throws {
        let sizes = Dictionary(census.packs.map { ($0.name, $0.size) }, uniquingKeysWith: { $1 })
        func stays(_ pack: StoredPack) -> Bool { sizes[pack.name] == pack.size && !gone.contains(pack.name) }
        var old: [ObjectKey] = []
        var covered: Set<ContentHash> = []
        for object in try await store.list(repository.layout.indexes) {
            guard let packs = try await readable(object.key)?.packs else { continue }
            if packs.allSatisfy(stays) { covered.formUnion(packs.map(\.name)) } else { old.append(object.key) }
        }
        var staying: [StoredPack] = []
        for key in old {
            for pack in try await readable(key)?.packs ?? [] where stays(pack) {
                if covered.insert(pack.name).inserted { staying.append(pack) }
            }
        }
        for index in PackIndex.spread(staying) { try await repository.put(index) }
        for key in old {
            try await mayDelete()
            try await store.delete(key)
        }
    }

    /// - Returns: nil for what is damaged, or no index: `verify` tells of it.
    private func readable(_ key: ObjectKey) async throws -> PackIndex? {
        guard repository.layout.indexName(key) != nil else { return nil }
        do { return try await repository.index(key) } catch let error as RepositoryError where error.reason == .damaged
        {
            return nil
        }
    }

    /// A backup that another machine has committed since the count may need what is about to go.
    private func requireNoNewBackup(_ census: Census) async throws {
        let known = census.numbers
        if let number = try await repository.numbers().first(where: { !known.contains($0) }) {
            throw RepositoryError(.overtaken, "backup \(number) of \(repository.keys.name)")
        }
    }
}

/// What a run of prune did in one repository.
package struct PruneReport: Sendable, Codable, Equatable {
    package struct Removed: Sendable, Codable, Equatable {
        package var backups: [Int]
        package var packs: Int
        package var bytes: Int64
        /// Slices and gaps of logs.
        package var logs: Int
        /// Packs that were marked and that a backup needs again.
        package var spared: Int
    }

    package struct Marked: Sendable, Codable, Equatable {
        package var mark: Int
        package var backups: [Int]
        package var packs: Int
        package var bytes: Int64
        package var logs: Int
    }

    package var removed: Removed?
    package var marked: Marked?
    /// Marks that were there before and wait for their grace to end.
    package var waiting: [PrunePlan.Mark] = []
    /// Why no backup expires although rules would let some go.
    package var blocked: String?
    /// Why nothing was marked without the client's name.
    package var unconfirmed: [String] = []
    package var newestGood: Int?

    mutating func add(_ plan: PrunePlan) {
        waiting = plan.marks
        blocked = plan.blocked
        newestGood = plan.newestGood
    }
}

extension Journal {
    /// While a site is lost, nothing that its clients may come back from goes.
    /// - Throws: `PruneError.held`, also while the client itself is held.
    func requireNoHold(_ client: ClientID) async throws {
        if let lost = try await declarations().first {
            throw PruneError(.held(place: "the journal", why: "site \(lost.site) is declared lost"), "\(client)")
        }
        guard let hold = try await hold(of: client) else { return }
        throw PruneError(.held(place: "the journal", why: hold.reason), "\(client)")
    }
}

/// Why prune deletes nothing.
package struct PruneError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// - Parameters:
        ///   - place: `the journal`, or the store.
        ///   - why: the reason of the hold, if it can be read.
        case held(place: String, why: String?)
        /// An alarm is open: its number, and what it says.
        case alarmed(number: Int64, String)
        /// The store does not tell when its objects were written.
        case noClock
        case clocksDiffer(store: Date, ours: Date)
    }

    package var reason: Reason
    /// The client.
    package var subject: String

    package init(_ reason: Reason, _ subject: String) {
        self.reason = reason
        self.subject = subject
    }

    package var code: ErrorCode {
        switch reason {
        case .held: .held
        case .alarmed: .alarmed
        case .noClock, .clocksDiffer: .clocksDiffer
        }
    }

    package var message: String {
        switch reason {
        case .held(let place, let why): "\(subject) is held by \(place)" + (why.map { ": \($0)" } ?? "")
        case .alarmed(let number, let why): "nothing of \(subject) may go while alarm \(number) is open: \(why)"
        case .noClock: "the store of \(subject) does not tell when its objects were written"
        case .clocksDiffer(let store, let ours):
            "the clock of the store of \(subject) says \(store.formatted(.iso8601)), that of this machine "
                + ours.formatted(.iso8601)
        }
    }
}
