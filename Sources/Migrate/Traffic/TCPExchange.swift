internal import NIOCore
internal import NIOPosix

/// One request to a server and one answer from it, over a connection of its own. May be called from many tasks.
struct TCPExchange: Sendable {
    enum Target: Sendable {
        case address(host: String, port: Int)
        /// Path of a Unix socket, as a forward by SSH makes it.
        case socket(String)
    }

    private let target: Target
    /// For errors.
    private let subject: String
    private let deadline: Duration
    private let limit: Int

    /// - Parameters:
    ///   - deadline: For connecting and for the answer together.
    ///   - limit: Bytes that an answer may have; what comes after them is not kept.
    init(to target: Target, subject: String, deadline: Duration, limit: Int) {
        self.target = target
        self.subject = subject
        self.deadline = deadline
        self.limit = limit
    }

    /// Cancellation closes the connection.
    /// - Parameter whole: The answer, once it is complete, of all that was received and of whether the server has ended.
    /// - Throws: `TrafficError` with `.unreachable`: whether the server acted on the request is then unknown.
    func run(
        _ request: [UInt8], whole: @escaping @Sendable (_ received: [UInt8], _ hasEnded: Bool) -> [UInt8]?
    ) async throws -> [UInt8] {
        let time = TimeAmount.nanoseconds(Int64(deadline / .nanoseconds(1)))
        let end = NIODeadline.now() + time
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(time)
        let channel: any Channel
        do {
            switch target {
            case .address(let host, let port): channel = try await bootstrap.connect(host: host, port: port).get()
            case .socket(let path): channel = try await bootstrap.connect(unixDomainSocketPath: path).get()
            }
        } catch {
            throw TrafficError(.unreachable, subject, "no connection (\(Self.short(error)))")
        }
        let loop = channel.eventLoop
        let answer = loop.makePromise(of: [UInt8].self)
        let timer = loop.scheduleTask(deadline: end) { answer.fail(ExchangeEnd.late) }
        defer {
            timer.cancel()
            channel.close(promise: nil)
        }
        do {
            return try await withTaskCancellationHandler {
                try await loop.submit { [limit] in
                    try channel.pipeline.syncOperations.addHandler(AnswerHandler(answer, limit: limit, whole: whole))
                }.get()
                channel.writeAndFlush(channel.allocator.buffer(bytes: request), promise: nil)
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
            throw TrafficError(.unreachable, subject, "no answer (\(Self.short(error)))")
        }
    }

    private static func short(_ error: any Error) -> String {
        switch error {
        case ExchangeEnd.late: "not within the deadline"
        case ExchangeEnd.closed: "the server closed the connection"
        case ChannelError.connectTimeout: "not within the deadline"
        case let error as IOError: error.description
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { short($0.error) } ?? "the name cannot be resolved"
        default: String(describing: error)
        }
    }
}

private enum ExchangeEnd: Error {
    case late
    case closed
}

/// Collects the one answer.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let answer: EventLoopPromise<[UInt8]>
    private let limit: Int
    private let whole: @Sendable ([UInt8], Bool) -> [UInt8]?
    private var received: [UInt8] = []

    init(
        _ answer: EventLoopPromise<[UInt8]>, limit: Int, whole: @escaping @Sendable ([UInt8], Bool) -> [UInt8]?
    ) {
        self.answer = answer
        self.limit = limit
        self.whole = whole
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        received += part.readableBytesView.prefix(limit - received.count)
        if let answer = whole(received, false) { self.answer.succeed(answer) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let answer = whole(received, true) { self.answer.succeed(answer) } else { answer.fail(ExchangeEnd.closed) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }
}
