import DRPKit
import Foundation
import Testing

@testable import Backup

/// The examples of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
@Suite("Signature of S3 requests")
struct SigV4Tests {
    private static let signer = SigV4(
        credentials: S3Credentials(
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

    @Test("dates of HTTP and of lists come back as they were written, and others are none")
    func dates() {
        let instant = Date(timeIntervalSince1970: 1_764_111_230)
        #expect(HTTPDate.parse("Tue, 25 Nov 2025 22:53:50 GMT") == instant)
        #expect(HTTPDate.iso("2025-11-25T22:53:50.000Z") == instant)
        #expect(HTTPDate.iso("2025-11-25T22:53:50Z") == instant)
        for text in ["", "yesterday", "Tue, 25 Nov 2025 22:53:50", "Tue, 99 Nov 2025 22:53:50 GMT"] {
            #expect(HTTPDate.parse(text) == nil)
        }
        #expect(SigV4.time(instant) == "20251125T225350Z")
    }

    @Test("what is no XML, or deep as a bomb, is nothing")
    func hostileXML() {
        #expect(XMLElement.parse(Array("<a><b>1</b><b>2</b></a>".utf8))?.all("b").map(\.text) == ["1", "2"])
        #expect(XMLElement.parse([]) == nil)
        #expect(XMLElement.parse(Array("<a><b></a>".utf8)) == nil)
        let deep = String(repeating: "<a>", count: 100) + String(repeating: "</a>", count: 100)
        #expect(XMLElement.parse(Array(deep.utf8)) == nil)
        let laughs = """
            <!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>
            <a>&d;</a>
            """
        #expect((XMLElement.parse(Array(laughs.utf8))?.text.utf8.count ?? 0) < 1000)
    }
}
