/// One request over HTTP or HTTPS.
package struct HTTPRequest: Sendable, Hashable {
    /// Sends what goes to `host:port` of the URL to another address, before any DNS says so.
    package struct Route: Sendable, Hashable {
        package var host: String
        package var port: Int
        /// An IP address.
        package var address: String

        package init(host: String, port: Int, address: String) {
            self.host = host
            self.port = port
            self.address = address
        }
    }

    package struct Header: Sendable, Hashable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package enum Method: String, Sendable {
        case get = "GET", head = "HEAD", put = "PUT", post = "POST", patch = "PATCH", delete = "DELETE"
    }

    package var method: Method = .get
    /// `http://` or `https://`, without user or password.
    package var url: String
    package var headers: [Header] = []
    /// Sent with its length, of `put`, `post` and `patch` alone.
    package var body: [UInt8] = []
    /// For the whole exchange.
    package var deadline: Duration = .seconds(10)
    /// Bytes a second: an exchange that is slower for `slowFor` is late. 0 for no such limit.
    package var leastSpeed = 0
    package var slowFor: Duration = .seconds(30)
    package var connectTimeout: Duration = .seconds(5)
    package var route: Route?
    /// Path of a Unix socket to speak through; the host of the URL is then a mere name. At most 107 bytes (unix(7)).
    package var unixSocket: String?
    /// PEM file of the authorities to trust instead of the system's.
    package var caFile: String?
    /// A longer body is an error, not a shortened answer.
    package var maximumBody = ByteCount(1 << 20)

    package init(url: String) { self.url = url }
}

/// The answer, whatever its status. Redirects are answers like any other: they are never followed.
package struct HTTPResponse: Sendable, Hashable {
    package var status: Int
    package var headers: [HTTPRequest.Header]
    package var body: [UInt8]

    package init(status: Int, headers: [HTTPRequest.Header], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first header of that name, compared without regard to case.
    package func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}

/// Asks HTTP servers. May be called from many tasks at once.
package protocol HTTPClient: Sendable {
    /// - Throws: `HTTPError`, and `CancellationError` at once if the task is cancelled; an answer of any status is no error.
    func send(_ request: HTTPRequest) async throws -> HTTPResponse
}

/// Why there was no answer.
package struct HTTPError: DRPError {
    package enum Reason: Sendable, Hashable {
        case unreachable
        /// No complete answer within the deadline.
        case late
        /// The server's certificate is not trusted, or TLS failed otherwise.
        case untrusted
        case tooLarge
        case malformed
        case invalidRequest
    }

    package var reason: Reason
    /// Without its query, which may hold a signature.
    package var url: String
    package var cause: String

    package init(_ reason: Reason, url: String, cause: String) {
        self.reason = reason
        self.url = String(url.prefix { $0 != "?" })
        self.cause = cause
    }

    package var code: ErrorCode {
        switch reason {
        case .unreachable: .targetUnreachable
        case .late: .deadlineExceeded
        case .untrusted: .targetDenied
        case .tooLarge, .malformed, .invalidRequest: .failed
        }
    }

    package var message: String { "\(url): \(cause)" }
}
