internal import Crypto
package import DRPKit
internal import Foundation

/// What proves who asks an S3 store.
package struct S3Credentials: Sendable, Hashable {
    package var access: String
    package var secret: Secret
    /// Of temporary credentials.
    package var token: Secret?

    package init(access: String, secret: Secret, token: Secret? = nil) {
        self.access = access
        self.secret = secret
        self.token = token
    }
}

/// AWS Signature Version 4 in the header `Authorization`, with the payload's hash signed.
/// docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
struct SigV4: Sendable {
    var credentials: S3Credentials
    var region: String
    var service = "s3"

    /// Adds the signature and what it needs to a request; all headers that it has are signed.
    /// - Parameters:
    ///   - host: as libcurl will send it.
    ///   - path: percent-encoded already.
    func sign(
        _ request: inout HTTPRequest, host: String, path: String, query: [(name: String, value: String)],
        payload: ContentHash, at instant: Date
    ) {
        let time = Self.time(instant)
        let day = time.prefix(8)
        request.headers.append(.init(name: "x-amz-date", value: time))
        request.headers.append(.init(name: "x-amz-content-sha256", value: "\(payload)"))
        if let token = credentials.token {
            request.headers.append(.init(name: "x-amz-security-token", value: token.withText { $0 }))
        }
        let headers = (request.headers + [.init(name: "host", value: host)])
            .map { (name: $0.name.lowercased(), value: $0.value) }.sorted { $0.name < $1.name }
        let names = headers.map(\.name).joined(separator: ";")
        let canonical = [
            request.method.rawValue, path, Self.canonical(query),
            headers.map { "\($0.name):\($0.value)\n" }.joined(), names, "\(payload)",
        ].joined(separator: "\n")
        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let text = "AWS4-HMAC-SHA256\n\(time)\n\(scope)\n\(ContentHash(hashing: Array(canonical.utf8)))"
        let signature = Hex.encode(Self.hmac(key(day: String(day)), text))
        request.headers.append(
            .init(
                name: "Authorization",
                value:
                    "AWS4-HMAC-SHA256 Credential=\(credentials.access)/\(scope),SignedHeaders=\(names),Signature=\(signature)"
            ))
    }

    /// `20261125T225350Z`.
    static func time(_ instant: Date) -> String {
        instant.formatted(.iso8601).replacing("-", with: "").replacing(":", with: "")
    }

    static func canonical(_ query: [(name: String, value: String)]) -> String {
        query.map { (encoded($0.name), encoded($0.value)) }.sorted { $0 < $1 }.map { "\($0.0)=\($0.1)" }
            .joined(separator: "&")
    }

    /// Percent-encodes all but unreserved characters (RFC 3986, 2.3).
    static func encoded(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default: encoded += "%" + Hex.encode([byte]).uppercased()
            }
        }
        return encoded
    }

    private func key(day: String) -> [UInt8] {
        let first = credentials.secret.withBytes { Self.hmac(Array("AWS4".utf8) + $0, day) }
        return Self.hmac(Self.hmac(Self.hmac(first, region), service), "aws4_request")
    }

    private static func hmac(_ key: [UInt8], _ text: String) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
    }
}
