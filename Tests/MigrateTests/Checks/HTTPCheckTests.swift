import DRPKit
import Testing

@testable import Migrate

@Suite("HTTP check")
struct HTTPCheckTests {
    /// Answers without a network, and keeps what it was asked.
    private struct FixedHTTP: HTTPClient {
        var response: HTTPResponse
        func send(_ request: HTTPRequest) async throws -> HTTPResponse {
            #expect(request.url == "http://acme.clients.test:8081/")
            #expect(request.route == .init(host: "acme.clients.test", port: 8081, address: "127.0.0.12"))
            return response
        }
    }

    private func check(_ status: Int, marker: String? = nil, body: String = "") async throws -> HTTPCheck.Outcome {
        let headers = marker.map { [HTTPRequest.Header(name: "x-drp-client", value: $0)] } ?? []
        let http = FixedHTTP(response: HTTPResponse(status: status, headers: headers, body: Array(body.utf8)))
        return try await HTTPCheck(http).run(
            domain: "acme.clients.test", port: 8081, address: "127.0.0.12", client: ClientID("acme")!)
    }

    @Test("an API that names its client by header or by field passes")
    func passes() async throws {
        #expect(try await check(200, marker: "acme").status == 200)
        #expect(try await check(200, body: #"{"client": "acme", "orders": 3}"#).body.contains("orders"))
    }

    @Test("another client's API, one without a name, and another status fail by name")
    func fails() async {
        for (status, marker, body, reason) in [
            (200, "birch", "", HTTPCheckError.Reason.otherClient(found: "birch", expected: ClientID("acme")!)),
            (200, nil, #"{"client": "birch"}"#, .otherClient(found: "birch", expected: ClientID("acme")!)),
            (200, nil, "hello", .noMarker), (503, "acme", "", .wrongStatus(503)), (302, "acme", "", .wrongStatus(302)),
        ] {
            let error = await #expect(throws: HTTPCheckError.self) {
                try await check(status, marker: marker, body: body)
            }
            #expect(error?.reason == reason && error?.code == .targetDiffers)
        }
    }
}
