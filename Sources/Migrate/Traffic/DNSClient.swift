internal import DRPKit
internal import NIOCore
internal import NIOPosix

/// Where a DNS server listens.
package struct DNSServer: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int = 53) {
        self.host = host
        self.port = port
    }

    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`.
    package init?(_ text: String) {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("["), let close = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<close]
            rest = text[text.index(after: close)...]
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
        }
        guard !host.isEmpty, !host.contains(where: \.isWhitespace) else { return nil }
        self.init(host: String(host))
        guard !rest.isEmpty else { return }
        guard rest.first == ":", let port = UInt16(rest.dropFirst()), port > 0 else { return nil }
        self.port = Int(port)
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Sends one DNS message to one server and takes its answer.
package protocol DNSExchange: Sendable {
    /// - Returns: The bytes of the answer; nothing about them has been checked.
    /// - Throws: `TrafficError` with `.unreachable`: whether the server acted on the message is then unknown.
    func exchange(_ message: [UInt8]) async throws -> [UInt8]
}

/// One message there and one back, over TCP (RFC 7766): two bytes of length, then the message.
/// An answer is at most 65,535 bytes because its length has two bytes. May be called from many tasks.
package struct DNSClient: DNSExchange {
    package var server: DNSServer
    /// For connecting and for the answer together.
    package var deadline: Duration

    package init(server: DNSServer, deadline: Duration = .seconds(5)) {
        self.server = server
        self.deadline = deadline
    }

    /// Cancellation closes the connection.
    package func exchange(_ message: [UInt8]) async throws -> [UInt8] {
        precondition(message.count <= Int(UInt16.max), "a DNS message of \(message.count) bytes")
        let end = NIODeadline.now() + TimeAmount.nanoseconds(Int64(deadline / .nanoseconds(1)))
        let limit = TimeAmount.nanoseconds(Int64(deadline / .nanoseconds(1)))
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(limit)
        let channel: any Channel
        do {
            channel = try await bootstrap.connect(host: server.host, port: server.port).get()
        } catch {
            throw TrafficError(.unreachable, "DNS server \(server)", "no connection (\(Self.short(error)))")
        }
        let loop = channel.eventLoop
        let answer = loop.makePromise(of: [UInt8].self)
        let timer = loop.scheduleTask(deadline: end) { answer.fail(DNSExchangeEnd.late) }
        defer {
            timer.cancel()
            channel.close(promise: nil)
        }
        do {
            return try await withTaskCancellationHandler {
                try await loop.submit {
                    try channel.pipeline.syncOperations.addHandler(DNSAnswerHandler(answer))
                }.get()
                var buffer = channel.allocator.buffer(capacity: message.count + 2)
                buffer.writeInteger(UInt16(message.count))
                buffer.writeBytes(message)
                channel.writeAndFlush(buffer, promise: nil)
                return try await answer.futureResult.get()
            } onCancel: {
                answer.fail(CancellationError())
                channel.close(promise: nil)
            }
        } catch let error as CancellationError {
            throw error
        } catch {
            // Ends the promise also when the connection broke before the handler could.
            answer.fail(error)
            throw TrafficError(.unreachable, "DNS server \(server)", "no answer (\(Self.short(error)))")
        }
    }

    private static func short(_ error: any Error) -> String {
        switch error {
        case DNSExchangeEnd.late: "not within the deadline"
        case DNSExchangeEnd.closed: "the server closed the connection"
        case ChannelError.connectTimeout: "not within the deadline"
        case let error as IOError: error.description
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { short($0.error) } ?? "the name cannot be resolved"
        default: String(describing: error)
        }
    }
}

private enum DNSExchangeEnd: Error {
    case late
    case closed
}

/// Collects the one answer.
private final class DNSAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let answer: EventLoopPromise<[UInt8]>
    private var received = ByteBuffer()

    init(_ answer: EventLoopPromise<[UInt8]>) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        // Only the first answer counts; what a server sends after it is not kept.
        guard received.readableBytes < 2 + Int(UInt16.max) else { return }
        received.writeBuffer(&part)
        guard let length = received.getInteger(at: received.readerIndex, as: UInt16.self),
            let bytes = received.getBytes(at: received.readerIndex + 2, length: Int(length))
        else { return }
        answer.succeed(bytes)
    }

    func channelInactive(context: ChannelHandlerContext) { answer.fail(DNSExchangeEnd.closed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }
}
