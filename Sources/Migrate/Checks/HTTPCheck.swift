package import DRPKit
internal import Foundation

/// Asks a client's API at a given address, before or after DNS points there, and believes only an answer
/// that names the client.
package struct HTTPCheck: Sendable {
    /// The header by which an API says whose it is; a field `client` of a JSON body serves as well.
    package static let marker = "X-DRP-Client"

    package struct Outcome: Hashable, Sendable, Codable {
        package var url: String
        package var address: String
        package var status: Int
        /// At most 2,000 bytes of the body, for the record.
        package var body: String
    }

    /// How the API is asked.
    package enum Scheme: Hashable, Sendable {
        case http
        /// - Parameter caFile: PEM file of the authorities to trust instead of the system's.
        case https(caFile: String?)

        package var text: String { self == .http ? "http" : "https" }
    }

    private let http: any HTTPClient

    package init(_ http: any HTTPClient) { self.http = http }

    /// - Parameter socket: leads to the address where it is not reached as it is.
    /// - Throws: `HTTPError` without an answer; `HTTPCheckError` with a wrong one.
    package func run(
        _ scheme: Scheme = .http, domain: String, port: Int, address: String, socket: String? = nil, client: ClientID,
        deadline: Duration = .seconds(10)
    ) async throws -> Outcome {
        var request = HTTPRequest(url: "\(scheme.text)://\(domain):\(port)/")
        if case .https(let file) = scheme { request.caFile = file }
        request.unixSocket = socket
        if socket == nil { request.route = HTTPRequest.Route(host: domain, port: port, address: address) }
        request.deadline = deadline
        let response = try await http.send(request)
        let place = "\(request.url) at \(address)"
        guard response.status == 200 else { throw HTTPCheckError(place, .wrongStatus(response.status)) }
        guard let named = Self.client(in: response) else { throw HTTPCheckError(place, .noMarker) }
        guard named == client.text else { throw HTTPCheckError(place, .otherClient(found: named, expected: client)) }
        return Outcome(
            url: request.url, address: address, status: response.status,
            body: String(decoding: response.body.prefix(2_000), as: UTF8.self))
    }

    private static func client(in response: HTTPResponse) -> String? {
        struct Body: Decodable { var client: String }
        if let header = response.header(marker) { return header }
        // A body in another form names no client, which the caller reports.
        return (try? JSONDecoder().decode(Body.self, from: Data(response.body)))?.client
    }
}

/// An API answered, but not as the client's own.
package struct HTTPCheckError: DRPError {
    package enum Reason: Hashable, Sendable {
        case wrongStatus(Int)
        case noMarker
        case otherClient(found: String, expected: ClientID)
    }

    package var place: String
    package var reason: Reason

    package init(_ place: String, _ reason: Reason) {
        self.place = place
        self.reason = reason
    }

    package var code: ErrorCode { .targetDiffers }

    package var message: String {
        switch reason {
        case .wrongStatus(let status): "\(place): it answered \(status) instead of 200"
        case .noMarker: "\(place): the answer does not name its client (\(HTTPCheck.marker))"
        case .otherClient(let found, let expected):
            "\(place): it is the API of \(Self.printable(found)), not of \(expected)"
        }
    }

    package var advice: String { "Read the API's log at that address; do not switch traffic to it." }

    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(64).map { (0x20...0x7e).contains($0) ? $0 : 0x3f }, as: UTF8.self)
    }
}
