package import DRPKit
internal import Foundation

/// The newest backup that the journal knows of, in whatever store it is.
package struct KnownBackup: Sendable, Equatable {
    package var number: Int
    /// SHA-256 of its sealed manifest.
    package var hash: ContentHash

    package init(number: Int, hash: ContentHash) {
        self.number = number
        self.hash = hash
    }
}

/// Which backup comes next, in all stores.
package struct BackupStart: Sendable, Equatable {
    package var number: Int
    /// SHA-256 of what stands under the number before; nil for the first.
    var previous: ContentHash?
}

extension BackupTargets {
    private struct View: Sendable {
        var numbers: [Int]
        /// The number of a writer that was silent for too long.
        var silent: Int?
    }

    /// Finds the next number of the client's one chain, and takes the lease of every store for it. From a holder that was
    /// silent for too long it is taken over, once that one's number is occupied in all stores.
    /// - Parameters:
    ///   - holder: the client's lease in the journal; nil where nobody else can write.
    ///   - known: counts like a store that answers, so that a store which is away does not get its number used twice.
    /// - Throws: `RepositoryError.leased` if another writer, which lives, holds the lease of any store.
    package func begin(holder: LeaseEntry?, known: KnownBackup?) async throws -> BackupStart {
        try await each { try await $0.repository.store.sweep() }
        var views = try await look(holder)
        if let holder, try await occupySilent(views, known, at: holder.beat) { views = try await look(holder) }
        let last = Self.last(views, known)
        let previous = try await agree(on: last, known)
        let number = (last ?? 0) + 1
        if let holder { try await each { try await $0.repository.putLease(holder, number: number) } }
        return BackupStart(number: number, previous: previous)
    }

    /// Beside the capture.
    func prepare() async {
        await withTaskGroup(of: Void.self) { group in
            for target in living { group.addTask { await target.repository.store.prepare() } }
        }
    }

    /// Says in each store that the backup goes on. A store that does not answer gets the next beat.
    package func beat(_ holder: LeaseEntry, number: Int) async throws {
        try await each { target in
            do {
                try await target.repository.requireLease(holder, number: number)
                try await target.repository.putLease(holder, number: number)
            } catch is StoreError {
            }
        }
    }

    /// Gives the leases back; one that stays there is one of a process that has ended.
    package func end(_ holder: LeaseEntry?, number: Int) async {
        guard let holder else { return }
        // Also when this task is cancelled.
        await Task {
            await withTaskGroup(of: Void.self) { group in
                for target in all {
                    // One that did not answer a moment ago would only hold us up.
                    if let store = target.store, let error = failure(of: store) as? StoreError,
                        error.reason == .unreachable
                    {
                        continue
                    }
                    group.addTask { try? await target.repository.giveLeaseBack(holder, number: number) }
                }
            }
        }.value
    }

    private static func last(_ views: [View], _ known: KnownBackup?) -> Int? {
        (views.compactMap(\.numbers.last) + [known?.number].compactMap { $0 }).max()
    }

    private func look(_ holder: LeaseEntry?) async throws -> [View] {
        try await each { target in
            let repository = target.repository
            guard let holder else { return View(numbers: try await repository.numbers(), silent: nil) }
            async let silent = repository.silentNumber(beside: holder)
            return View(numbers: try await repository.numbers(), silent: try await silent)
        }.map(\.value)
    }

    /// It may wake up: nothing that it begins with its number can become a backup then.
    /// - Returns: whether there was such a writer.
    private func occupySilent(_ views: [View], _ known: KnownBackup?, at instant: Date) async throws -> Bool {
        var last = Self.last(views, known)
        let silent = Set(views.compactMap(\.silent)).filter { $0 > last ?? 0 }.sorted()
        for number in silent {
            let previous = try await agree(on: last, known)
            guard let repository = living.first?.repository else { break }
            try await occupy(number, try repository.sealedVoid(number, previous: previous, at: instant))
            last = number
        }
        return !silent.isEmpty
    }

    /// In the order of the stores, as `BackupWriter` commits: so the first store that both can reach decides.
    private func occupy(_ number: Int, _ void: [UInt8]) async throws {
        var isOccupied = false
        for target in living {
            do {
                if try await target.repository.occupy(number, void) {
                    isOccupied = true
                } else {
                    // It had committed; the other stores get its backup.
                    guard isOccupied else { return }
                    throw RepositoryError(.diverged, "backup \(number) of \(target.repository.keys.name)")
                }
            } catch {
                try leave(target, error)
            }
        }
        try requireOne()
    }

    /// The hash of what stands under the last number. A store that holds something else there is left behind.
    private func agree(on last: Int?, _ known: KnownBackup?) async throws -> ContentHash? {
        guard let last else { return nil }
        let held = try await each { target -> ContentHash? in
            do { return try await target.repository.hash(of: last) } catch let error as StoreError
                where error.reason == .missing
            { return nil }
        }
        let expected = known?.number == last ? known?.hash : nil
        let hashes = held.compactMap(\.value)
        guard let first = hashes.first else { return expected }
        let agreed = expected.map { hashes.contains($0) } ?? false ? expected : first
        for (target, hash) in held where hash != nil && hash != agreed {
            fail(target, RepositoryError(.diverged, "backup \(last) of \(target.repository.keys.name)"))
        }
        try requireOne()
        return agreed
    }
}
