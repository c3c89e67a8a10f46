internal import Crypto
package import DRPKit
internal import Foundation

/// What proves who asks an Azure store.
package enum AzureCredentials: Sendable, Hashable {
    /// One of the two keys of the account, in Base64.
    case key(Secret)
    /// A shared access signature: the query of a URL, with or without its question mark.
    case sas(Secret)
}

/// Shared Key authorization of the Blob service, in the header `Authorization`.
/// learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
struct SharedKey: Sendable {
    private let account: String
    private let key: SymmetricKey

    /// - Returns: nil if the key is no Base64.
    init?(account: String, key: Secret) {
        guard let bytes = key.withBytes({ Data(base64Encoded: Data($0)) }), !bytes.isEmpty else { return nil }
        self.account = account
        self.key = SymmetricKey(data: bytes)
    }

    /// Adds the time and the signature to a request; what it has by now is signed.
    /// - Parameters:
    ///   - path: of the URL, percent-encoded already.
    ///   - query: not encoded.
    func sign(_ request: inout HTTPRequest, path: String, query: [(name: String, value: String)], at instant: Date) {
        request.headers.append(.init(name: "x-ms-date", value: HTTPDate.text(instant)))
        let text = text(of: request, path: path, query: query)
        let signature = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
        request.headers.append(
            .init(name: "Authorization", value: "SharedKey \(account):\(Data(signature).base64EncodedString())"))
    }

    private func text(of request: HTTPRequest, path: String, query: [(name: String, value: String)]) -> String {
        let headers = request.headers.map { (name: $0.name.lowercased(), value: $0.value) }
        func value(_ name: String) -> String { headers.first { $0.name == name }?.value ?? "" }
        let lines = [
            request.method.rawValue, value("content-encoding"), value("content-language"),
            request.body.isEmpty ? "" : "\(request.body.count)", value("content-md5"), value("content-type"),
            // The date is that of x-ms-date.
            "", value("if-modified-since"), value("if-match"), value("if-none-match"), value("if-unmodified-since"),
            value("range"),
        ]
        let own = headers.filter { $0.name.hasPrefix("x-ms-") }.sorted { $0.name < $1.name }
        let parameters = query.map { ($0.name.lowercased(), $0.value) }.sorted { $0.0 < $1.0 }
        return lines.joined(separator: "\n") + "\n" + own.map { "\($0.name):\($0.value)\n" }.joined()
            + "/\(account)\(path)" + parameters.map { "\n\($0.0):\($0.1)" }.joined()
    }
}
