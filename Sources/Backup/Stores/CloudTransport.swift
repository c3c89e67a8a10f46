internal import DRPKit
internal import Foundation

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
                switch judge(try await http.send(request)) {
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
