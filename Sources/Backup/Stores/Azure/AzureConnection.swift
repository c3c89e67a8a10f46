internal import DRPKit
internal import Foundation

/// Requests to one container, with the right to them, and what its answers mean.
final class AzureConnection: Sendable {
    typealias Query = [(name: String, value: String)]

    /// Of the Blob service: the first with all that is asked for here is of October 2020.
    static let version = "2021-12-02"
    /// Of a list: what comes in one answer must stay below its limit.
    private static let page = "2000"

    let settings: StoreSettings.Azure
    let transport: CloudTransport
    private let credentials: CloudCredentials<AzureCredentials>
    private let origin: String
    /// The path of the container.
    private let root: String

    /// - Parameter fetch: the credentials, anew at each call.
    init(
        _ settings: StoreSettings.Azure, transport: CloudTransport,
        credentials fetch: @escaping @Sendable () async throws -> AzureCredentials
    ) {
        self.settings = settings
        self.transport = transport
        credentials = CloudCredentials(fetch)
        let parts = settings.endpoint.components(separatedBy: "://")
        let address = parts.count > 1 ? parts[1].split(separator: "/", maxSplits: 1).map(String.init) : []
        origin = "\(parts[0])://\((address.first ?? "").lowercased())"
        root = (address.count > 1 ? "/" + address[1] : "") + "/" + settings.container
    }

    /// - Parameters:
    ///   - key: nil for the container itself.
    ///   - isUnsure: told when a try may have taken effect although its answer was lost.
    func send(
        _ method: HTTPRequest.Method, _ key: ObjectKey?, _ query: Query = [], headers: [HTTPRequest.Header] = [],
        body: [UInt8] = [], limit: Int = 8 << 20, isUnsure: () -> Void = {}
    ) async throws(StoreError) -> HTTPResponse {
        let path = root + (key.map { "/\($0.text)" } ?? "")
        let container: Query = key == nil ? [("restype", "container")] : []
        let query = container + query
        let rule = transport.rule
        var sent: Access?
        return try await transport.send(
            key,
            make: { () async throws(StoreError) in
                let access = try await access()
                sent = access
                var text = SigV4.canonical(query)
                if case .sas(let sas) = access { text += (text.isEmpty ? "" : "&") + sas.query.withText { $0 } }
                var request = HTTPRequest(url: origin + path + (text.isEmpty ? "" : "?\(text)"))
                request.method = method
                request.headers = headers + [.init(name: "x-ms-version", value: Self.version)]
                request.body = body
                request.deadline = rule.deadline(bytes: max(body.count, method == .get ? limit : 0))
                request.leastSpeed = rule.leastSpeed
                request.slowFor = rule.slowFor
                request.caFile = settings.ca
                request.maximumBody = ByteCount(Int64(limit))
                if case .key(let key) = access { key.sign(&request, path: path, query: query, at: transport.clock.now) }
                return request
            },
            judge: { judge($0, key, sent) }, renew: { () async throws(StoreError) in try await credentials.renew() },
            isUnsure: isUnsure)
    }

    /// Pages of a list.
    /// - Parameter take: false to end before the last one.
    func pages(_ query: Query, _ take: (XMLElement) -> Bool) async throws(StoreError) {
        var marker = ""
        while true {
            var query = query + [("comp", "list"), ("maxresults", Self.page)]
            if !marker.isEmpty { query.append(("marker", marker)) }
            let response = try await send(.get, nil, query)
            guard let page = XMLElement.parse(response.body), page.name == "EnumerationResults" else {
                throw StoreError(.unreachable, nil, cause: "its list is no list")
            }
            let next = page.text("NextMarker") ?? ""
            guard take(page), !next.isEmpty else { return }
            guard next != marker else { throw StoreError(.unreachable, nil, cause: "its list breaks off") }
            marker = next
        }
    }

    // MARK: - Access

    private enum Access {
        case key(SharedKey)
        case sas(SharedAccessSignature)
    }

