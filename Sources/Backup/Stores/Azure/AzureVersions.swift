internal import DRPKit
internal import Foundation

extension AzureConnection {
    /// With `deletedwithversions` a name that has no current version is listed as such, with the time of its deletion.
    private static let withVersions = "deletedwithversions,versions"

    /// Puts a block blob as a whole.
    func put(
        _ key: ObjectKey, _ bytes: [UInt8] = [], headers: [HTTPRequest.Header] = [], isUnsure: () -> Void = {}
    ) async throws(StoreError) -> HTTPResponse {
        try await send(
            .put, key, headers: headers + [.init(name: "x-ms-blob-type", value: "BlockBlob")], body: bytes,
            isUnsure: isUnsure)
    }

    /// All versions of all blobs whose names begin so, newest first for each, and marks of deletions.
    func versions(prefix: String) async throws(StoreError) -> [ObjectVersion] {
        var found: [ObjectVersion] = []
        try await pages([("prefix", prefix), ("include", Self.withVersions)]) { page in
            found += page.blobs.compactMap(Self.version)
            return true
        }
        // A mark that bears the ID of a version tells no time of its own: rather too much is seen than too little.
        let ids = Set(found.filter { !$0.isMarker }.map { "\($0.key) \($0.id)" })
        return found.reversed().filter { !$0.isMarker || !ids.contains("\($0.key) \($0.id)") }
    }

    /// Whether the container has versions of anything.
    func hasVersions() async throws(StoreError) -> Bool {
        var has = false
        try await pages([("include", Self.withVersions)]) { page in
            has = page.blobs.contains { $0.text("VersionId") != nil }
            return !has
        }
        return has
    }

    private static func version(_ blob: XMLElement) -> ObjectVersion? {
        let isMarker = blob.text("HasVersionsOnly") == "true"
        let (id, properties) = (blob.text("VersionId") ?? "", blob.all("Properties").first)
        let time = instant(id) ?? (isMarker ? nil : properties?.text("Last-Modified").flatMap { HTTPDate.parse($0) })
        guard let key = blob.text("Name").flatMap({ ObjectKey($0) }), let time,
            // What is only in the account's bin cannot be read.
            isMarker || blob.text("Deleted") != "true"
        else { return nil }
        return ObjectVersion(
            key: key, id: id, size: properties?.text("Content-Length").flatMap { Int64($0) } ?? 0, written: time,
            isMarker: isMarker)
    }

    /// `2026-11-25T22:53:50.1234567Z`: the ID of a version is the time at which it was made.
    static func instant(_ id: String) -> Date? {
        let parts = id.dropLast().split(separator: ".", maxSplits: 1)
        guard id.hasSuffix("Z"), parts.count == 2, parts[1].allSatisfy({ $0.isASCII && $0.isNumber }),
            let fraction = Double("0.\(parts[1])")
        else { return HTTPDate.iso(id) }
        return HTTPDate.iso("\(parts[0])Z").map { $0 + fraction }
    }

    // MARK: - Deleting

    /// Removes a blob, and every version of it where the account keeps them; what a policy keeps goes out of sight.
    func delete(_ key: ObjectKey, keepsVersions: Bool) async throws(StoreError) -> Deletion {
        var isKept = false
        var until: Date?
        do {
            let answer = try await remove(key)
            if !keepsVersions { isKept = answer.isInBin }
        } catch {
            guard keepsVersions, error.isImmutable else { throw error }
            try await hide(key)
        }
        guard keepsVersions else { return isKept ? .locked(until: nil) : .gone }
        for version in try await versions(prefix: key.text) where version.key == key && !version.isMarker {
            do {
                if try await remove(key, version: version.id).isInBin { isKept = true }
            } catch {
                guard error.isImmutable else { throw error }
                isKept = true
                let locked = try await policy(key, version: version.id)?.until
                until = [until, locked].compactMap { $0 }.max()
            }
        }
        return isKept ? .locked(until: until) : .gone
    }

    /// What nothing protects; without effect on what is not there.
    /// - Returns: the answer; nil if there was nothing.
    private func remove(_ key: ObjectKey, version: String? = nil) async throws(StoreError) -> HTTPResponse? {
        // Snapshots are of others; they go with their blob, as the service wants it.
        let snapshots = HTTPRequest.Header(name: "x-ms-delete-snapshots", value: "include")
        do {
            return try await send(.delete, key, Self.query(version), headers: version == nil ? [snapshots] : [])
        } catch {
            guard error.reason == .missing else { throw error }
            return nil
        }
    }

    /// Puts a protected blob out of sight: the service refuses to delete it, and lets it be overwritten, which makes it an
    /// older version. The empty one that takes its place has a policy of its own, so that it gets none from the container
    /// that could not be taken away.
    private func hide(_ key: ObjectKey) async throws(StoreError) {
        _ = try await put(key, headers: passingPolicy.headers)
        try await removePolicy(key)
        _ = try await remove(key)
    }

    // MARK: - Policies

    /// - Parameter version: nil for the newest.
    /// - Throws: `.missing` without such a blob.
    func policy(_ key: ObjectKey, version: String? = nil) async throws(StoreError) -> AzurePolicy? {
        AzurePolicy(try await send(.head, key, Self.query(version)))
    }

    /// One to be taken away at once; in the future by any clock that the service lets in.
    var passingPolicy: AzurePolicy {
        AzurePolicy(ObjectLock(mode: .governance, until: transport.clock.now + 30 * 60))
    }

    func set(_ policy: AzurePolicy, _ key: ObjectKey) async throws(StoreError) {
        _ = try await send(.put, key, [("comp", "immutabilityPolicies")], headers: policy.headers)
    }

    func removePolicy(_ key: ObjectKey) async throws(StoreError) {
        _ = try await send(.delete, key, [("comp", "immutabilityPolicies")])
    }

    /// What was written before the account kept versions has no ID.
    static func query(_ version: String?) -> Query {
        guard let version, !version.isEmpty else { return [] }
        return [("versionid", version)]
    }
}

extension XMLElement {
    /// The blobs of a page of a list.
    var blobs: [XMLElement] { all("Blobs").first?.all("Blob") ?? [] }
}

extension StoreError {
    /// Whether a policy or a hold is why it was refused.
    fileprivate var isImmutable: Bool { reason == .denied && cause?.contains("BlobImmutableDueTo") == true }
}

extension HTTPResponse? {
    /// Whether what was deleted is kept for a while all the same, by the account's soft delete.
    fileprivate var isInBin: Bool { self?.header("x-ms-delete-type-permanent")?.lowercased() == "false" }
}
