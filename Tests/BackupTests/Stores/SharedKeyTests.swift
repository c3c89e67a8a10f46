import DRPKit
import Foundation
import Testing

@testable import Backup

/// Signatures that the Azure SDK made of the same requests: `script/services/azure_blob.py sign`, azure-storage-blob 12.31.1.
@Suite("Signature of Azure requests")
struct SharedKeyTests {
    struct Example: Sendable, CustomTestStringConvertible {
        var method: HTTPRequest.Method
        var path: String
        var query: [(name: String, value: String)] = []
        var headers: [HTTPRequest.Header] = []
        var body: [UInt8] = []
        var signature: String
        var testDescription: String { "\(method.rawValue) \(path) \(query.map(\.name))" }
    }

    private static let key = Secret("ZHJ0ZXN0LWtleS1kcnRlc3Qta2V5LWRydGVzdC1rZXktZHJ0ZXN0LWtleQ==")

    @Test(
        "it is the one that the Azure SDK makes",
        arguments: [
            Example(
                method: .get, path: "/backups",
                query: [
                    ("restype", "container"), ("comp", "list"), ("maxresults", "2000"), ("prefix", "acme/"),
                    ("delimiter", "/"),
                ], signature: "fmYJvTRcY2IFeICWZqXbxdjFY5KlkzIQ9I3E1etyWIY="),
            Example(
                method: .get, path: "/backups/acme/packs/ab/cd",
                headers: [.init(name: "x-ms-range", value: "bytes=5-9")],
                signature: "Fvz6dMbwusbzTWABHSwpHwPTgZfDtscpK1F6nvnUl2M="),
            // The account stands twice where it is in the path.
            Example(
                method: .head, path: "/drtestaccount/backups/acme/packs/ab/cd",
                query: [("versionid", "2026-11-25T22:53:50.1234567Z")],
                signature: "TDDCNuXM4DbEEX4fNau0K1bOWVhT/5nGFb9dx5QyHYs="),
            Example(
                method: .put, path: "/backups/acme/packs/ab/cd",
                headers: [
                    .init(name: "content-md5", value: "XUFAKrxLKna5cZ2REBfFkg=="),
                    .init(name: "content-type", value: "application/octet-stream"),
                    .init(name: "x-ms-immutability-policy-until-date", value: "Thu, 26 Nov 2026 22:53:50 GMT"),
                    .init(name: "x-ms-immutability-policy-mode", value: "locked"),
                    .init(name: "if-none-match", value: "*"), .init(name: "x-ms-blob-type", value: "BlockBlob"),
                ], body: [1, 2, 3, 4, 5], signature: "uQcXOWyMQ1uWMPdWdz26dmFFAKPMZgA46PTmpU79ovk="),
            Example(
                method: .put, path: "/backups/empty", headers: [.init(name: "x-ms-blob-type", value: "BlockBlob")],
                signature: "6ppC0tTz8Znw51sI3tPuU/5QHjwFmseCpBo3ymHQzZw="),
            Example(
                method: .delete, path: "/backups/acme/packs/ab/cd",
                headers: [
                    .init(name: "x-ms-delete-snapshots", value: "include"), .init(name: "if-match", value: "\"0x8D\""),
                ], signature: "2SVAjYtR7sqx9/m++erXaTOBjVexEoRKBIMATuepeng="),
        ])
    func examples(_ example: Example) throws {
        let key = try #require(SharedKey(account: "drtestaccount", key: Self.key))
        var request = HTTPRequest(url: "https://drtestaccount.blob.core.windows.net\(example.path)")
        request.method = example.method
        request.headers = example.headers + [.init(name: "x-ms-version", value: "2021-12-02")]
        request.body = example.body
        // Wed, 25 Nov 2026 22:53:50 GMT
        key.sign(&request, path: example.path, query: example.query, at: Date(timeIntervalSince1970: 1_795_647_230))
        let header = request.headers.first { $0.name == "Authorization" }?.value
        #expect(header == "SharedKey drtestaccount:\(example.signature)")
    }

    @Test("what is no Base64 is no key", arguments: ["", "not base64!", "abc"])
    func wrongKey(text: String) { #expect(SharedKey(account: "drtestaccount", key: Secret(text)) == nil) }

    @Test("dates of HTTP are written as they are read, over leap years and turns of years")
    func dates() {
        for text in [
            "Wed, 25 Nov 2026 22:53:50 GMT", "Thu, 29 Feb 2024 00:00:00 GMT", "Fri, 01 Jan 2027 23:59:59 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            #expect(HTTPDate.parse(text).map { HTTPDate.text($0) } == text)
        }
    }

    @Test("a SAS is taken with its question mark and without, and when it ends is known")
    func signatures() throws {
        let text = "se=2026-11-26T04%3A52%3A38Z&sp=rwdl&sv=2026-10-06&sr=c&sig=n5RX%2BF/H%3D"
        for given in [text, "?" + text] {
            let sas = try #require(SharedAccessSignature(Secret(given)))
            #expect(sas.query == Secret(text))
            #expect(sas.ends == HTTPDate.parse("Thu, 26 Nov 2026 04:52:38 GMT"))
        }
        for wrong in ["", "sp=r&sv=1", "https://host/c?sig=a", "sig=a b", "sig=a#b", "sig=a\r\nX: y"] {
            #expect(SharedAccessSignature(Secret(wrong)) == nil, "\(wrong)")
        }
    }

    @Test("the time of a version is read to its last digit")
    func versions() throws {
        let seconds = try #require(HTTPDate.iso("2026-11-25T22:53:50Z"))
        let time = try #require(AzureConnection.instant("2026-11-25T22:53:50.1234567Z"))
        #expect(abs(time.timeIntervalSince(seconds) - 0.1234567) < 0.000_000_5)
        #expect(AzureConnection.instant("2026-11-25T22:53:50Z") == seconds)
        for text in ["", "Z", "yesterday", "2026-11-25T22:53:50.12x4Z"] {
            #expect(AzureConnection.instant(text) == nil)
        }
    }
}
