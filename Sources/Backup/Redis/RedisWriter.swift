internal import DRPKit
internal import Foundation
internal import NIOCore

/// One connection that restores records, several at once under way.
struct RedisWriter {
    private static let mostUnderWay = 2 << 20
    private static let batch = 256 << 10
    /// A large collection blocks the server while it is decoded.
    private static let patience = TimeAmount.minutes(2)

    private let connection: RedisConnection
    private let target: RestoreTarget
    private let canonicalizer = Canonicalizer()
    private var scratch: [UInt8] = []
    private var buffer = ByteBuffer()
    private var selected = 0
    /// Size and key of what was sent and not answered, oldest first; the key as a range in the chunk.
    private var waiting: [(size: Int, database: Int, key: Range<Int>)] = []
    private var answered = 0
    private var underWay = 0
    private var told = RedisProgress()
    private(set) var report = RedisRestoreReport()

    init(_ settings: RedisSettings, _ target: RestoreTarget, _ cancellation: RedisCancellation) throws {
        connection = try RedisConnection(settings, cancellation)
        self.target = target
    }

    func close() { connection.close() }

    /// What was done since the last call.
    mutating func takeProgress() -> RedisProgress {
        defer { told = RedisProgress(keys: report.keys, bytes: report.bytes) }
        return RedisProgress(keys: report.keys - told.keys, bytes: report.bytes - told.bytes)
    }

    /// Restores all records of one chunk and waits for the answers.
    mutating func write(_ chunk: [UInt8], now: Date) throws {
        let now = Int64((now.timeIntervalSince1970 * 1000).rounded(.down))
        try chunk.withUnsafeBytes { bytes in
            try RecordSplitter.forEach(in: bytes, kind: .redisKeys) { raw in
                let record = try RedisRecord(raw)
                if let expiry = record.expiry, expiry <= now {
                    report.expiredKeys += 1
                    return
                }
                try add(record, at: bytes)
                if buffer.readableBytes >= Self.batch { try flush(in: bytes) }
            }
            try flush(in: bytes)
            while underWay > 0 { try readAnswer(in: bytes) }
        }
        waiting.removeAll(keepingCapacity: true)
        answered = 0
    }

    private mutating func flush(in bytes: UnsafeRawBufferPointer) throws {
        underWay += buffer.readableBytes
        connection.send(buffer)
        // A new buffer: the last one belongs to the event loop until it is written.
        buffer = ByteBuffer()
        while underWay > Self.mostUnderWay { try readAnswer(in: bytes) }
    }

    private mutating func add(_ record: RedisRecord, at chunk: UnsafeRawBufferPointer) throws {
        let start = (record.key.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped)
        let offset = record.key.isEmpty ? 0 : start - chunk.baseAddress.unsafelyUnwrapped
        let key = offset..<offset + record.key.count
        var before = buffer.readableBytes
        if record.database != selected {
            let number = String(record.database)
            buffer.writeString("*2\r\n$6\r\nSELECT\r\n$\(number.utf8.count)\r\n\(number)\r\n")
            selected = record.database
            waiting.append((buffer.readableBytes - before, record.database, key))
            before = buffer.readableBytes
        }
        try RestorePayload.with(record, for: target, canonicalizer, scratch: &scratch) { body, version in
            let expiry = String(record.expiry ?? 0)
            buffer.reserveCapacity(minimumWritableBytes: record.key.count + body.count + 128)
            buffer.writeString("*5\r\n$7\r\nRESTORE\r\n$\(record.key.count)\r\n")
            buffer.writeBytes(record.key)
            buffer.writeString("\r\n$\(expiry.utf8.count)\r\n\(expiry)\r\n$\(body.count + 10)\r\n")
            buffer.writeBytes(body)
            let crc = withUnsafeBytes(of: version.littleEndian) { CRC64.update(CRC64.update(0, body), $0) }
            buffer.writeInteger(version, endianness: .little)
            buffer.writeInteger(crc, endianness: .little)
            buffer.writeString("\r\n$6\r\nABSTTL\r\n")
        }
        waiting.append((buffer.readableBytes - before, record.database, key))
        report.keys += 1
        report.bytes += Int64(record.bytes.count)
    }

    private mutating func readAnswer(in chunk: UnsafeRawBufferPointer) throws {
        let answer = try connection.receive(until: .now() + Self.patience)
        let sent = waiting[answered]
        answered += 1
        underWay -= sent.size
        if case .error(let text) = answer {
            let key = EscapedKey.text(UnsafeRawBufferPointer(rebasing: chunk[sent.key]))
            throw RedisError.reply(
                text, to: "restoring key \(key) of database \(sent.database)", .target, connection.settings.server)
        }
    }
}
