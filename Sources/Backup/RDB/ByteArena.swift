/// A stretch of bytes that lies in a value or in an arena, valid as long as those.
struct Piece {
    var start: UnsafeRawPointer
    var count: Int

    /// A place for empty pieces to point to.
    static var empty: Piece { Piece(start: UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped, count: 0) }

    init(start: UnsafeRawPointer, count: Int) {
        self.start = start
        self.count = count
    }

    init(_ bytes: UnsafeRawBufferPointer) {
        self.start = bytes.baseAddress ?? Self.empty.start
        self.count = bytes.count
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }
}

/// Memory for the decoded parts of one value: pieces never move, and all go at once.
/// Not `Sendable`: one thread owns it.
final class ByteArena {
    private static let block = 64 << 10
    private var blocks: [UnsafeMutableRawBufferPointer] = []
    private var used = 0
    private var total = 0

    deinit { for block in blocks { block.deallocate() } }

    /// Frees everything but one block; all pieces become invalid.
    func reset() {
        used = 0
        total = 0
        while blocks.count > 1 { blocks.removeLast().deallocate() }
    }

    /// - Throws: `.valueTooLarge` once one value needs more than `RDBLimits.value`.
    func allocate(_ count: Int) throws(RDBError) -> UnsafeMutableRawBufferPointer {
        guard count <= RDBLimits.value - total else {
            throw RDBError(.valueTooLarge, "its parts need over \(RDBLimits.value >> 20) MiB")
        }
        total += count
        if blocks.isEmpty || blocks[blocks.count - 1].count - used < count {
            let size = max(Self.block, count)
            blocks.append(.allocate(byteCount: size, alignment: 8))
            used = 0
        }
        let last = blocks[blocks.count - 1]
        let piece = UnsafeMutableRawBufferPointer(rebasing: last[used..<used + count])
        used += count
        return piece
    }

    /// The decimal text of `number`.
    func text(of number: Int64) throws(RDBError) -> Piece {
        let room = try allocate(20)
        var magnitude = number.magnitude
        var at = 20
        repeat {
            at -= 1
            room[at] = UInt8(truncatingIfNeeded: magnitude % 10) + 0x30
            magnitude /= 10
        } while magnitude > 0
        if number < 0 {
            at -= 1
            room[at] = 0x2d
        }
        return Piece(UnsafeRawBufferPointer(rebasing: room[at...]))
    }
}
