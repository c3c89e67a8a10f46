import DRPKit
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Backup

/// Against a real Ceph gateway. Each test has a bucket of its own.
@Suite("S3 store at a Ceph gateway", .serialized, .enabled(if: S3Bucket.endpoint != nil, "start with script/test"))
struct S3StoreServiceTests {
    @Test("a bucket does what every store does", arguments: [false, true])
    func conformance(locks: Bool) async throws {
        try await StoreConformance(store: try await S3Bucket(locks: locks).store()).run()
    }

    @Test("TLS by a custom authority; without it nothing is sent")
    func customAuthority() async throws {
        let bucket = try await S3Bucket(isTLS: true)
        try await StoreConformance(store: bucket.store()).run()
        var settings = bucket.settings
        settings.ca = nil
        let store = S3Store(
            settings, http: CurlClient(), clock: SystemClock(), rule: S3Bucket.impatient,
            credentials: S3Bucket.credentials)
        let error = await #expect(throws: StoreError.self) { try await store.folders() }
        #expect(error?.reason == .unreachable && error?.cause?.contains("certificate") == true)
    }

    @Test("a list of many pages is whole, and what is no key of ours is left out and alone")
    func pages() async throws {
        let bucket = try await S3Bucket()
        let store = bucket.store()
        let folder = try #require(ObjectKey("many"))
        try await withThrowingTaskGroup { group in
            for number in 0..<1100 {
                group.addTask { try await store.put(folder.appending("\(number)"), [], .replace) }
            }
            try await group.waitForAll()
        }
        try await store.put(try #require(ObjectKey("other/one")), [1], .createOnly)
        let found = try await store.list(folder)
        #expect(found.count == 1100 && found == found.sorted { $0.key < $1.key })
        #expect(Set(found.map(\.key)).count == 1100)
        #expect(try await store.folders() == ["many", "other"])
    }

    @Test("of 16 writers of one name one wins", arguments: [false, true])
    func race(claims: Bool) async throws {
        let bucket = try await S3Bucket()
        let key = try #require(ObjectKey("race/one"))
        for round in 0..<4 {
            let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
                for writer in 0..<16 {
                    let http: any HTTPClient = claims ? ForgetfulHTTP(bucket.http) : bucket.http
                    let store = bucket.store(http: http)
                    group.addTask {
                        do throws(StoreError) {
                            try await store.put(key, [UInt8(writer)], .createOnly)
                            return true
                        } catch {
                            guard error.reason == .alreadyThere || (claims && error.reason == .claimed) else {
                                throw error
                            }
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            // With claims all may give way; two never win.
            #expect(claims ? wins <= 1 : wins == 1, "round \(round)")
            if claims && wins == 0 {
                try await bucket.store(http: ForgetfulHTTP(bucket.http)).put(key, [1], .createOnly)
            }
            try await bucket.store().delete(key)
        }
    }

    @Test("a store that ignores create-only is found out, and refuses to replace nevertheless")
    func claims() async throws {
        let bucket = try await S3Bucket()
        let store = bucket.store(http: ForgetfulHTTP(bucket.http))
        #expect(try await store.capabilities().createsOnly == false)
        #expect(try await bucket.store().capabilities().createsOnly)
        try await StoreConformance(store: store).run(besides: ["drp-claims"])
    }

    @Test("what a bucket can do is asked, not assumed")
    func capabilities() async throws {
        let plain = try await S3Bucket()
        #expect(
            try await plain.store().capabilities()
                == StoreCapabilities(createsOnly: true, keepsVersions: false, locks: false, expires: false))
        // Measured at Ceph 16: where a bucket keeps versions, its gateway ignores `If-None-Match`.
        let locking = try await S3Bucket(locks: true)
        #expect(
            try await locking.store().capabilities()
                == StoreCapabilities(createsOnly: false, keepsVersions: true, locks: true, expires: false))
        // What was tried leaves nothing, not even an older version.
        #expect(try await locking.hand.versions(prefix: "").isEmpty)
        let key = try #require(ObjectKey("a/b"))
        try await locking.store().put(key, [1], .createOnly)
        let error = await #expect(throws: StoreError.self) { try await locking.store().put(key, [2], .createOnly) }
        #expect(error?.reason == .alreadyThere)
        let rule = """
            <LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>r</ID><Status>Enabled\
            </Status><Filter><Prefix></Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>\
            </LifecycleConfiguration>
            """
        _ = try await plain.hand.send(.put, nil, [("lifecycle", "")], body: Array(rule.utf8))
        #expect(try await plain.store().capabilities().expires == true)
        #expect(try await plain.store().folders().isEmpty)
    }

    @Test("wrong keys, a missing bucket and a clock that is an hour off are said by name")
    func refusals() async throws {
        let bucket = try await S3Bucket()
        let key = try #require(ObjectKey("a/b"))
        let stranger = await #expect(throws: StoreError.self) {
            try await bucket.store(credentials: S3Bucket.others).put(key, [1], .replace)
        }
        #expect(stranger?.reason == .denied)
        let late = bucket.store(clock: StandingClock(now: SystemClock().now - 3600))
        let skewed = await #expect(throws: StoreError.self) { try await late.folders() }
        #expect(skewed?.code == .clocksDiffer)
        var settings = bucket.settings
        settings.bucket = "drp-there-is-none"
        let nowhere = S3Store(
            settings, http: bucket.http, clock: SystemClock(), rule: S3Bucket.impatient,
            credentials: S3Bucket.credentials)
        for error in [
            await #expect(throws: StoreError.self) { try await nowhere.read(key) },
            await #expect(throws: StoreError.self) { try await nowhere.list(key) },
            await #expect(throws: StoreError.self) { try await nowhere.put(key, [], .replace) },
        ] {
            #expect(error?.reason == .unreachable && error?.cause?.contains("no bucket") == true)
        }
    }

    @Test("credentials that have expired in mid-work are fetched anew, once, and refused ones are not tried for ever")
    func renewal() async throws {
        let bucket = try await S3Bucket()
        let calls = Mutex(0)
        let store = bucket.store(credentials: {
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            let good = try await S3Bucket.credentials()
            return call > 1 ? good : AWSCredentials(access: good.access, secret: Secret("expired"))
        })
        let key = try #require(ObjectKey("a/b"))
        try await store.put(key, [1, 2], .createOnly)
        #expect(try await store.read(key) == [1, 2] && calls.withLock { $0 } == 2)
        let counter = FaultyHTTP(bucket.http, .reset, at: 0)
        let refused = bucket.store(
            http: counter, credentials: { AWSCredentials(access: "NOBODY", secret: Secret("nothing")) })
        let error = await #expect(throws: StoreError.self) { try await refused.read(key) }
        #expect(error?.reason == .denied && counter.requests == 1)
    }

    @Test("an error behind a 200 is no object: what is read and hashed is what was stored")
    func errorInside() async throws {
        let bucket = try await S3Bucket()
        let key = try #require(ObjectKey("a/b"))
        try await bucket.store().put(key, [1, 2], .createOnly)
        let store = bucket.store(http: FaultyHTTP(bucket.http, .errorInside, at: 1))
        #expect(try await store.read(key) == [1, 2])
    }

    @Test("a locked object cannot go, is out of sight, and its date is told; an attacker with the key cannot either")
    func locks() async throws {
        let bucket = try await S3Bucket(locks: true)
        let until = Date(timeIntervalSince1970: (SystemClock().now.timeIntervalSince1970 + 600).rounded())
        let store = bucket.store().locking(ObjectLock(mode: .compliance, until: until))
        let (kept, loose) = (try #require(ObjectKey("c/packs/one")), try #require(ObjectKey("c/lease")))
        try await store.put(kept, [1], .lasting)
        try await store.put(loose, [2], .replace)
        #expect(try await store.lockedUntil(kept) == until)
        #expect(try await store.lockedUntil(loose) == nil)
        let later = until + 600
        try await store.lock(kept, ObjectLock(mode: .compliance, until: later))
        try await store.lock(kept, ObjectLock(mode: .compliance, until: until))
        #expect(try await store.lockedUntil(kept) == later)
        #expect(try await store.delete(loose) == .gone)
        #expect(try await store.delete(kept) == .locked(until: later))
        #expect(try await store.list(try #require(ObjectKey("c"))).isEmpty)
        #expect(try await store.delete(kept) == .locked(until: later))
    }

    @Test("the past is read by version: what was deleted, replaced or added since is as it was")
    func past() async throws {
        let bucket = try await S3Bucket(locks: true)
        let store = bucket.store()
        let keys = try (0..<4).map { try #require(ObjectKey("c/packs/\($0)")) }
        for key in keys.prefix(3) { try await store.put(key, Array(key.text.utf8), .createOnly) }
        let before = try await nextSecond(after: try #require(try await store.written(keys[2])), store)
        _ = try await nextSecond(after: before, store)
        _ = try await bucket.hand.send(.delete, keys[0])
        _ = try await bucket.hand.send(.put, keys[1], body: [0])
        _ = try await bucket.hand.send(.put, keys[3], body: [0])
        let view = try await store.view(at: before)
        #expect(try await view.list(try #require(ObjectKey("c"))).map(\.key) == Array(keys.prefix(3)))
        for key in keys.prefix(3) { #expect(try await view.read(key) == Array(key.text.utf8)) }
        #expect(try await view.read(keys[1], range: 0..<3) == Array("c/p".utf8))
        #expect(try await view.folders() == ["c"])
        let missing = await #expect(throws: StoreError.self) { try await view.read(keys[3]) }
        #expect(missing?.reason == .missing)
        let readOnly = await #expect(throws: StoreError.self) { try await view.put(keys[0], [], .replace) }
        #expect(readOnly?.reason == .unsupported)
    }

    /// The gateway's clock has seconds alone: what is written in the same one counts as the same time.
    private func nextSecond(after time: Date, _ store: S3Store) async throws -> Date {
        while true {
            if let now = try await store.now(), now > time { return now }
            try await SystemClock().sleep(for: .milliseconds(50))
        }
    }
}

/// A store that knows nothing of `If-None-Match`.
final class ForgetfulHTTP: HTTPClient {
    private let base: any HTTPClient

    init(_ base: any HTTPClient) { self.base = base }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        guard request.headers.contains(where: { $0.name == "if-none-match" }), let url = URL(string: request.url) else {
            return try await base.send(request)
        }
        // Signed anew without it, as a server would have taken it.
        var plain = HTTPRequest(url: request.url)
        plain.method = request.method
        plain.body = request.body
        plain.headers = request.headers.filter {
            !["if-none-match", "authorization", "x-amz-date", "x-amz-content-sha256"].contains($0.name.lowercased())
        }
        let host = [url.host(), url.port.map { "\($0)" }].compactMap { $0 }.joined(separator: ":")
        SigV4(credentials: try await S3Bucket.credentials(), region: "default").sign(
            &plain, host: host, path: url.path(), query: [], payload: ContentHash(hashing: request.body),
            at: SystemClock().now)
        return try await base.send(plain)
    }
}
