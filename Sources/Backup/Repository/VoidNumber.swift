internal import DRPKit
internal import Foundation

/// Stands in place of a manifest, under its number, that never came: whoever takes over from a writer that was silent for
/// too long occupies its number first, so that it cannot commit when it wakes up.
struct VoidNumber: Codable, Sendable, Equatable {
    var format = Manifest.currentFormat
    var client: UUID
    var number: Int
    var at: Date
    /// SHA-256 of what stands under the number before; nil for the first.
    var previous: ContentHash?
}

/// What stands under a backup's number.
enum BackupObject: Sendable {
    case manifest(Manifest)
    case void(VoidNumber)

    var previous: ContentHash? {
        switch self {
        case .manifest(let manifest): manifest.previous
        case .void(let void): void.previous
        }
    }
}

extension Repository {
    /// What stands under the number.
    /// - Throws: `StoreError`; `RepositoryError.damaged` or `.foreign` if it cannot be used.
    func backup(_ number: Int) async throws -> BackupObject {
        try open(try await store.read(layout.backup(number)), number: number)
    }

    func open(_ sealed: [UInt8], number: Int) throws -> BackupObject {
        guard DocumentHeader.letter(of: sealed) == Binding.Purpose.void.letter else {
            return .manifest(try openManifest(sealed, number: number))
        }
        let subject = "\(layout.backup(number))"
        let void: VoidNumber = try openJSON(sealed, as: .void, Self.extra(number), subject: subject)
        try check(void.format, void.client, void.number == number, subject)
        return .void(void)
    }

    func sealedVoid(_ number: Int, previous: ContentHash?, at instant: Date) throws -> [UInt8] {
        let void = VoidNumber(
            client: keys.client, number: number, at: instant.inWholeMilliseconds, previous: previous)
        return try sealJSON(void, as: .void, Self.extra(number))
    }

    /// - Parameter void: sealed.
    /// - Returns: whether the number is a void now; if not, a backup was committed under it.
    func occupy(_ number: Int, _ void: [UInt8]) async throws -> Bool {
        do throws(StoreError) {
            try await store.put(layout.backup(number), void, .lasting)
            return true
        } catch {
            guard error.reason == .alreadyThere else { throw error }
            if case .void = try await backup(number) { return true }
            return false
        }
    }
}
