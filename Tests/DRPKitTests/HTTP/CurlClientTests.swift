import DRPKit
import Foundation
import Glibc
import Testing

@Suite("HTTP client")
struct CurlClientTests {
    @Test("status, headers and body come back; a redirect is an answer like any other")
    func answers() async throws {
        let server = try OneAnswerServer(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nX-DRP-Client:  acme \r\nContent-Length: 5\r\n\r\nhello"
        )
        async let served = server.serve()
        var request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/path")
        request.headers = [.init(name: "X-Asked", value: "yes")]
        let response = try await CurlClient().send(request)
        #expect(response.status == 302)
        #expect(response.header("x-drp-client") == "acme")
        #expect(response.body == Array("hello".utf8))
        let text = try await served
        #expect(text.hasPrefix("GET /path HTTP/1.1\r\n") && text.contains("X-Asked: yes\r\n"))
    }

    @Test("a target is asked before DNS knows it")
    func route() async throws {
        let server = try OneAnswerServer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        async let served = server.serve()
        var request = HTTPRequest(url: "http://acme.clients.test:\(server.port)/")
        request.route = .init(host: "acme.clients.test", port: server.port, address: "127.0.0.1")
        #expect(try await CurlClient().send(request).status == 200)
        #expect(try await served.contains("Host: acme.clients.test:\(server.port)\r\n"))
    }

    @Test("a body over the limit is an error, not a shortened answer")
    func tooLarge() async throws {
        let server = try OneAnswerServer("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world")
        async let served = server.serve()
        var request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/")
        request.maximumBody = ByteCount(10)
        let error = await #expect(throws: HTTPError.self) { try await CurlClient().send(request) }
        #expect(error?.reason == .tooLarge)
        _ = try await served
    }

    @Test("a server that closes early, speaks no HTTP, or is not there is named as such")
    func broken() async throws {
        for (answer, reason) in [
            ("", HTTPError.Reason.unreachable), ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", .unreachable),
            ("SSH-2.0-OpenSSH\r\n", .malformed),
        ] {
            let server = try OneAnswerServer(answer)
            async let served = server.serve()
            let error = await #expect(throws: HTTPError.self) {
                try await CurlClient().send(HTTPRequest(url: "http://127.0.0.1:\(server.port)/"))
            }
            #expect(error?.reason == reason, "\(answer): \(error?.message ?? "")")
            _ = try await served
        }
        let error = await #expect(throws: HTTPError.self) {
            try await CurlClient().send(HTTPRequest(url: "http://127.0.0.1:1/"))
        }
        #expect(error?.code == .targetUnreachable)
    }

    @Test("no answer within the deadline is late")
    func late() async throws {
        let server = try OneAnswerServer(nil)
        // Bound and listening, but nobody accepts.
        var request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/")
        request.deadline = .milliseconds(100)
        let error = await #expect(throws: HTTPError.self) { try await CurlClient().send(request) }
        #expect(error?.code == .deadlineExceeded)
        server.stop()
    }

    @Test("an exchange that stands still is late long before its deadline, where a least speed is asked for")
    func slow() async throws {
        let server = try OneAnswerServer(nil)
        // Bound and listening: the request is taken, and nothing comes.
        var request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/")
        request.deadline = .seconds(600)
        (request.leastSpeed, request.slowFor) = (1024, .seconds(1))
        let error = await #expect(throws: HTTPError.self) { try await CurlClient().send(request) }
        #expect(error?.reason == .late)
        server.stop()
    }

    @Test("an error names the address without its query, which may hold a signature")
    func queriesAreNotShown() async {
        let error = await #expect(throws: HTTPError.self) {
            try await CurlClient().send(HTTPRequest(url: "http://127.0.0.1:1/container?sig=CANARY"))
        }
        #expect(error?.message.hasPrefix("http://127.0.0.1:1/container: ") == true)
        #expect(error?.description.contains("CANARY") == false)
    }

    @Test("a URL with a password, another protocol or a line break is refused and not shown")
    func refused() async {
        for url in ["http://user:CANARY@127.0.0.1/", "file:///etc/CANARY", "http://a/\r\nX: CANARY", "CANARY", ""] {
            let error = await #expect(throws: HTTPError.self) { try await CurlClient().send(HTTPRequest(url: url)) }
            #expect(error?.reason == .invalidRequest && error?.description.contains("CANARY") == false)
        }
    }
}

/// Takes one connection on a free port of 127.0.0.1, reads a request's head, writes fixed bytes, and closes.
private struct OneAnswerServer: Sendable {
    let port: Int
    private let listener: Int32
    private let received: BoundedQueue<String>

    /// - Parameter answer: nil for a server that listens and takes nobody.
    init(_ answer: String?) throws {
        received = BoundedQueue(capacity: 1)
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let result = withUnsafeMutablePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) + listen(descriptor, 1) + getsockname(descriptor, $0, &size)
            }
        }
        try #require(result == 0)
        port = Int(UInt16(bigEndian: place.sin_port))
        guard let answer else { return }
        // At once, and not when the cooperative pool has room: other tests may hold it for seconds.
        Thread { [received] in
            do { try received.push(Self.serve(descriptor, answer)) } catch { received.fail(error) }
        }.start()
    }

    /// - Returns: What the client sent.
    func serve() async throws -> String {
        try await OwnThread.run("server") { [received] in try received.pop() ?? "" }
    }

    private static func serve(_ listener: Int32, _ answer: String) -> String {
        let connection = accept(listener, nil, nil)
        defer {
            close(connection)
            close(listener)
        }
        var received: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while !received.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let count = read(connection, &part, part.count)
            guard count > 0 else { break }
            received += part[..<count]
        }
        let bytes = Array(answer.utf8)
        send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        return String(decoding: received, as: UTF8.self)
    }

    func stop() { close(listener) }
}
