internal import DRPKit
internal import Foundation

/// Keeps two writers of one name apart in a store that would let the second overwrite the first.
///
/// Each writes a claim of its own beside the object, then lists the claims: who finds another one gives way, and both give
/// way if both wrote before either listed. Who is alone looks whether the object is there, and puts it with a request that is
/// signed for the moment before its claim: servers refuse it a quarter of an hour later, so that a writer that was stopped
/// meanwhile cannot come too late. A claim older than that, by the store's clock, is a dead one's, and is removed.
/// Needs lists that show what was written before they were asked. `docs/explanation/object-storage.md`.
struct S3Claim {
    /// What servers allow between signature and arrival, and as much again for clocks that differ.
    static let lasts: TimeInterval = 30 * 60

    let connection: S3Connection
    let store: S3Store

    /// - Throws: `.alreadyThere` if the object is there; `.claimed` if another writer is at it: nobody knows then whether it
    ///   will be.
    func holding(
        _ key: ObjectKey, _ put: (Date) async throws(StoreError) -> Void
    ) async throws(StoreError) {
        let signed = connection.transport.clock.now
        let folder = ObjectKey(own: "drp-claims").appending(key.text.replacing("/", with: "_").suffix(120).description)
        let mine = folder.appending(UUID().uuidString.lowercased())
        _ = try await connection.send(.put, mine)
        do throws(StoreError) {
            for other in try await store.list(folder) where other.key != mine {
                guard let written = try await store.written(other.key), let now = try await store.now() else {
                    continue
                }
                guard now.timeIntervalSince(written) > Self.lasts else {
                    throw StoreError(.claimed, key)
                }
                _ = try await store.delete(other.key)
            }
            if try await store.size(key) != nil { throw StoreError(.alreadyThere, key) }
            try await put(signed)
        } catch {
            // A put without an answer may still arrive: until it cannot any more, the claim keeps others away.
            if error.reason != .unreachable { _ = try await store.delete(mine) }
            throw error
        }
        _ = try await store.delete(mine)
    }
}
