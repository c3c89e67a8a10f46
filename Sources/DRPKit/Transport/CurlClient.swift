internal import CCurl
internal import Foundation

/// HTTP through libcurl: one easy handle and one thread a request, so that nothing is shared between two.
/// No proxy, no redirect, no protocol but HTTP and HTTPS. Cancellation takes effect at the request's deadline
/// at the latest.
package struct CurlClient: HTTPClient {
    package init() {}

    package func get(_ request: HTTPRequest) async throws -> HTTPResponse {
        try Self.check(request)
        return try await OwnThread.run("http") { try Self.perform(request) }
    }

    /// libcurl wants this once, before any thread uses it.
    private static let isReady: Bool = drp_curl_global_init() == CURLE_OK

    /// What comes from outside must not smuggle a line into the request or a password into an error.
    private static func check(_ request: HTTPRequest) throws(HTTPError) {
        let texts = [request.url] + request.headers.flatMap { [$0.name, $0.value] }
        guard texts.allSatisfy({ $0.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } }) else {
            throw HTTPError(.invalidRequest, url: "URL or header", cause: "it holds a control character")
        }
        let authority = request.url.components(separatedBy: "://").last?.prefix { !"/?#".contains($0) } ?? ""
        guard request.url.hasPrefix("http://") || request.url.hasPrefix("https://"), !authority.contains("@") else {
            throw HTTPError(.invalidRequest, url: "URL", cause: "not http:// or https:// without user and password")
        }
    }

    private static func perform(_ request: HTTPRequest) throws(HTTPError) -> HTTPResponse {
        guard isReady, let handle = curl_easy_init() else {
            throw HTTPError(.invalidRequest, url: request.url, cause: "libcurl cannot be started")
        }
        defer { curl_easy_cleanup(handle) }
        let answer = CurlAnswer(limit: Int(clamping: request.maximumBody.bytes))
        let context = Unmanaged.passUnretained(answer).toOpaque()
        var lists: [UnsafeMutablePointer<curl_slist>?] = []
        defer { for list in lists { curl_slist_free_all(list) } }

        func set(_ code: CURLcode) throws(HTTPError) {
            guard code == CURLE_OK else {
                throw HTTPError(.invalidRequest, url: request.url, cause: String(cString: curl_easy_strerror(code)))
            }
        }
        func milliseconds(_ duration: Duration) -> Int { max(1, Int(duration / .milliseconds(1))) }
        try set(drp_curl_set_string(handle, CURLOPT_URL, request.url))
        try set(drp_curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https"))
        try set(drp_curl_set_string(handle, CURLOPT_PROXY, ""))
        try set(drp_curl_set_string(handle, CURLOPT_USERAGENT, "drp"))
        try set(drp_curl_set_long(handle, CURLOPT_NOSIGNAL, 1))
        try set(drp_curl_set_long(handle, CURLOPT_FOLLOWLOCATION, 0))
        try set(drp_curl_set_long(handle, CURLOPT_TIMEOUT_MS, milliseconds(request.deadline)))
        try set(drp_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(request.connectTimeout)))
        if let file = request.caFile { try set(drp_curl_set_string(handle, CURLOPT_CAINFO, file)) }
        if let route = request.route {
            let address = route.address.contains(":") ? "[\(route.address)]" : route.address
            let list = curl_slist_append(nil, "\(route.host):\(route.port):\(address):")
            lists.append(list)
            try set(drp_curl_set_list(handle, CURLOPT_CONNECT_TO, list))
        }
        if !request.headers.isEmpty {
            var list: UnsafeMutablePointer<curl_slist>?
            for header in request.headers { list = curl_slist_append(list, "\(header.name): \(header.value)") }
            lists.append(list)
            try set(drp_curl_set_list(handle, CURLOPT_HTTPHEADER, list))
        }
        try set(drp_curl_set_pointer(handle, CURLOPT_WRITEDATA, context))
        try set(
            drp_curl_set_receiver(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
                CurlAnswer.of(context).addBody(UnsafeRawBufferPointer(start: bytes, count: size * count))
            })
        try set(drp_curl_set_pointer(handle, CURLOPT_HEADERDATA, context))
        try set(
            drp_curl_set_receiver(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
                CurlAnswer.of(context).addHeader(UnsafeRawBufferPointer(start: bytes, count: size * count))
            })

        let result = withExtendedLifetime(answer) { curl_easy_perform(handle) }
        guard result == CURLE_OK else { throw error(result, request, answer) }
        var status = 0
        try set(drp_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status))
        return HTTPResponse(status: status, headers: answer.headers, body: answer.body)
    }

    /// libcurl's codes in our words; the one place that does this.
    private static func error(_ code: CURLcode, _ request: HTTPRequest, _ answer: CurlAnswer) -> HTTPError {
        let text = String(cString: curl_easy_strerror(code))
        if answer.isTooLarge {
            return HTTPError(.tooLarge, url: request.url, cause: "the answer is larger than \(request.maximumBody)")
        }
        let reason: HTTPError.Reason =
            switch code {
            case CURLE_OPERATION_TIMEDOUT: .late
            case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_GOT_NOTHING, CURLE_RECV_ERROR,
                CURLE_SEND_ERROR, CURLE_PARTIAL_FILE:
                .unreachable
            case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CACERT_BADFILE,
                CURLE_SSL_ISSUER_ERROR:
                .untrusted
            case CURLE_URL_MALFORMAT: .invalidRequest
            default: .malformed
            }
        return HTTPError(reason, url: request.url, cause: text)
    }
}

/// Gathers one answer on the thread of its request; never shared.
private final class CurlAnswer {
    private static let headerLimit = 64 << 10

    private let limit: Int
    private var headerBytes = 0
    private(set) var headers: [HTTPRequest.Header] = []
    private(set) var body: [UInt8] = []
    private(set) var isTooLarge = false

    init(limit: Int) { self.limit = limit }

    static func of(_ context: UnsafeMutableRawPointer?) -> CurlAnswer {
        guard let context else { preconditionFailure("libcurl lost the context of a request") }
        return Unmanaged<CurlAnswer>.fromOpaque(context).takeUnretainedValue()
    }

    /// - Returns: What libcurl wants: the count of bytes taken; anything else ends the request.
    func addBody(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count <= limit - body.count else { return refuse() }
        body.append(contentsOf: bytes)
        return bytes.count
    }

    func addHeader(_ bytes: UnsafeRawBufferPointer) -> Int {
        headerBytes += bytes.count
        guard headerBytes <= Self.headerLimit else { return refuse() }
        let line = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        // A new status line (after 100 Continue) begins a new set of headers.
        if line.hasPrefix("HTTP/") { headers = [] }
        guard let colon = line.firstIndex(of: ":"), !line.hasPrefix("HTTP/") else { return bytes.count }
        let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        headers.append(HTTPRequest.Header(name: String(line[..<colon]), value: value))
        return bytes.count
    }

    private func refuse() -> Int {
        isTooLarge = true
        return 0
    }
}
