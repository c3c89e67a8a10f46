internal import Glibc

/// Room that a folder store keeps for what makes room. Before prune deletes anything, it writes a few small objects: on a
/// disk that is full to its last byte they take their place from this file.
struct FolderReserve {
    private static let name = ".drp-reserve"
    private static let size = 256 << 10
    /// What an object may take beside its bytes: a block for its end, and one for each folder that has to grow.
    private static let extra = 16 << 10

    let root: Descriptor

    /// Makes the file whole again. Where the disk has no room for it, the next call tries again.
    func fill() throws(StoreError) {
        if let status = try root.status(of: Self.name), status.isFile, status.size == Self.size { return }
        let file = try open(O_WRONLY | O_CREAT)
        do throws(StoreError) {
            // Nothing that a file system could compress: it would keep no room for that. SplitMix64.
            var state: UInt64 = 0
            let words = (0..<Self.size / 8).map { _ in
                state &+= 0x9E37_79B9_7F4A_7C15
                var word = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
                word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
                return word ^ word >> 31
            }
            let bytes = words.withUnsafeBytes { [UInt8]($0) }
            try file.write(bytes)
            try file.flush()
        } catch {
            guard error.reason == .full else { throw error }
        }
    }

    /// Gives up as much as an object of `count` bytes needs.
    /// - Returns: false if nothing is left to give.
    func give(_ count: Int) throws(StoreError) -> Bool {
        guard let status = try root.status(of: Self.name), status.isFile else { return false }
        let left = status.size - Int64(count + Self.extra)
        if left > 0 {
            try open(O_WRONLY).truncate(to: left)
        } else {
            // With its entry, which may be what is scarce.
            guard unlinkat(root.number, Self.name, 0) == 0 || errno == ENOENT else {
                throw StoreError(errno: errno, nil)
            }
        }
        return true
    }

    private func open(_ flags: Int32) throws(StoreError) -> Descriptor {
        let number = openat(root.number, Self.name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw StoreError(errno: errno, nil) }
        return Descriptor(number)
    }
}
