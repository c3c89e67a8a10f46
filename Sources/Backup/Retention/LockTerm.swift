package import DRPKit
package import Foundation

/// From what a policy says (`lock`) to what a store is told: whatever a kept backup needs can be removed by nobody for
/// `lasts` from now on, at any time.
///
/// A lock is set for a quarter longer than that, and all of them are renewed when an eighth has passed: so not every night
/// renews every lock, and a night that was missed leaves no gap. `docs/explanation/ransom.md`.
package struct LockTerm: Sendable, Hashable {
    /// What is written or renewed now.
    package let lock: ObjectLock
    /// A lock that ends earlier than this is too short.
    package let least: Date
    /// Renewals lie so far apart.
    package let interval: TimeInterval

    package init(_ policy: Policy.Lock, now: Date) {
        let lasts = TimeInterval(policy.lasts.components.seconds)
        lock = ObjectLock(mode: policy.mode, until: now + lasts * 5 / 4)
        least = now + lasts
        interval = lasts / 8
    }
}

extension Repository {
    /// Renews the locks that end before `least`. An object that is not there is left to whoever needs it.
    /// - Returns: how many were renewed.
    @discardableResult
    func renewLocks(_ keys: [ObjectKey], _ lock: ObjectLock, least: Date) async throws -> Int {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            var renewed = 0
            var rest = keys[...]
            for _ in 0..<8 { if let key = rest.popFirst() { group.addTask { try await renew(key, lock, least) } } }
            while let isRenewed = try await group.next() {
                if isRenewed { renewed += 1 }
                if let key = rest.popFirst() { group.addTask { try await renew(key, lock, least) } }
            }
            return renewed
        }
    }

    private func renew(_ key: ObjectKey, _ lock: ObjectLock, _ least: Date) async throws -> Bool {
        do throws(StoreError) {
            if let until = try await store.lockedUntil(key), until >= least { return false }
            try await store.lock(key, lock)
            return true
        } catch {
            guard error.reason == .missing else { throw error }
            return false
        }
    }
}

/// Renews the locks of everything that the kept backups of one repository need.
package struct LockRenewal: Sendable {
    package struct Report: Sendable, Codable, Equatable {
        /// Objects that are needed.
        package var objects: Int
        package var renewed: Int
        /// Until when they are locked at least.
        package var until: Date
    }

    private let repository: Repository
    private let term: LockTerm
    private let retention: Retention

    package init(_ repository: Repository, term: LockTerm, retention: Retention) {
        self.repository = repository
        self.term = term
        self.retention = retention
    }

    /// Manifests after packs and keys: one that is locked has all that it needs locked.
    /// - Throws: `RepositoryError` for a manifest that cannot be read: what it needs is not known; `StoreError`.
    package func run(now: Date) async throws -> Report {
        let layout = repository.layout
        let census = try await Census.count(repository)
        let kept = Set(retention.decisions(census, now: now).filter(\.isKept).map(\.backup.number))
        let needs = census.needs(kept)
        let packs = census.packs.enumerated().filter { needs.contains($0.offset) }.map { layout.pack($0.element.name) }
        var others: [ObjectKey] = [layout.card]
        for folder in [layout.wraps, layout.epochs, layout.indexes, layout.tombstones] {
            others += try await repository.store.list(folder).map(\.key)
        }
        let dropped = Set(census.backups.map(\.number)).subtracting(kept)
        let manifests = census.numbers.subtracting(dropped).sorted().map { layout.backup($0) }
        var report = Report(objects: packs.count + others.count + manifests.count, renewed: 0, until: term.lock.until)
        for keys in [packs, others, manifests] {
            report.renewed += try await repository.renewLocks(keys, term.lock, least: term.lock.until)
        }
        return report
    }
}

extension Retention {
    func decisions(_ census: Census, now: Date) -> [RetentionDecision] {
        decisions(
            census.backups.map { RetentionCandidate(number: $0.number, instant: $0.instant, isGood: $0.isGood) },
            leased: census.leased, now: now)
    }
}

extension Fleet {
    /// nil where the client's policy has no `lock`.
    package func lockTerm(of client: Client, now: Date) -> LockTerm? {
        policy(of: client)?.lock.map { LockTerm($0, now: now) }
    }
}
