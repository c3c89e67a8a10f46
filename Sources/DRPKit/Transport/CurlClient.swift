internal import CCurl
internal import Foundation
internal import Synchronization

/// HTTP through libcurl's multi interface: one thread carries all transfers of a client, over connections that are kept
/// alive. No proxy, no redirect, no protocol but HTTP and HTTPS.
package final class CurlClient: HTTPClient {
    private let inbox: CurlInbox

    /// - Parameter connections: to one host at most; further requests wait for one of them.
    package init(connections: Int = 16) {
        // The thread holds the inbox, not the client, so that an abandoned client ends it.
        inbox = CurlInbox()
        guard let multi = CurlInbox.isReady ? curl_multi_init() : nil else {
            inbox.close()
            return
        }
        let shared = CurlMulti(multi)
        inbox.multi.withLock { $0 = shared }
        let thread = Thread { [inbox] in CurlLoop(shared.handle, inbox, connections: connections).run() }
        thread.name = "http"
        thread.stackSize = 1 << 20
        thread.start()
    }

    deinit { inbox.close() }

    package func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        try request.check()
        let transfer = CurlTransfer(request)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                transfer.start(continuation)
                if !inbox.add(transfer) {
                    transfer.end(.failure(HTTPError(.invalidRequest, url: request.url, cause: "libcurl has ended")))
                }
            }
        } onCancel: {
            inbox.cancel(transfer)
        }
    }
}

extension HTTPRequest {
    /// What comes from outside must not smuggle a line into the request or a password into an error.
    fileprivate func check() throws(HTTPError) {
        let texts = [url] + headers.flatMap { [$0.name, $0.value] }
        guard texts.allSatisfy({ $0.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } }) else {
            throw HTTPError(.invalidRequest, url: "URL or header", cause: "it holds a control character")
        }
        let authority = url.components(separatedBy: "://").last?.prefix { !"/?#".contains($0) } ?? ""
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !authority.contains("@") else {
            throw HTTPError(.invalidRequest, url: "URL", cause: "not http:// or https:// without user and password")
        }
    }
}

/// The multi handle, for the loop's thread and for the one call that others may make (curl_multi_wakeup(3)).
/// `@unchecked`: others use it under the inbox's lock, which the loop takes before the handle goes.
private struct CurlMulti: @unchecked Sendable {
    let handle: UnsafeMutableRawPointer
    init(_ handle: UnsafeMutableRawPointer) { self.handle = handle }
}

/// What other threads want from the loop.
private final class CurlInbox: Sendable {
    private struct State {
        var added: [CurlTransfer] = []
        var cancelled: [CurlTransfer] = []
        var isClosed = false
    }

    /// libcurl wants this once, before any thread uses it.
    static let isReady = drp_curl_global_init() == CURLE_OK

    private let state = Mutex(State())
    /// nil before the loop begins and after it has ended.
    let multi = Mutex<CurlMulti?>(nil)

    /// - Returns: false if the loop takes nothing any more.
    func add(_ transfer: CurlTransfer) -> Bool {
        let isTaken = state.withLock { state in
            if !state.isClosed { state.added.append(transfer) }
            return !state.isClosed
        }
        wake()
        return isTaken
    }

    func cancel(_ transfer: CurlTransfer) {
        state.withLock { $0.cancelled.append(transfer) }
        wake()
    }

    func close() {
        state.withLock { $0.isClosed = true }
        wake()
    }

    func take() -> (added: [CurlTransfer], cancelled: [CurlTransfer], isClosed: Bool) {
        state.withLock { state in
            defer { (state.added, state.cancelled) = ([], []) }
            return (state.added, state.cancelled, state.isClosed)
        }
    }

    private func wake() { multi.withLock { if let multi = $0 { curl_multi_wakeup(multi.handle) } } }
}

/// Carries transfers on one thread until its inbox is closed.
private final class CurlLoop {
    private let multi: UnsafeMutableRawPointer
    private let inbox: CurlInbox
    private var transfers: [UnsafeMutableRawPointer: CurlTransfer] = [:]

