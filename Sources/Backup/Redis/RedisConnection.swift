internal import DRPKit
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// Ends connections from another thread: what a cancelled task does to the thread that works for it.
package final class RedisCancellation: Sendable {
    private let state = Mutex<(isCancelled: Bool, inboxes: [RedisInbox])>((false, []))

    package init() {}

    package var isCancelled: Bool { state.withLock { $0.isCancelled } }

    package func cancel() {
        let inboxes = state.withLock { state in
            state.isCancelled = true
            return state.inboxes
        }
        for inbox in inboxes { inbox.fail(CancellationError()) }
    }

    func add(_ inbox: RedisInbox) {
        let isCancelled = state.withLock { state in
            state.inboxes.append(inbox)
            return state.isCancelled
        }
        if isCancelled { inbox.fail(CancellationError()) }
    }

    func remove(_ inbox: RedisInbox) { state.withLock { $0.inboxes.removeAll { $0 === inbox } } }
}

/// A connection to one Redis server, logged in. Blocking: one thread of its own makes, uses and closes it.
package final class RedisConnection {
    /// For commands that work through all of a server.
    static let longPatience = TimeAmount.minutes(5)

    /// For an ordinary command.
    static let patience = TimeAmount.seconds(30)

    let settings: RedisSettings
    private let inbox: RedisInbox
    private let channel: any Channel
    private let cancellation: RedisCancellation
    private var decoder = RESPDecoder()

    /// Connects, verifies the certificate where TLS is used, and logs in.
    package init(_ settings: RedisSettings, _ cancellation: RedisCancellation) throws {
        let inbox = RedisInbox()
        self.settings = settings
        self.inbox = inbox
        self.cancellation = cancellation
        let context = settings.isTLS ? try Self.tlsContext(settings) : nil
        let (host, isForwarded) = (settings.host, settings.socket != nil)
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(10))
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 256 << 10))
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(Self.tlsHandler(context, host))
                    }
                    try channel.pipeline.syncOperations.addHandler(RedisInboxHandler(inbox))
                }
            }
        if !isForwarded { bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1) }
        do {
            channel =
                if let socket = settings.socket {
                    try bootstrap.connect(unixDomainSocketPath: socket).wait()
                } else {
                    try bootstrap.connect(host: host, port: settings.port).wait()
                }
        } catch {
            throw RedisError(.unreachable, settings.side, settings.server, Self.reason(error))
        }
        inbox.attach(channel)
        cancellation.add(inbox)
        do { try logIn() } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    package func close() {
        cancellation.remove(inbox)
        channel.close(promise: nil)
    }

    private func logIn() throws {
        guard let password = settings.password else { return }
        var arguments: [[UInt8]] = [Array("AUTH".utf8)]
        if let user = settings.user { arguments.append(Array(user.utf8)) }
        password.withBytes { arguments.append($0) }
        _ = try command(arguments)
    }

    func error(_ reason: RedisError.Reason, _ detail: String) -> RedisError {
        RedisError(reason, settings.side, settings.server, detail)
    }

    // MARK: commands

    /// Sends one command and waits for its answer.
    /// - Throws: `RedisError`, also for an error that the server answers.
    @discardableResult
    func command(_ arguments: [[UInt8]], patience: TimeAmount = patience) throws -> RESPValue {
        send(ByteBuffer(bytes: RESPEncoder.command(arguments)))
        let value = try receive(until: .now() + patience)
        if case .error(let text) = value {
            throw RedisError.reply(
                text, to: String(decoding: arguments[0], as: UTF8.self), settings.side, settings.server)
        }
        return value
    }

    @discardableResult
    func command(_ words: String..., patience: TimeAmount = patience) throws -> RESPValue {
        try command(words.map { Array($0.utf8) }, patience: patience)
    }

    /// Sends bytes without waiting; the caller bounds what is under way by reading the answers.
    func send(_ buffer: ByteBuffer) { channel.writeAndFlush(buffer, promise: nil) }

    /// The next answer, an error of the server included.
    func receive(until deadline: NIODeadline) throws -> RESPValue {
        while true {
            do throws(RESPFault) {
                if let value = try decoder.next() { return value }
            } catch { throw self.error(.malformed, error.detail) }
            guard let buffer = try bytes(until: deadline) else {
                throw error(.broken, "the server closed the connection")
            }
            buffer.withUnsafeReadableBytes { decoder.append($0) }
        }
    }

    /// Bytes as they come, first those that the last answer left over.
    /// - Returns: nil once the server has closed.
    func bytes(until deadline: NIODeadline) throws -> ByteBuffer? {
        do { return try inbox.next(until: deadline) } catch is RedisInbox.TimedOut {
            throw error(.deadline, "nothing came for too long")
        } catch let error as CancellationError { throw error } catch { throw translated(error) }
    }

    func takeRest() -> [UInt8] { decoder.takeRest() }

    // MARK: TLS and errors of the network

    private static func tlsContext(_ settings: RedisSettings) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        let isAddress = (try? SocketAddress(ipAddress: settings.host, port: 0)) != nil  // a name is not an error here
        if settings.socket != nil, isAddress { configuration.certificateVerification = .noHostnameVerification }
        do {
            if let file = settings.caFile {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            let file = settings.caFile ?? "the system's authorities"
            throw RedisError(.settings, settings.side, settings.server, "the CA file \(file) cannot be read as PEM")
        }
    }

    /// The name in the certificate must be `host`; for an address, the address (an address is no server name, RFC 6066).
    /// Through a socket there is no address to compare: which machine it leads to, its host key has proven.
    private static func tlsHandler(
        _ context: NIOSSLContext, _ host: String
    ) throws -> NIOSSLClientHandler {
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil  // a name is not an error here
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
    }

    private func translated(_ error: any Error) -> RedisError {
        let text = RedisError.printable(String(describing: error))
        guard error is NIOSSLError || error is NIOSSLExtraError || error is BoringSSLError else {
            return self.error(.broken, text)
        }
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            let ca = settings.caFile.map { "by \($0)" } ?? "by an authority of this system"
            return self.error(.certificate, "the server's certificate is not signed \(ca)")
        }
        return self.error(.certificate, text)
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError, let first = error.connectionErrors.first {
            return RedisError.printable(String(describing: first.error))
        }
        if error is NIOConnectionError { return "its name cannot be resolved" }
        return RedisError.printable(String(describing: error))
    }
}
