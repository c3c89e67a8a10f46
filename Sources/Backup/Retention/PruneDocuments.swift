package import DRPKit
package import Foundation

/// What a prune has found that nobody needs: the object `marks/<number>`. Nothing in it is deleted before the mark has
/// been there for the grace, and then only what still nobody needs.
package struct PruneMark: Codable, Sendable, Equatable {
    var format = Manifest.currentFormat
    var client: UUID
    package var number: Int
    /// By the clock of the one who wrote it; its age is counted by the store's clock.
    package var at: Date
    package var backups: [Int]
    package var packs: [ContentHash]
    /// Slices and gaps, by their names below `logs`.
    package var logs: [String]
}

/// What stays of a backup that was pruned: the object `tombstones/<number>`. It takes the manifest's place in the
/// chain, so that a backup that was lost can be told from one that was let go.
struct Tombstone: Codable, Sendable, Equatable {
    var format = Manifest.currentFormat
    var client: UUID
    var number: Int
    var at: Date
    var instant: Date
    /// As the manifest had it.
    var previous: ContentHash?
    /// SHA-256 of the sealed manifest.
    var hash: ContentHash
}

/// A word that stops every deletion in a repository: the object `hold`.
package struct Hold: Codable, Sendable, Equatable {
    /// Characters of a reason at most.
    package static let longestReason = 500

    var format = Manifest.currentFormat
    var client: UUID
    package var at: Date
    package var reason: String
}

extension Repository {
    // MARK: - Marks

    struct Marks: Sendable {
        var marks: [Int: PruneMark] = [:]
        /// Those that say nothing any more; nobody deletes anything by them.
        var damaged: [ObjectKey: RepositoryError] = [:]

        var backups: Set<Int> { Set(marks.values.flatMap(\.backups)) }
        var packs: Set<ContentHash> { Set(marks.values.flatMap(\.packs)) }
        var logs: Set<String> { Set(marks.values.flatMap(\.logs)) }
    }

    /// - Throws: `RepositoryError.foreign` for a mark of a newer program, which may act by it.
    func marks() async throws -> Marks {
        var found = Marks()
        for object in try await store.list(layout.marks) {
            guard let number = layout.markNumber(object.key) else { continue }
            do {
                found.marks[number] = try await mark(number)
            } catch let error as StoreError where error.reason == .missing {
                // Its prune has ended meanwhile.
                continue
            } catch let error as RepositoryError where error.reason == .damaged {
                found.damaged[object.key] = error
            }
        }
        return found
    }

    func mark(_ number: Int) async throws -> PruneMark {
        let key = layout.mark(number)
        let mark: PruneMark = try openJSON(try await store.read(key), as: .mark, Self.extra(number), subject: "\(key)")
        try check(mark.format, mark.client, mark.number == number, "\(key)")
        return mark
    }

    func put(_ mark: PruneMark) async throws {
        let sealed = try sealJSON(mark, as: .mark, Self.extra(mark.number))
        try await store.put(layout.mark(mark.number), sealed, .createOnly)
    }

    // MARK: - Indexes

    func put(_ index: PackIndex) async throws { try await putIndex(try sealed(index)) }

    func sealed(_ index: PackIndex) throws -> [UInt8] { try documents.seal(index.encoded(), as: .index) }

    /// The name is the hash of the bytes: one that is there is this one.
    func putIndex(_ sealed: [UInt8]) async throws(StoreError) {
        do {
            try await store.put(layout.index(ContentHash(hashing: sealed)), sealed, .lasting)
        } catch  where error.reason == .alreadyThere {
        }
    }

    // MARK: - Tombstones

    func tombstone(_ number: Int) async throws -> Tombstone {
        let key = layout.tombstone(number)
        let tombstone: Tombstone = try openJSON(
            try await store.read(key), as: .tombstone, Self.extra(number), subject: "\(key)")
        try check(tombstone.format, tombstone.client, tombstone.number == number, "\(key)")
        return tombstone
    }

    /// One that is there, from a prune that was killed, says the same.
    func put(_ tombstone: Tombstone) async throws {
        let sealed = try sealJSON(tombstone, as: .tombstone, Self.extra(tombstone.number))
        do throws(StoreError) {
            try await store.put(layout.tombstone(tombstone.number), sealed, .lasting)
        } catch {
            guard error.reason == .alreadyThere else { throw error }
        }
    }

    // MARK: - Hold

    /// The hold in this store; nil if there is none.
    /// - Throws: `RepositoryError` for one that cannot be read; it holds nevertheless.
    package func hold() async throws -> Hold? {
        do {
            let hold: Hold = try openJSON(try await store.read(layout.hold), as: .hold, subject: "\(layout.hold)")
            try check(hold.format, hold.client, true, "\(layout.hold)")
            return hold
        } catch let error as StoreError where error.reason == .missing {
            return nil
        }
    }

    /// Sets the hold, or gives it another reason.
    package func setHold(reason: String, at: Date) async throws {
        let hold = Hold(client: keys.client, at: at.inWholeMilliseconds, reason: reason)
        try await store.put(layout.hold, try sealJSON(hold, as: .hold), .replace)
    }

    /// Whether there is a hold, readable or not.
    package func isHeld() async throws -> Bool { try await store.size(layout.hold) != nil }

    package func releaseHold() async throws { try await store.delete(layout.hold) }

    // MARK: - Sealed JSON

    func check(_ format: Int, _ client: UUID, _ isNumber: Bool, _ subject: String) throws(RepositoryError) {
        guard format == Manifest.currentFormat, client == keys.client, isNumber else {
            throw RepositoryError(.foreign, subject, cause: "it is of client \(client), format \(format)")
        }
    }

    func sealJSON(
        _ value: some Encodable, as purpose: Binding.Purpose, _ extra: [UInt8] = []
    ) throws -> [UInt8] {
        try documents.seal(try DocumentJSON.encode(value), as: purpose, extra)
    }

    func openJSON<Value: Decodable>(
        _ sealed: [UInt8], as purpose: Binding.Purpose, _ extra: [UInt8] = [], subject: String
    ) throws -> Value {
        try decode(
            Value.self, try documents.open(sealed[...], as: purpose, extra, subject: subject).plain, subject: subject)
    }

    func decode<Value: Decodable>(_: Value.Type, _ plain: [UInt8], subject: String) throws(RepositoryError) -> Value {
        do { return try DocumentJSON.decode(Value.self, plain) } catch {
            throw RepositoryError(.damaged, subject, cause: "it does not decode")
        }
    }

}
