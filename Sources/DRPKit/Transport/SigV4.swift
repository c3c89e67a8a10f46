internal import Crypto
package import Foundation

/// What proves who asks a service of AWS, or one that speaks like it.
package struct AWSCredentials: Sendable, Hashable {
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
package struct SigV4: Sendable {
    private let credentials: AWSCredentials
    private let region: String
    private let service: String

    /// - Parameter service: As AWS writes it in the scope: `s3`, `route53`.
    package init(credentials: AWSCredentials, region: String, service: String = "s3") {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// What libcurl sends as `Host`, which is signed: it leaves the scheme's own port out.
    /// - Parameter origin: `https://host:port`.
    package static func host(of origin: String) -> String {
        let parts = origin.components(separatedBy: "://")
        var authority = parts.count > 1 ? String(parts[1].prefix { $0 != "/" }).lowercased() : ""
        let standard = parts[0] == "https" ? ":443" : ":80"
        if authority.hasSuffix(standard) { authority.removeLast(standard.count) }
        return authority
    }

    /// Adds the signature and what it needs to a request; all headers that it has are signed.
    /// - Parameters:
    ///   - host: as libcurl will send it.
    ///   - path: percent-encoded already.
    package func sign(
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
    package static func time(_ instant: Date) -> String {
        instant.formatted(.iso8601).replacing("-", with: "").replacing(":", with: "")
    }

    package static func canonical(_ query: [(name: String, value: String)]) -> String {
        query.map { (encoded($0.name), encoded($0.value)) }.sorted { $0 < $1 }.map { "\($0.0)=\($0.1)" }
            .joined(separator: "&")
    }

    /// Percent-encodes all but unreserved characters (RFC 3986, 2.3).
    package static func encoded(_ text: String) -> String {
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
