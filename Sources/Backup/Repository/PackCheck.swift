internal import DRPKit

/// One pack, checked: what it holds, and what is wrong with it.
struct CheckedPack: Sendable {
    var key: ObjectKey
    var name: ContentHash
    var size: Int64
    /// Whether all of its bytes were compared with its name.
    var isReadWhole: Bool
    /// What it says that it holds, if that part of it is whole.
    var stored: StoredPack?
    var failure: String?
}

/// Reads packs on two tasks, one pack each at a time: memory is bounded by the two largest packs.
struct PackCheck: Sendable {
    private static let width = 2

    let repository: Repository
    /// Packs that are read whole; the others' trailers alone are. All without a sample.
    let sample: VerifySample?
    let progress: @Sendable (Int64) -> Void

    /// - Throws: only what a store that cannot be reached throws.
    func run(_ objects: [StoredObject]) async throws -> [CheckedPack] {
        let packs = objects.compactMap { object in repository.layout.packName(object.key).map { (object, $0) } }
        return try await withThrowingTaskGroup(of: [CheckedPack].self) { group in
            for lane in 0..<Self.width {
                group.addTask {
                    var checked: [CheckedPack] = []
                    for (object, name) in stride(from: lane, to: packs.count, by: Self.width).map({ packs[$0] }) {
                        checked.append(try await check(object, name))
                    }
                    return checked
                }
            }
            var all: [CheckedPack] = []
            for try await checked in group { all += checked }
            return all.sorted { $0.key < $1.key }
        }
    }

    private func check(_ object: StoredObject, _ name: ContentHash) async throws -> CheckedPack {
        var pack = CheckedPack(
            key: object.key, name: name, size: object.size, isReadWhole: sample?.contains(name) ?? true)
        do {
            if pack.isReadWhole {
                try readWhole(try await repository.store.read(object.key), &pack)
            } else {
                pack.stored = try await repository.storedPack(name, size: object.size)
            }
        } catch let error as RepositoryError {
            // The first finding counts: bytes that are not the name's explain a trailer that does not open.
            if pack.failure == nil { pack.failure = error.message }
        } catch let error as StoreError where error.reason == .missing || error.reason == .damaged {
            pack.failure = error.message
        }
        return pack
    }

    private func readWhole(_ bytes: [UInt8], _ pack: inout CheckedPack) throws(RepositoryError) {
        pack.size = Int64(bytes.count)
        if ContentHash(hashing: bytes) != pack.name {
            pack.failure =
                RepositoryError(.damaged, "\(pack.key)", cause: "its bytes do not have its name's hash").message
        }
        progress(pack.size)
        let range = try Pack.trailerRange(
            footer: bytes.suffix(Pack.footerLength), size: pack.size, subject: "\(pack.key)")
        pack.stored = try repository.storedPack(
            pack.name, size: pack.size, trailer: bytes[Int(range.lowerBound)..<Int(range.upperBound)],
            at: range.lowerBound)
    }
}
