internal import Foundation
internal import NIOCore

/// Bytes on their way from the event loop to the one thread that reads them; at most about `highMark` wait.
/// `@unchecked`: all state is only touched under `condition`.
final class RedisInbox: @unchecked Sendable {
    struct TimedOut: Error {}

    private static let highMark = 4 << 20
    private static let lowMark = 1 << 20

    private let condition = NSCondition()
    private var buffers: [ByteBuffer] = []
    private var waiting = 0
    private var isHeld = false
    private var hasEnded = false
    private var failure: (any Error)?
    private var channel: (any Channel)?
    private var expired = 0
    private var ticket = 0

    func attach(_ channel: any Channel) {
        condition.lock()
        defer { condition.unlock() }
        self.channel = channel
    }

    func push(_ buffer: ByteBuffer) {
        condition.lock()
        buffers.append(buffer)
        waiting += buffer.readableBytes
        condition.signal()
        condition.unlock()
    }

    /// Whether the socket may be read now; if not, the reading thread asks for it once there is room.
    func mayRead() -> Bool {
        condition.lock()
        defer { condition.unlock() }
        isHeld = waiting > Self.highMark
        return !isHeld
    }

    func end() {
        condition.lock()
        hasEnded = true
        condition.broadcast()
        condition.unlock()
    }

    /// Ends both sides with `error`; the first one counts.
    func fail(_ error: any Error) {
        condition.lock()
        if failure == nil { failure = error }
        let channel = channel
        condition.broadcast()
        condition.unlock()
        channel?.close(promise: nil)
    }

    /// Waits for bytes.
    /// - Returns: nil once the other side has closed.
    /// - Throws: `TimedOut`, or the error given to `fail`.
    func next(until deadline: NIODeadline) throws -> ByteBuffer? {
        condition.lock()
        defer { condition.unlock() }
        var timer: Scheduled<Void>?
        defer { timer?.cancel() }
        ticket += 1
        let mine = ticket
        while true {
            if !buffers.isEmpty { return take() }
            if let failure { throw failure }
            if hasEnded { return nil }
            if expired >= mine || deadline <= .now() { throw TimedOut() }
            if timer == nil, let loop = channel?.eventLoop {
                timer = loop.scheduleTask(deadline: deadline) { self.expire(mine) }
            }
            condition.wait()
        }
    }

    private func take() -> ByteBuffer {
        let buffer = buffers.removeFirst()
        waiting -= buffer.readableBytes
        if isHeld && waiting < Self.lowMark {
            isHeld = false
            channel?.read()
        }
        return buffer
    }

    private func expire(_ number: Int) {
        condition.lock()
        expired = max(expired, number)
        condition.broadcast()
        condition.unlock()
    }
}

/// Last in the pipeline: fills the inbox, and holds the socket back while that is full.
final class RedisInboxHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = Never
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let inbox: RedisInbox

    init(_ inbox: RedisInbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { inbox.push(unwrapInboundIn(data)) }

    func read(context: ChannelHandlerContext) {
        if inbox.mayRead() { context.read() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        inbox.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        inbox.end()
        context.fireChannelInactive()
    }
}
