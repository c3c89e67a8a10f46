package import DRPKit
package import Foundation

/// Where the objects of repositories lie: a folder here, a bucket elsewhere.
///
/// All methods may be called from many tasks at once. What `put` returned from is durable.
package protocol ObjectStore: Sendable {
    /// Writes a whole object; readers see all of it or nothing.
    /// - Throws: `.alreadyThere` if there is one and `rule` is `.createOnly`; it is untouched then.
    func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError)

    /// Reads a whole object, at most `largestObject` bytes of it.
    /// - Throws: `.missing` without such an object; `.damaged` for a larger one.
    func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8]

    /// Reads part of an object.
    /// - Parameter range: bytes from the start, half open.
    /// - Returns: exactly `range.count` bytes.
    /// - Throws: `.missing` without such an object; `.damaged` if it is shorter.
    func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8]

    /// All objects below a folder at any depth, in the order of their keys; none if there is no such folder.
    func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject]

    /// Everything below a folder that `delete` could still take away: what `list` gives, and what is out of sight, kept by a lock
    /// that may have ended.
    func remains(_ folder: ObjectKey) async throws(StoreError) -> [ObjectKey]

    /// Names of the folders at the root of the store, in order.
    func folders() async throws(StoreError) -> [String]

    /// - Returns: the object's bytes; nil without such an object.
    func size(_ key: ObjectKey) async throws(StoreError) -> Int64?

    /// - Returns: when the object was written, by the store's own clock; nil without such an object, and from a store that
    ///   does not tell.
    func written(_ key: ObjectKey) async throws(StoreError) -> Date?

    /// - Returns: the store's time; nil from a store that tells it by what it writes alone.
    func now() async throws(StoreError) -> Date?

    /// Tries what the store can do; what it writes for that goes again.
    func capabilities() async throws(StoreError) -> StoreCapabilities

    /// What keeps objects from going, as it is now. Asked alone: nothing is written for it, and what an account may not
    /// ask is not known.
    func guards() async throws(StoreError) -> StoreGuards

    /// Removes an object, and all older versions of it where the store keeps them. One that is not there is no error: it
    /// may be called again.
    /// - Returns: whether it is gone, or only out of sight because a lock or the store's own bin keeps it.
    @discardableResult func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion

    /// Learns what must be known before something can be written, so that the first write does not wait for it.
    func prepare() async

    /// Removes what interrupted writers left behind and no reader can see, and keeps what is needed for `makingRoom`.
    func sweep() async throws(StoreError)

    /// - Returns: the same store, for small objects that come before a deletion: a full one still takes them, if it can.
    func makingRoom() -> any ObjectStore

    /// Whether `locking` and `lock` work here.
    func canLock() async throws(StoreError) -> Bool

    /// - Returns: the same store; what it puts with the rule `.lasting` is locked.
    func locking(_ lock: ObjectLock) -> any ObjectStore

    /// Locks an object, or extends its lock; a lock that lasts longer stays as it is.
    /// - Throws: `.missing` without such an object; `.unsupported` by a store that has no locks.
    func lock(_ key: ObjectKey, _ lock: ObjectLock) async throws(StoreError)

    /// - Returns: until when nobody can remove the object; nil if it is not locked, and from a store that has no locks.
    /// - Throws: `.missing` without such an object.
    func lockedUntil(_ key: ObjectKey) async throws(StoreError) -> Date?

    /// A view, to read from, of what the store held at a time: what was deleted or replaced since is there again.
    /// - Throws: `.unsupported` by a store that keeps no versions.
    func view(at time: Date) async throws(StoreError) -> any ObjectStore
}

extension ObjectStore {
    package func now() async throws(StoreError) -> Date? { nil }
    package func remains(_ folder: ObjectKey) async throws(StoreError) -> [ObjectKey] {
        try await list(folder).map(\.key)
    }
    package func capabilities() async throws(StoreError) -> StoreCapabilities {
        StoreCapabilities(createsOnly: true, keepsVersions: false, locks: false, expires: false)
    }
    package func canLock() async throws(StoreError) -> Bool { false }
    package func guards() async throws(StoreError) -> StoreGuards { StoreGuards() }
    package func locking(_ lock: ObjectLock) -> any ObjectStore { self }
    package func lock(_ key: ObjectKey, _ lock: ObjectLock) async throws(StoreError) {
        throw StoreError(.unsupported, key, cause: "it has no locks")
    }
    package func lockedUntil(_ key: ObjectKey) async throws(StoreError) -> Date? { nil }
    package func view(at time: Date) async throws(StoreError) -> any ObjectStore {
        throw StoreError(.unsupported, nil, cause: "it keeps no older versions")
    }
    package func makingRoom() -> any ObjectStore { self }
    package func prepare() async {}
    package func sweep() async throws(StoreError) {}
    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? { nil }
}

