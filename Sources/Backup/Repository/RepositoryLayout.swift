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
    var wraps: ObjectKey { root.appending("keys") }
    var epochs: ObjectKey { root.appending("epochs") }
    var marks: ObjectKey { root.appending("marks") }
    var tombstones: ObjectKey { root.appending("tombstones") }
    var erased: ObjectKey { root.appending("erased") }
    var hold: ObjectKey { root.appending("hold") }
    var lease: ObjectKey { root.appending("lease") }
    /// Written and removed to learn the store's time.
    var probe: ObjectKey { marks.appending("probe") }

    func wraps(epoch: Int) -> ObjectKey { wraps.appending("\(epoch)") }
    func wrap(epoch: Int, _ recipient: Recipient) -> ObjectKey { wraps(epoch: epoch).appending("\(recipient)") }
    func epoch(_ number: Int) -> ObjectKey { epochs.appending("\(number)") }
    func index(_ hash: ContentHash) -> ObjectKey { indexes.appending("\(hash)") }

    func pack(_ hash: ContentHash) -> ObjectKey {
        let digits = hash.description
        return packs.appending(String(digits.prefix(2))).appending(digits)
    }

    func backup(_ number: Int) -> ObjectKey { numbered(backups, number) }
    func mark(_ number: Int) -> ObjectKey { numbered(marks, number) }
    func tombstone(_ number: Int) -> ObjectKey { numbered(tombstones, number) }

    /// Whether it is a wrapped root key, or something that looks like one.
    func isBelowWraps(_ key: ObjectKey) -> Bool { key.text.hasPrefix(wraps.text + "/") }

    /// - Returns: nil if `key` is not the name of a wrapped root key.
    func wrapEpoch(_ key: ObjectKey) -> Int? {
        let parts = key.text.split(separator: "/")
        guard parts.count == 4, let epoch = Int(parts[2]), (1...Int(UInt32.max)).contains(epoch),
            wraps(epoch: epoch).appending(key.name) == key
        else { return nil }
        return epoch
    }

    /// - Returns: nil if `key` is not the name of an epoch's link.
    func epochNumber(_ key: ObjectKey) -> Int? {
        guard let number = Int(key.name), (1...Int(UInt32.max)).contains(number), epoch(number) == key else {
            return nil
        }
        return number
    }

    /// - Returns: nil if `key` is not the name of a backup.
    func backupNumber(_ key: ObjectKey) -> Int? { number(key, in: backups) }

    /// - Returns: nil if `key` is not the name of a mark.
    func markNumber(_ key: ObjectKey) -> Int? { number(key, in: marks) }

    /// - Returns: nil if `key` is not the name of a tombstone.
    func tombstoneNumber(_ key: ObjectKey) -> Int? { number(key, in: tombstones) }

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

    private func numbered(_ folder: ObjectKey, _ number: Int) -> ObjectKey {
        let digits = String(number)
        return folder.appending(String(repeating: "0", count: max(0, 10 - digits.count)) + digits)
    }

    private func number(_ key: ObjectKey, in folder: ObjectKey) -> Int? {
        guard key.name.count == 10, let number = Int(key.name), number > 0, numbered(folder, number) == key else {
            return nil
        }
        return number
    }
}
