package import DRPKit
internal import Foundation
internal import Synchronization

/// Speaks the Docker Engine API (docs.docker.com/reference/api/engine) over a Unix socket, which may be a forwarded one.
/// May be used from many tasks at once.
package final class DockerEngine: Sendable {
    /// The versions of the API that drp speaks, as minor numbers of 1.x: 41 came with Docker 20.10. Nothing that is used here
    /// changed in between.
    static let versions = 41...47

    private let socket: @Sendable () async throws -> String
    private let http: any HTTPClient
    /// What both sides speak, once asked.
    private let version = Mutex<Int?>(nil)

    /// - Parameter socket: asked before each request: a way that was lost may have been opened again.
    package init(http: any HTTPClient, socket: @escaping @Sendable () async throws -> String) {
        self.socket = socket
        self.http = http
    }

    /// What is sent along.
    enum Body {
        case none
        case json(JSONValue)
        case tar([UInt8])
    }

    /// One request.
    /// - Parameters:
    ///   - act: in words, for errors.
    ///   - path: its parts are escaped here.
    /// - Throws: `DockerError` for a status of 400 and above as well.
    @discardableResult
    func send(
        _ act: String, _ method: HTTPRequest.Method, _ path: [String], _ query: [String: String] = [:],
        body: Body = .none, deadline: Duration = .seconds(30), maximumBody: ByteCount = ByteCount(8 << 20)
    ) async throws -> HTTPResponse {
        let minor = try await negotiated()
        return try await exchange(act, method, ["v1.\(minor)"] + path, query, body, deadline, maximumBody)
    }

    /// The same, for objects that may be missing.
    /// - Returns: nil for status 404.
    func sendIfThere(
        _ act: String, _ method: HTTPRequest.Method, _ path: [String], _ query: [String: String] = [:],
        deadline: Duration = .seconds(30)
    ) async throws -> HTTPResponse? {
        do { return try await send(act, method, path, query, deadline: deadline) } catch let error as DockerError
            where error.reason == .missing
        { return nil }
    }

    func decode<Value: Decodable>(_ type: Value.Type, _ act: String, _ response: HTTPResponse) throws -> Value {
        do { return try JSONDecoder().decode(type, from: Data(response.body)) } catch {
            // The decoder's own text may quote the answer.
            throw DockerError(.malformed, act, "the answer is not in the form of the Docker Engine API")
        }
    }

    // MARK: Version

    private struct Version: Decodable {
        var newest: String
        var oldest: String?

        private enum CodingKeys: String, CodingKey {
            case newest = "ApiVersion"
            case oldest = "MinAPIVersion"
        }
    }

    private func negotiated() async throws -> Int {
        if let known = version.withLock({ $0 }) { return known }
        let act = "ask its version"
        let response = try await exchange(act, .get, ["version"], [:], .none, .seconds(10), ByteCount(1 << 20))
        let answer = try decode(Version.self, act, response)
        guard let newest = Self.minor(answer.newest), let oldest = Self.minor(answer.oldest ?? "1.0") else {
            throw DockerError(.malformed, act, "the answer names no version of the API")
        }
        let common = min(newest, Self.versions.upperBound)
        guard common >= Self.versions.lowerBound, common >= oldest else {
            throw DockerError(
                .unsupported, act,
                "it speaks version 1.\(oldest) to 1.\(newest) of the API, drp 1.\(Self.versions.lowerBound) to 1.\(Self.versions.upperBound)"
            )
        }
        version.withLock { $0 = common }
        return common
    }

    private static func minor(_ text: String) -> Int? {
        guard text.hasPrefix("1."), text.utf8.count <= 6 else { return nil }
        return Int(text.dropFirst(2))
    }

    // MARK: Exchange

    private func exchange(
        _ act: String, _ method: HTTPRequest.Method, _ path: [String], _ query: [String: String], _ body: Body,
        _ deadline: Duration, _ maximumBody: ByteCount
    ) async throws -> HTTPResponse {
        var url = "http://docker/" + path.map(Self.escaped).joined(separator: "/")
        if !query.isEmpty {
            url +=
                "?"
                + query.sorted { $0.key < $1.key }.map { "\($0.key)=\(Self.escaped($0.value))" }
                .joined(separator: "&")
        }
        var request = HTTPRequest(url: url)
        request.method = method
        let socket = try await socket()
        request.unixSocket = socket
        request.deadline = deadline
        request.maximumBody = maximumBody
        switch body {
        case .none: break
        case .json(let value):
            request.headers = [.init(name: "Content-Type", value: "application/json")]
            request.body = Array(try value.json().utf8)
        case .tar(let bytes):
            request.headers = [.init(name: "Content-Type", value: "application/x-tar")]
            request.body = bytes
        }
        let response: HTTPResponse
        do { response = try await http.send(request) } catch let error as HTTPError {
            throw Self.translated(error, act, socket)
        }
        guard response.status < 400 else { throw Self.refusal(response, act) }
        return response
    }

    private static func translated(_ error: HTTPError, _ act: String, _ socket: String) -> DockerError {
        let reason: DockerError.Reason =
            switch error.reason {
            case .unreachable: .unreachable
            case .late: .late
            case .untrusted, .tooLarge, .malformed, .invalidRequest: .malformed
            }
        return DockerError(reason, act, "\(error.cause) (socket \(socket))")
    }

    private static func refusal(_ response: HTTPResponse, _ act: String) -> DockerError {
        struct Refusal: Decodable { var message: String }
        // Without the engine's own words there is at least the status.
        let said = try? JSONDecoder().decode(Refusal.self, from: Data(response.body)).message
        let reason: DockerError.Reason =
            switch response.status {
            case 404: .missing
            case 409: .conflict
            default: .refused(status: response.status)
            }
        return DockerError(reason, act, said.map(printable) ?? "status \(response.status)")
    }

    /// One line of at most 400 characters, without control characters.
    static func printable(_ text: String) -> String {
        let scalars = text.unicodeScalars.prefix(400).map { scalar -> Unicode.Scalar in
            scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? " " : scalar
        }
        return String(String.UnicodeScalarView(scalars))
    }

    /// All but the unreserved characters of RFC 3986, 2.3, as %XX.
    static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: String(UnicodeScalar(byte))
            default: "%" + Hex.encode([byte]).uppercased()
            }
        }.joined()
    }
}
