internal import DRPKit
internal import Foundation
internal import Synchronization

/// How long and how often a store is asked.
package struct RetryRule: Sendable, Hashable {
    /// Tries of one request, the first included.
    package var tries = 5
    /// Before the second try at most; doubled each time, and a random share of it is waited.
    package var firstWait: Duration = .milliseconds(200)
    package var longestWait: Duration = .seconds(10)
    /// For a request without a body, and for what a server does after it has one.
    package var deadline: Duration = .seconds(60)
    /// Bytes a second: what is slower for `slowFor` counts as late.
    package var leastSpeed = 1024
    package var slowFor: Duration = .seconds(30)

    package init() {}

    /// Enough for `bytes` at the least speed.
    func deadline(bytes: Int) -> Duration { deadline + .seconds(bytes / leastSpeed) }

    /// - Parameter attempt: from 1: how many were made.
    func wait(after attempt: Int, asked: Duration?, share: Double) -> Duration {
        let doubled = firstWait * (1 << min(attempt - 1, 16))
        let wait = min(doubled, longestWait) * max(0.1, share)
        return min(longestWait, max(wait, asked ?? .zero))
    }
}

/// What to do about an answer.
enum Verdict {
    case done(HTTPResponse)
    /// It may go better the next time.
    case again(StoreError, after: Duration?)
    /// With other credentials it may go better.
    case renew(StoreError)
    case failed(StoreError)
}

/// Sends requests to one store, and again where that is safe: each request of ours may be repeated.
struct CloudTransport: Sendable {
    let http: any HTTPClient
    let clock: any WallClock
    let rule: RetryRule

    /// - Parameters:
    ///   - make: makes and signs the request anew for each try.
    ///   - judge: says what an answer means.
    ///   - renew: fetches credentials anew; false if they are the same as before.
    ///   - isUnsure: told when a try may have taken effect although its answer was lost.
    func send(
        _ key: ObjectKey?, make: () async throws(StoreError) -> HTTPRequest, judge: (HTTPResponse) -> Verdict,
        renew: () async throws(StoreError) -> Bool, isUnsure: () -> Void = {}
    ) async throws(StoreError) -> HTTPResponse {
        var attempt = 0
        var hasRenewed = false
        while true {
            attempt += 1
            let request = try await make()
            let error: StoreError
            var asked: Duration?
            do {
                let answer = try await http.send(request)
                Failpoint.hit("store.answered")
                switch judge(answer) {
                case .done(let response): return response
                case .failed(let failure): throw failure
                case .renew(let failure):
                    guard !hasRenewed, try await renew() else { throw failure }
                    hasRenewed = true
                    continue
                case .again(let failure, let after):
                    isUnsure()
                    (error, asked) = (failure, after)
                }
            } catch let failure as HTTPError {
                isUnsure()
                error = StoreError(.unreachable, key, cause: failure.message)
                switch failure.reason {
                case .unreachable, .late, .malformed: break
                // Nothing that a second try would change.
                case .untrusted, .tooLarge, .invalidRequest: throw error
                }
            } catch let failure as StoreError {
                throw failure
            } catch {
                throw StoreError(.unreachable, key, cause: "it was interrupted")
            }
            guard attempt < rule.tries else {
                throw StoreError(
                    error.reason, error.key ?? key, cause: (error.cause ?? "") + ", tried \(attempt) times")
            }
            do {
                try await clock.sleep(for: rule.wait(after: attempt, asked: asked, share: Randomness.share()))
            } catch {
                throw StoreError(.unreachable, key, cause: "it was interrupted")
            }
        }
    }
}

/// What proves who asks a store, kept until the store refuses it.
final class CloudCredentials<Value: Sendable & Equatable>: Sendable {
    private let fetch: @Sendable () async throws -> Value
    private let known = Mutex<Value?>(nil)

    /// - Parameter fetch: the credentials, anew at each call.
    init(_ fetch: @escaping @Sendable () async throws -> Value) { self.fetch = fetch }

    func current() async throws(StoreError) -> Value {
        if let known = known.withLock({ $0 }) { return known }
        return try await fetched()
    }

    /// - Returns: false if they are the same as before.
    func renew() async throws(StoreError) -> Bool {
        let old = known.withLock { $0 }
        return try await fetched() != old
    }

    private func fetched() async throws(StoreError) -> Value {
        do {
            let fresh = try await fetch()
            known.withLock { $0 = fresh }
            return fresh
        } catch {
            throw StoreError(.denied, nil, cause: (error as? any DRPError)?.message ?? "no credentials")
        }
    }
}

extension HTTPResponse {
    /// At most 30 s.
    var retryAfter: Duration? { header("retry-after").flatMap { Int($0) }.map { .seconds(max(0, min($0, 30))) } }

    /// When the server made the answer, by its clock.
    var date: Date? { header("date").flatMap { HTTPDate.parse($0) } }

    /// How far its clock is off, in words.
    func skew(from ours: Date) -> String {
        guard let theirs = date else {
            return "its clock and that of this machine differ by more than a quarter of an hour"
        }
        return "its clock says \(theirs.formatted(.iso8601)), that of this machine \(ours.formatted(.iso8601))"
    }
}

extension HTTPRequest.Header {
    /// Whether a store keeps to `If-Match`: it refuses the tag of another object, and takes the object's own.
    /// - Parameter put: puts one object, of a name that nobody else has.
    static func keepsToTags(
        _ put: ([HTTPRequest.Header], [UInt8]) async throws(StoreError) -> HTTPResponse
    ) async throws(StoreError) -> Bool {
        guard let own = try await put([], [0]).header("etag") else { return false }
        let other = "\"\(String(repeating: "0", count: 32))\""
        for tag in [other, own] {
            do throws(StoreError) {
                _ = try await put([.init(name: "if-match", value: tag)], [1])
                if tag == other { return false }
            } catch {
                guard error.reason == .alreadyThere || error.reason == .unsupported else { throw error }
                if tag == own { return false }
            }
        }
        return true
    }
}

enum AnswerText {
    /// Letters, digits, hyphens and dots: what a stranger says goes into messages.
    static func plain(_ text: String) -> String {
        String(
            text.unicodeScalars.filter {
                ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0) || $0 == "-"
                    || $0 == "."
            }.prefix(64).map { Character($0) })
    }
}
