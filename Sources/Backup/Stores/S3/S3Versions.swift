internal import DRPKit
internal import Foundation

extension S3Connection {
    /// All versions of all objects whose names begin so, newest first for each.
    func versions(prefix: String) async throws(StoreError) -> [ObjectVersion] {
        var found: [ObjectVersion] = []
        var marker: Query = []
        repeat {
            let response = try await send(.get, nil, [("versions", ""), ("prefix", prefix)] + marker)
            guard let page = XMLElement.parse(response.body), page.name == "ListVersionsResult" else {
                throw StoreError(.unreachable, nil, cause: "its list of versions is no list")
            }
            for item in page.children where item.name == "Version" || item.name == "DeleteMarker" {
                guard let key = item.text("Key").flatMap({ ObjectKey($0) }), let id = item.text("VersionId"),
                    let written = item.text("LastModified").flatMap({ HTTPDate.iso($0) })
                else { continue }
                found.append(
                    ObjectVersion(
                        key: key, id: id, size: item.text("Size").flatMap { Int64($0) } ?? 0, written: written,
                        isMarker: item.name == "DeleteMarker"))
            }
            let next = page.text("IsTruncated") == "true" ? page.text("NextKeyMarker") : nil
            let query = next.map {
                [("key-marker", $0), ("version-id-marker", page.text("NextVersionIdMarker") ?? "")]
            }
            guard page.text("IsTruncated") != "true" || (query != nil && query?.map(\.1) != marker.map(\.1)) else {
                throw StoreError(.unreachable, nil, cause: "its list of versions breaks off")
            }
            marker = query ?? []
        } while !marker.isEmpty
        return found
    }

    /// Removes an object, and every version of it where the bucket keeps them; what a lock keeps goes out of sight.
    func delete(_ key: ObjectKey, keepsVersions: Bool) async throws(StoreError) -> Deletion {
        var isLocked = false
        var until: Date?
        if keepsVersions {
            for version in try await versions(prefix: key.text) where version.key == key {
                do {
                    _ = try await send(.delete, key, [("versionId", version.id)])
                } catch {
                    guard error.reason == .denied, !version.isMarker,
                        let locked = try await lockedUntil(key, version: version.id)
                    else { throw error }
                    isLocked = true
                    until = max(until ?? locked, locked)
                }
            }
            guard isLocked else { return .gone }
        }
        do { _ = try await send(.delete, key) } catch {
            guard error.reason == .missing else { throw error }
        }
        return isLocked ? .locked(until: until) : .gone
    }

    /// - Parameter version: nil for the newest.
    func lockedUntil(_ key: ObjectKey, version: String? = nil) async throws(StoreError) -> Date? {
        let head = try await send(.head, key, version.map { [("versionId", $0)] } ?? [])
        return head.header("x-amz-object-lock-retain-until-date").flatMap { HTTPDate.iso($0) }
    }
}
