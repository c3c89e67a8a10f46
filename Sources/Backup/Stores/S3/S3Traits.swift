internal import DRPKit
internal import Foundation
internal import Synchronization

/// What one bucket can do, asked once for each process: nothing of it is assumed.
final class S3Traits: Sendable {
    private let connection: S3Connection
    private let known = Mutex<(createsOnly: Bool?, keepsVersions: Bool?)>((nil, nil))

    init(_ connection: S3Connection) { self.connection = connection }

    /// Whether a second writer of one name is refused (`If-None-Match: *`). Tried with an object of a name that nobody
    /// else has, which goes again.
    func createsOnly() async throws(StoreError) -> Bool {
        if let known = known.withLock({ $0.createsOnly }) { return known }
        let key = ObjectKey(own: "drp-probe-\(UUID().uuidString.lowercased())")
        let header = HTTPRequest.Header(name: "if-none-match", value: "*")
        var answer = false
        do throws(StoreError) {
            _ = try await connection.send(.put, key, headers: [header])
            _ = try await connection.send(.put, key, headers: [header], body: [1])
        } catch {
            // An answer that got lost makes the first one look like the second.
            guard error.reason == .unsupported || error.reason == .alreadyThere else { throw error }
            answer = error.reason == .alreadyThere
        }
        // A bucket that locks everything keeps it: empty, and out of sight.
        _ = try await connection.delete(key, keepsVersions: try await keepsVersions())
        let result = answer
        known.withLock { $0.createsOnly = result }
        return result
    }

    func keepsVersions() async throws(StoreError) -> Bool {
        if let known = known.withLock({ $0.keepsVersions }) { return known }
        return try await versioning() != nil
    }

    func capabilities() async throws(StoreError) -> StoreCapabilities {
        StoreCapabilities(
            createsOnly: try await createsOnly(), keepsVersions: try await versioning() == "Enabled",
            locks: try await isLocking(), expires: try await hasLifecycle(),
            replacesConditionally: try await replacesConditionally())
    }

    func guards() async throws(StoreError) -> StoreGuards {
        async let versions = ifAllowed { () throws(StoreError) in try await self.versioning() == "Enabled" }
        async let locks = ifAllowed { () throws(StoreError) in try await self.isLocking() }
        let expires = try await hasLifecycle()
        return StoreGuards(
            keepsVersions: try await versions.get(), locks: try await locks.get(), expires: expires)
    }

    /// - Returns: nil if the account may not ask.
    private func ifAllowed(
        _ ask: @Sendable () async throws(StoreError) -> Bool
    ) async -> Result<Bool?, StoreError> {
        do throws(StoreError) { return .success(try await ask()) } catch {
            return error.reason == .denied ? .success(nil) : .failure(error)
        }
    }

    /// Whether `If-Match` is kept to; tried like `createsOnly`.
    private func replacesConditionally() async throws(StoreError) -> Bool {
        let key = ObjectKey(own: "drp-probe-\(UUID().uuidString.lowercased())")
        let answer = try await HTTPRequest.Header.keepsToTags { headers, bytes throws(StoreError) in
            try await connection.send(.put, key, headers: headers, body: bytes)
        }
        _ = try await connection.delete(key, keepsVersions: try await keepsVersions())
        return answer
    }

    /// `Enabled`, `Suspended`, or nil where it was never on.
    private func versioning() async throws(StoreError) -> String? {
        do {
            let response = try await connection.send(.get, nil, [("versioning", "")])
            let status = XMLElement.parse(response.body)?.text("Status")
            known.withLock { $0.keepsVersions = status != nil }
            return status
        } catch {
            guard error.reason == .unsupported else { throw error }
            known.withLock { $0.keepsVersions = false }
            return nil
        }
    }

    func isLocking() async throws(StoreError) -> Bool {
        do {
            let response = try await connection.send(.get, nil, [("object-lock", "")])
            return XMLElement.parse(response.body)?.text("ObjectLockEnabled") == "Enabled"
        } catch {
            guard error.reason == .unsupported || error.cause?.contains("ObjectLockConfigurationNotFound") == true
            else { throw error }
            return false
        }
    }

    /// - Returns: nil if the store does not tell.
    private func hasLifecycle() async throws(StoreError) -> Bool? {
        do {
            let response = try await connection.send(.get, nil, [("lifecycle", "")])
            return XMLElement.parse(response.body)?.all("Rule").contains { $0.text("Status") == "Enabled" } ?? false
        } catch {
            if error.cause?.contains("NoSuchLifecycleConfiguration") == true { return false }
            guard error.reason == .unsupported || error.reason == .denied else { throw error }
            return nil
        }
    }
}
