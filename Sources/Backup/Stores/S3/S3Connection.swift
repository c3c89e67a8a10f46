internal import Crypto
internal import DRPKit
internal import Foundation

/// Signed requests to one bucket, and what its answers mean.
final class S3Connection: Sendable {
    typealias Query = [(name: String, value: String)]

    let settings: StoreSettings.S3
    let transport: CloudTransport
    private let credentials: CloudCredentials<AWSCredentials>
    private let scheme: String
    private let host: String

    /// - Parameter fetch: the credentials, anew at each call.
    init(
        _ settings: StoreSettings.S3, transport: CloudTransport,
        credentials fetch: @escaping @Sendable () async throws -> AWSCredentials
    ) {
        self.settings = settings
        self.transport = transport
        credentials = CloudCredentials(fetch)
        scheme = settings.endpoint.components(separatedBy: "://")[0]
        let authority = SigV4.host(of: settings.endpoint)
        host = settings.addressing == .path ? authority : "\(settings.bucket).\(authority)"
    }

    /// - Parameters:
    ///   - key: nil for the bucket itself.
    ///   - payload: SHA-256 of `body`, where it is known.
    ///   - date: when the request counts as made; the servers refuse it a quarter of an hour later.
    func send(
        _ method: HTTPRequest.Method, _ key: ObjectKey?, _ query: Query = [], headers: [HTTPRequest.Header] = [],
        body: [UInt8] = [], payload: ContentHash? = nil, limit: Int = 8 << 20, date: Date? = nil,
        isUnsure: () -> Void = {}
    ) async throws(StoreError) -> HTTPResponse {
        let path = (settings.addressing == .path ? "/\(settings.bucket)" : "") + "/" + (key?.text ?? "")
        let payload = payload ?? ContentHash(hashing: body)
        let rule = transport.rule
        return try await transport.send(
            key,
            make: { () async throws(StoreError) in
                let canonical = SigV4.canonical(query)
                var request = HTTPRequest(
                    url: "\(scheme)://\(host)\(path)" + (canonical.isEmpty ? "" : "?\(canonical)"))
                request.method = method
                request.headers = headers
                request.body = body
                request.deadline = rule.deadline(bytes: max(body.count, method == .get ? limit : 0))
                request.leastSpeed = rule.leastSpeed
                request.slowFor = rule.slowFor
                request.caFile = settings.ca
                request.maximumBody = ByteCount(Int64(limit))
                SigV4(credentials: try await credentials.current(), region: settings.region).sign(
                    &request, host: host, path: path, query: query, payload: payload, at: date ?? transport.clock.now)
                return request
            },
            judge: { judge($0, method, key) },
            renew: { () async throws(StoreError) in try await credentials.renew() }, isUnsure: isUnsure)
    }

    // MARK: - Answers

    private func judge(_ response: HTTPResponse, _ method: HTTPRequest.Method, _ key: ObjectKey?) -> Verdict {
        // An error may hide behind a 200. No object of ours begins as XML does.
        let isData = method == .get && key != nil && response.status < 300 && response.body.first != UInt8(ascii: "<")
        let error = isData ? nil : S3Fault(response.body)
        if (200..<300).contains(response.status) && error == nil { return .done(response) }
        let code = error?.code ?? ""
        let text = code.isEmpty ? "status \(response.status)" : "\(code), status \(response.status)"
        func failure(_ reason: StoreError.Reason, _ cause: String? = nil) -> StoreError {
            StoreError(reason, key, cause: "\(host): \(cause ?? text)")
        }
        switch code {
        case "NoSuchKey", "NoSuchVersion": return .failed(StoreError(.missing, key))
        case "NoSuchBucket": return .failed(failure(.unreachable, "there is no bucket \(settings.bucket)"))
        case "RequestTimeTooSkewed":
            return .failed(failure(.skewed, response.skew(from: transport.clock.now)))
        case "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch",
            "RequestExpired":
            return .renew(failure(.denied))
        case "QuotaExceeded", "InsufficientStorage", "InsufficientStorageCapacity": return .failed(failure(.full))
        case "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted",
            "ConditionalRequestConflict", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody":
            return .again(failure(.unreachable), after: response.retryAfter)
        case "NotImplemented", "MethodNotAllowed", "InvalidBucketState", "ObjectLockConfigurationNotFoundError":
            return .failed(failure(.unsupported))
        default: break
        }
        switch response.status {
        // Without its XML it may be a proxy's; only HEAD has none.
        case 404 where method == .head: return .failed(StoreError(.missing, key))
        case 412: return .failed(StoreError(.alreadyThere, key))
        case 416: return .failed(StoreError(.damaged, key, cause: "it is shorter than what was asked for"))
        case 301...399:
            let region = response.header("x-amz-bucket-region").map { AnswerText.plain($0) }
            return .failed(
                failure(
                    .denied,
                    "it sends us to another address, where nothing goes with our signature: check endpoint and region"
                        + (region.map { "; the bucket is in \($0)" } ?? "")))
        case 401, 403: return .failed(failure(.denied))
        case 404: return .failed(failure(.unreachable, code.isEmpty ? "a 404 that no S3 server sends" : nil))
        case 408, 409, 429, 500...599: return .again(failure(.unreachable), after: response.retryAfter)
        // A 200 with an error inside, of a code that nobody knows.
        case 200..<300: return .again(failure(.unreachable), after: nil)
        default: return .failed(failure(.unreachable))
        }
    }
}

/// The `<Error>` of an answer.
struct S3Fault {
    var code: String

    init?(_ body: [UInt8]) {
        guard !body.isEmpty, let root = XMLElement.parse(body), root.name == "Error" else { return nil }
        code = AnswerText.plain(root.text("Code") ?? "Unknown")
    }
}