/// No object is larger: what is read as a whole is capped by it.
package let largestObject = 640 << 20

package enum WriteRule: Sendable {
    case createOnly
    /// As `createOnly`; and a kept backup cannot be read without it, so that it is locked where `locking` says so.
    case lasting
    case replace
}

/// Nobody can remove or replace the object before that time.
package struct ObjectLock: Sendable, Hashable {
    package var mode: LockMode
    package var until: Date

    package init(mode: LockMode, until: Date) {
        self.mode = mode
        self.until = until
    }
}

/// What a store was found to do.
package struct StoreCapabilities: Sendable, Hashable, Codable {
    /// Whether it refuses a second writer of one name by itself.
    package var createsOnly: Bool
    /// Whether what is deleted or replaced stays as an older version.
    package var keepsVersions: Bool
    /// Whether objects can be locked.
    package var locks: Bool
    /// Whether a rule of the store's own removes objects by their age; nil if it does not tell.
    package var expires: Bool?
    /// Whether it replaces an object only while that is the one which a writer has seen.
    package var replacesConditionally = false
    /// When the right to use the store ends by itself; nil if it does not, or the store does not tell.
    package var accessEnds: Date?
}

/// What keeps the objects of a store from going; nil for what is not known.
package struct StoreGuards: Sendable, Hashable {
    /// Whether what is deleted or replaced stays as an older version.
    package var keepsVersions: Bool?
    /// Whether objects can be locked.
    package var locks: Bool?
    /// Whether a rule of the store's own removes objects by their age.
    package var expires: Bool?

    package init(keepsVersions: Bool? = nil, locks: Bool? = nil, expires: Bool? = nil) {
        (self.keepsVersions, self.locks, self.expires) = (keepsVersions, locks, expires)
    }
}

extension StoreCapabilities {
    package var guards: StoreGuards { StoreGuards(keepsVersions: keepsVersions, locks: locks, expires: expires) }
}

/// What became of an object that was to be deleted.
package enum Deletion: Sendable, Hashable {
    case gone
    /// Out of sight, and there until then; nil if the store does not tell.
    case locked(until: Date?)
}

/// Makes the store that the settings describe.
package typealias StoreOpener = @Sendable (StoreSettings) async throws -> any ObjectStore

package struct StoredObject: Sendable, Hashable {
    package var key: ObjectKey
    package var size: Int64

    package init(key: ObjectKey, size: Int64) {
        self.key = key
        self.size = size
    }
}

/// What a store could not do.
package struct StoreError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        case missing, alreadyThere, denied, full, damaged, unreachable, unsupported, skewed, claimed
    }

    package var reason: Reason
    /// The object or folder; the store's root if nil.
    package var key: ObjectKey?
    package var cause: String?

    package init(_ reason: Reason, _ key: ObjectKey?, cause: String? = nil) {
        self.reason = reason
        self.key = key
        self.cause = cause
    }

    package var code: ErrorCode {
        switch reason {
        case .missing: .repositoryMissing
        case .alreadyThere: .busy
        case .denied: .repositoryDenied
        case .full: .storeFull
        case .damaged: .repositoryDamaged
        case .unreachable: .storeUnreachable
        case .unsupported: .storeUnsupported
        case .skewed: .clocksDiffer
        case .claimed: .busy
        }
    }

    package var message: String {
        let subject = key.map { "object \($0)" } ?? "the store's folder"
        let what =
            switch reason {
            case .missing: "\(subject) is not in the store"
            case .alreadyThere: "\(subject) is in the store already"
            case .denied: "the store denied access to \(subject)"
            case .full: "no space is left in the store for \(subject)"
            case .damaged: "\(subject) is damaged"
            case .unreachable: "the store could not be reached for \(subject)"
            case .claimed: "another writer is at \(subject)"
            case .skewed: "the store refuses what is asked for \(subject), since clocks differ"
            case .unsupported: "the store cannot do this for \(subject)"
            }
        return cause.map { "\(what) (\($0))" } ?? what
    }
}
