internal import DRPKit
internal import Foundation

/// Names of the objects of one client's repository.
struct RepositoryLayout: Sendable {
    let root: ObjectKey

    init(client: UUID) { root = ObjectKey(own: client.uuidString.lowercased()) }

    var card: ObjectKey { root.appending("drp.json") }
    var packs: ObjectKey { root.appending("packs") }
    var indexes: ObjectKey { root.appending("indexes") }
    var backups: ObjectKey { root.appending("backups") }

    func wraps(epoch: Int) -> ObjectKey { root.appending("keys").appending("\(epoch)") }
    func wrap(epoch: Int, _ recipient: Recipient) -> ObjectKey { wraps(epoch: epoch).appending("\(recipient)") }
    func index(_ hash: ContentHash) -> ObjectKey { indexes.appending("\(hash)") }

    func pack(_ hash: ContentHash) -> ObjectKey {
        let digits = hash.description
        return packs.appending(String(digits.prefix(2))).appending(digits)
    }

    func backup(_ number: Int) -> ObjectKey {
        let digits = String(number)
        return backups.appending(String(repeating: "0", count: max(0, 10 - digits.count)) + digits)
    }

    /// - Returns: nil if `key` is not the name of a backup.
    func backupNumber(_ key: ObjectKey) -> Int? {
        guard key.name.count == 10, let number = Int(key.name), number > 0, backup(number) == key else { return nil }
        return number
    }

    /// - Returns: nil if `key` is not the name of a pack.
    func packName(_ key: ObjectKey) -> ContentHash? {
        guard let hash = ContentHash(hex: key.name), pack(hash) == key else { return nil }
        return hash
    }

    /// - Returns: nil if `key` is not the name of an index.
    func indexName(_ key: ObjectKey) -> ContentHash? {
        guard let hash = ContentHash(hex: key.name), index(hash) == key else { return nil }
        return hash
    }
}
