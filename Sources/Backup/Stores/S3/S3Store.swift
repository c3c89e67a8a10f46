internal import Crypto
package import DRPKit
package import Foundation
internal import Synchronization

/// A store in a bucket of Amazon S3 or one of its relatives.
///
/// Objects are put as a whole, with their length, MD5 and SHA-256 signed; the server refuses a body that differs, and what
/// it holds then is asked for and compared. `docs/explanation/object-storage.md`.
package struct S3Store: ObjectStore, VersionedStore {
    private let connection: S3Connection
    private let traits: S3Traits
    private var lock: ObjectLock?

    /// - Parameter credentials: fetches them, at first and whenever the server refuses those at hand.
    package init(
        _ settings: StoreSettings.S3, http: any HTTPClient, clock: any WallClock, rule: RetryRule = RetryRule(),
        credentials: @escaping @Sendable () async throws -> AWSCredentials
    ) {
        connection = S3Connection(
            settings, transport: CloudTransport(http: http, clock: clock, rule: rule), credentials: credentials)
        traits = S3Traits(connection)
    }

    // MARK: - Writing

    package func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        let md5 = bytes.withUnsafeBytes { Insecure.MD5.hash(data: $0) }
        var headers: [HTTPRequest.Header] = [
            .init(name: "content-md5", value: Data(md5).base64EncodedString()),
            .init(name: "content-type", value: "application/octet-stream"),
        ]
        if rule == .lasting, let lock {
            headers.append(.init(name: "x-amz-object-lock-mode", value: lock.mode.rawValue.uppercased()))
            headers.append(
                .init(name: "x-amz-object-lock-retain-until-date", value: lock.until.formatted(.iso8601)))
        }
        let body = StoredBody(count: bytes.count, md5: Hex.encode(md5))
        // A pack's name is its SHA-256; of a wrong one the server would say so.
        let payload = ContentHash(hex: key.name) ?? ContentHash(hashing: bytes)
        if rule != .replace {
            guard try await traits.createsOnly() else {
                return try await S3Claim(connection: connection, store: self).holding(key) {
                    [headers] date throws(StoreError) in
                    try await put(key, bytes, rule, headers, payload, body, date: date)
                }
            }
            headers.append(.init(name: "if-none-match", value: "*"))
        }
        try await put(key, bytes, rule, headers, payload, body)
    }

    package func prepare() async {
        // What fails here is said by the first write.
        _ = try? await traits.createsOnly()
    }

    private func put(
        _ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule, _ headers: [HTTPRequest.Header], _ payload: ContentHash,
        _ body: StoredBody, date: Date? = nil
    ) async throws(StoreError) {
        let isUnsure = Mutex(false)
        do {
            let response = try await connection.send(
                .put, key, headers: headers, body: bytes, payload: payload, date: date,
                isUnsure: { isUnsure.withLock { $0 = true } })
            // What may be replaced is no part of a backup: the checksum that the answer names is enough.
            if rule == .replace, Self.tag(response) == body.md5 { return }
        } catch {
            // The answer of an earlier try may be what got lost: then it is our own object that is there.
            guard error.reason == .alreadyThere, isUnsure.withLock({ $0 }) else { throw error }
            guard try await holds(key, body, bytes) else { throw error }
            return
        }
        guard try await holds(key, body, bytes) else {
            throw StoreError(.damaged, key, cause: "what the store holds is not what was sent")
        }
    }

    /// What an object must be in the store.
    private struct StoredBody {
        var count: Int
        /// In hex, as an ETag of a plain object has it.
        var md5: String
    }

    private func holds(_ key: ObjectKey, _ body: StoredBody, _ bytes: [UInt8]) async throws(StoreError) -> Bool {
        let head = try await connection.send(.head, key)
        guard head.header("content-length").flatMap({ Int($0) }) == body.count else { return false }
        if Self.tag(head) == body.md5 { return true }
        // Under some encryptions an ETag is no MD5: the bytes themselves tell.
        return try await read(key) == bytes
    }

    @discardableResult
    package func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion {
        try await connection.delete(key, keepsVersions: try await traits.keepsVersions())
    }

    // MARK: - Reading

    func read(_ key: ObjectKey, version: String?) async throws(StoreError) -> [UInt8] {
        let response = try await connection.send(.get, key, Self.query(version), limit: largestObject)
        if let tag = Self.tag(response), tag.count == 32,
            response.header("x-amz-server-side-encryption") == nil
        {
            let found = response.body.withUnsafeBytes { Hex.encode(Insecure.MD5.hash(data: $0)) }
            guard found == tag else {
                throw StoreError(.damaged, key, cause: "what came is not what the store says that it holds")
            }
        }
        return response.body
    }

    func read(_ key: ObjectKey, range: Range<Int64>, version: String?) async throws(StoreError) -> [UInt8] {
        guard try Self.isWanted(range, of: key) else { return [] }
        let header = HTTPRequest.Header(name: "range", value: "bytes=\(range.lowerBound)-\(range.upperBound - 1)")
        let response = try await connection.send(
            .get, key, Self.query(version), headers: [header], limit: max(range.count, 64 << 10))
        guard response.status == 206, response.body.count == range.count else {
            throw StoreError(.damaged, key, cause: "it is shorter than \(range.upperBound) bytes")
        }
        return response.body
    }

    package func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        var found: [StoredObject] = []
        try await pages([("list-type", "2"), ("prefix", folder.text + "/")]) { page in
            for item in page.all("Contents") {
                guard let key = item.text("Key").flatMap({ ObjectKey($0) }),
                    let size = item.text("Size").flatMap({ Int64($0) }),
                    size >= 0
                else { continue }
                found.append(StoredObject(key: key, size: size))
            }
        }
        return found.sorted { $0.key < $1.key }
    }

    package func remains(_ folder: ObjectKey) async throws(StoreError) -> [ObjectKey] {
        try await traits.keepsVersions() ? try await versionedKeys(below: folder) : try await list(folder).map(\.key)
    }

    package func folders() async throws(StoreError) -> [String] {
        var found: Set<String> = []
        try await pages([("list-type", "2"), ("delimiter", "/")]) { page in
            for item in page.all("CommonPrefixes") {
                if let name = item.text("Prefix")?.dropLast(), ObjectKey.isPart(String(name)) {
                    found.insert(String(name))
                }
            }
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
        let response = try await connection.send(.get, nil, [("list-type", "2"), ("max-keys", "0")])
        return response.header("date").flatMap { HTTPDate.parse($0) }
    }

    private func head(_ key: ObjectKey) async throws(StoreError) -> HTTPResponse? {
        do { return try await connection.send(.head, key) } catch {
            guard error.reason == .missing else { throw error }
            return nil
        }
    }

    /// All pages of a list.
    private func pages(
        _ query: S3Connection.Query, _ take: (XMLElement) -> Void
    ) async throws(StoreError) {
        var token: String?
        repeat {
            let response = try await connection.send(
                .get, nil, query + (token.map { [("continuation-token", $0)] } ?? []))
            guard let page = XMLElement.parse(response.body), page.name == "ListBucketResult" else {
                throw StoreError(.unreachable, nil, cause: "its list is no list")
            }
            take(page)
            let next = page.text("IsTruncated") == "true" ? page.text("NextContinuationToken") : nil
            guard page.text("IsTruncated") != "true" || (next != nil && next != token) else {
                throw StoreError(.unreachable, nil, cause: "its list breaks off")
            }
            token = next
        } while token != nil
    }

    private static func tag(_ response: HTTPResponse) -> String? {
        response.header("etag")?.replacing("\"", with: "")
    }

    private static func query(_ version: String?) -> S3Connection.Query { version.map { [("versionId", $0)] } ?? [] }

    // MARK: - Locks and versions

    package func guards() async throws(StoreError) -> StoreGuards { try await traits.guards() }

    package func canLock() async throws(StoreError) -> Bool { try await traits.isLocking() }

    package func locking(_ lock: ObjectLock) -> any ObjectStore {
        var store = self
        store.lock = lock
        return store
    }

    package func lock(_ key: ObjectKey, _ lock: ObjectLock) async throws(StoreError) {
        if let known = try await lockedUntil(key), known >= lock.until { return }
        let body = Array(
            """
            <Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>\(lock.mode.rawValue.uppercased())</Mode>\
            <RetainUntilDate>\(lock.until.formatted(.iso8601))</RetainUntilDate></Retention>
            """.utf8)
        let md5 = Data(Insecure.MD5.hash(data: body)).base64EncodedString()
        _ = try await connection.send(
            .put, key, [("retention", "")], headers: [.init(name: "content-md5", value: md5)], body: body)
    }

    package func lockedUntil(_ key: ObjectKey) async throws(StoreError) -> Date? {
        try await connection.lockedUntil(key)
    }

    func versions(prefix: String) async throws(StoreError) -> [ObjectVersion] {
        try await connection.versions(prefix: prefix)
    }

    package func view(at time: Date) async throws(StoreError) -> any ObjectStore {
        guard try await traits.keepsVersions() else {
            throw StoreError(.unsupported, nil, cause: "bucket \(connection.settings.bucket) keeps no versions")
        }
        return PastView(store: self, time: time)
    }

    package func capabilities() async throws(StoreError) -> StoreCapabilities { try await traits.capabilities() }
}
