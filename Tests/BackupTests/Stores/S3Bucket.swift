import DRPKit
import Foundation
import Synchronization
import TestSupport

@testable import Backup

/// A bucket of its own at the gateway that `script/test` starts.
struct S3Bucket {
    static let environment = ProcessInfo.processInfo.environment
    static let endpoint = environment["DRP_TEST_S3"]

    let settings: StoreSettings.S3
    let http: any HTTPClient
    private let connection: S3Connection

    /// - Parameter locks: with versions and object lock.
    init(locks: Bool = false, http: any HTTPClient = CurlClient(), isTLS: Bool = false) async throws {
        let endpoint = isTLS ? Self.environment["DRP_TEST_S3_TLS"] : Self.endpoint
        settings = StoreSettings.S3(
            endpoint: endpoint ?? "", bucket: "drp-\(UUID().uuidString.lowercased())", region: "default",
            addressing: .path, ca: isTLS ? Self.environment["DRP_TEST_S3_CA"] : nil,
            access: .file(path: Self.environment["DRP_TEST_S3_ACCESS"] ?? ""),
            secret: .file(path: Self.environment["DRP_TEST_S3_SECRET"] ?? ""))
        self.http = http
        connection = Self.connection(settings)
        let lock = [HTTPRequest.Header(name: "x-amz-bucket-object-lock-enabled", value: "true")]
        _ = try await connection.send(.put, nil, headers: locks ? lock : [])
    }

    /// Of the account that owns the bucket.
    static let credentials: @Sendable () async throws -> AWSCredentials = {
        try await credentials(access: "DRP_TEST_S3_ACCESS", secret: "DRP_TEST_S3_SECRET")
    }

    /// Of another account.
    static let others: @Sendable () async throws -> AWSCredentials = {
        try await credentials(access: "DRP_TEST_S3_OTHER_ACCESS", secret: "DRP_TEST_S3_OTHER_SECRET")
    }

    private static func credentials(access: String, secret: String) async throws -> AWSCredentials {
        let resolver = SecretResolver()
        let access = try await resolver.resolve(.file(path: environment[access] ?? ""))
        return AWSCredentials(
            access: access.withText { $0 }, secret: try await resolver.resolve(.file(path: environment[secret] ?? "")))
    }

    /// Waits little: the faults of these tests are over at once.
    static var impatient: RetryRule {
        var rule = RetryRule()
        rule.firstWait = .milliseconds(1)
        rule.longestWait = .milliseconds(4)
        return rule
    }

    func store(
        http: (any HTTPClient)? = nil, clock: any WallClock = SystemClock(), rule: RetryRule = S3Bucket.impatient,
        credentials: @escaping @Sendable () async throws -> AWSCredentials = S3Bucket.credentials
    ) -> S3Store {
        S3Store(settings, http: http ?? self.http, clock: clock, rule: rule, credentials: credentials)
    }

    /// Raw requests, as of somebody who holds the bucket's key.
    var hand: S3Connection { connection }

    private static func connection(_ settings: StoreSettings.S3) -> S3Connection {
        S3Connection(
            settings, transport: CloudTransport(http: CurlClient(), clock: SystemClock(), rule: RetryRule()),
            credentials: credentials)
    }
}

/// What can go wrong with one request.
enum HTTPFault: String, CaseIterable, Sendable {
    case status500, status503, status429, reset, late, lostAnswer, errorInside, truncated, corrupted
    /// A list that knows of nothing yet.
    case staleList
    /// This one is not allowed, as a deletion may not be.
    case forbidden
}

/// Counts the requests of a client, and harms one of them.
final class FaultyHTTP: HTTPClient {
    private let base: any HTTPClient
    private let count = Mutex(0)
    private let fault: HTTPFault
    private let number: Int

    /// - Parameter number: which request, from 1; 0 for none.
    init(_ base: any HTTPClient, _ fault: HTTPFault, at number: Int) {
        self.base = base
        self.fault = fault
        self.number = number
    }

    var requests: Int { count.withLock { $0 } }
    var wasHarmed: Bool { number > 0 && requests >= number }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let turn = count.withLock { count in
            count += 1
            return count
        }
        guard turn == number else { return try await base.send(request) }
        func status(_ status: Int) -> HTTPResponse {
            HTTPResponse(status: status, headers: [.init(name: "Retry-After", value: "0")], body: [])
        }
        func error(_ reason: HTTPError.Reason) -> HTTPError { HTTPError(reason, url: request.url, cause: "a fault") }
        switch fault {
        case .status500: return status(500)
        case .status503: return status(503)
        case .status429: return status(429)
        case .reset: throw error(.unreachable)
        case .late: throw error(.late)
        case .lostAnswer:
            _ = try await base.send(request)
            throw error(.unreachable)
        case .errorInside:
            return HTTPResponse(
                status: 200, headers: [], body: Array("<Error><Code>InternalError</Code></Error>".utf8))
        case .truncated:
            // Less came than its length said: libcurl tells.
            _ = try await base.send(request)
            throw error(.unreachable)
        case .forbidden:
            return HTTPResponse(
                status: 403, headers: [], body: Array("<Error><Code>AccessDenied</Code></Error>".utf8))
        case .staleList:
            guard request.url.contains("list-type=2") else { return try await base.send(request) }
            return HTTPResponse(
                status: 200, headers: [],
                body: Array("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".utf8))
        case .corrupted:
            var answer = try await base.send(request)
            if !answer.body.isEmpty { answer.body[answer.body.count / 2] ^= 0x20 }
            return answer
        }
    }
}
