internal import DRPKit
package import Foundation

/// The object `erased`: says in the clear that the client was erased for good, so that no copy of its repository is made
/// from another store, and no older journal or bundle goes on with it. Canonical JSON, as the card's.
package struct Erasure: Codable, Sendable, Equatable {
    var format: Int
    var client: UUID
    var name: ClientID
    /// Whose mark it is.
    var epoch: Int
    /// RFC 3339, UTC, whole seconds.
    package var erased: String
    /// HMAC under the writer's keys over name and time, in lower-case hex: who can write to the store alone cannot make one.
    var mark: String

    init(keys: WriterKeys, at: Date) {
        format = Manifest.currentFormat
        client = keys.client
        name = keys.name
        epoch = keys.epoch
        erased = at.formatted(.iso8601)
        mark = Self.mark(keys, erased: erased)
    }

    private struct FormatOnly: Codable { var format: Int }

    /// - Throws: `.foreign` for a newer format, `.damaged` for what is none.
    init(_ bytes: [UInt8], subject: String) throws(RepositoryError) {
        do {
            let format = try JSONDecoder().decode(FormatOnly.self, from: Data(bytes)).format
            guard format == Manifest.currentFormat else {
                throw RepositoryError(.foreign, subject, cause: Manifest.unknown(format: format))
            }
            self = try JSONDecoder().decode(Self.self, from: Data(bytes))
            guard try encoded() == bytes, (1...Int(UInt32.max)).contains(epoch), at != nil else {
                throw RepositoryError(.damaged, subject, cause: "it is not in canonical form")
            }
        } catch let error as RepositoryError {
            throw error
        } catch {
            throw RepositoryError(.damaged, subject, cause: "it is not the JSON of an erasure")
        }
    }

    package var at: Date? { try? Date(erased, strategy: .iso8601) }

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(self)) + [0x0a]
    }

    /// - Throws: `.foreign` unless it is of these keys' client, `.damaged` for a wrong mark.
    func check(_ keys: WriterKeys, subject: String) throws(RepositoryError) {
        guard client == keys.client, name == keys.name, let maker = keys.of(epoch: epoch) else {
            throw RepositoryError(.foreign, subject, cause: "it is of \(name), \(client), epoch \(epoch)")
        }
        guard mark == Self.mark(maker, erased: erased) else {
            throw RepositoryError(.damaged, subject, cause: "the mark of its writer is wrong")
        }
    }

    private static func mark(_ keys: WriterKeys, erased: String) -> String {
        Hex.encode(keys.mark(.erasure, Array("\(keys.name)\n\(erased)".utf8)))
    }
}

extension Repository {
    /// The client's erasure, as this store has it; nil if there is none.
    /// - Throws: `RepositoryError` for one that a writer of this client did not make; `StoreError`.
    package func erasure() async throws -> Erasure? {
        let subject = "\(layout.erased)"
        do {
            let erasure = try Erasure(try await store.read(layout.erased), subject: subject)
            try erasure.check(keys, subject: subject)
            return erasure
        } catch let error as StoreError where error.reason == .missing {
            return nil
        }
    }

    /// - Throws: `RepositoryError.erased` if the client was erased.
    func requireNotErased() async throws {
        if let erasure = try await erasure() { throw erasure.refusal }
    }

    /// One that is there, from an erasure that was killed, says the same.
    func putErasure(at: Date) async throws {
        if try await erasure() != nil { return }
        try await store.put(layout.erased, try Erasure(keys: keys, at: at).encoded(), .createOnly)
    }
}

extension Erasure {
    /// What stands there, whoever made it; nil if there is none that can be read.
    static func unproven(in store: any ObjectStore, _ layout: RepositoryLayout) async throws(StoreError) -> Self? {
        let bytes: [UInt8]
        do { bytes = try await store.read(layout.erased) } catch {
            guard error.reason == .missing else { throw error }
            return nil
        }
        // Of what cannot be read nobody knows what it says.
        return try? Self(bytes, subject: "\(layout.erased)")
    }

    var refusal: RepositoryError { RepositoryError(.erased, "client \(name)", cause: "on \(erased)") }
}
