import Foundation
import Testing

@testable import DRPKit

/// The examples of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
@Suite("Signature of requests to AWS")
struct SigV4Tests {
    private static let signer = SigV4(
        credentials: AWSCredentials(
            access: "AKIAIOSFODNN7EXAMPLE", secret: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
        region: "us-east-1")

    struct Example: Sendable, CustomTestStringConvertible {
        var path: String
        var query: [(name: String, value: String)] = []
        var range: String?
        var signature: String
        var testDescription: String { path + SigV4.canonical(query) }
    }

    @Test(
        "AWS's own examples",
        arguments: [
            Example(
                path: "/test.txt", range: "bytes=0-9",
                signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            Example(
                path: "/", query: [("lifecycle", "")],
                signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            Example(
                path: "/", query: [("prefix", "J"), ("max-keys", "2")],
                signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ])
    func examples(_ example: Example) {
        var request = HTTPRequest(url: "https://examplebucket.s3.amazonaws.com/")
        if let range = example.range { request.headers = [.init(name: "Range", value: range)] }
        Self.signer.sign(
            &request, host: "examplebucket.s3.amazonaws.com", path: example.path, query: example.query,
            payload: ContentHash(hashing: []), at: Date(timeIntervalSince1970: 1_369_353_600))
        let header = request.headers.first { $0.name == "Authorization" }?.value
        #expect(header?.hasSuffix("Signature=\(example.signature)") == true, "\(header ?? "none")")
    }

    @Test("names are encoded as RFC 3986 wants, by bytes of UTF-8")
    func encoding() {
        #expect(SigV4.encoded("a-Z_0.9~") == "a-Z_0.9~")
        #expect(SigV4.encoded("a b/é+") == "a%20b%2F%C3%A9%2B")
    }

    @Test("requests to Route 53 are signed as botocore signs them, with a token")
    func route53() {
        let signer = SigV4(
            credentials: AWSCredentials(
                access: "AKIAIOSFODNN7EXAMPLE", secret: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                token: Secret("a-token")), region: "us-east-1", service: "route53")
        func signature(
            _ method: HTTPRequest.Method, _ path: String, _ query: [(name: String, value: String)], _ body: String
        )
            -> String
        {
            var request = HTTPRequest(url: "https://route53.amazonaws.com\(path)")
            request.method = method
            if !body.isEmpty { request.headers = [.init(name: "Content-Type", value: "text/xml")] }
            signer.sign(
                &request, host: SigV4.host(of: "https://Route53.amazonaws.com:443"), path: path, query: query,
                payload: ContentHash(hashing: Array(body.utf8)), at: Date(timeIntervalSince1970: 1_369_353_600))
            return String(request.headers.last?.value.suffix(64) ?? "")
        }
        let zone = "/2013-04-01/hostedzone/Z1D633PJN98FT9/rrset"
        #expect(
            signature(.post, zone + "/", [], "<a/>")
                == "6a41c853457eac0c82b22a6e859766f961576bf771f1ff20a7725f4afa3c17dd")
        #expect(
            signature(.get, zone, [("maxitems", "100"), ("name", "_drp.acme.example.com.")], "")
                == "50f6dd9381fe22f5c742241e1d3107aa6c7262d81d0aa7505a2e9e3a833c5fee")
    }

    @Test("the time of a signature has no punctuation")
    func time() { #expect(SigV4.time(Date(timeIntervalSince1970: 1_764_111_230)) == "20251125T225350Z") }
}
