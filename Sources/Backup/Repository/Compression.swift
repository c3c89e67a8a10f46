internal import CZstd
internal import Synchronization

/// Zstandard (RFC 8878) with contexts and buffers that are used again. Called from many threads at once:
/// each call takes a context out of the pool, or makes one.
final class Compression: Sendable {
    static let level: Int32 = 3

    private let compressors = Mutex<[Compressor]>([])
    private let decompressors = Mutex<[Decompressor]>([])

    /// Calls `body` with the frame of `bytes`, which is gone when it returns.
    func compressed<Result>(
        _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        let compressor = compressors.withLock { $0.popLast() } ?? Compressor()
        defer { compressors.withLock { $0.append(compressor) } }
        return try body(try compressor.compress(bytes))
    }

    /// - Parameter length: what the frame must say and give; checked before anything is allocated.
    func decompressed(_ frame: UnsafeRawBufferPointer, length: Int, subject: String) throws -> [UInt8] {
        guard ZSTD_getFrameContentSize(frame.baseAddress, frame.count) == UInt64(length) else {
            throw RepositoryError(.damaged, subject, cause: "its compressed frame is not one of \(length) bytes")
        }
        let decompressor = decompressors.withLock { $0.popLast() } ?? Decompressor()
        defer { decompressors.withLock { $0.append(decompressor) } }
        return try decompressor.decompress(frame, length: length, subject: subject)
    }

    /// The content size that a frame claims; nil if it claims none or more than `limit`.
    static func claimedLength(_ frame: UnsafeRawBufferPointer, limit: Int) -> Int? {
        let length = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
        return length <= UInt64(limit) ? Int(length) : nil
    }
}

/// One context and its output buffer.
/// `@unchecked`: whoever took it out of the pool is alone with it.
private final class Compressor: @unchecked Sendable {
    private let context: OpaquePointer
    private var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    init() {
        guard let context = ZSTD_createCCtx() else { preconditionFailure("no memory for a zstd context") }
        self.context = context
    }

    deinit {
        ZSTD_freeCCtx(context)
        buffer.deallocate()
    }

    func compress(_ bytes: UnsafeRawBufferPointer) throws -> UnsafeRawBufferPointer {
        let bound = ZSTD_compressBound(bytes.count)
        // A buffer for one rare giant is not kept for the many of usual size.
        if buffer.count < bound || buffer.count > max(bound, 8 << 20) {
            buffer.deallocate()
            buffer = .allocate(byteCount: max(bound, 2 << 20), alignment: 16)
        }
        let length = ZSTD_compressCCtx(
            context, buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count, Compression.level)
        guard ZSTD_isError(length) == 0 else {
            throw RepositoryError(.aborted, "a chunk", cause: "zstd: \(String(cString: ZSTD_getErrorName(length)))")
        }
        return UnsafeRawBufferPointer(rebasing: buffer[..<length])
    }
}

/// `@unchecked`: whoever took it out of the pool is alone with it.
private final class Decompressor: @unchecked Sendable {
    private let context: OpaquePointer

    init() {
        guard let context = ZSTD_createDCtx() else { preconditionFailure("no memory for a zstd context") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    func decompress(_ frame: UnsafeRawBufferPointer, length: Int, subject: String) throws -> [UInt8] {
        var got = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: length) { buffer, filled in
            got = ZSTD_decompressDCtx(context, buffer.baseAddress, length, frame.baseAddress, frame.count)
            filled = ZSTD_isError(got) == 0 ? got : 0
        }
        guard bytes.count == length, ZSTD_isError(got) == 0 else {
            throw RepositoryError(.damaged, subject, cause: "its compressed frame does not decode")
        }
        return bytes
    }
}
