internal import DRPKit
internal import Foundation

/// Says in the store that a capture works on the client: the object `lease`. Two machines that share no journal see each
/// other by it. It only spares work that would be refused: what keeps their backups apart is the number (see `VoidNumber`).
struct StoreLease: Codable, Sendable, Equatable {
    var format = Manifest.currentFormat
    var client: UUID
    /// Which its backup will have.
    var number: Int
    /// Backups that it builds on: no prune takes them meanwhile.
    var backups: [Int]
    /// As the holder's own journal has it; when it last said that it lives is told by the store's clock.
    var holder: LeaseEntry
}

extension Repository {
    /// The lease that is there, and its age by the store's clock; nil if there is none.
    private func currentLease() async throws -> (lease: StoreLease, age: TimeInterval)? {
        do {
            let lease = try await lease()
            guard let written = try await store.written(layout.lease), let now = try await time() else { return nil }
            return (lease, now.timeIntervalSince(written))
        } catch let error as StoreError where error.reason == .missing {
            return nil
        }
    }

    func lease() async throws -> StoreLease {
        let subject = "\(layout.lease)"
        let lease: StoreLease = try openJSON(try await store.read(layout.lease), as: .lease, subject: subject)
        try check(lease.format, lease.client, true, subject)
        return lease
    }

    /// Backups that a capture builds on, unless it is known to have ended.
    func leasedBackups() async throws -> [Int] {
        do {
            let lease = try await lease()
            return lease.holder.state(silentFor: 0) == .gone ? [] : lease.backups
        } catch let error as StoreError where error.reason == .missing {
            return []
        }
    }

    /// The number of another writer that holds the store's lease and was silent for too long.
    /// - Returns: nil if the lease is free, or our own.
    /// - Throws: `RepositoryError.leased` if somebody else lives and holds it.
    func silentNumber(beside holder: LeaseEntry) async throws -> Int? {
        do {
            guard let (other, age) = try await currentLease(), other.holder.instance != holder.instance else {
                return nil
            }
            switch other.holder.state(silentFor: age) {
            case .alive:
                throw RepositoryError(
                    .leased, "the repository of \(keys.name)",
                    cause: "process \(other.holder.pid) on machine \(other.holder.machine), for backup \(other.number)")
            case .gone: return nil
            case .silent: return other.number
            }
        } catch let error as RepositoryError where error.reason == .damaged {
            // A lease that says nothing protects nobody: the number does.
            return nil
        }
    }

    func putLease(_ holder: LeaseEntry, number: Int) async throws {
        let lease = StoreLease(
            client: keys.client, number: number, backups: number > 1 ? [number - 1] : [], holder: holder)
        try await store.put(layout.lease, try sealJSON(lease, as: .lease), .replace)
    }

    /// - Throws: `.overtaken` if the lease is not the holder's any more. One that is gone altogether counts only if the
    ///   number is taken too: nobody else has begun then.
    func requireLease(_ holder: LeaseEntry, number: Int) async throws {
        let isOurs: Bool
        do {
            let lease = try await lease()
            isOurs = lease.holder.instance == holder.instance && lease.number == number
        } catch let error as StoreError where error.reason == .missing {
            isOurs = try await store.size(layout.backup(number)) == nil
        }
        guard isOurs else { throw RepositoryError(.overtaken, "backup \(number) of \(keys.name)") }
    }

    /// Gives it back; without effect if another one has it already.
    func giveLeaseBack(_ holder: LeaseEntry, number: Int) async throws {
        do { try await requireLease(holder, number: number) } catch is RepositoryError { return }
        try await store.delete(layout.lease)
    }

    /// SHA-256 of what stands under a number.
    func hash(of number: Int?) async throws -> ContentHash? {
        guard let number else { return nil }
        return ContentHash(hashing: try await store.read(layout.backup(number)))
    }

    /// The store's time, told by an object that is just written; nil from a store that does not tell.
    func time() async throws -> Date? {
        if let now = try await store.now() { return now }
        try await store.put(layout.probe, [], .replace)
        let written = try await store.written(layout.probe)
        try await store.delete(layout.probe)
        return written
    }
}
