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

    /// Names of the folders at the root of the store, in order.
    func folders() async throws(StoreError) -> [String]

    /// - Returns: the object's bytes; nil without such an object.
    func size(_ key: ObjectKey) async throws(StoreError) -> Int64?

    /// - Returns: when the object was written, by the store's own clock; nil without such an object, and from a store that
    ///   does not tell.
    func written(_ key: ObjectKey) async throws(StoreError) -> Date?

    /// Removes an object. One that is not there is no error: it may be called again.
    func delete(_ key: ObjectKey) async throws(StoreError)

    /// Removes what interrupted writers left behind and no reader can see, and keeps what is needed for `makingRoom`.
    func sweep() async throws(StoreError)

    /// - Returns: the same store, for small objects that come before a deletion: a full one still takes them, if it can.
    func makingRoom() -> any ObjectStore
}

extension ObjectStore {
    package func makingRoom() -> any ObjectStore { self }
    package func sweep() async throws(StoreError) {}
    package func written(_ key: ObjectKey) async throws(StoreError) -> Date? { nil }
}

/// No object is larger: what is read as a whole is capped by it.
package let largestObject = 640 << 20

package enum WriteRule: Sendable {
    case createOnly
    case replace
}

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
    package enum Reason: Sendable, Equatable { case missing, alreadyThere, denied, full, damaged, unreachable }

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
            }
        return cause.map { "\(what) (\($0))" } ?? what
    }
}
