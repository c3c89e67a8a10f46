internal import DRPKit
internal import Foundation
internal import Synchronization

/// What one container can do, tried or asked once for each process: nothing of it is assumed.
final class AzureTraits: Sendable {
    private struct Known {
        var createsOnly: Bool?
        var keepsVersions: Bool?
        var locks: Bool?
    }

    private let connection: AzureConnection
    private let known = Mutex(Known())

    init(_ connection: AzureConnection) { self.connection = connection }

    /// Whether a second writer of one name is refused.
    func createsOnly() async throws(StoreError) -> Bool {
        if let known = known.withLock({ $0.createsOnly }) { return known }
        return try await tried().createsOnly
    }

    func keepsVersions() async throws(StoreError) -> Bool {
        if let known = known.withLock({ $0.keepsVersions }) { return known }
        return try await tried().keepsVersions
    }

    func capabilities() async throws(StoreError) -> StoreCapabilities {
        // Lifecycle rules are the account's, and told to its administrators alone.
        StoreCapabilities(
            createsOnly: try await createsOnly(), keepsVersions: try await keepsVersions(), locks: try await locks(),
            expires: nil, replacesConditionally: try await replacesConditionally(),
            accessEnds: try await connection.accessEnds())
    }

    /// Of versions the first put tells; lifecycle rules are told to administrators alone.
    func guards() async throws(StoreError) -> StoreGuards {
        StoreGuards(keepsVersions: try await keepsVersions(), locks: try await locks())
    }

    /// Whether blobs can have policies of their own.
    func locks() async throws(StoreError) -> Bool {
        if let known = known.withLock({ $0.locks }) { return known }
        var answer = false
        do {
            let properties = try await connection.send(.head, nil)
            answer = properties.header("x-ms-immutable-storage-with-versioning-enabled")?.lowercased() == "true"
        } catch {
            // A SAS of the container alone may not ask.
            guard error.reason == .denied else { throw error }
            answer = try await triedLock()
        }
        let result = answer
        known.withLock { $0.locks = result }
        return result
    }

    /// With a blob of a name that nobody else has, which goes again.
    private func tried() async throws(StoreError) -> (createsOnly: Bool, keepsVersions: Bool) {
        let key = Self.probe()
        let header = HTTPRequest.Header(name: "if-none-match", value: "*")
        var createsOnly = false
        do {
            _ = try await connection.put(key, headers: [header])
            _ = try await connection.put(key, [1], headers: [header])
        } catch {
            // An answer that got lost makes the first one look like the second.
            guard error.reason == .unsupported || error.reason == .alreadyThere else { throw error }
            createsOnly = error.reason == .alreadyThere
        }
        var keepsVersions = false
        do { keepsVersions = try await connection.send(.head, key).header("x-ms-version-id") != nil } catch {
            guard error.reason == .missing else { throw error }
        }
        _ = try await connection.delete(key, keepsVersions: keepsVersions)
        let result = (createsOnly, keepsVersions)
        known.withLock { ($0.createsOnly, $0.keepsVersions) = result }
        return result
    }

    private func replacesConditionally() async throws(StoreError) -> Bool {
        let key = Self.probe()
        let answer = try await HTTPRequest.Header.keepsToTags { headers, bytes throws(StoreError) in
            try await connection.put(key, bytes, headers: headers)
        }
        _ = try await connection.delete(key, keepsVersions: try await keepsVersions())
        return answer
    }

    private func triedLock() async throws(StoreError) -> Bool {
        guard try await keepsVersions() else { return false }
        let key = Self.probe()
        _ = try await connection.put(key)
        var answer = false
        do {
            try await connection.set(connection.passingPolicy, key)
            answer = true
            try await connection.removePolicy(key)
        } catch {
            guard error.reason == .denied || error.reason == .unsupported else { throw error }
        }
        _ = try await connection.delete(key, keepsVersions: true)
        return answer
    }

    private static func probe() -> ObjectKey { ObjectKey(own: "drp-probe-\(UUID().uuidString.lowercased())") }
}