    init(_ multi: UnsafeMutableRawPointer, _ inbox: CurlInbox, connections: Int) {
        self.multi = multi
        self.inbox = inbox
        drp_curl_multi_set_long(multi, CURLMOPT_MAX_HOST_CONNECTIONS, connections)
        drp_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, connections)
    }

    func run() {
        while true {
            let (added, cancelled, isClosed) = inbox.take()
            if isClosed { break }
            for transfer in added { add(transfer) }
            for transfer in cancelled { end(transfer, .failure(CancellationError())) }
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            harvest()
            // A wake-up between `take` and here is not lost: libcurl remembers it.
            curl_multi_poll(multi, nil, 0, 60_000, nil)
        }
        let (added, _, _) = inbox.take()
        for transfer in added + Array(transfers.values) {
            end(transfer, .failure(HTTPError(.unreachable, url: transfer.request.url, cause: "the client has ended")))
        }
        inbox.multi.withLock { $0 = nil }
        curl_multi_cleanup(multi)
    }

    private func add(_ transfer: CurlTransfer) {
        do {
            let handle = try transfer.open()
            guard curl_multi_add_handle(multi, handle) == CURLM_OK else {
                throw HTTPError(.invalidRequest, url: transfer.request.url, cause: "libcurl does not take it")
            }
            transfers[handle] = transfer
        } catch {
            end(transfer, .failure(error))
        }
    }

    private func harvest() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle,
                let transfer = transfers[handle]
            else { continue }
            end(transfer, transfer.result(message.pointee.data.result))
        }
    }

    private func end(_ transfer: CurlTransfer, _ result: Result<HTTPResponse, any Error>) {
        if let handle = transfer.handle, transfers.removeValue(forKey: handle) != nil {
            curl_multi_remove_handle(multi, handle)
        }
        transfer.end(result)
    }
}

/// One request on its way, and what has come back.
/// `@unchecked`: after `start` only the loop's thread touches it; the continuation is taken once, under a lock.
private final class CurlTransfer: @unchecked Sendable {
    private static let headerLimit = 64 << 10

    let request: HTTPRequest
    private(set) var handle: UnsafeMutableRawPointer?
    private let continuation = Mutex<CheckedContinuation<HTTPResponse, any Error>?>(nil)
    private var lists: [UnsafeMutablePointer<curl_slist>?] = []
    private let limit: Int
    private var sent = 0
    private var headerBytes = 0
    private var headers: [HTTPRequest.Header] = []
    private var body: [UInt8] = []
    private var isTooLarge = false

    init(_ request: HTTPRequest) {
        self.request = request
        limit = Int(clamping: request.maximumBody.bytes)
    }

    func start(_ continuation: CheckedContinuation<HTTPResponse, any Error>) {
        self.continuation.withLock { $0 = continuation }
    }

    /// Without effect the second time.
    func end(_ result: Result<HTTPResponse, any Error>) {
        if let handle { curl_easy_cleanup(handle) }
        handle = nil
        for list in lists { curl_slist_free_all(list) }
        lists = []
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(with: result)
    }

