internal import Crypto
package import DRPKit
package import Foundation
internal import Synchronization

/// A store in a container of Azure Blob storage.
///
/// Objects are block blobs, each put as a whole with its MD5, which the service compares; what it holds then is asked for
/// and compared. `docs/explanation/object-storage.md`.
package struct AzureStore: ObjectStore, VersionedStore {
    private let connection: AzureConnection
    private let traits: AzureTraits
    private var lock: ObjectLock?

    /// - Parameter credentials: fetches them, at first and whenever the service refuses those at hand.
    package init(
        _ settings: StoreSettings.Azure, http: any HTTPClient, clock: any WallClock, rule: RetryRule = RetryRule(),
        credentials: @escaping @Sendable () async throws -> AzureCredentials
    ) {
        connection = AzureConnection(
            settings, transport: CloudTransport(http: http, clock: clock, rule: rule), credentials: credentials)
        traits = AzureTraits(connection)
    }

    // MARK: - Writing

    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        let md5 = Self.md5(bytes)
        var headers: [HTTPRequest.Header] = [
            .init(name: "content-md5", value: md5), .init(name: "content-type", value: "application/octet-stream"),
        ]
        let policy = rule == .lasting ? lock.map { AzurePolicy($0) } : nil
        if let policy {
            try await needLocks(key)
            headers += policy.headers
        }
        if rule != .replace {
            guard try await traits.createsOnly() else {
                throw StoreError(.unsupported, key, cause: "it lets a second writer replace what the first one wrote")
            }
            headers.append(.init(name: "if-none-match", value: "*"))
        }
        let isUnsure = Mutex(false)
        var isThere = false
        do {
            _ = try await connection.put(key, bytes, headers: headers, isUnsure: { isUnsure.withLock { $0 = true } })
        } catch {
            // The answer of an earlier try may be what got lost: then it is our own object that is there.
            guard error.reason == .alreadyThere, isUnsure.withLock({ $0 }) else { throw error }
            isThere = true
        }
        let head = try await connection.send(.head, key)
        guard try await holds(key, head, bytes, md5) else {
            throw isThere
                ? StoreError(.alreadyThere, key)
                : StoreError(.damaged, key, cause: "what the store holds is not what was sent")
        }
        // A policy that came with a blob may be an unlocked one, whatever was asked for.
        if let policy { try await strengthen(key, AzurePolicy(head), policy) }
    }

    package func prepare() async {
        // What fails here is said by the first write.
        _ = try? await traits.createsOnly()
    }

    private func holds(
        _ key: ObjectKey, _ head: HTTPResponse, _ bytes: [UInt8], _ md5: String
    ) async throws(StoreError) -> Bool {
        guard head.header("content-length").flatMap({ Int($0) }) == bytes.count else { return false }
        if let known = head.header("content-md5") { return known == md5 }
        return try await read(key) == bytes
    }

    private static func md5(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBytes { Data(Insecure.MD5.hash(data: $0)).base64EncodedString() }
    }

    @discardableResult
    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion {
        try await connection.delete(key, keepsVersions: try await traits.keepsVersions())
    }

    // MARK: - Reading

    func read(_ key: ObjectKey, version: String?) async throws(StoreError) -> [UInt8] {
        let response = try await connection.send(.get, key, AzureConnection.query(version), limit: largestObject)
        if let known = response.header("content-md5"), known != Self.md5(response.body) {
            throw StoreError(.damaged, key, cause: "what came is not what the store says that it holds")
        }
        return response.body
    }

    func read(_ key: ObjectKey, range: Range<Int64>, version: String?) async throws(StoreError) -> [UInt8] {
        guard try Self.isWanted(range, of: key) else { return [] }
        let header = HTTPRequest.Header(name: "x-ms-range", value: "bytes=\(range.lowerBound)-\(range.upperBound - 1)")
        let response = try await connection.send(
            .get, key, AzureConnection.query(version), headers: [header], limit: max(range.count, 64 << 10))
        guard response.status == 206, response.body.count == range.count else {
            throw StoreError(.damaged, key, cause: "it is shorter than \(range.upperBound) bytes")
        }
        return response.body
    }

    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        var found: [StoredObject] = []
        try await connection.pages([("prefix", folder.text + "/")]) { page in
            for blob in page.blobs {
                let properties = blob.all("Properties").first
                guard let key = blob.text("Name").flatMap({ ObjectKey($0) }),
                    let size = properties?.text("Content-Length").flatMap({ Int64($0) }), size >= 0,
                    // Of an account with folders of its own.
                    properties?.text("ResourceType") != "directory"
                else { continue }
                found.append(StoredObject(key: key, size: size))
            }
            return true
        }
        return found.sorted { $0.key < $1.key }
    }

    package func remains(_ folder: ObjectKey) async throws(StoreError) -> [ObjectKey] {
        try await traits.keepsVersions() ? try await versionedKeys(below: folder) : try await list(folder).map(\.key)
    }

    package func folders() async throws(StoreError) -> [String] {
        var found: Set<String> = []
        try await connection.pages([("delimiter", "/")]) { page in
            for prefix in page.all("Blobs").flatMap({ $0.all("BlobPrefix") }) {
                if let name = prefix.text("Name")?.dropLast(), ObjectKey.isPart(String(name)) {
                    found.insert(String(name))
                }
            }
            return true
        }
        return found.sorted()
    }

    package func size(_ key: ObjectKey) async throws(StoreError) -> Int64? {
        try await head(key)?.header("content-length").flatMap { Int64($0) }
    }

    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? {
        try await head(key)?.header("last-modified").flatMap { HTTPDate.parse($0) }
    }

    package func now() async throws(StoreError) -> Date? {
        try await connection.send(.get, nil, [("comp", "list"), ("maxresults", "1")]).date
    }

    private func head(_ key: ObjectKey) async throws(StoreError) -> HTTPResponse? {
        do { return try await connection.send(.head, key) } catch {
            guard error.reason == .missing else { throw error }
            return nil
        }
    }

    // MARK: - Locks and versions

    package func guards() async throws(StoreError) -> StoreGuards { try await traits.guards() }

    package func canLock() async throws(StoreError) -> Bool { try await traits.locks() }

    package func locking(_ lock: ObjectLock) -> any ObjectStore {
        var store = self
        store.lock = lock
        return store
    }

    package func lock(_ key: ObjectKey, _ lock: ObjectLock) async throws(StoreError) {
        try await needLocks(key)
        try await strengthen(key, try await connection.policy(key), AzurePolicy(lock))
    }

    /// - Parameter current: what the blob has.
    private func strengthen(
        _ key: ObjectKey, _ current: AzurePolicy?, _ wanted: AzurePolicy
    ) async throws(StoreError) {
        guard let current else { return try await connection.set(wanted, key) }
        if let step = current.step(to: wanted) { try await connection.set(step, key) }
    }

    private func needLocks(_ key: ObjectKey) async throws(StoreError) {
        guard try await traits.locks() else {
            var cause = "container \(connection.settings.container) has no version-level immutability"
            if case .sas = connection.settings.access { cause += ", or the SAS lacks the permission i" }
            throw StoreError(.unsupported, key, cause: cause)
        }
    }

    package func lockedUntil(_ key: ObjectKey) async throws(StoreError) -> Date? {
        try await connection.policy(key)?.until
    }

    func versions(prefix: String) async throws(StoreError) -> [ObjectVersion] {
        try await connection.versions(prefix: prefix)
    }

    package func view(at time: Date) async throws(StoreError) -> any ObjectStore {
        guard try await connection.hasVersions() else {
            throw StoreError(
                .unsupported, nil, cause: "container \(connection.settings.container) has no older versions")
        }
        return PastView(store: self, time: time)
    }

    package func capabilities() async throws(StoreError) -> StoreCapabilities { try await traits.capabilities() }
}