    /// When the right to all of this ends by itself; nil if it does not, or nobody knows.
    func accessEnds() async throws(StoreError) -> Date? {
        guard case .sas(let sas) = try await access() else { return nil }
        return sas.ends
    }

    private func access() async throws(StoreError) -> Access {
        switch try await credentials.current() {
        case .key(let secret):
            if let key = SharedKey(account: settings.account, key: secret) { return .key(key) }
            throw StoreError(.denied, nil, cause: "the key of account \(settings.account) is no Base64")
        case .sas(let secret):
            if let sas = SharedAccessSignature(secret) { return .sas(sas) }
            throw StoreError(.denied, nil, cause: "the SAS of account \(settings.account) is no query with a signature")
        }
    }

    // MARK: - Answers

    private func judge(_ response: HTTPResponse, _ key: ObjectKey?, _ access: Access?) -> Verdict {
        // The service numbers its answers: what has no number is a proxy's.
        let isService = response.header("x-ms-request-id") != nil
        let code = isService ? Self.code(response) : ""
        if (200..<300).contains(response.status) && code.isEmpty && isService { return .done(response) }
        let text = code.isEmpty ? "status \(response.status)" : "\(code), status \(response.status)"
        func failure(_ reason: StoreError.Reason, _ cause: String? = nil) -> StoreError {
            StoreError(reason, key, cause: "\(settings.account)/\(settings.container): \(cause ?? text)")
        }
        switch code {
        case "BlobNotFound": return .failed(StoreError(.missing, key))
        case "ContainerNotFound", "ContainerDisabled", "ContainerBeingDeleted":
            return .failed(failure(.unreachable, "there is no container \(settings.container) (\(code))"))
        case "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation":
            return unauthenticated(response, access, failure)
        case "BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet":
            return .failed(StoreError(.alreadyThere, key))
        case "InvalidRange": return .failed(StoreError(.damaged, key, cause: "it is shorter than what was asked for"))
        case Self.immutable, "BlobImmutableDueToLegalHold": return .failed(failure(.denied))
        case "NotImplemented": return .failed(failure(.unsupported))
        // A body that changed on its way.
        case "Md5Mismatch": return .again(failure(.unreachable), after: nil)
        default: break
        }
        switch response.status {
        case 301...399:
            return .failed(
                failure(
                    .denied, "it sends us to another address, where nothing goes with our signature: check the endpoint"
                ))
        case 401, 403: return .failed(failure(.denied))
        case 408, 429, 500...599: return .again(failure(.unreachable), after: response.retryAfter)
        case 400..<500 where !code.isEmpty: return .failed(failure(.unsupported))
        case 404: return .failed(failure(.unreachable, "a 404 that no Blob service sends"))
        // A success that is none.
        case 200..<300: return .again(failure(.unreachable, "an answer that no Blob service sends"), after: nil)
        default: return .failed(failure(.unreachable))
        }
    }

    static let immutable = "BlobImmutableDueToPolicy"

    private func unauthenticated(
        _ response: HTTPResponse, _ access: Access?, _ failure: (StoreError.Reason, String?) -> StoreError
    ) -> Verdict {
        let now = transport.clock.now
        if case .sas(let sas) = access {
            let hasEnded = sas.ends.map { $0 < response.date ?? now } ?? false
            return .renew(
                failure(.denied, hasEnded ? sas.ends.map { "its SAS ended at \($0.formatted(.iso8601))" } : nil))
        }
        // The service takes a request that is 15 minutes old at most; it has one code for that and for a wrong key.
        if let date = response.date, abs(date.timeIntervalSince(now)) > 15 * 60 {
            return .failed(failure(.skewed, response.skew(from: now)))
        }
        return .renew(failure(.denied, nil))
    }

    /// Of an error; empty in an answer that is none. HEAD has no body.
    private static func code(_ response: HTTPResponse) -> String {
        if let header = response.header("x-ms-error-code") { return AnswerText.plain(header) }
        guard response.status >= 300, let root = XMLElement.parse(response.body), root.name == "Error" else {
            return ""
        }
        return AnswerText.plain(root.text("Code") ?? "Unknown")
    }
}