    func open() throws(HTTPError) -> UnsafeMutableRawPointer {
        guard let handle = curl_easy_init() else {
            throw HTTPError(.invalidRequest, url: request.url, cause: "libcurl cannot be started")
        }
        self.handle = handle
        try set(drp_curl_set_string(handle, CURLOPT_URL, request.url))
        try set(drp_curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https"))
        try set(drp_curl_set_string(handle, CURLOPT_PROXY, ""))
        try set(drp_curl_set_string(handle, CURLOPT_USERAGENT, "drp"))
        // A connection for each transfer: one slow body must not hold the others of an HTTP/2 connection up.
        try set(drp_curl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1)))
        try set(drp_curl_set_long(handle, CURLOPT_NOSIGNAL, 1))
        try set(drp_curl_set_long(handle, CURLOPT_FOLLOWLOCATION, 0))
        try set(drp_curl_set_long(handle, CURLOPT_PATH_AS_IS, 1))
        try set(drp_curl_set_long(handle, CURLOPT_TIMEOUT_MS, milliseconds(request.deadline)))
        try set(drp_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(request.connectTimeout)))
        try set(drp_curl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, request.leastSpeed))
        try set(drp_curl_set_long(handle, CURLOPT_LOW_SPEED_TIME, max(1, milliseconds(request.slowFor) / 1000)))
        if let path = request.unixSocket { try set(drp_curl_set_string(handle, CURLOPT_UNIX_SOCKET_PATH, path)) }
        if let file = request.caFile { try set(drp_curl_set_string(handle, CURLOPT_CAINFO, file)) }
        if let route = request.route {
            let address = route.address.contains(":") ? "[\(route.address)]" : route.address
            try setList(CURLOPT_CONNECT_TO, ["\(route.host):\(route.port):\(address):"])
        }
        // Without the wait for "100 Continue" that libcurl asks for by itself.
        try setList(CURLOPT_HTTPHEADER, request.headers.map { "\($0.name): \($0.value)" } + ["Expect:"])
        try setMethod()
        let context = Unmanaged.passUnretained(self).toOpaque()
        try set(drp_curl_set_pointer(handle, CURLOPT_WRITEDATA, context))
        try set(
            drp_curl_set_receiver(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
                CurlTransfer.of(context).addBody(UnsafeRawBufferPointer(start: bytes, count: size * count))
            })
        try set(drp_curl_set_pointer(handle, CURLOPT_HEADERDATA, context))
        try set(
            drp_curl_set_receiver(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
                CurlTransfer.of(context).addHeader(UnsafeRawBufferPointer(start: bytes, count: size * count))
            })
        return handle
    }

    private func setMethod() throws(HTTPError) {
        switch request.method {
        case .get: break
        case .head: try set(drp_curl_set_long(handle, CURLOPT_NOBODY, 1))
        case .delete: try set(drp_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, "DELETE"))
        case .put, .post, .patch:
            let context = Unmanaged.passUnretained(self).toOpaque()
            try set(drp_curl_set_long(handle, CURLOPT_UPLOAD, 1))
            try set(drp_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue))
            try set(drp_curl_set_offset(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(request.body.count)))
            try set(drp_curl_set_long(handle, CURLOPT_UPLOAD_BUFFERSIZE, 512 << 10))
            try set(drp_curl_set_pointer(handle, CURLOPT_READDATA, context))
            try set(
                drp_curl_set_receiver(handle, CURLOPT_READFUNCTION) { bytes, size, count, context in
                    CurlTransfer.of(context).giveBody(UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
                })
            // A kept connection that the server has just closed: libcurl begins anew on another one.
            try set(drp_curl_set_pointer(handle, CURLOPT_SEEKDATA, context))
            try set(
                drp_curl_set_seeker(handle, CURLOPT_SEEKFUNCTION) { context, offset, origin in
                    CurlTransfer.of(context).seek(Int(offset), origin)
                })
        }
    }

    private func set(_ code: CURLcode) throws(HTTPError) {
        guard code == CURLE_OK else {
            throw HTTPError(.invalidRequest, url: request.url, cause: String(cString: curl_easy_strerror(code)))
        }
    }

    private func setList(_ option: CURLoption, _ lines: [String]) throws(HTTPError) {
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines { list = curl_slist_append(list, line) }
        lists.append(list)
        try set(drp_curl_set_list(handle, option, list))
    }

    private func milliseconds(_ duration: Duration) -> Int { max(1, Int(duration / .milliseconds(1))) }

    // MARK: - Called by libcurl

    static func of(_ context: UnsafeMutableRawPointer?) -> CurlTransfer {
        guard let context else { preconditionFailure("libcurl lost the context of a request") }
        return Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
    }

    /// - Returns: What libcurl wants: the count of bytes taken; anything else ends the request.
    private func addBody(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count <= limit - body.count else { return refuse() }
        body.append(contentsOf: bytes)
        return bytes.count
    }

    private func addHeader(_ bytes: UnsafeRawBufferPointer) -> Int {
        headerBytes += bytes.count
        guard headerBytes <= Self.headerLimit else { return refuse() }
        let line = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        // A new status line (after 100 Continue) begins a new set of headers.
        if line.hasPrefix("HTTP/") { headers = [] }
        guard let colon = line.firstIndex(of: ":"), !line.hasPrefix("HTTP/") else {
            if line.isEmpty { reserve() }
            return bytes.count
        }
        let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        headers.append(HTTPRequest.Header(name: String(line[..<colon]), value: value))
        return bytes.count
    }

    /// Once, for a body whose length is told; at most what will be taken of it.
    private func reserve() {
        guard request.method != .head,
            let length = headers.first(where: { $0.name.lowercased() == "content-length" }).flatMap({ Int($0.value) })
        else { return }
        body.reserveCapacity(max(0, min(length, limit, 64 << 20)))
    }

    private func giveBody(_ room: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(room.count, request.body.count - sent)
        request.body.withUnsafeBytes {
            room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sent..<sent + count]))
        }
        sent += count
        return count
    }

    private func seek(_ offset: Int, _ origin: Int32) -> Int32 {
        guard origin == SEEK_SET, (0...request.body.count).contains(offset) else { return CURL_SEEKFUNC_FAIL }
        sent = offset
        return CURL_SEEKFUNC_OK
    }

    private func refuse() -> Int {
        isTooLarge = true
        return 0
    }

    // MARK: - The end

    func result(_ code: CURLcode) -> Result<HTTPResponse, any Error> {
        guard code == CURLE_OK else { return .failure(error(code)) }
        var status = 0
        guard drp_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK else {
            return .failure(HTTPError(.malformed, url: request.url, cause: "an answer without a status"))
        }
        return .success(HTTPResponse(status: status, headers: headers, body: body))
    }

    /// libcurl's codes in our words; the one place that does this.
    private func error(_ code: CURLcode) -> HTTPError {
        if isTooLarge {
            return HTTPError(.tooLarge, url: request.url, cause: "the answer is larger than \(request.maximumBody)")
        }
        let reason: HTTPError.Reason =
            switch code {
            case CURLE_OPERATION_TIMEDOUT: .late
            case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_GOT_NOTHING, CURLE_RECV_ERROR,
                CURLE_SEND_ERROR, CURLE_PARTIAL_FILE, CURLE_SEND_FAIL_REWIND:
                .unreachable
            case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CACERT_BADFILE,
                CURLE_SSL_ISSUER_ERROR:
                .untrusted
            case CURLE_URL_MALFORMAT: .invalidRequest
            default: .malformed
            }
        return HTTPError(reason, url: request.url, cause: String(cString: curl_easy_strerror(code)))
    }
}
